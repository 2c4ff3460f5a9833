"""The ranks of a run: how they meet, what they compare, what they exchange."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from engine.config.run_schema import RuntimeConfig
from engine.errors import ConfigError, DataError, TrainingError
from engine.machine.rank_place import RankPlace, rank_place
from engine.runtime.device import resolve_runtime
from engine.runtime.process_group import joined_ranks
from engine.runtime.rank_meeting import join
from engine.sink import Interrupted, NullSink, Request

from ..rank_processes import answers_of

CPU = torch.device("cpu")


def place() -> RankPlace:
    found = rank_place()
    assert found is not None
    return found


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def exchanged() -> dict[str, Any]:
    """Everything that ranks do together, once."""
    with join(place(), CPU, {"run": "the run r1"}) as ranks:
        ranks.ready({"images": "the images i1"}, NullSink())
        assert joined_ranks() is ranks
        number = float(ranks.rank)
        parts = [torch.full((2, 3), number), torch.tensor(10.0 + number)]
        gathered = ranks.gather(parts)
        averaged = [torch.full((2,), number), torch.full((1, 2), 3 * number)]
        ranks.average_(averaged)
        runtime = resolve_runtime(RuntimeConfig(), recorded={"threads": 64, "precision": "float32"})
        commands: list[Any] = []
        if ranks.is_first:
            ranks.share({"weights": torch.arange(3), "name": "a", "deep": [1, {"b": None}]})
            ranks.announce_step()
        else:
            commands = [ranks.next_command() for _ in range(3)]
            ranks.check(now=True)
        return {
            "gathered": gathered,
            "averaged": averaged,
            "commands": commands,
            "facts": runtime.facts(),
            "device": runtime.device,
        }


def test_ranks_exchange_what_they_have() -> None:
    answers = answers_of(3, exchanged)
    for rank, answer in enumerate(answers):
        matrix, scalar = answer["gathered"]
        assert torch.equal(matrix, torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1).expand(3, 2, 3))
        assert torch.equal(scalar, torch.tensor([10.0, 11.0, 12.0]))
        assert torch.equal(answer["averaged"][0], torch.full((2,), 1.0))
        assert torch.equal(answer["averaged"][1], torch.full((1, 2), 3.0))
        facts = answer["facts"]
        assert (facts["ranks"], facts["nodes"], facts["backend"]) == (3, 1, "gloo")
        # A record of another number of ranks has other threads; its precision stays.
        assert (facts["threads"] <= 16, facts["precision"]) == (True, "float32")
        if rank:
            share, step, end = answer["commands"]
            assert share[0] == "share"
            assert torch.equal(share[1]["weights"], torch.arange(3))
            assert (share[1]["name"], share[1]["deep"]) == ("a", [1, {"b": None}])
            assert (step, end) == (("step", {}), ("end", {}))


def unready() -> str:
    """Rank 1 finds no images."""
    try:
        with join(place(), CPU, {}) as ranks:
            if ranks.rank:
                raise DataError("There is no folder /images here.")
            ranks.ready({}, NullSink())
    except (ConfigError, DataError) as error:
        return said(error)
    return ""


def test_a_rank_that_cannot_train_is_named_before_the_run_begins() -> None:
    first, second = answers_of(2, unready)
    assert second == "DataError: There is no folder /images here."
    assert first.startswith("ConfigError: Rank 1 on ")
    assert first.endswith(": There is no folder /images here.")


def other_images() -> str:
    try:
        with join(place(), CPU, {}) as ranks:
            ranks.ready({"images": f"the images {ranks.rank}"}, NullSink())
    except ConfigError as error:
        return str(error)
    return ""


def test_other_images_on_a_rank_are_refused() -> None:
    for answer in answers_of(2, other_images):
        assert "has the images 1, and rank 0 on" in answer


class Stopping(NullSink):
    def request(self) -> Request | None:
        return "stop"


def stopped() -> str:
    """Rank 0 is asked to stop while it waits for the others."""
    try:
        with join(place(), CPU, {}) as ranks:
            if ranks.is_first:
                ranks.ready({}, Stopping())
            with ranks.in_turn():
                pass
            ranks.ready({}, NullSink())
            ranks.next_command()
    except (Interrupted, ConfigError, TrainingError) as error:
        return said(error)
    return "ended"


def test_a_stop_before_the_first_step_lets_all_ranks_go() -> None:
    first, second = answers_of(2, stopped)
    assert first == "Interrupted: stop"
    assert second == "TrainingError: Rank 0 left before the run began: it was asked to stop"


def in_order(folder: Path) -> list[str]:
    with join(place(), CPU, {}) as ranks:
        with ranks.in_turn():
            if ranks.is_first:
                time.sleep(0.2)  # the others would be faster
                (folder / "cache").touch()
            there = (folder / "cache").exists()
        ranks.ready({}, NullSink())
        if not ranks.is_first:
            ranks.next_command()
    return [str(there)]


def test_the_first_of_a_node_reads_before_the_others(tmp_path: Path) -> None:
    assert answers_of(3, in_order, tmp_path) == [["True"]] * 3


def test_a_process_alone_has_no_ranks() -> None:
    assert joined_ranks() is None
    assert "ranks" not in resolve_runtime(RuntimeConfig(device="cpu")).facts()
