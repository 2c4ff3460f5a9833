"""The state of the form for a new run, apart from any screen: texts, values, errors."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from engine.config import own_code
from engine.config.axis_layers import study_values
from engine.config.data import source_path
from engine.config.fields import Field, fields, nest
from engine.config.heads import HEADS
from engine.config.open_settings import followed
from engine.config.presets import presets_of
from engine.config.resolve import build, to_toml
from engine.config.rules import problems
from engine.config.schema import (
    GRID_KEYS,
    KINDS,
    NOT_IN_STUDIES,
    AnyConfig,
    AugmentConfig,
    ProbeConfig,
)
from engine.config.values import check_leaf, parse_value
from engine.errors import ConfigError
from moco_tui.present import fmt
from moco_tui.present.form_following import follow
from moco_tui.present.missing_folder import missing_folder

LABELS = {
    "data.source": "data",
    "moco.queue_size": "queue size",
    "optim.epochs": "epochs",
    "optim.batch_size": "batch size",
    "optim.stop_epoch": "stop after epoch",
    "runtime.device": "device",
    "task.name": "task",
    "seeds": "pretraining seeds",
    "judge": "judged by",
}


def _lower_first(title: str) -> str:
    return title[:1].lower() + title[1:]


ESSENTIAL = {
    "pretrain": (
        "data.source",
        "moco.queue_size",
        "optim.epochs",
        "optim.batch_size",
        "runtime.device",
    ),
    "probe": (
        *("label_fraction", "task.name", "head", "data.source", "baselines"),
        *("subset_seed", "runtime.device"),
    ),
    "study": (
        "pretrain.data.source",
        "queue_sizes",
        "design",
        "judge",
        "label_fractions",
        "tasks",
        "heads",
        "seeds",
        "subset_seeds",
        "baselines",
        "supervised_subsets",
        "pretrain.optim.epochs",
        "pretrain.optim.batch_size",
        "pretrain.runtime.device",
    ),
}
_PRETRAIN_SECTIONS = (
    ("Encoder", "model"),
    ("Queue and loss", "moco"),
    ("Optimizer", "optim"),
    ("kNN, online probe, measures", "monitor"),
    ("Data", "data"),
    ("Checkpoints and logs", "log"),
    ("Device and seed", "runtime"),
)
_PROBE_SECTIONS = (
    ("Task", "task"),
    # Every head of the registry, that of the default first.
    *(
        (f"{name.capitalize()} head", name)
        for name in sorted(HEADS, key=lambda name: name != ProbeConfig().head)
    ),
    ("Supervised baseline", "supervised"),
    ("Labels", ""),
    ("Device and seed", "runtime"),
)
SECTIONS = {
    "pretrain": _PRETRAIN_SECTIONS,
    "probe": _PROBE_SECTIONS,
    "study": (
        ("Recipes, workers", ""),
        ("Pretraining: augmentations", "pretrain.augment"),
        *(
            (f"Pretraining: {_lower_first(title)}", f"pretrain.{name}")
            for title, name in _PRETRAIN_SECTIONS
        ),
        *(
            (f"Probe: {_lower_first(title)}", f"probe.{name}".rstrip("."))
            for title, name in _PROBE_SECTIONS
        ),
    ),
}
"""Title and section of everything that is not essential, by kind of run."""
FIRST = {"pretrain": "moco.queue_size", "probe": "label_fraction", "study": "queue_sizes"}
"""The field that has the focus at first."""


_TABLES = {
    "groups": 'groups, as {vehicles = ["ship"], animals = ["cat"]}',
    "axes": 'settings and values, as {"moco.momentum" = [0.9, 0.99]}',
    "recipes": 'names and settings, as {large = {"moco.queue_size" = 16384}}',
}


def label(key: str) -> str:
    """What a field is called in the form."""
    known = LABELS.get(key.removeprefix("pretrain.").removeprefix("probe."))
    return known if known is not None else key.rpartition(".")[2].replace("_", " ")


def range_hint(field: Field) -> str:
    """Unit and range of a field, short."""
    if field.kind == "choice":
        return "one of " + ", ".join(field.choices)
    if field.kind == "bool":
        return ""
    if field.kind == "list":
        return "a list, separated by commas" + (
            f": {', '.join(field.choices)}" * bool(field.choices)
        )
    if field.kind == "table":
        return _TABLES.get(field.name, "a table")
    low = field.ge if field.ge is not None else field.gt
    high = field.le if field.le is not None else field.lt
    parts = [field.unit] if field.unit else []
    if low is not None and high is not None:
        left = "" if field.ge is not None else ">"
        right = "" if field.le is not None else "<"
        parts.append(f"{left}{_plain(low)} – {right}{_plain(high)}")
    elif low is not None:
        parts.append(f"{'>=' if field.ge is not None else '>'} {_plain(low)}")
    elif high is not None:
        parts.append(f"{'<=' if field.le is not None else '<'} {_plain(high)}")
    return "  ".join(parts)


def _plain(number: float) -> str:
    if number >= 2**31 - 1:  # the bound of seeds
        return "2^31"
    return f"{number:g}" if abs(number) < 10_000 or number != int(number) else f"{int(number):,}"


class FormState:
    """The values of the form's fields as typed, and what is wrong with them.

    Args:
        kind: ``pretrain``, ``probe`` or ``study``.
        preset: preset to begin with; probes have none.
        values: dotted keys and values over it, such as those of an earlier run.
    """

    def __init__(
        self, kind: str, *, preset: str = "", values: Mapping[str, Any] | None = None
    ) -> None:
        self.kind = kind
        self.type: type[AnyConfig] = KINDS[kind]
        # What the grid of a study sets for each run is not asked for one by one.
        self.known: Mapping[str, Field] = {
            key: field
            for key, field in fields(self.type).items()
            if kind != "study" or key not in GRID_KEYS.keys() | NOT_IN_STUDIES
        }
        self.within = "pretrain." if kind == "study" else ""
        """What stands before the keys of a pretraining."""
        self.preset = preset
        self.base: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.wrong: dict[str, str] = {}
        self.use_preset(preset)
        for key, value in (values or {}).items():
            if key in self.known:
                self._put(key, value)

    def use_preset(self, preset: str) -> None:
        """Begin anew with the values of a preset; empty for the defaults."""
        presets = presets_of(self.type)
        self.preset = preset if preset in presets else ""
        self.base = {key: field.default for key, field in self.known.items()}
        if self.preset:
            self.base |= presets[preset].values
        self.values = dict(self.base)
        self.wrong = {}
        follow(self)

    def use_device(self, device: str) -> None:
        """Compute everything on this device."""
        for key in self.known:
            if key == "runtime.device" or key.endswith(".runtime.device"):
                self.set(key, device)

    def text(self, key: str) -> str:
        """A value as it stands in the field."""
        value = self.values[key]
        return f"{value:.6g}" if isinstance(value, float) else fmt.value(value)

    def set(self, key: str, value: Any) -> None:
        """Take what was typed (a text) or chosen (a value); wrong ones are remembered as such."""
        field = self.known[key]
        if isinstance(value, str) and key not in self.wrong and value == self.text(key):
            # The field was filled with this text, which may have fewer digits than the value.
            return
        self._put(key, value)
        if field.registry is not None and key not in self.wrong:
            # Typed by the person, so its code may be imported (own_code); a path that an earlier
            # run brought along was not typed, and comes in by ``_put`` alone.
            chosen = self.values[key]
            items = chosen if isinstance(chosen, list | tuple) else [chosen]
            own_code.name_paths(filter(field.registry.is_own, items))

    def _put(self, key: str, value: Any) -> None:
        field = self.known[key]
        if isinstance(value, str):
            value = parse_value(field, value)
        try:
            checked = check_leaf(field, self.type, value)
        except ConfigError:
            self.values[key] = value
            self.wrong[key] = f"it must be {field.expectation()}"
            return
        self.wrong.pop(key, None)
        self.values[key] = checked
        if key in followed(self.type):
            follow(self)

    def errors(self) -> dict[str, str]:
        """Every field that is wrong, with the sentence; rules over several fields included."""
        if self.wrong:  # the rules need a whole configuration
            return dict(self.wrong)
        try:
            config = self.unchecked()
        except msgspec.ValidationError as error:
            return {"": str(error)}
        except ConfigError as error:  # of an axis
            return {error.key: short_reason(str(error), error.key)}
        found = problems(config)
        return {key: short_reason(text, key) for key, text in found.items()}

    def problems(self, parent: str = "") -> dict[str, str]:
        """What keeps the run from starting: wrong fields, a missing folder, nothing to probe.

        Args:
            parent: id of the pretraining that a probe is of.
        """
        found = self.errors()
        key = self.within + "data.source"
        source = self.values.get(key, "")
        path = source_path(source) if isinstance(source, str) and key not in found else None
        missing = "" if path is None else missing_folder(path)
        if missing:
            found[key] = missing
        if self.kind == "probe" and not parent:
            found["parent"] = "there is no pretraining to probe; start one first"
        return found

    def config(self) -> AnyConfig:
        """The configuration.

        Raises:
            ConfigError: one sentence on the first thing that is wrong.
        """
        for key, reason in self.wrong.items():
            raise ConfigError(f"{key}: {reason}", key)
        return build(self.type, self._counting())

    def unchecked(self) -> Struct:
        """The configuration without the rules over several of its fields.

        Raises:
            ConfigError: of an axis of a study.
            msgspec.ValidationError: of a value.
        """
        return msgspec.convert(nest(self._counting()), self.type, strict=False)

    def _counting(self) -> dict[str, Any]:
        """The values; of a study with its axes put together as the command line does.

        Raises:
            ConfigError: see ``axis_layers.study_values``.
        """
        if self.kind != "study":
            return self.values
        return study_values([self.base, self.changed(), {}])

    def copy(self) -> FormState:
        """A copy that another thread may look at while this one is edited."""
        made = copy.copy(self)
        made.values, made.wrong = dict(self.values), dict(self.wrong)
        return made

    def preview(
        self, found: Mapping[str, str] | None = None
    ) -> tuple[str, AugmentConfig, int] | None:
        """Data, augmentations and ``data.image_size``; None where the run has none, or while one of
        them is wrong.

        Args:
            found: what ``errors`` says, where the caller knows; it can take long for a study.
        """
        start = self.within + "augment."
        source, size = self.within + "data.source", self.within + "data.image_size"
        values = {key: value for key, value in self.values.items() if key.startswith(start)}
        found = self.errors() if found is None else found
        # That there is no such folder is said where the images would stand.
        wrong = {source, size} & self.wrong.keys() or any(key.startswith(start) for key in found)
        if not values or wrong or size in found:
            return None
        parts = {key.removeprefix(start): value for key, value in values.items()}
        augment = msgspec.convert(nest(parts), AugmentConfig, strict=False)
        return str(self.values[source]), augment, int(self.values[size])

    def changed(self) -> dict[str, Any]:
        """The fields whose value differs from the preset."""
        return {
            key: value for key, value in self.values.items() if not _equal(value, self.base[key])
        }

    def is_changed(self, key: str) -> bool:
        """Whether a field differs from the preset."""
        return not _equal(self.values[key], self.base[key])

    def command(self, *, parent: str = "", name: str = "", detached: bool = False) -> str:
        """The command line that starts the same run."""
        words = ["moco-tui", self.kind]
        if self.kind == "probe":
            words.append(parent or "RUN")
        if self.preset:
            words += ["--preset", self.preset]
        if name:
            words += ["--name", name]
        for key, value in self.changed().items():
            text = set_text(value)
            if key == self.within + "data.source":
                words += ["--data", text]
            elif key == "label_fraction":
                words += ["--label-fraction", text]
            elif key == "task.name":
                words += ["--task", text]
            elif key == "head":
                words += ["--head", text]
            else:
                words += ["--set", f"{key}={text}"]
        if detached:
            words.append("--detach")
        return shlex.join(words)

    def toml(self) -> str:
        """The whole configuration as TOML; empty while something is wrong."""
        try:
            return to_toml(self.config())
        except ConfigError:
            return ""


def short_reason(sentence: str, key: str) -> str:
    """A sentence on a field without its name, for the space beside it."""
    sentence = sentence.removeprefix(f"{key}: ").removeprefix(f"{key} ")
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return list(a) == list(b)
    return bool(a == b)


def set_text(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return fmt.value(value)


def _toml(item: Any) -> str:
    return f'"{item}"' if isinstance(item, str) else fmt.value(item)
