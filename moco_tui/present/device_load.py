"""Load of a machine in words, as it is read now or was recorded: CPU, memory, NVIDIA cards."""

from __future__ import annotations

from collections.abc import Sequence

from engine.machine.cards import Card, CardProcess
from engine.machine.load_reader import Load
from engine.runs.device_log import DeviceLog
from moco_tui.present import fmt
from moco_tui.present.lines import Line

NOTHING_RECORDED = "Nothing was recorded of the devices of this run."
NOTHING_YET = "Nothing is recorded of the devices of this run yet."
MACHINE_NOW = "This machine now:"
_MOST_NAMED = 3  # other processes on a card


def _gauge(share: float | None, cells: int, ascii_only: bool) -> str:
    if share is None:
        return " " * cells
    return fmt.bar(round(min(max(share, 0.0), 1.0) * cells), cells, ascii_only=ascii_only)


def device_lines(load: Load, *, ascii_only: bool, process: str = "app") -> list[Line]:
    """The load of a machine.

    Args:
        load: read now, or recorded.
        ascii_only: characters of ASCII alone.
        process: what the process that read it is called.
    """
    lines: list[Line] = []
    if load.cpu is not None:
        text = f"{fmt.percent(load.cpu, 0)} of {load.cores:g} cores"
        lines.append(_gauged("CPU", load.cpu, text, ascii_only))
    if load.used is not None and load.total:
        lines.append(_memory(load.used, load.total, ascii_only))
    if load.process is not None:
        text = f"{fmt.size(load.process)} resident"
        if load.own_cpu is not None:
            text += f", {fmt.percent(load.own_cpu, 0)} of the CPU"
        lines.append([(f"{process:<7}", "muted"), (text, "")])
    for card in load.cards:
        lines += _card_lines(card, ascii_only, process)
    if not load.cards:
        lines.append([("no NVIDIA card", "muted")])
    return lines or [[("nothing can be read here", "muted")]]


def _gauged(name: str, share: float | None, text: str, ascii_only: bool) -> Line:
    return [
        (f"{name:<7}", "muted"),
        (_gauge(share, 12, ascii_only), "good" if (share or 0) < 0.9 else "bad"),
        (f"  {text}", ""),
    ]


def _memory(used: int, total: int, ascii_only: bool) -> Line:
    text = f"{fmt.size(used)} of {fmt.size(total)}"
    return _gauged("memory", used / total, text, ascii_only)


def _card_lines(card: Card, ascii_only: bool, process: str) -> list[Line]:
    lines: list[Line] = [[(fmt.clean(card.name), "strong")]]
    lines.append(_gauged("GPU", card.load, fmt.percent(card.load, 0), ascii_only))
    if card.used is not None and card.total:
        lines.append(_memory(card.used, card.total, ascii_only))
    own = [] if card.own_load is None else [f"{fmt.percent(card.own_load, 0)} of the GPU"]
    own += [] if card.own_used is None else [fmt.size(card.own_used)]
    if own:
        lines.append([(f"{process:<7}", "muted"), (", ".join(own), "")])
    if card.others_count:
        lines.append([(f"{'others':<7}", "muted"), (_others(card), "")])
    watts = "–" if card.watts is None else f"{card.watts:.0f} W"
    heat = "–" if card.celsius is None else f"{card.celsius:.0f} °C"
    lines.append([(f"{'power':<7}", "muted"), (f"{watts}  {heat}", "")])
    return lines


def _others(card: Card) -> str:
    """How many other processes are on a card, what they take, and the largest by name."""
    count = card.others_count or 0
    text = f"{count} process{'' if count == 1 else 'es'}"
    if card.others_used is not None:
        text += f", {fmt.size(card.others_used)}"
    named = [f"{fmt.clean(p.user)} {p.pid}".strip() for p in card.others or ()][:_MOST_NAMED]
    return f"{text} ({', '.join(named)})" if named else text


def recorded_load(log: DeviceLog) -> Load | None:
    """The newest record of a run as a reading; None where nothing was recorded."""
    part = log.part
    if part is None or log.is_empty:
        return None

    def share(name: str) -> float | None:
        value = log.newest(name)
        return None if value is None else value / 100

    def whole(value: float | None) -> int | None:
        return None if value is None else round(value)

    def card(at: int, name: str) -> Card:
        of = f"card{at}/"
        others: Sequence[CardProcess] = log.others.get(at, ())
        return Card(
            name or "GPU",
            share(of + "use"),
            whole(log.newest(of + "memory")),
            whole(log.most(of + "memory")),
            log.newest(of + "power"),
            log.newest(of + "temperature"),
            log.most(of + "power"),
            share(of + "own_use"),
            whole(log.newest(of + "own_memory")),
            others,
            whole(log.newest(of + "others")),
            whole(log.newest(of + "others_memory")),
        )

    return Load(
        share("cpu"),
        part.cpus,
        whole(log.newest("memory")),
        whole(log.most("memory")),
        whole(log.newest("own_memory")),
        [card(at, name) for at, name in enumerate(part.cards)],
        share("own_cpu"),
    )


def recorded_lines(log: DeviceLog, now: float, *, ascii_only: bool) -> list[Line]:
    """The newest record of a run, and when it was made; a sentence where nothing was recorded.

    Args:
        log: read as far as it goes.
        now: unix seconds.
        ascii_only: characters of ASCII alone.
    """
    load = recorded_load(log)
    if load is None:
        return [[(NOTHING_RECORDED, "muted")]]
    when = fmt.ago(now - log.times[-1])
    return [
        [(f"recorded {when}", "muted")],
        *device_lines(load, ascii_only=ascii_only, process="run"),
    ]
