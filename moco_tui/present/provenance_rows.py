"""Where a run came from, as labels and texts, and what of it differs between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.runs import Record
from engine.runs.provenance import ProvenancePart, merged
from moco_tui.present import fmt

NOT_RECORDED = "not recorded: an earlier version of this program made the run"
NOT_YET = "recorded when the run starts"
ABSENT = "provenance"
"""Key of the one row that says which of the compared runs recorded nothing."""

_SIZES = frozenset({"machine.memory", "machine.gpu_memory"})
_MACHINE = ("host", "cpu", "cores", "memory", "system")
_CARD = ("gpu", "gpu_memory", "driver", "cuda", "cudnn")
_NAMES = {"driver": "driver", "cuda": "CUDA", "cudnn": "cuDNN"}
_COMMIT_DIGITS = 12
_CELL = 40  # characters


def provenance_rows(record: Record) -> list[tuple[str, str]]:
    """Labels and clean texts of everything that is known, behind each other; never empty."""
    if not record.provenance:
        return [("origin", NOT_RECORDED if record.started is not None else NOT_YET)]
    values = merged(record.provenance[:1])
    code = dict.fromkeys(k.rpartition(".")[0] for k in values if k.startswith("code."))
    rows = [
        ("made by study", fmt.clean(record.study)),
        ("program", _checkout(values, "program")),
        *((f"code {fmt.clean(key[5:])}", _checkout(values, key)) for key in code),
        ("command", _text(values, "command")),
        ("packages", _packages(values)),
        ("machine", _listed(values, _MACHINE)),
        ("card", _listed(values, _CARD)),
        ("environment", _environment(values)),
    ]
    return [row for row in rows if row[1]] + _later(record.provenance)


def _later(parts: Sequence[ProvenancePart]) -> list[tuple[str, str]]:
    """What changed where the run went on."""
    rows = []
    before = dict(parts[0]["values"])
    for part in parts[1:]:
        words = [
            # Of a command the words before it stand above, and are long.
            f"{fmt.clean(key)} {'' if key == 'command' else shown(key, before.get(key)) + ' → '}"
            f"{shown(key, value)}"
            for key, value in part["values"].items()
        ]
        before |= part["values"]
        rows.append((f"from step {part['step']}", "; ".join(words)))
    return rows


def shown(key: str, value: object) -> str:
    """A value as a person reads it: one clean line."""
    if value is None:
        return "–"
    if key in _SIZES and isinstance(value, int):
        return fmt.size(value)
    text = fmt.clean(fmt.value(value))
    return text[:_COMMIT_DIGITS] if key.endswith(".commit") else text


def in_cell(key: str, value: object) -> str:
    """A value as a cell of a table has room for it: a command may have two thousand characters."""
    text = shown(key, value)
    return text if len(text) <= _CELL else f"{text[: _CELL - 3]}..."


def _text(values: Mapping[str, Any], key: str) -> str:
    return shown(key, values[key]) if key in values else ""


def _checkout(values: Mapping[str, Any], key: str) -> str:
    """The version and the commit of a program, and what had been changed since."""
    name = "moco-tui " if key == "program" else ""
    version, commit = _text(values, f"{key}.version"), _text(values, f"{key}.commit")
    branch, digest = _text(values, f"{key}.branch"), _text(values, f"{key}.digest")
    changed, untracked = _text(values, f"{key}.changed"), _text(values, f"{key}.untracked")
    patch = _text(values, f"{key}.patch")
    parts = [
        version and f"{name}{version}",
        commit and f"commit {commit}" + (f" on {branch}" if branch else ""),
        "no change" if changed == "0" else changed and f"changed files: {changed}",
        untracked not in ("", "0") and f"untracked: {untracked}",
        patch and f"patch in {patch}",
        digest and f"digest {digest}",
        _text(values, f"{key}.note"),
    ]
    return ", ".join(part for part in parts if part)


def _packages(values: Mapping[str, Any]) -> str:
    names = [key for key in values if key.startswith("packages.") and key != "packages.all"]
    parts = [f"{fmt.clean(key.removeprefix('packages.'))} {_text(values, key)}" for key in names]
    every = _text(values, "packages.all")
    return ", ".join(parts) + (f"; all in {every}" if every else "")


def _listed(values: Mapping[str, Any], names: Sequence[str]) -> str:
    parts = []
    for name in names:
        text = _text(values, f"machine.{name}")
        if name == "cores" and text:
            text = f"{_text(values, 'machine.cores_usable') or text} of {text} cores"
        if text:
            parts.append(f"{_NAMES[name]} {text}" if name in _NAMES else text)
    return ", ".join(parts)


def _environment(values: Mapping[str, Any]) -> str:
    names = [key for key in values if key.startswith("environment.")]
    return "  ".join(
        f"{fmt.clean(k.removeprefix('environment.'))}={_text(values, k)}" for k in names
    )


def compared(record: Record) -> dict[str, Any]:
    """What is compared of a run: what was so in the end; empty where nothing was recorded."""
    found = merged(record.provenance)
    if record.study:
        found["study"] = record.study
    if record.origin:  # of an import: the file, and the digest of its bytes
        found["origin"] = record.origin
    return found


def provenance_differences(
    runs: Sequence[Mapping[str, Any]], recorded: Sequence[bool]
) -> dict[str, list[Any]]:
    """What is not the same in all runs, by dotted key, in the order of the records.

    A run that recorded nothing differs in one row, and not in every one.

    Args:
        runs: see ``compared``.
        recorded: of each run, whether it recorded anything.
    """
    found: dict[str, list[Any]] = {}
    if any(recorded) and not all(recorded):
        found[ABSENT] = ["recorded" if known else "not recorded" for known in recorded]
    for key in dict.fromkeys(key for run in runs for key in run):
        values = [run.get(key) for run in runs]
        known = [v for v, is_known in zip(values, recorded, strict=True) if is_known]
        if any(value != known[0] for value in known):
            found[key] = values
    return found
