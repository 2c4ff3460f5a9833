"""What the environment of torchrun says of a process."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.machine.rank_place import RankPlace, rank_place, several_ranks, speaks

LEAST = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
# Of ``torchrun --nnodes 2 --nproc-per-node 2``, second node, second process.
TORCHRUN = LEAST | {
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "1",
}


def test_a_process_of_torchrun_knows_its_node() -> None:
    assert rank_place(TORCHRUN) == RankPlace(
        rank=3,
        world=4,
        local_rank=1,
        local_world=2,
        node=1,
        nodes=2,
        address="node1",
        port=29500,
        launcher_has_store=True,
        attempt=1,
    )


def test_without_a_word_of_nodes_there_is_one() -> None:
    place = rank_place(LEAST)
    assert place is not None
    assert (place.local_rank, place.local_world, place.node, place.nodes) == (3, 4, 0, 1)
    assert not place.launcher_has_store


@pytest.mark.parametrize("size", [None, "", "0", "1"])
def test_a_process_alone_is_no_rank(size: str | None) -> None:
    environment = {**LEAST, "WORLD_SIZE": size or ""}
    if size is None:
        del environment["WORLD_SIZE"]
    assert rank_place(environment) is None
    assert not several_ranks(environment)
    assert speaks(environment)


def test_the_size_of_a_batch_job_alone_makes_no_rank() -> None:
    assert rank_place({"WORLD_SIZE": "8"}) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MASTER_ADDR": ""}, "WORLD_SIZE is 4, but MASTER_ADDR is not set"),
        ({"MASTER_PORT": ""}, "WORLD_SIZE is 4, but MASTER_PORT is not set"),
        ({"MASTER_PORT": "x\n"}, "MASTER_PORT is x, which is no number"),
        ({"RANK": "-1"}, "RANK is -1, which is no number"),
        ({"RANK": "4"}, "RANK is 4, WORLD_SIZE 4, .* do not fit together"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is two, which is no number"),
        ({"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"}, "do not fit together"),
        ({"LOCAL_WORLD_SIZE": "8"}, "do not fit together"),
    ],
)
def test_what_does_not_fit_is_a_sentence(change: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        rank_place(LEAST | change)


def test_the_first_of_each_node_speaks() -> None:
    assert not speaks(TORCHRUN)
    assert speaks(TORCHRUN | {"LOCAL_RANK": "0"})
