"""Presets, and how a configuration is put together from preset, file and overrides."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import tomli_w
from msgspec import Struct

from engine.config import own_code
from engine.config.augment import augment_problems
from engine.config.fields import Field, fields, flatten, nest
from engine.config.renamed import new_key, new_value, say_renamed
from engine.config.schema import GRID_KEYS, PretrainConfig, ProbeConfig, StudyConfig, TaskConfig
from engine.errors import ConfigError

C = TypeVar("C", bound=Struct)


class Preset(Struct, frozen=True, kw_only=True):
    """A named set of values over the defaults.

    Attributes:
        name: what ``--preset`` takes.
        summary: one line on what it is for.
        values: dotted keys and values that differ from the defaults.
    """

    name: str
    summary: str
    values: dict[str, Any] = {}


_NO_ROTATION_OR_BLUR = {
    "augment.rotation.enabled": False,
    "augment.blur.enabled": False,
    "augment.flip.enabled": True,
    "augment.grayscale.enabled": True,
}

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="notebook",
            summary="the notebook's values: ConvNet, K 4096, rotation +-180 degrees, 2,500 epochs",
        ),
        Preset(
            name="notebook-large-queue",
            summary="the same with the larger dictionary, K 16384",
            values={"moco.queue_size": 16384},
        ),
        Preset(
            name="notebook-small-angle",
            summary="the same with rotation +-15 degrees, which learns better features",
            values={"augment.rotation.degrees": 15.0},
        ),
        Preset(
            name="resnet18-moco",
            summary="the published CIFAR-10 recipe: ResNet-18, 200 epochs, kNN 82.6 %",
            values={
                **_NO_ROTATION_OR_BLUR,
                "model.encoder": "resnet18",
                "model.dim": 128,
                "moco.temperature": 0.1,
                "moco.symmetric": False,
                "optim.epochs": 200,
                "monitor.knn_every": 5,
                "monitor.knn_test": True,
            },
        ),
        Preset(
            name="quick",
            summary="minutes on two CPU cores with the embedded images",
            values={
                "data.source": "shapes",
                "augment.rotation.degrees": 15.0,
                "model.dim": 128,
                "moco.queue_size": 2048,
                "optim.epochs": 12,
                "optim.batch_size": 256,
                "monitor.knn_every": 2,
                "monitor.knn_features": "backbone",
                "log.checkpoint_seconds": 30,
            },
        ),
    )
}


def _of_a_study() -> dict[str, Preset]:
    """Presets of studies: those of pretrainings that leave the grid alone, and its own."""
    found = {}
    for own in PRESETS.values():
        values = {f"pretrain.{key}": value for key, value in own.values.items()}
        if not values.keys() & GRID_KEYS.keys():
            found[own.name] = msgspec.structs.replace(own, values=values)
    quick = {k: v for k, v in PRESETS["quick"].values.items() if k != "moco.queue_size"}
    study = Preset(
        name="quick-study",
        summary="two small dictionaries on the embedded images: a look at the whole on a CPU",
        values={
            "queue_sizes": [512, 2048],
            "label_fractions": [0.1, 0.5],
            "tasks": ["binary", "ten"],
            "heads": ["logistic"],
            "subset_seeds": [0],
            "baselines": ["random-init", "pixels"],
            **{f"pretrain.{key}": value for key, value in quick.items()},
        },
    )
    return {**found, study.name: study}


STUDY_PRESETS: Mapping[str, Preset] = _of_a_study()
"""What ``--preset`` takes for a study."""

_PRESETS_OF: Mapping[type[Struct], Mapping[str, Preset]] = {
    PretrainConfig: PRESETS,
    StudyConfig: STUDY_PRESETS,
}


def presets_of(type_: type[Struct]) -> Mapping[str, Preset]:
    """The presets of a type of configuration, by name; none for probes."""
    return _PRESETS_OF.get(type_, {})


def expand_key(type_: type[Struct], key: str) -> str:
    """The full dotted name of a field given by it or by any unambiguous tail of it.

    ``queue_size`` means ``moco.queue_size``; a name that stands alone at the top level wins.

    Raises:
        ConfigError: for a name that is unknown or stands for several fields.
    """
    known = fields(type_)
    if key in known:
        return key
    if new_key(key) != key:
        now = expand_key(type_, new_key(key))
        say_renamed(key, now)
        return now
    matches = [name for name in known if name.endswith("." + key)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(f"{key} could be {_either(matches)}; write the whole name.", key)
    tails = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key, [*known, *tails], n=1, cutoff=0.6)
    hint = f"; did you mean {tails.get(near[0], near[0])}?" if near else "."
    raise ConfigError(f"{key} is not a setting of {_title(type_)}{hint}", key)


def _either(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " or " + names[-1]


def _title(type_: type[Struct]) -> str:
    titles: dict[type[Struct], str] = {
        PretrainConfig: "a pretraining",
        ProbeConfig: "a probe",
        StudyConfig: "a study",
    }
    return titles.get(type_, type_.__name__)


def parse_value(field: Field, text: str) -> Any:
    """A value typed by a person, as TOML where it reads as TOML and as plain text elsewhere."""
    return _up_to_date(field.key, _parse(field, text.strip()))


def _up_to_date(key: str, value: Any) -> Any:
    """The value under the name that it has now, with a line where that is another one."""
    now = new_value(key, value)
    if now is not value and now != value:
        say_renamed(f"{key}={_show(value)}", _show(now))
    return now


def _parse(field: Field, text: str) -> Any:
    if field.kind in ("text", "choice"):
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    plain_words = field.item in ("names", "texts") and not text.startswith(("[", '"', "'"))
    if not plain_words:  # among words 5 is a name
        try:
            value = tomllib.loads(f"value = {text}")["value"]
            # one item alone is a list of one: seeds=0
            return [value] if field.kind == "list" and not isinstance(value, list) else value
        except tomllib.TOMLDecodeError:
            pass
    if field.kind == "list":
        items = [part.strip().strip("\"'") for part in text.strip("[]").split(",")]
        return [item if plain_words else _number(item) for item in items if item]
    if field.kind in ("int", "float"):
        return _number(text)
    return {"on": True, "yes": True, "off": False, "no": False}.get(text.lower(), text)


def _number(text: str) -> int | float | str:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def parse_sets(type_: type[Struct], sets: Iterable[str]) -> dict[str, Any]:
    """``key=value`` texts as dotted keys and values.

    Raises:
        ConfigError: when there is no ``=`` or the key is not a setting.
    """
    values: dict[str, Any] = {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: it must be key=value, as in queue_size=16384.")
        key = expand_key(type_, key.strip())
        values[key] = parse_value(fields(type_)[key], value)
    return values


def read_toml(type_: type[Struct], path: Path) -> dict[str, Any]:
    """The values of a TOML file as dotted keys.

    Raises:
        ConfigError: when the file cannot be read or is not TOML, or a key is not a setting.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no config file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The config file {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The config file {path} is not valid TOML: {error}.") from None
    known = fields(type_)
    flat: dict[str, Any] = {}

    def walk(table: Mapping[str, Any], prefix: str) -> None:
        for name, value in table.items():
            key = prefix + name
            if key not in known and isinstance(value, dict):
                if new_key(key) != key:
                    say_renamed(key, new_key(key))
                    key = new_key(key)
                if not any(other.startswith(key + ".") for other in known):
                    expand_key(type_, key)
                walk(value, key + ".")
            else:
                flat[expand_key(type_, key)] = value

    walk(tree, "")
    return flat


def build(type_: type[C], values: Mapping[str, Any]) -> C:
    """The configuration with these values over the defaults, checked.

    Args:
        type_: the configuration type.
        values: dotted keys and values (builtin types; numbers may be texts).

    Raises:
        ConfigError: one sentence with the key, the value and what would be right.
    """
    known = fields(type_)
    values = {expand_key(type_, key): value for key, value in values.items()}
    values = {key: _up_to_date(key, value) for key, value in values.items()}
    for key, value in values.items():
        check_leaf(known[key], type_, value)
    full = nest({key: field.default for key, field in known.items()} | values)
    try:
        config = msgspec.convert(full, type_, strict=False)
    except msgspec.ValidationError as error:  # every leaf was checked: this is a backstop
        raise ConfigError(f"The configuration is not valid: {error}.") from None
    check(config)
    return config


def check_leaf(field: Field, type_: type[Struct], value: Any) -> Any:
    """The value of one field as its type wants it, checked against its own range alone.

    Args:
        field: the field.
        type_: the configuration that it belongs to.
        value: a builtin value; numbers may be texts.

    Raises:
        ConfigError: one sentence with the key, the value and what would be right.
    """
    sentence = f"{field.key} is {_show(value)}; it must be {field.expectation()}."
    try:
        checked = msgspec.to_builtins(
            msgspec.convert(nest({field.key: value}), type_, strict=False)
        )
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise ConfigError(sentence, field.key) from None
    for part in field.key.split("."):
        checked = checked[part]
    items = checked if isinstance(checked, list | tuple) else [checked]
    if field.registry is not None and not all(map(field.registry.accepts, items)):
        raise ConfigError(sentence, field.key)
    if any(isinstance(item, float) and not math.isfinite(item) for item in items):
        raise ConfigError(sentence, field.key)
    return checked


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = re.sub(r"[\x00-\x1f\x7f]", "?", text)
    return "empty" if not text else text if len(text) <= 80 else text[:77] + "..."


def check(config: Struct) -> None:
    """Rules that span several fields.

    Raises:
        ConfigError: for the first rule that is broken.
    """
    for key, message in problems(config).items():
        raise ConfigError(message, key)


def problems(config: Struct) -> dict[str, str]:
    """Every broken rule that spans several fields: the key at fault and the sentence."""
    found: dict[str, str] = {}
    if isinstance(config, PretrainConfig):
        _pretrain_problems(config, found)
    elif isinstance(config, ProbeConfig):
        _probe_problems(config, found)
    elif isinstance(config, StudyConfig):
        _study_problems(config, found)
    return found


def _pretrain_problems(config: PretrainConfig, found: dict[str, str]) -> None:
    optim, model = config.optim, config.model
    found |= augment_problems(config.augment)
    if optim.batch_size % model.bn_splits:
        found["model.bn_splits"] = (
            f"model.bn_splits is {model.bn_splits}, which does not divide optim.batch_size "
            f"({optim.batch_size}); it must divide it."
        )
    elif optim.batch_size // model.bn_splits < 2:
        found["model.bn_splits"] = (
            f"model.bn_splits is {model.bn_splits}, which leaves one image to normalise over; "
            f"it must be at most {optim.batch_size // 2} for optim.batch_size {optim.batch_size}."
        )
    if optim.stop_epoch > optim.epochs:
        found["optim.stop_epoch"] = (
            f"optim.stop_epoch is {optim.stop_epoch}, beyond optim.epochs ({optim.epochs}); "
            "it must not be larger."
        )
    if list(optim.milestones) != sorted(set(optim.milestones)):
        found["optim.milestones"] = (
            f"optim.milestones is {list(optim.milestones)}; each must be larger "
            "than the one before."
        )


def _probe_problems(config: ProbeConfig, found: dict[str, str]) -> None:
    task = config.task
    if task.groups and len(task.groups) < 2:
        found["task.groups"] = "task.groups holds one group; a task needs at least two."
    seen: dict[str, str] = {}
    for label, members in task.groups.items():
        if not members:
            found["task.groups"] = f"task.groups: the group {label} names no class."
        for member in members:
            if member in seen:
                found["task.groups"] = (
                    f"task.groups: the class {member} is in {seen[member]} and in {label}; "
                    "a class may be in one group only."
                )
            seen[member] = label
    if not task.groups and task.name not in BUILTIN_TASKS:
        found["task.name"] = (
            f"task.name is {task.name}; it must be one of {', '.join(BUILTIN_TASKS)}, or "
            "task.groups must say which classes it tells apart."
        )
    if len(set(config.baselines)) != len(config.baselines):
        found["baselines"] = (
            f"baselines names {', '.join(config.baselines)}; each may stand there once."
        )


def _study_problems(config: StudyConfig, found: dict[str, str]) -> None:
    grids = (
        ("queue_sizes", config.queue_sizes),
        ("seeds", config.seeds),
        ("label_fractions", config.label_fractions),
        ("tasks", config.tasks),
        ("heads", config.heads),
        ("subset_seeds", config.subset_seeds),
        ("baselines", config.baselines),
    )
    for key, values in grids:
        if len(set(values)) != len(values):
            found[key] = f"{key} is {', '.join(map(str, values))}; each value may stand there once."
    # What a pretraining and a probe of the grid would say to the rest.
    inner: dict[str, str] = {}
    _pretrain_problems(config.pretrain, inner)
    found |= {f"pretrain.{key}": f"pretrain: {text}" for key, text in inner.items()}
    groups = config.probe.task.groups
    for name in config.tasks:
        inner = {}
        task = msgspec.structs.replace(config.probe.task, name=name)
        _probe_problems(msgspec.structs.replace(config.probe, task=task), inner)
        unknown = inner.pop("task.name", None)
        if unknown is not None:
            found["tasks"] = (
                f"tasks names {_show(name)}; a task must be one of {', '.join(BUILTIN_TASKS)}, or "
                "probe.task.groups must say which classes it tells apart."
            )
        found |= {f"probe.{key}": f"probe: {text}" for key, text in inner.items()}
    if groups and len(config.tasks) > 1:
        found["tasks"] = (
            f"tasks names {len(config.tasks)} tasks, but probe.task.groups makes one; it must "
            "name that one alone."
        )
    free = {"probe.task.name"} if groups else set()
    for key in difference(config, StudyConfig()).keys() & GRID_KEYS.keys() - free:
        found[key] = f"{key} cannot be set for a study: its grid does, by {GRID_KEYS[key]}."
    if groups and config.probe.task.name not in (config.tasks[0], TaskConfig().name):
        found["probe.task.name"] = (
            f"probe.task.name is {_show(config.probe.task.name)} and tasks names "
            f"{_show(config.tasks[0])}; with probe.task.groups both must be the same."
        )


BUILTIN_TASKS = ("binary", "five", "ten", "all")


def preset(name: str, type_: type[Struct] = PretrainConfig) -> Preset:
    """A preset by its name.

    Raises:
        ConfigError: when there is none of that name for this type of configuration.
    """
    known = presets_of(type_)
    if name not in known:
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        there = f"there are {', '.join(known)}" if known else f"{_title(type_)} has none"
        raise ConfigError(f"There is no preset {_show(name)}; {there}.{hint}", "preset")
    return known[name]


def resolve(
    type_: type[C],
    *,
    preset_name: str | None = None,
    toml: Path | None = None,
    sets: Iterable[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> C:
    """Preset, then TOML file, then ``key=value`` texts, then ``extra``: the later wins.

    Raises:
        ConfigError: one sentence on the first thing that is wrong.
    """
    values: dict[str, Any] = {}
    if preset_name is not None:
        values |= preset(preset_name, type_).values
    if toml is not None:
        values |= read_toml(type_, toml)
    values |= parse_sets(type_, sets)
    values |= extra or {}
    config = build(type_, values)
    own_code.name_paths(paths_of(config))  # a person typed them or wrote the file
    return config


def paths_by_key(config: Struct) -> list[tuple[str, str]]:
    """The paths of the user's own that a configuration names, each after its dotted key."""
    known = fields(type(config))
    found: list[tuple[str, str]] = []
    for key, value in flatten(config).items():
        registry = known[key].registry
        if registry is not None:
            items = value if isinstance(value, list | tuple) else [value]
            found += [(key, item) for item in items if registry.is_own(item)]
    return found


def paths_of(config: Struct) -> list[str]:
    """The paths of the user's own that a configuration names."""
    return [path for _, path in paths_by_key(config)]


def difference(config: Struct, base: Struct) -> dict[str, Any]:
    """The dotted keys whose value differs from ``base``, with the value in ``config``."""
    other = flatten(base)
    return {key: value for key, value in flatten(config).items() if value != other.get(key)}


def to_toml(config: Struct) -> str:
    """The configuration as a TOML text that ``read_toml`` takes."""
    return tomli_w.dumps(msgspec.to_builtins(config))
