"""What the deletion of a study or of a run that a study needs means, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.config.phrases import plural
from engine.study.deletion import Deletion
from moco_tui.present import fmt

_MOST_NAMED = 3


def lines(deletion: Deletion, title: str) -> list[str]:
    """What goes, and what stays, each in a sentence.

    Args:
        deletion: of a study.
        title: of the study.
    """
    goes = plural(len(deletion.goes), "run")
    found = [f"Delete the study {title} and {goes} that it made: {fmt.size(deletion.size_bytes)}."]
    reasons: dict[str, list[str]] = {}
    for run, why in deletion.stays.items():
        reasons.setdefault(why, []).append(run)
    for why, runs in reasons.items():
        found.append(f"{plural(len(runs), 'run')} {_verb(runs)}, since {why}: {_named(runs)}.")
    return [fmt.clean(line) for line in found]


def needed_text(studies: Sequence[str], titles: Mapping[str, str]) -> str:
    """A sentence on the studies that count a run; empty for none.

    Args:
        studies: their ids.
        titles: by id.
    """
    if not studies:
        return ""
    named = _named([titles.get(id_, id_) for id_ in studies])
    kind = "The study" if len(studies) == 1 else "The studies"
    verb = "counts" if len(studies) == 1 else "count"
    return fmt.clean(f"{kind} {named} {verb} it and would compute it again.")


def went_along_text(title: str, count: int) -> str:
    """A sentence on what lies in the trash because a study went there, and goes with it now."""
    return fmt.clean(f"With {title} {_goes(count)} {plural(count, 'run')} deleted with it.")


def _goes(count: int) -> str:
    return "goes" if count == 1 else "go"


def _verb(runs: Sequence[str]) -> str:
    return "stays" if len(runs) == 1 else "stay"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
