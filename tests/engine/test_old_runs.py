"""Runs, studies, checkpoints and files of version 0.1.0 work as they did with it.

``tests/fixtures/v01`` holds them, and ``tests/fixtures/make_v01.py`` made them. Everything goes
through the commands, each in a process of its own; nothing here knows the modules behind them.
What has another name by now is written down once, in ``SETTINGS`` and ``encoder_tensors``.

Trained numbers are compared bit by bit on the kind of processor (and with the torch) that gave
them; elsewhere the first losses must agree to a thousandth, and accuracies to two points.
"""

from __future__ import annotations

import json
import math
import queue
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from ..environment import with_packages
from ..fixtures.make_v01 import digest, fingerprint, layout, machine

V01 = Path(__file__).parents[1] / "fixtures" / "v01"
SETTINGS: Mapping[str, str] = {
    "augment.color": "augment.color_jitter",
    "augment.gray": "augment.grayscale",
}
"""Settings, or sections of them, that have another name now: the dotted name of 0.1.0 to today's.

Those of a study's pretrainings and probes follow from these.
"""


VALUES: Mapping[str, Mapping[str, str]] = {
    "monitor.knn_features": {"trunk": "backbone"},
    "augment.order": {"color": "color_jitter", "gray": "grayscale"},
}
"""Values that have another name now, by the name that their setting has today."""


DEFAULTS: Mapping[str, tuple[Any, Any]] = {
    "augment.crop.scale_min": (0.2, 0.08),
    "supervised.epochs": (60, 200),
    "supervised.max_images": (400_000, 0),
}
"""Defaults of 0.1.0 and of today, where they differ.

A run keeps its own value; what it differs from is the preset of today.
"""


def load(name: str) -> Any:
    return json.loads((V01 / name).read_text(encoding="utf-8"))


EXPECTED = load("expected.json")
TRAINED = EXPECTED["machine_dependent"]
NAMES: dict[str, str] = EXPECTED["names"]
IDS = {run["id"] for run in EXPECTED["runs"]}
RAW = {key: value for key, value in TRAINED["machine"].items() if key != "cpu"}
SAME_MACHINE = {key: value for key, value in machine().items() if key != "cpu"} == RAW
POINTS = 0.0 if SAME_MACHINE else 2.0


def old_name(name: str) -> str:
    """What version 0.1.0 called a layer that is ``name`` in a checkpoint of today."""
    stem = {"conv1": "0", "bn1": "1"}
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts) if part == "backbone"), None)
    if at is not None:
        layer = parts[at + 1]
        if layer in stem:
            parts[at + 1] = stem[layer]
        elif layer.startswith("layer"):  # stage and block of a ResNet, behind a stem of three
            parts[at + 1 : at + 3] = [str(3 + 2 * (int(layer[5:]) - 1) + int(parts[at + 2]))]
    words = {
        "backbone": "trunk",
        "projection_head": "head",
        "downsample": "shortcut",
        "queue_ptr": "pointer",
    }
    return ".".join(words.get(part, part) for part in parts)


def encoder_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """Weights and buffers of a query encoder in a checkpoint of today, by their names of 0.1.0."""
    model = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    prefix = "encoder_q."
    return {old_name(k.removeprefix(prefix)): v for k, v in model.items() if k.startswith(prefix)}


@dataclass(frozen=True)
class Called:
    """What a command said."""

    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment() -> dict[str, str]:
    # Version 0.1 had no kernels in C, which round otherwise.
    known = with_packages(MOCO_TUI_NATIVE="off")
    return {k: v for k, v in known.items() if k not in ("MOCO_TUI_RUNS", "MOCO_TUI_DATA")}


@dataclass(frozen=True)
class Runs:
    """A folder of runs, and the commands on it."""

    root: Path

    def __call__(self, *args: str) -> Called:
        done = subprocess.run(
            [sys.executable, "-m", "moco_tui", *self.places(), *args],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{args} left with {done.returncode}: {done.stderr}"
        return Called(done.stdout, done.stderr)

    def places(self) -> list[str]:
        return ["--runs-dir", str(self.root), "--data-dir", str(self.root / ".data")]

    def rows(self, run: str) -> list[list[str]]:
        """The metrics of a run as exported, without time and commit; the header first."""
        rows = [line.split(",") for line in self("export", run, "--format", "csv").out.split()]
        kept = [at for at, name in enumerate(rows[0]) if name not in ("time", "commit")]
        return [[row[at] for at in kept] for row in rows]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    shutil.copytree(V01 / "runs", tmp_path / "runs")
    return Runs(tmp_path / "runs")


# --------------------------------------------------------------------------------------------
# Comparing


def renamed(key: str) -> str:
    """Today's name of a setting."""
    for part in ("pretrain.", "probe."):
        if key.startswith(part) and key not in SETTINGS:
            return part + renamed(key.removeprefix(part))
    for old, new in SETTINGS.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return key


def dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def settings(tree: Mapping[str, Any], *, old: bool = False) -> dict[str, Any]:
    """A configuration by dotted name; of 0.1.0, by today's."""
    found = dict(dotted(tree))
    if old:
        found = {renamed(key): value for key, value in found.items()}
        for key, value in found.items():
            for setting, names in VALUES.items():
                if f"{key}.".removeprefix("pretrain.").startswith(f"{setting}."):
                    found[key] = called(value, names)
        for key, value in found.items():
            if key.endswith(".preset"):
                base = key.removesuffix(".preset").removeprefix("pretrain.").removeprefix("probe.")
                then, now = DEFAULTS.get(base, (value, value))
                found[key] = now if value == then else value
    return found


def called(value: Any, names: Mapping[str, str]) -> Any:
    """A value, or the items of a list, under the names of today."""
    if isinstance(value, list):
        return [called(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def flat(document: Any, *, old: bool = False) -> Any:
    """A document of a command, with its configurations by dotted name."""
    if isinstance(document, list):
        return [flat(item, old=old) for item in document]
    if not isinstance(document, Mapping):
        return document
    return {
        key: settings(value, old=old)
        if key in ("config", "differs") and isinstance(value, Mapping)
        else flat(value, old=old)
        for key, value in document.items()
        if key != "schema"  # that of the record, which is brought up to date
    }


def same(now: Any, then: Any, where: str = "") -> None:
    """Everything that was said then is said now; more may be."""
    if isinstance(then, Mapping):
        assert isinstance(now, Mapping), where
        for key, value in then.items():
            assert key in now, f"{where}: {key} is gone"
            same(now[key], value, f"{where}/{key}")
    elif isinstance(then, list):
        assert isinstance(now, list), where
        assert len(now) == len(then), f"{where}: {now} now, {then} then"
        for at, (one, other) in enumerate(zip(now, then, strict=True)):
            same(one, other, f"{where}/{at}")
    elif isinstance(then, float) and isinstance(now, float):
        assert now == pytest.approx(then, rel=1e-12), where
    else:
        assert now == then, where


def as_before(now: Any, then: Any) -> None:
    then = with_conditions(with_best_of_training(without_data(flat(then, old=True))))
    same(without_scratch(flat(now)), then)


def without_scratch(document: Any) -> Any:
    """A report without what it says of training from scratch, which 0.1.0 only had in its rows."""
    if isinstance(document, list):
        return [without_scratch(item) for item in document]
    if not isinstance(document, Mapping):
        return document
    if not {"estimates", "protocol"} <= document.keys():
        return {key: without_scratch(item) for key, item in document.items()}
    begins = "Against training from scratch"
    return {
        **document,
        "comparisons": [c for c in document["comparisons"] if c["scope"] != "scratch"],
        "answer": [s for s in document["answer"] if " head (task " not in s],
        "protocol": [s for s in document["protocol"] if not s.startswith(begins)],
    }


def with_conditions(document: Any) -> Any:
    """A report of 0.1.0 with all that its intervals are conditional on, which it names since."""
    if isinstance(document, list):
        return [with_conditions(item) for item in document]
    if not isinstance(document, Mapping):
        return document
    made = {key: with_conditions(item) for key, item in document.items()}
    if {"estimates", "protocol"} <= made.keys():  # the record of a study keeps its own
        made["protocol"] = [
            sentence.replace(
                "They say nothing about other test images or other data.",
                "They are conditional on the labelled subsets, whose seeds are fixed, and on the "
                "test images: they say nothing about other subsets, other test images or other "
                "data.",
            )
            for sentence in made["protocol"]
        ]
    return made


def with_best_of_training(document: Any) -> Any:
    """A document of 0.1.0 with what counts as the best of a run since then."""
    if isinstance(document, list):
        return [with_best_of_training(item) for item in document]
    if isinstance(document, Mapping) and {"id", "best"} <= document.keys():
        return {**document, "best": best_of_training(document["id"], document["best"])}
    return document


def best_of_training(run: str, names: Iterable[str], root: Path = V01 / "runs") -> dict[str, float]:
    """The best of metrics by the lines of a log, without what 0.1.0 should not have counted.

    That is the kNN of the untrained encoder, at step 0; losses of single steps; and losses of
    epochs in which the queue was not full of keys yet.
    """
    record = json.loads((root / run / "run.json").read_text())
    config = record["config"]
    first = 1
    if record["kind"] == "pretrain":
        keys = (2 if config["moco"]["symmetric"] else 1) * config["optim"]["batch_size"]
        first = record["steps_per_epoch"] + config["moco"]["queue_size"] / keys
    log = root / run / "metrics.jsonl"
    values: dict[str, dict[int, float]] = {name: {} for name in names if name != "train/loss"}
    for line in map(json.loads, log.read_text().splitlines() if log.exists() else ()):
        last = line.get("void_after", math.inf)
        for name, points in values.items():
            values[name] = {step: value for step, value in points.items() if step <= last}
            if name in line and line["step"] >= (first if name == "train/epoch_loss" else 1):
                values[name][line["step"]] = float(line[name])
    return {
        name: (min if "loss" in name else max)(points.values())
        for name, points in values.items()
        if points
    }


def without_data(rows: Any) -> Any:
    """The rows of a list without the data of a study, of which 0.1.0 said nothing."""
    if not isinstance(rows, list):
        return rows
    return [{k: v for k, v in row.items() if k != "data" or v is not None} for row in rows]


# --------------------------------------------------------------------------------------------
# Looking


def test_every_old_run_is_listed_with_its_state_settings_and_numbers(runs: Runs) -> None:
    listed = runs("runs", "--json")
    as_before(listed.json, EXPECTED["runs"])
    assert listed.err == ""  # nor is the old index complained of
    states = {run["name"]: run["state"] for run in listed.json}
    for state in ("queued", "lost", "stopped", "failed"):
        assert states[state] == state
    text = runs("runs").out
    assert all(id_ in text for id_ in IDS)


def test_every_old_setting_has_a_name_of_today(runs: Runs) -> None:
    """A setting that gets another name has to be put into ``SETTINGS``, and into a migration."""
    known: dict[str, set[str]] = {"pretrain": set(), "probe": set(), "study": set()}
    for setting in runs("presets", "--settings", "--json").json:
        if setting["kind"] in known:  # those of a Slurm job are of no run
            known[setting["kind"]].add(setting["key"])
    for kind in ("pretrain", "probe"):
        known["study"] |= {f"{kind}.{key}" for key in known[kind]}
    for name, config in EXPECTED["toml"].items():
        kind = name.removesuffix(".toml")
        for key in settings(config, old=True):
            of_table = any(key.startswith(f"{table}.") for table in known[kind])
            assert key in known[kind] or of_table, f"{kind}: {key}"


def test_old_runs_keep_the_defaults_that_they_began_with(runs: Runs) -> None:
    """All of 0.1.0 began with crops from 0.2, 60 epochs and 400,000 images, or named others."""
    for id_ in IDS:
        raw = json.loads((V01 / "runs" / id_ / "run.json").read_text(encoding="utf-8"))["config"]
        now = settings(runs("show", id_, "--json").json["config"])
        for part in ("pretrain.", "probe.", ""):
            if f"{part}augment.order" in now:
                then = raw.get("pretrain", raw)["augment"]["crop"]["scale_min"]
                assert now[f"{part}augment.crop.scale_min"] == then
            if f"{part}supervised.epochs" in now:
                budget = raw.get("probe", raw)["supervised"]
                assert now[f"{part}supervised.epochs"] == budget["epochs"]
                assert now[f"{part}supervised.max_images"] == budget["max_images"]
                assert now.get(f"{part}linear.crop_min", 0.2) == 0.2  # no setting then


def test_old_runs_are_listed_without_their_index_and_without_writing(runs: Runs) -> None:
    (runs.root / "history.json").unlink()
    as_before(runs("runs", "--read-only", "--json").json, EXPECTED["runs"])
    assert not (runs.root / "history.json").exists()
    runs("reindex")
    as_before(runs("runs", "--json").json, EXPECTED["runs"])


def test_a_filter_finds_the_same_old_runs(runs: Runs) -> None:
    for query, ids in EXPECTED["filtered"].items():
        for old, new in SETTINGS.items():
            query = query.replace(old.rpartition(".")[2], new.rpartition(".")[2])
        assert [run["id"] for run in runs("runs", "--filter", query, "--json").json] == ids, query


def test_every_old_run_is_shown_with_all_that_its_record_holds(runs: Runs) -> None:
    with ThreadPoolExecutor(2) as pool:
        shown = pool.map(lambda id_: runs("show", id_, "--json"), EXPECTED["show"])
        for then, now in zip(EXPECTED["show"].values(), shown, strict=True):
            as_before(now.json, then)
        texts = list(pool.map(lambda name: runs("show", name).out, NAMES))
    for id_, text in zip(NAMES.values(), texts, strict=True):
        assert text.startswith(id_)


def test_old_runs_compare_as_they_did(runs: Runs) -> None:
    for names, then in EXPECTED["compare"].items():
        ids = [run["id"] for run in then["runs"]]
        now = runs("compare", *ids, "--json").json
        rows = {(row["metric"], row["value"]): row for row in now.pop("metrics")}
        for old in then["metrics"]:
            key = (old["metric"], old["value"])
            if old["value"] == "best":
                best = [best_of_training(id_, [old["metric"]]) for id_ in ids]
                values = [known.get(old["metric"]) for known in best]
                assert (rows[key]["values"] if key in rows else [None] * len(ids)) == values
                continue
            # A number of two runs that measure different things has no verdict any more.
            told = [
                v for v, why in zip(old["verdicts"], rows[key]["reasons"], strict=True) if not why
            ]
            row = rows[key]
            left = [v for v, why in zip(row["verdicts"], row["reasons"], strict=True) if not why]
            assert left == told
            same(row, {k: old[k] for k in ("values", "differences")})
        as_before(now, {k: v for k, v in then.items() if k != "metrics"})
        assert runs("compare", *ids).out.count(ids[0]) >= 2, names


def test_old_metrics_are_exported_as_they_were(runs: Runs) -> None:
    for run, then in EXPECTED["metrics"].items():
        assert runs.rows(run) == then
        exported = runs("export", run, "--format", "json").json
        header, *rows = then
        for at, metric in enumerate(header[2:], start=2):
            curve = exported["metrics"][metric]
            assert [
                [str(s), str(v)] for s, v in zip(curve["step"], curve["value"], strict=True)
            ] == [[row[0], row[at]] for row in rows if row[at]]


def test_an_old_run_comes_back_from_the_trash(runs: Runs) -> None:
    assert runs("restore", "--json").json == EXPECTED["trash"]
    (gone,) = EXPECTED["trash"]
    runs("restore", gone["id"])
    listed = {run["id"]: run for run in runs("runs", "--json").json}
    assert listed.keys() == IDS | {gone["id"]}
    assert listed[gone["id"]]["state"] == "finished"


def test_what_was_said_of_an_old_run_stays_when_more_is_said(runs: Runs) -> None:
    runs("tag", "base", "+new")
    runs("rename", "stopped", "goes on")
    listed = {run["id"]: run for run in runs("runs", "--json").json}
    base = listed[NAMES["base"]]
    assert base["tags"] == ["keep", "new", "small-queue"]
    assert (base["name"], base["note"]) == (
        "base",
        "features before the projection; see the probes",
    )
    assert listed[NAMES["stopped"]]["tags"] == ["later"]


def test_an_old_study_says_the_same_and_computes_nothing_twice(runs: Runs) -> None:
    for name, then in EXPECTED["study"].items():
        as_before(runs("study", name, "--show", "--json").json, then)
    again = runs("study", "finished study", "--json")
    as_before(again.json, EXPECTED["study"]["finished study"])
    assert {run["id"] for run in runs("runs", "--json").json} == IDS


def test_the_file_of_a_study_finds_the_old_runs_that_belong_to_it(runs: Runs) -> None:
    # A file names no folds and no least labels, and means those of today; the old ones had none.
    choice = options("probe.logistic.folds=0", "probe.tune_from=2")
    now = runs("study", "--config", str(V01 / "study.toml"), *choice, "--show", "--json").json
    as_before(now, EXPECTED["study_toml"])
    assert now["cells_done"] == 6
    assert {cell["run"] for cell in now["cells"]} >= {NAMES["by hand"]}


# --------------------------------------------------------------------------------------------
# Training: what takes seconds is begun at once, in two processes that load torch once

WORKER = """
import contextlib, io, json, runpy, sys
for line in sys.stdin:
    sys.argv = ["moco-tui", *json.loads(line)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_module("moco_tui", run_name="__main__")
        except SystemExit as left:
            code = left.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """Runs on which a job has worked, and what its command printed."""

    runs: Runs
    called: Called


Jobs = Callable[[str], Done]
NO_TRAINING = ("lr=1e-300", "weight_decay=0", "momentum=1", "epochs=1", "knn_every=0")
SMALL = ("dim=16", "queue_size=64", "batch_size=10", "bn_splits=1")
CPU = ("device=cpu", "precision=float32", "threads=1")
ENCODERS = ("convnet", "resnet18")
SEEDS = (0, 1)


def options(*sets: str) -> list[str]:
    return [part for text in sets for part in ("--set", text)]


def works(images: Path) -> dict[str, list[str]]:
    """The command of each job, by its name.

    Args:
        images: a folder of ten; the weights that a seed gives have nothing to do with the data.
    """
    wanted = {
        "study": ["study", "unfinished study"],
        **{f"resume {name}": ["resume", NAMES[name], "--json"] for name in TRAINED["resumed"]},
        "resume half way": ["resume", "half way", "--json"],
        "pretrain.toml": [
            *("pretrain", "--config", str(V01 / "pretrain.toml"), "--name", "again"),
            *options("stop_epoch=1"),
        ],
    }
    for name, probe in TRAINED["probes"].items():
        given = [str(V01 / part) if part == "probe.toml" else part for part in probe["options"]]
        # What was built in then; settings with another default now.
        given += options("linear.crop_min=0.2", "logistic.folds=0", "tune_from=2")
        wanted[f"probe {name}"] = ["probe", "base", *given, "--name", "new", "--json"]
    for encoder in ENCODERS:
        for seed in SEEDS:
            momentum = [] if seed == 0 else ["sgd_momentum=0"]  # a layout with and without buffers
            wanted[f"{encoder} {seed}"] = [
                *("pretrain", "--data", f"folder:{images}", "--name", "untrained"),
                *options(*CPU, *NO_TRAINING, *SMALL, *momentum),
                *options(f"encoder={encoder}", f"seed={seed}"),
            ]
    wanted["model"] = ["show", "base", "--model", "--json"]
    return wanted


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    """Waits for a job."""
    work = tmp_path_factory.mktemp("jobs")
    images = work / "images"
    images.mkdir()
    for i in range(10):
        Image.new("RGB", (32, 32), (25 * i, 100, 200 - 20 * i)).save(images / f"{i}.png")
    workers: queue.Queue[subprocess.Popen[str]] = queue.Queue()
    for _ in range(2):
        workers.put(
            subprocess.Popen(
                [sys.executable, "-c", WORKER],
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def do(number: int, args: list[str]) -> Done:
        runs = Runs(work / str(number))
        shutil.copytree(V01 / "runs", runs.root)
        worker = workers.get()
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            print(json.dumps([*runs.places(), *args]), file=worker.stdin, flush=True)
            code, out, err = json.loads(worker.stdout.readline())
        finally:
            workers.put(worker)
        assert not code, f"{args} left with {code}: {err}"
        return Done(runs, Called(out, err))

    with ThreadPoolExecutor(2) as pool:
        begun: dict[str, Future[Done]] = {
            name: pool.submit(do, number, args)
            for number, (name, args) in enumerate(works(images).items())
        }
        yield lambda name: begun[name].result()
        pool.shutdown(cancel_futures=True)
    while not workers.empty():
        worker = workers.get()
        worker.communicate()  # closes its stdin, which ends it


@pytest.mark.parametrize("name", TRAINED["resumed"])
def test_an_old_pretraining_that_was_stopped_or_lost_ends_in_the_same_bits(
    name: str, jobs: Jobs
) -> None:
    then, id_ = TRAINED["resumed"][name], NAMES[name]
    done = jobs(f"resume {name}")
    outcome = done.called.json
    assert (outcome["status"], outcome["step"]) == ("finished", int(then["metrics"][-1][0]))
    header, *rows = done.runs.rows(id_)
    last = then["checkpoint_step"]
    before = [row for row in EXPECTED["metrics"][id_][1:] if int(row[0]) <= last]
    after = [row for row in rows if int(row[0]) > last]
    assert header == then["metrics"][0]
    assert [row[: len(b)] for row, b in zip(rows, before, strict=False)] == before
    assert [row[0] for row in after] == [row[0] for row in then["metrics"][1:]]
    tensors = encoder_tensors(done.runs.root / id_ / "checkpoint.pt")
    if SAME_MACHINE:
        assert [header, *after] == then["metrics"]
        assert outcome["last"] == then["last"]
        assert outcome["best"] == best_of_training(id_, then["best"], done.runs.root)
        assert fingerprint(tensors.values()) == then["encoder"]
    else:
        at = header.index("train/loss")
        for now, old in zip(after[:3], then["metrics"][1:], strict=False):
            assert float(now[at]) == pytest.approx(float(old[at]), rel=1e-3)


def test_an_old_probe_that_was_stopped_keeps_its_rows_and_adds_the_rest(jobs: Jobs) -> None:
    then = TRAINED["resumed_probe"]
    kept = EXPECTED["show"][NAMES["half way"]]["result"]["rows"]
    now = jobs("resume half way").called.json
    assert now["status"] == "finished"
    assert len(kept) == 2
    same(now["result"]["rows"][:2], kept)  # with the seconds that they took then
    rows = now["result"]["rows"]
    assert [row["source"] for row in rows] == [row["source"] for row in then["result"]["rows"]]
    for row, old in zip(rows, then["result"]["rows"], strict=True):
        assert row["top1"] == pytest.approx(old["top1"], abs=POINTS, rel=0)


@pytest.mark.parametrize("head", TRAINED["probes"])
def test_a_new_probe_of_an_old_checkpoint_scores_what_it_did(head: str, jobs: Jobs) -> None:
    then = TRAINED["probes"][head]
    done = jobs(f"probe {head}")
    now = {row["source"]: row["top1"] for row in done.called.json["result"]["rows"]}
    assert now == pytest.approx(then["top1"], abs=POINTS, rel=0)
    config = done.runs("show", "new", "--json").json["config"]
    same(settings(config), settings(then["config"], old=True))


def test_an_old_study_goes_on_to_its_table(jobs: Jobs) -> None:
    then = TRAINED["study"]
    done = jobs("study")
    now = done.runs("study", "unfinished study", "--show", "--json").json
    assert now["complete"]
    assert now["cells_done"] == now["cells_total"] == then["cells_total"]
    for cell, old in zip(now["cells"], then["cells"], strict=True):
        assert (cell["source"], cell["state"]) == (old["source"], "done")
        assert cell["top1"] == pytest.approx(old["top1"], abs=POINTS, rel=0)
        if old["run"] in IDS:  # done before, or begun
            assert cell["run"] == old["run"]
    if SAME_MACHINE:
        parts = ("answer", "protocol", "majority", "estimates", "comparisons", "curves")
        then = with_conditions(then)
        now = without_scratch(now)
        same({part: now[part] for part in parts}, {part: then[part] for part in parts})
    listed = {run["id"]: run for run in done.runs("runs", "--json").json}
    assert listed[NAMES["unfinished study"]]["state"] == "finished"
    kinds = [run["kind"] for id_, run in listed.items() if id_ not in IDS]
    assert sorted(kinds) == ["pretrain", "probe", "probe"]  # those of the second queue


def test_an_old_file_of_a_pretraining_means_the_same_and_trains_the_same(jobs: Jobs) -> None:
    runs = jobs("pretrain.toml").runs
    config = settings(runs("show", "again", "--json").json["config"])
    then = settings(EXPECTED["toml"]["pretrain.toml"], old=True)
    then[renamed("optim.stop_epoch")] = 1  # as the command says
    same(config, then)
    header, *rows = runs.rows("again")
    before = EXPECTED["metrics"][NAMES["base"]]
    # Of what is measured beside it nothing was known then: all that was is the same.
    places = [header.index(name) for name in before[0]]
    whole = [row for row in before[1:] if 0 < int(row[0]) <= int(rows[-1][0])]
    trained = [[row[at] for at in places] for row in rows if int(row[0])]
    assert [row[0] for row in trained] == [row[0] for row in whole]
    if SAME_MACHINE:
        assert trained == whole
    else:
        at = header.index("train/loss")
        for now, old in zip(trained[:3], whole, strict=False):
            assert float(now[at]) == pytest.approx(float(old[at]), rel=1e-3)


def test_old_files_of_a_probe_and_of_a_study_mean_the_same(jobs: Jobs, runs: Runs) -> None:
    now = settings(jobs("probe logistic").runs("show", "new", "--json").json["config"])
    then = settings(EXPECTED["toml"]["probe.toml"], old=True)
    then |= {renamed("label_fraction"): 0.5, renamed("baselines"): ["random-init", "pixels"]}
    same(now, then)
    study = runs("study", "--config", str(V01 / "study.toml"), "--show", "--json").json["config"]
    same(settings(study), settings(EXPECTED["toml"]["study.toml"], old=True))


def test_the_encoder_of_an_old_run_is_described_as_it_was(jobs: Jobs) -> None:
    described = jobs("model").called.json
    for layer in described:
        layer["name"] = old_name(layer["name"])
    same(described, EXPECTED["model"])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_seed_gives_the_weights_that_it_gave(encoder: str, seed: int, jobs: Jobs) -> None:
    """After a step with a learning rate of nothing the weights are those of the beginning."""
    runs = jobs(f"{encoder} {seed}").runs
    then = load(f"{encoder}.json")
    checkpoint = Path(runs("show", "untrained", "--json").json["path"]) / "checkpoint.pt"
    tensors = encoder_tensors(checkpoint)
    shapes = [[name, list(value.shape)] for name, value in tensors.items()]
    assert shapes == then["encoder"]["plain"]
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    buffers = [line for line in then["checkpoint"] if line.endswith("momentum_buffer")]
    assert bool(buffers) <= (seed != 0)
    if seed == 0:
        # What 0.1.0 did not have and would pass over: digests of the images, a sample of keys.
        added = {"data", "measures"}
        same_as_then = {key: value for key, value in state.items() if key not in added}
        now = [
            " ".join((old_name(line.split(" ")[0]), *line.split(" ")[1:]))
            for line in layout(same_as_then)
        ]
        assert now == then["checkpoint"]
    weights = then["seeds_machine_dependent"]["tensors"][str(seed)]
    exact = {k: v for k, v in machine().items() if k != "cpu"} == {
        k: v for k, v in then["seeds_machine_dependent"]["machine"].items() if k != "cpu"
    }
    for name, value in tensors.items():
        if "running" in name or name.endswith("num_batches_tracked"):
            continue
        sha, mean = weights[f"encoder_q.{name}"]
        assert float(value.double().mean()) == pytest.approx(mean, rel=1e-4, abs=1e-7), name
        assert not exact or digest(value) == sha, name
