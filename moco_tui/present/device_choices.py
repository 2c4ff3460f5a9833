"""The devices that a run can be computed on, with who is on them, as the form offers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from engine.config.phrases import plural
from engine.machine.cards import Card
from engine.machine.load_reader import Load
from moco_tui.present import fmt
from moco_tui.present.form_choices import OWN, Choice


def device_choices(
    load: Load,
    holders: Mapping[str, str],
    visible: str | None,
    *,
    mps: bool = False,
    here: Mapping[str, str] = MappingProxyType({}),
) -> tuple[list[Choice], dict[str, str]]:
    """The choices, and what is said of each by its name.

    Args:
        load: of the machine now.
        holders: who trains on a card, by its UUID.
        visible: ``CUDA_VISIBLE_DEVICES``; None where it is not set.
        mps: whether it is a machine of Apple's.
        here: which run of this app has a device, by its name; it may not have its lock yet.
    """
    cards = visible_cards(load.cards, visible)
    on_cpu = f"{here['cpu']} trains on it, a new run waits" if "cpu" in here else ""
    about = {"cpu": ", ".join(filter(None, [cpu_words(load), fmt.clean(on_cpu)]))}
    free = []
    for number, card in enumerate(cards):
        name = f"cuda:{number}"
        holder = holders.get(card.uuid, "") or here.get(name, "")
        about[name] = card_words(card, holder)
        free += [] if holder else [name]
    if mps:
        about["mps"] = "the graphics processor"
    first = free[0] if free else "cuda:0" if cards else "mps" if mps else "cpu"
    about["auto"] = f"{first}: {about[first]}"
    names = ["auto", *(name for name in about if name.startswith("cuda")), "cpu"]
    names += ["mps"] * mps
    choices = [Choice(name, name) for name in names]
    return [*choices, Choice(OWN, "", "device")], about


def visible_cards(cards: Sequence[Card], visible: str | None) -> list[Card]:
    """The cards in the order in which CUDA numbers them.

    Args:
        cards: as the driver lists them.
        visible: numbers and UUIDs between commas; what follows a wrong one is ignored (CUDA's
            programming guide, "CUDA environment variables").
    """
    if visible is None:
        return list(cards)
    found: list[Card] = []
    for name in map(str.strip, visible.split(",")):
        bare = name.lower().removeprefix("gpu-")
        match = [
            card
            for card in cards
            if (name.isdigit() and card.index == int(name))
            or (bare and not name.isdigit() and card.uuid.startswith(bare))
        ]
        if len(match) != 1:
            break
        found += match
    return found


def card_words(card: Card, holder: str) -> str:
    """A card in a line: its name, the memory that is free, who is on it."""
    parts = [card.name, *memory_words(card.used, card.total)]
    if holder:
        parts.append(f"{holder} trains on it, a new run waits")
    elif card.others_count:
        users = sorted({each.user for each in card.others or () if each.user})
        named = f" of {', '.join(users)}" if users else ""
        noun = "process" if card.others_count == 1 else "processes"
        parts.append(f"{card.others_count} other {noun}{named}")
    elif card.others_count == 0:
        parts.append("nobody on it")
    return fmt.clean(", ".join(parts))


def cpu_words(load: Load) -> str:
    """The processor in a line: its cores and the memory that is free."""
    parts = [plural(max(round(load.cores), 1), "core")] if load.cores else []
    return ", ".join([*parts, *memory_words(load.used, load.total)]) or "the processor"


def memory_words(used: int | None, total: int | None) -> list[str]:
    """The memory that is free, in bytes, as a part of a line; none where it is not known."""
    if used is None or total is None:
        return []
    return [f"{fmt.size(max(total - used, 0))} free of {fmt.size(total)}"]
