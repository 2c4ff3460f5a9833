"""Kills real trainings with SIGKILL at random moments, and compares them with an undisturbed one.

    python tests/survival/training.py [--tries 200] [--seed 0] [--trial N] [--jobs 2]

Each training is killed once or several times, and resumed from its last checkpoint until it is
done. Then every tensor of its final checkpoint (encoders, queue, pointer, optimizer, generators)
and every point of its curves must be bit-equal to those of an undisturbed training. Every run must
be listed and shown at any time, and no temporary file may stay behind. Prints a line for what broke
and ``training: tried N, survived N``; the exit code is 0 when every kill was survived.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.survival.tiny_runs import (
    check_end,
    check_left_over,
    check_readable,
    draw_images,
    end_of,
    only_run,
    resume_to_end,
    words,
)
from tests.survival.trials import Trial, Work, hold, main, parser
from tests.survival.warm import Place


def prepare(place: Path, options: argparse.Namespace) -> Work:
    """Trains without a disturbance; returns what kills a training."""
    draw_images(place / "images", random.Random(0))
    settings = words(place / "images")
    quiet = Place(place / "undisturbed", place / "data", place / "output")
    done = quiet.call("pretrain", *settings)
    run = only_run(quiet)
    hold(done.code == 0 and run is not None, str(done))
    assert run is not None
    wanted, seconds = end_of(quiet, run), done.seconds

    def trial(trial: Trial) -> int:
        here = Place(trial.folder / "runs", place / "data", trial.folder / "output")
        args, kills = ["pretrain", *settings], 0
        for _ in range(trial.chance.randrange(1, 4)):
            process = here.start(*args)
            time.sleep(trial.chance.uniform(0, 0.7 * seconds))
            process.kill()
            code = process.wait().code
            hold(code in (0, -signal.SIGKILL), f"exit code {code}")
            run = only_run(here)
            if code == 0:
                break
            kills += 1
            trial.seen["kills before a checkpoint"] += (
                run is None or not run.checkpoint_path.exists()
            )
            check_readable(here, {run.id} if run else set())
            if run is not None:
                if run.record().status == "finished":  # killed behind its last record
                    break
                args = ["resume", run.id]
        if kills and run is None:  # each was killed before the folder was made
            hold(here.call(*args).code == 0, "a new run cannot be made")
            run = only_run(here)
        if kills:
            assert run is not None
            trial.seen["resumes"] += resume_to_end(here, run)
            check_end(here, run, wanted)
            check_readable(here, {run.id})
            trial.seen["small files left behind"] += check_left_over(here.root)
        return kills

    return trial


if __name__ == "__main__":
    raise SystemExit(main("training", parser(__doc__, 200).parse_args(), prepare))
