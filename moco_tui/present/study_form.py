"""The axes of a study as a form edits them, and how large the study is that they make."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from engine.config import own_code
from engine.config.augment import AUGMENTATIONS
from engine.config.axis_keys import axis_key, canonical_axes
from engine.config.axis_text import axis_values
from engine.config.fields import Field, fields
from engine.config.phrases import plural
from engine.config.schema import PretrainConfig, StudyConfig
from engine.errors import ConfigError
from moco_tui.present import fmt, form, form_fields

MANY_CELLS = 10_000
"""From so many cells on a study asks before it begins: it may take weeks."""
MANY_VARIANTS = 200
"""From so many variants on a study is checked in a thread: that could hold up the keys."""
_MOST_NAMED = 5


@functools.cache
def varied_fields() -> Mapping[str, Field]:
    """The settings of a pretraining that a study may vary, by their keys."""
    found = {}
    for key, field in fields(PretrainConfig).items():
        try:
            axis_key(key)
        except ConfigError:
            continue
        found[key] = field
    return found


def what_fits(typed: str) -> list[Field]:
    """The settings whose key or help holds every word that was typed."""
    words = typed.lower().split()
    return [
        field
        for key, field in varied_fields().items()
        if all(word in f"{key} {form_fields.label(key)} {field.help}".lower() for word in words)
    ]


_KINDS = {"int": "whole number", "float": "number", "bool": "on or off", "list": "list"}


def kind_text(field: Field) -> str:
    """The type of a setting in a word or two."""
    return _KINDS.get(field.kind, field.kind)


def values_hint(key: str) -> str:
    """What the values of an axis may be, short."""
    field = varied_fields().get(key)
    if field is None:
        return "names of recipes"
    if field.kind == "bool":
        return "true, false"
    if field.kind == "list":
        return "lists, each in brackets"
    return form_fields.range_hint(field) or field.help


class AxisDrafts:
    """The axes of a study as they are typed; what is right goes into the state of the form.

    Args:
        state: of a study.

    Attributes:
        texts: by the key of the axis, its values as typed.
        wrong: by the key of the axis, why its values are no values.
    """

    def __init__(self, state: form.FormState) -> None:
        self._state = state
        self.texts: dict[str, str] = {}
        self.wrong: dict[str, str] = {}
        self._read()

    def lay_again(self) -> None:
        """Hand them to a state whose values were worked out anew, where they were typed."""
        if self.wrong or self._state.is_typed("axes"):
            self._put()
        else:
            self._read()

    def _read(self) -> None:
        """Take the axes of the state."""
        self.texts.clear()
        self.wrong.clear()
        state = self._state
        try:
            axes = canonical_axes(state.values["axes"])
        except ConfigError:  # of an earlier run that was edited by hand
            axes = dict(state.values["axes"])
        for key, values in axes.items():
            self.texts[key] = ", ".join(_typed(value) for value in values)
            self._check(key)

    def add(self, key: str) -> None:
        """Vary a setting too, with the value that the study has now to begin with."""
        if key in self.texts:
            return
        field = varied_fields()[key]
        value = self._state.values.get(f"pretrain.{key}", field.default)
        self.texts[key] = "true, false" if field.kind == "bool" else _typed(value)
        self._put(key)

    def remove(self, key: str) -> None:
        """Vary a setting no more."""
        self.texts.pop(key, None)
        self.wrong.pop(key, None)
        self._put()

    def type(self, key: str, text: str) -> None:
        """Take the values of an axis as typed."""
        self.texts[key] = text
        field = varied_fields().get(key)
        self._put(key)
        if field is not None and field.registry is not None and key not in self.wrong:
            values = axis_values(key, text)
            # Typed by the person, so its code may be imported (own_code).
            own_code.name_paths(filter(field.registry.is_own, map(str, values)))

    def _check(self, key: str) -> list[Any]:
        try:
            values = axis_values(key, self.texts[key])
        except ConfigError as error:
            self.wrong[key] = _short(str(error), key)
            return []
        self.wrong.pop(key, None)
        return values

    def _put(self, key: str = "") -> None:
        """Hand the axes to the state; while one is wrong, the study is."""
        found = {name: self._check(name) for name in self.texts}
        self._state.set("axes", {name: values for name, values in found.items() if values})
        if self.wrong:
            name, why = next(iter(self.wrong.items()))
            self._state.wrong["axes"] = f"{name} {why}"


def _typed(value: Any) -> str:
    """A value as a person would type it among others of an axis."""
    return f"[{fmt.value(value)}]" if isinstance(value, list | tuple) else fmt.value(value)


def _short(sentence: str, key: str) -> str:
    """A sentence on an axis without its name, for the space beside it."""
    short = sentence.removeprefix(f"The axis {key} ").removeprefix(f"The axis {key}: ")
    return short.rstrip(".")


# --------------------------------------------------------------------------------------------
# Ablations


def ablated(state: form.FormState) -> set[str]:
    """The augmentations that a study leaves out one by one."""
    names = {name.removeprefix("pretrain.").removeprefix("augment.") for name in _ablate(state)}
    return set(enabled(state)) if "augment" in names else names


def enabled(state: form.FormState) -> list[str]:
    """The augmentations that are on in the settings of a study, in their order."""
    order = state.values["pretrain.augment.order"]
    order = order if isinstance(order, list | tuple) else ()
    # One of the user's own has no switch: it is on while the order names it.
    return [
        str(name)
        for name in order
        if name not in AUGMENTATIONS or state.values.get(f"pretrain.augment.{name}.enabled") is True
    ]


def switch_ablation(state: form.FormState, name: str, on: bool) -> None:
    """Leave an augmentation out in turn, or no more; ``augment`` for all that are on."""
    if name == "augment":
        state.set("ablate", ["augment"] if on else [])
        return
    chosen = ablated(state)
    chosen = chosen | {name} if on else chosen - {name}
    known = [*enabled(state), *sorted(chosen - set(enabled(state)))]
    state.set("ablate", [f"augment.{other}" for other in known if other in chosen])


def _ablate(state: form.FormState) -> list[str]:
    value = state.values["ablate"]
    return [str(name) for name in value] if isinstance(value, list | tuple) else []


# --------------------------------------------------------------------------------------------
# The size


class StudySize(Struct, frozen=True):
    """How large a study is.

    Attributes:
        variants, pretrainings, probes, cells: how many there are.
        reference: label of what the others are compared with.
        merged: a sentence for each variant that is another one.
        impossible: by label, why a variant cannot be trained.
    """

    variants: int
    pretrainings: int
    probes: int
    cells: int
    reference: str
    merged: tuple[str, ...]
    impossible: dict[str, str]


def size_of(config: StudyConfig) -> StudySize:
    """The size of a study; takes about a second for thousands of variants.

    Raises:
        ConfigError: one sentence on the first axis that is wrong.
    """
    from engine.config.variants import expand
    from engine.study import grid

    made = expand(config)
    pretrainings = len(made.all) * len(config.seeds)
    return StudySize(
        variants=len(made.all),
        pretrainings=pretrainings,
        probes=pretrainings * len(grid.probe_points(config)),
        cells=len(grid.cells(config)),
        reference=made.reference.label,
        merged=made.merged,
        impossible=made.problems,
    )


def variants_at_most(state: form.FormState) -> int:
    """At least as many variants as the study has, at once; 0 while something is wrong."""
    from engine.config.variant_count import recorded_count

    values = {key: state.values[key] for key in ("axes", "recipes", "ablate", "design")}
    values["queue_sizes"] = state.values["queue_sizes"]
    if not {"axes", "recipes", "ablate", "queue_sizes"}.isdisjoint(state.wrong):
        return 0
    return recorded_count(values, len(AUGMENTATIONS))


class Sized(Struct, frozen=True):
    """What the form says of a study.

    Attributes:
        found: what is wrong, by field, see ``FormState.problems``.
        size: None while that keeps it from being known.
    """

    found: dict[str, str]
    size: StudySize | None


def sized(state: form.FormState) -> Sized:
    """Checks a study and counts what it is made of; may be called in a thread."""
    found = state.problems()
    size = None
    if not state.wrong:
        try:
            config = state.unchecked()
            # Sizes of studies that are far too large are not worked out: the rules refuse them.
            if isinstance(config, StudyConfig) and "seeds" not in found:
                size = size_of(config)
        except (ConfigError, msgspec.ValidationError):
            pass  # the sentence is among what was found
    return Sized(found, size)


def size_line(size: StudySize | None) -> str:
    """The size of a study in a line."""
    if size is None:
        return "how large it is shows when everything is right"
    parts = [plural(size.variants, "variant"), plural(size.pretrainings, "pretraining")]
    parts += [plural(size.probes, "probe")] if size.probes else ["judged by kNN"]
    parts.append(plural(size.cells, "cell"))
    text = ", ".join(parts)
    if size.impossible:
        text = f"✗ {len(size.impossible)} impossible; {text}"
    return fmt.clean(text)


def size_lines(size: StudySize | None) -> list[str]:
    """What a study is made of, line by line; what cannot be trained first."""
    if size is None:
        return [size_line(None)]
    lines = []
    wrong = list(size.impossible.items())
    for label, why in wrong[:_MOST_NAMED]:
        lines.append(f"✗ {label}: {why}")
    if len(wrong) > _MOST_NAMED:
        lines.append(f"✗ and {len(wrong) - _MOST_NAMED} more that cannot be trained")
    lines.append(f"variants      {fmt.count(size.variants)}, against {size.reference}")
    lines.append(f"pretrainings  {fmt.count(size.pretrainings)}")
    lines.append(f"probes        {fmt.count(size.probes) if size.probes else 'none: by kNN'}")
    lines.append(f"cells         {fmt.count(size.cells)}")
    lines += list(size.merged[:_MOST_NAMED])
    if len(size.merged) > _MOST_NAMED:
        lines.append(f"and {len(size.merged) - _MOST_NAMED} more are the same as another")
    return [fmt.clean(line) for line in lines]


def plan_text(facts: Mapping[str, Any]) -> str:
    """The estimate of a study, in lines.

    Args:
        facts: the JSON that the command ``_estimate --study`` prints.

    Raises:
        KeyError, TypeError: when it is not that.
    """
    lines = [
        f"{cost['part']}: {fmt.count(cost['count'])}, {fmt.duration(cost['seconds'])}"
        for cost in facts["costs"]
    ]
    total = (
        f"time  about {fmt.duration(facts['seconds'])} on {facts['device']}, one after the other"
    )
    disk = f"disk  about {fmt.size(facts['disk_bytes'])}"
    return "\n".join(fmt.clean(line) for line in [total, disk, *lines])
