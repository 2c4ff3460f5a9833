"""Which of several processes of one run this one is, as torchrun tells it by the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import ConfigError
from engine.text import clean_text

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class RankPlace:
    """The place of a process among those that compute one run.

    https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables

    Attributes:
        rank: of this process, from 0.
        world: how many processes there are, at least 2.
        local_rank: of this process among those of its node, from 0.
        local_world: how many processes its node has.
        node: which node this is, from 0.
        nodes: how many nodes there are.
        address: where the store is, by which the processes find each other.
        port: of the store.
        launcher_has_store: the launcher keeps the store; else rank 0 does.
        attempt: how often the launcher has started these processes again.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int
    node: int
    nodes: int
    address: str
    port: int
    launcher_has_store: bool = False
    attempt: int = 0


def rank_place(environment: Mapping[str, str] | None = None) -> RankPlace | None:
    """The place of this process; None where it computes its run alone.

    Args:
        environment: None: that of this process.

    Raises:
        ConfigError: when the environment says that there are several, and lacks where they meet.
    """
    found = os.environ if environment is None else environment
    if not several_ranks(found):
        return None
    missing = next((name for name in _NEEDED if not found.get(name)), None)
    if missing is not None:
        raise ConfigError(
            f"WORLD_SIZE is {clean_text(found['WORLD_SIZE'], 20)}, but {missing} is not set; start "
            "the processes with torchrun, or unset WORLD_SIZE."
        )
    world, rank = _number(found, "WORLD_SIZE"), _number(found, "RANK")
    local_world = _number(found, "LOCAL_WORLD_SIZE", str(world))
    place = RankPlace(
        rank=rank,
        world=world,
        local_rank=_number(found, "LOCAL_RANK", str(rank % max(1, local_world))),
        local_world=local_world,
        node=_number(found, "GROUP_RANK", str(rank // max(1, local_world))),
        nodes=_number(found, "GROUP_WORLD_SIZE", str(-(-world // max(1, local_world)))),
        address=found["MASTER_ADDR"],
        port=_number(found, "MASTER_PORT"),
        launcher_has_store=found.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        attempt=_number(found, "TORCHELASTIC_RESTART_COUNT", "0"),
    )
    if not (place.rank < world and place.local_rank < place.local_world <= world):
        raise ConfigError(
            f"RANK is {rank}, WORLD_SIZE {world}, LOCAL_RANK {place.local_rank} and "
            f"LOCAL_WORLD_SIZE {local_world}, which do not fit together; start the processes with "
            "torchrun."
        )
    return place


def several_ranks(environment: Mapping[str, str] | None = None) -> bool:
    """Whether a launcher has started this process as one of several."""
    found = os.environ if environment is None else environment
    return found.get("WORLD_SIZE", "") not in ("", "0", "1") and "RANK" in found


def speaks(environment: Mapping[str, str] | None = None) -> bool:
    """Whether this process tells a person what is wrong: of several ranks the first of a node."""
    found = os.environ if environment is None else environment
    return not several_ranks(found) or found.get("LOCAL_RANK", "0") == "0"


def _number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    text = environment.get(name) or default
    if not text.isdecimal() or len(text) > 9:
        raise ConfigError(
            f"{name} is {clean_text(text, 20)}, which is no number; start the processes with "
            "torchrun, or unset WORLD_SIZE."
        )
    return int(text)
