"""The step beside its peers: the notebook's pipeline and lightly, whole and in halves.

Fairly: the same images, batch 512, K 4,096, symmetric loss and net, and in its turn each has the
whole machine. The peers get a DataLoader with as many workers as cores, as many threads as ours,
and before each turn so many untimed steps that what their workers made ahead is used up. They run
in float32, as their authors have them; ours runs as its preset says, so on a device that is faster
in bfloat16 a part of its lead is that (``model_step.py`` shows how much). They share our process
and so our setting of the C library (``engine.runtime.malloc``), which helps them too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import lightly_peer, notebook, ours, timing
from .timing import Figure, Lap, Way

BATCH = notebook.BATCH


def measure(
    device: torch.device,
    *,
    threads: int,
    workers: int,
    repeats: int,
    seconds: float,
    parts: bool,
    drained: bool,
    count: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """All ways in turns.

    Args:
        device: where to compute.
        threads: of ours, and of torch for the peers.
        workers: processes of the peers' loaders.
        repeats: turns of each way.
        seconds: the least that a turn lasts; two steps at least.
        drained: False: two untimed steps before a turn of a peer in place of all that its
            workers made ahead; quicker, and right where the data is not what a peer waits for.
        parts: also the model and the data of each alone.
        count: images.
        say: called with a line for each turn.

    Returns:
        ``rows``: per way the pairs per second and processor milliseconds a step as median, low
        and high, and how many times ours is ahead in both; ``notes``.
    """
    images = ours.pictures(count)
    mine: dict[str, ours.Ours] = {}
    names: tuple[ours.Part, ...] = ("whole", "model", "data") if parts else ("whole",)
    for part in names:
        training, runtime = ours.start(ours.settings(str(device), threads), images)
        mine["ours" if part == "whole" else f"ours: {part}"] = ours.Ours(training, part)
    device = runtime.device
    torch.set_num_threads(threads)
    ways: dict[str, Way] = {**mine}
    notes: list[str] = []
    cuda = device.type == "cuda"
    drain = 2 * workers + 1 if drained else 2  # two batches a worker are made ahead

    def peer(name: str, batches: Any, step: Callable[..., float]) -> None:
        ways[name] = notebook.Pipeline(batches, step, device, drain=drain)
        if parts:
            ways[f"{name}: model"] = notebook.Pipeline(None, step, device)
            ways[f"{name}: data"] = notebook.Pipeline(batches, None, device, drain=drain)

    pairs = notebook.Pairs(images, notebook.TwoViews())
    peer("notebook", notebook.loader(pairs, workers, cuda=cuda), notebook.Step(device))
    if lightly_peer.available():
        batches = lightly_peer.loader(images, workers, cuda=cuda)
        peer("lightly", batches, lightly_peer.step(device))
        notes.append(f"lightly {lightly_peer.version()}")
    else:
        notes.append(f"lightly not measured: it is not installed; {lightly_peer.INSTALL}")
    try:
        laps = timing.take_turns(ways, device, repeats=repeats, seconds=seconds, least=2, say=say)
        notes.append(f"ours: {mine['ours'].training.compute_step.kind}")
    finally:
        for way in mine.values():
            way.training.close()
    if not ours.finite(mine["ours"].training):
        raise SystemExit("ours: the parameters are no numbers any more")
    return {"rows": [row(name, laps) for name in ways], "notes": notes}


def row(name: str, laps: dict[str, list[Lap]]) -> dict[str, Any]:
    """One way beside the same part of ours."""
    part = name.partition(": ")[2]
    mine = laps["ours: " + part if part else "ours"]
    return {
        "way": name,
        "pairs_per_second": Figure.of([BATCH / timing.wall(turn) for turn in laps[name]]),
        "ms_per_step": Figure.of([1000 * timing.wall(turn) for turn in laps[name]]),
        "processor_ms_per_step": Figure.of([1000 * timing.work(turn) for turn in laps[name]]),
        "times_ours": timing.ratios(mine, laps[name], timing.wall),
        "times_ours_processor": timing.ratios(mine, laps[name], timing.work),
    }


def show(result: dict[str, Any]) -> str:
    """The rows as a table."""
    head = (
        "step of 512 pairs",
        "ms",
        "pairs/s",
        "processor ms",
        "ours is ahead",
        "in processor time",
    )
    rows = []
    for line in result["rows"]:
        mine = str(line["way"]).startswith("ours")
        rows.append(
            (
                line["way"],
                line["ms_per_step"],
                line["pairs_per_second"],
                line["processor_ms_per_step"],
                "" if mine else f"{line['times_ours']} x",
                "" if mine else f"{line['times_ours_processor']} x",
            )
        )
    return "\n".join([timing.table(head, rows), *result["notes"]])
