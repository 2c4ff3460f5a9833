"""The state of the form for a new run, apart from any screen: texts, values, errors."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from engine.config import KINDS, AnyConfig
from engine.errors import ConfigError
from engine.fields import Field, fields, nest
from engine.presets import PRESETS, build, parse_value, problems, to_toml
from moco_tui import fmt

LABELS = {
    "data.source": "data",
    "moco.queue_size": "queue size",
    "optim.epochs": "epochs",
    "optim.batch_size": "batch size",
    "optim.stop_epoch": "stop after epoch",
    "runtime.device": "device",
    "label_fraction": "label fraction",
    "task.name": "task",
    "subset_seed": "subset seed",
}
AUGMENTATIONS = ("crop", "rotation", "flip", "blur", "color", "gray")
ESSENTIAL = {
    "pretrain": (
        "data.source",
        "moco.queue_size",
        "optim.epochs",
        "optim.batch_size",
        "runtime.device",
    ),
    "probe": ("label_fraction", "task.name", "head", "baselines", "subset_seed", "runtime.device"),
}
SECTIONS = {
    "pretrain": (
        ("Encoder", "model"),
        ("Queue and loss", "moco"),
        ("Optimizer", "optim"),
        ("kNN monitor", "monitor"),
        ("Data", "data"),
        ("Checkpoints and logs", "log"),
        ("Device and seed", "runtime"),
    ),
    "probe": (
        ("Task", "task"),
        ("Logistic head", "logistic"),
        ("Linear head", "linear"),
        ("Supervised baseline", "supervised"),
        ("Labels", ""),
        ("Device and seed", "runtime"),
    ),
}


def label(key: str) -> str:
    """What a field is called in the form."""
    known = LABELS.get(key)
    return known if known is not None else key.rpartition(".")[2].replace("_", " ")


def expectation(field: Field) -> str:
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
        return 'groups, as {vehicles = ["ship"], animals = ["cat"]}'
    low = field.ge if field.ge is not None else field.gt
    high = field.le if field.le is not None else field.lt
    parts = [field.unit] if field.unit else []
    if low is not None and high is not None:
        left = "" if field.ge is not None else ">"
        right = "" if field.le is not None else "<"
        parts.append(f"{left}{_plain(low)} – {right}{_plain(high)}")
    elif low is not None:
        parts.append(f"{'≥' if field.ge is not None else '>'} {_plain(low)}")
    elif high is not None:
        parts.append(f"{'≤' if field.le is not None else '<'} {_plain(high)}")
    return "  ".join(parts)


def _plain(number: float) -> str:
    if number >= 2**31 - 1:
        return "2³¹"
    return f"{number:g}" if abs(number) < 10_000 or number != int(number) else f"{int(number):,}"


class FormState:
    """What was typed, and what it amounts to.

    Args:
        kind: ``pretrain`` or ``probe``.
        preset: preset to begin with (pretraining only).
        values: dotted keys and values over it, such as those of an earlier run.
    """

    def __init__(
        self, kind: str, *, preset: str = "", values: Mapping[str, Any] | None = None
    ) -> None:
        self.kind = kind
        self.type: type[AnyConfig] = KINDS[kind]
        self.known: Mapping[str, Field] = fields(self.type)
        self.preset = preset
        self.base: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.wrong: dict[str, str] = {}
        self.use_preset(preset)
        for key, value in (values or {}).items():
            if key in self.known:
                self.set(key, value)

    def use_preset(self, preset: str) -> None:
        """Begin anew with the values of a preset; empty for the defaults."""
        self.preset = preset if self.kind == "pretrain" else ""
        self.base = {key: field.default for key, field in self.known.items()}
        if self.preset in PRESETS:
            self.base |= PRESETS[preset].values
        self.values = dict(self.base)
        self.wrong = {}

    def text(self, key: str) -> str:
        """A value as it stands in the field."""
        value = self.values[key]
        return f"{value:.6g}" if isinstance(value, float) else fmt.value(value)

    def set(self, key: str, value: Any) -> None:
        """Take what was typed (a text) or chosen (a value); wrong ones are remembered as such."""
        field = self.known[key]
        if isinstance(value, str):
            if key not in self.wrong and value == self.text(key):
                return  # the field was filled with it; it may show fewer digits than there are
            value = self._parse(field, value)
        try:
            config = build_leaf(self.type, key, value)
        except ConfigError as error:
            self.values[key] = value
            self.wrong[key] = short_reason(str(error), key)
            return
        self.wrong.pop(key, None)
        self.values[key] = config

    @staticmethod
    def _parse(field: Field, text: str) -> Any:
        text = text.strip()
        if field.kind == "list" and not text.startswith("["):
            parts = [part.strip() for part in text.split(",") if part.strip()]
            return parts if field.item in ("names", "texts") else [_number(p) for p in parts]
        return parse_value(field, text)

    def errors(self) -> dict[str, str]:
        """Every field that is wrong, with the sentence; rules over several fields included."""
        if self.wrong:
            return dict(self.wrong)
        try:
            config = self._convert()
        except msgspec.ValidationError as error:
            return {"": str(error)}
        found = problems(config)
        return {key: short_reason(text, key) for key, text in found.items()}

    def problems(self, parent: str = "") -> dict[str, str]:
        """What keeps the run from starting: wrong fields, a missing folder, nothing to probe.

        Args:
            parent: id of the pretraining that a probe is of.
        """
        found = self.errors()
        source = self.values.get("data.source", "")
        if isinstance(source, str) and source.startswith("folder:") and "data.source" not in found:
            folder = Path(source[7:]).expanduser()
            if not folder.is_dir():
                found["data.source"] = f"there is no folder {folder}"
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
        return build(self.type, self.values)

    def _convert(self) -> Struct:
        return msgspec.convert(nest(self.values), self.type, strict=False)

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
            text = _set_text(value)
            if key == "data.source":
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


def build_leaf(type_: type[AnyConfig], key: str, value: Any) -> Any:
    """The value of one field as its type wants it, checked against its own range alone.

    Raises:
        ConfigError: one sentence on what it must be.
    """
    field = fields(type_)[key]
    try:
        tree = msgspec.to_builtins(msgspec.convert(nest({key: value}), type_, strict=False))
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise ConfigError(f"{key}: it must be {field.expectation()}.", key) from None
    for part in key.split("."):
        tree = tree[part]
    if isinstance(tree, float) and not math.isfinite(tree):
        raise ConfigError(f"{key}: it must be {field.expectation()}.", key)
    return tree


def short_reason(sentence: str, key: str) -> str:
    """A sentence on a field without its name, for the space beside it."""
    sentence = sentence.removeprefix(f"{key}: ").removeprefix(f"{key} ")
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def _number(text: str) -> Any:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return list(a) == list(b)
    return bool(a == b)


def _set_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return fmt.value(value)
    return fmt.value(value)


def _toml(item: Any) -> str:
    return f'"{item}"' if isinstance(item, str) else fmt.value(item)
