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
)
from engine.config.values import check_leaf, parse_value
from engine.errors import ConfigError
from moco_tui.present import fmt
from moco_tui.present.form_following import follow
from moco_tui.present.missing_folder import missing_folder


class FormStart(Struct, frozen=True):
    """What a form begins with.

    Attributes:
        preset: empty for the defaults.
        values: settings over it; a preset that is chosen afterwards has them no more.
        words: where they come from, for people; empty for the preset alone.
    """

    preset: str = ""
    values: Mapping[str, Any] = {}
    words: str = ""


class FormState:
    """The values of the form's fields as typed, and what is wrong with them.

    They lie over each other: the preset, what the form began with, the device of the app, what
    was typed for another kind of run, what was typed here. What was typed stays over any preset.

    Args:
        kind: ``pretrain``, ``probe`` or ``study``.
        preset: preset to begin with; probes have none.
        values: dotted keys and values over it, such as those of an earlier run.
        words: where these come from, for people.
        pure: what it begins with that has nothing of an earlier run; None: the preset alone.

    Attributes:
        typed: what the person has typed or chosen here, by key.
        carried: what was typed in the form of another kind that this one has too.
    """

    def __init__(
        self,
        kind: str,
        *,
        preset: str = "",
        values: Mapping[str, Any] | None = None,
        words: str = "",
        pure: FormStart | None = None,
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
        self.typed: dict[str, Any] = {}
        self.carried: dict[str, Any] = {}
        preset = preset if preset in presets_of(self.type) else ""
        self._start = FormStart(preset, dict(values or {}), words)
        self._pure = pure or FormStart(preset)
        self._given_up: tuple[FormStart, dict[str, Any], dict[str, Any]] | None = None
        self._device = ""
        self.use_preset(preset)

    # ---------------------------------------------------------------------------- layers

    def use_preset(self, preset: str) -> None:
        """Lay what was typed over a preset; empty for the defaults."""
        presets = presets_of(self.type)
        self.preset = preset if preset in presets else ""
        self.base = {key: field.default for key, field in self.known.items()}
        if self.preset:
            self.base |= presets[preset].values
        self._lay()

    def _lay(self) -> None:
        """Work the values out from the layers."""
        self.values, self.wrong = dict(self.base), {}
        follow(self)
        over = dict(self.start.values)
        if self._device:
            over |= dict.fromkeys(filter(_is_device, self.known), self._device)
        over |= self.carried | self.typed
        first = followed(self.type)  # what follows them must not undo what is laid here
        for key in sorted(over, key=lambda key: key not in first):
            if key in self.known:
                self._put(key, over[key])

    @property
    def start(self) -> FormStart:
        """What the form began with, as far as it counts under the preset of now."""
        return self._start if self._start.preset == self.preset else FormStart(self.preset)

    def start_words(self) -> str:
        """Where what it began with comes from, and how to be without it; empty for a preset."""
        words = self.start.words
        return f"{words} (F10: the preset alone)" if words and self.start != self._pure else words

    def use_device(self, device: str) -> None:
        """Compute everything on this device, where no other one is typed."""
        self._device = device
        self._lay()

    def carry(self, values: Mapping[str, Any]) -> None:
        """Take what was typed in the form of another kind; what was typed here goes before it."""
        self.carried = {key: value for key, value in values.items() if key in self.known}
        self._lay()

    def is_typed(self, key: str) -> bool:
        """Whether the person has typed or chosen a value, here or for another kind of run."""
        return key in self.typed or key in self.carried

    def reset(self, key: str) -> None:
        """Give a field the value of the preset."""
        self.typed.pop(key, None)
        self.carried.pop(key, None)
        left = {name: value for name, value in self._start.values.items() if name != key}
        self._start = FormStart(self._start.preset, left, self._start.words if left else "")
        self._lay()

    def reset_all(self) -> None:
        """Give every field the value of the preset, over which the user's own defaults may lie."""
        self._given_up = self._start, self.typed, self.carried
        self._start, self.typed, self.carried = self._pure, {}, {}
        self._lay()

    def bring_back(self) -> bool:
        """Undo ``reset_all``; False where something was typed since, or nothing was given up."""
        if self._given_up is None or self.typed or self.carried:
            return False
        (self._start, self.typed, self.carried), self._given_up = self._given_up, None
        self._lay()
        return True

    # ---------------------------------------------------------------------------- fields

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
        if _equal(self.values[key], self._untyped(key)):
            self.typed.pop(key, None)
        else:
            self.typed[key] = value
        if key not in self.wrong:
            # Typed by the person, so its code may be imported (own_code); a path that an earlier
            # run brought along was not typed, and comes in by ``_put`` alone.
            name_own_code(field, self.values[key])

    def _untyped(self, key: str) -> Any:
        """The value that a field would have if nothing was typed into it."""
        return self.carried.get(key, self.start.values.get(key, self.base[key]))

    def _put(self, key: str, value: Any) -> None:
        field = self.known[key]
        if isinstance(value, str):
            value = parse_value(field, value)
        try:
            checked = check_leaf(field, self.type, value)
        except ConfigError:
            self.values[key] = value
            self.wrong[key] = _without_argument(field, value) or f"it must be {field.expectation()}"
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
        made.base, made.values = dict(self.base), dict(self.values)
        made.typed, made.wrong = dict(self.typed), dict(self.wrong)
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

    def changed_words(self) -> str:
        """How many differ."""
        count = len(self.changed())
        if self.preset:
            return f"{count} changed from the preset" if count else "as the preset says"
        return f"{count} changed from the defaults" if count else "defaults"

    def lasting(self) -> dict[str, Any]:
        """What another form may begin with: all but the device that this app was told to use."""
        changed = self.changed()
        return {
            key: value
            for key, value in changed.items()
            if not (self._device and _is_device(key) and value == self._device)
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
            elif key == "devices":
                words += ["--devices", ",".join(map(str, value))]
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


def name_own_code(field: Field, value: Any) -> None:
    """Count the paths of own code in a value as named by the person."""
    if field.registry is not None:
        items = value if isinstance(value, list | tuple) else [value]
        own_code.name_paths(filter(field.registry.is_own, items))


def _without_argument(field: Field, value: Any) -> str:
    """What is missing behind a name such as ``folder:``; empty where it is something else."""
    parts = field.registry.values() if field.registry is not None else ()
    missing = [part.argument for part in parts if part.argument and value == f"{part.name}:"]
    return f"its {missing[0].lower()} is missing" if missing else ""


def _is_device(key: str) -> bool:
    return key == "runtime.device" or key.endswith(".runtime.device")


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
