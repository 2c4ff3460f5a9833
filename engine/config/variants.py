"""The variants of a pretraining that a study compares, made from its axes.

``grid`` has every combination of the options of all axes; ``one-at-a-time`` each option alone
against the settings of ``pretrain`` themselves. One variant is the reference that all others are
compared with:

* of queue sizes alone (``queue_sizes``), the smallest;
* of a grid, the combination of the options that have the values of ``pretrain``; of an axis that
  has no such option, the first one;
* one at a time, the settings of ``pretrain``, which are a variant of their own where no option has
  them;
* an ablation's is ``all``.

Variants whose settings give the same weights are one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine.config.axis_keys import QUEUE
from engine.config.axis_labels import option_label
from engine.config.axis_options import Axis, Option, axes_of
from engine.config.baselines import BASELINES, BaselineName
from engine.config.fields import flatten
from engine.config.phrases import plural, shown_value
from engine.config.pretrain_rules import pretrain_problems
from engine.config.pretraining_key import key_text, plain, pretraining_key, without_own_size
from engine.config.schema import PretrainConfig, StudyConfig, names_axes
from engine.errors import ConfigError

REFERENCE = "reference"
"""Label of the settings of ``pretrain`` where several axes are varied one at a time."""
_MOST_NAMED = 5


class Variant(Struct, frozen=True):
    """One of the pretrainings that a study compares, for all of its seeds.

    Attributes:
        label: short, for people; no other variant of the study has it.
        settings: dotted keys of the pretraining and the values that it has in place of those of
            the study's ``pretrain``; lists as tuples.
        place: in the order of the study.
        queue_size: keys in its queue.
        data: a text that is equal for variants of the same images.
        groups: by baseline, what tells the variant's from those of other variants: empty where one
            serves them all, else as in ``encoder resnet18``.
        beside: the baselines of which it is the first variant: they are computed with its probes.
    """

    label: str
    settings: dict[str, Any]
    place: int
    queue_size: int
    data: str
    groups: dict[BaselineName, str]
    beside: tuple[BaselineName, ...]


class Variants(Struct, frozen=True):
    """All variants of a study.

    Attributes:
        all: in the order in which they are trained.
        reference: what the others are compared with.
        merged: a sentence for each variant that is another one, so that it is left out.
        problems: by label, what makes a variant impossible.
    """

    all: tuple[Variant, ...]
    reference: Variant
    merged: tuple[str, ...]
    problems: dict[str, str]


def expand(config: StudyConfig) -> Variants:
    """The variants of a study.

    Cached, since a screen asks every second: the answer depends on the configuration alone.

    Raises:
        ConfigError: one sentence on the first axis that is wrong.
    """
    # The probes change nothing: a study of each task would expand anew.
    return _expand(
        msgspec.json.encode(
            [
                config.queue_sizes,
                config.axes,
                config.recipes,
                config.ablate,
                config.design,
                config.pretrain,
                config.baselines,
            ]
        )
    )


def pretraining_of(config: StudyConfig, variant: Variant, seed: int) -> PretrainConfig:
    """The configuration of a pretraining of a study."""
    # The seed: weights, order, views, all of the run.
    return _with_settings(config.pretrain, {**variant.settings, "runtime.seed": seed})


# --------------------------------------------------------------------------------------------
# The expansion


class _Inputs(Struct, array_like=True):
    """What the variants of a study depend on, in the order of ``expand``."""

    queue_sizes: tuple[int, ...]
    axes: dict[str, tuple[Any, ...]]
    recipes: dict[str, dict[str, Any]]
    ablate: tuple[str, ...]
    design: str
    pretrain: PretrainConfig
    baselines: tuple[BaselineName, ...]


@functools.lru_cache(maxsize=16)
def _expand(encoded: bytes) -> Variants:
    inputs = msgspec.json.decode(encoded, type=_Inputs)
    config = StudyConfig(**msgspec.structs.asdict(inputs))
    if names_axes(config):
        axes = axes_of(config)
        if config.design == "grid":
            options, reference = _grid(axes)
        else:
            options, reference = _one_at_a_time(config, axes)
    else:
        sizes = config.queue_sizes
        options = [Option(option_label(QUEUE, size), {QUEUE: size}) for size in sizes]
        reference = sizes.index(min(sizes))
    return _different(config, options, reference)


def _grid(axes: tuple[Axis, ...]) -> tuple[list[Option], int]:
    """Every combination, the last axis fastest; and the place of the reference."""
    options, reference = [], 0
    wanted = tuple(axis.reference or 0 for axis in axes)
    places = itertools.product(*(range(len(axis.options)) for axis in axes))
    for number, place in enumerate(places):
        chosen = [axis.options[i] for axis, i in zip(axes, place, strict=True)]
        options.append(_joined(chosen))
        if place == wanted:
            reference = number
    return options, reference


def _joined(chosen: Iterable[Option]) -> Option:
    settings: dict[str, Any] = {}
    labels = []
    for option in chosen:
        settings |= option.settings
        labels.append(option.label)
    return Option(", ".join(labels), settings)


def _one_at_a_time(config: StudyConfig, axes: tuple[Axis, ...]) -> tuple[list[Option], int]:
    """The settings of ``pretrain``, then every option that has others."""
    base = flatten(config.pretrain)
    only = axes[0]
    label = REFERENCE
    if len(axes) == 1 and only.name in base:
        label = option_label(only.name, _tupled(base[only.name]))
    elif len(axes) == 1 and only.reference is not None:
        label = only.options[only.reference].label
    options = [Option(label, {})]
    for axis in axes:
        options += [option for i, option in enumerate(axis.options) if i != axis.reference]
    return options, 0


def _different(config: StudyConfig, options: list[Option], reference: int) -> Variants:
    """The variants of these options, those with the same weights once."""
    by_key: dict[str, str] = {}  # the label of the variant by the key of its weights
    kept: list[tuple[Option, PretrainConfig]] = []
    merged: list[str] = []
    problems: dict[str, str] = {}
    # The reference first: where another variant is the same, that one is left out.
    order = [reference, *(i for i in range(len(options)) if i != reference)]
    keys: dict[int, str] = {}
    made: dict[int, PretrainConfig] = {}
    for i in order:
        made[i] = _with_settings(config.pretrain, options[i].settings)
        key = pretraining_key(plain(made[i]))
        if key in by_key:
            merged.append(
                f"{options[i].label} has the same settings as {by_key[key]}: they are one variant."
            )
        else:
            by_key[key] = options[i].label
            keys[i] = key
    for i, option in enumerate(options):
        if i in keys:
            kept.append((option, made[i]))
    _check_labels([option.label for option, _ in kept])
    for option, pretrain in kept:
        wrong = next(iter(pretrain_problems(pretrain).values()), "")
        if wrong:
            problems[option.label] = wrong
    variants = _with_baselines(config, kept)
    found = next(v for v in variants if v.label == options[reference].label)
    return Variants(variants, found, tuple(merged), problems)


def _check_labels(labels: list[str]) -> None:
    seen: set[str] = set()
    for label in labels:
        if label in seen or label in BASELINES:
            raise ConfigError(
                f"Two rows of the study would be called {shown_value(label)}; give the recipe "
                "another name.",
                "recipes",
            )
        seen.add(label)


def _with_baselines(
    config: StudyConfig, kept: list[tuple[Option, PretrainConfig]]
) -> tuple[Variant, ...]:
    """The variants, with the groups of them that share a baseline."""
    flats = [flatten(pretrain) for _, pretrain in kept]
    groups: dict[BaselineName, list[str]] = {}
    for name in config.baselines:
        of = [key for key in flats[0] if BASELINES[name].depends_on(key)]
        differing = [key for key in of if any(flat[key] != flats[0][key] for flat in flats)]
        groups[name] = [
            ", ".join(option_label(key, _tupled(flat[key])) for key in differing) for flat in flats
        ]
    seen: set[tuple[str, str]] = set()
    variants = []
    for i, (option, pretrain) in enumerate(kept):
        own = {name: labels[i] for name, labels in groups.items()}
        beside = tuple(name for name, group in own.items() if (name, group) not in seen)
        seen |= set(own.items())
        variants.append(
            Variant(
                label=option.label,
                settings=option.settings,
                place=i,
                queue_size=pretrain.moco.queue_size,
                data=data_key(flats[i]),
                groups=own,
                beside=beside,
            )
        )
    return tuple(variants)


def data_key(flat: Mapping[str, Any]) -> str:
    """A text that is equal for pretrainings of the same images.

    Args:
        flat: the configuration of a pretraining as dotted keys.
    """
    named = [flat.get("data.source"), flat.get("data.limit")]
    size = without_own_size(flat).get("data.image_size")
    return key_text([*named, size] if size else named)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _with_settings(base: PretrainConfig, settings: Mapping[str, Any]) -> PretrainConfig:
    """A pretraining with other values of some settings, which are of the right type."""
    for key, value in settings.items():
        base = _replaced(base, key.split("."), value)
    return base


def _replaced(struct: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    inner = _replaced(getattr(struct, name), rest, value) if rest else value
    return replace(struct, **{name: inner})


def impossible(config: StudyConfig) -> str:
    """One sentence on the variants that cannot be trained; empty where all can.

    Raises:
        ConfigError: see ``expand``.
    """
    found = expand(config)
    return impossible_text(found.problems, len(found.all))


def impossible_text(problems: Mapping[str, str], variants: int) -> str:
    """The sentence on variants that cannot be trained, by label; empty for none."""
    if not problems:
        return ""
    named = [f"{shown_value(label)}: {why.rstrip('.')}" for label, why in problems.items()]
    shown = "; ".join(named[:_MOST_NAMED])
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    verb = "is" if len(named) == 1 else "are"
    return f"{len(named)} of {plural(variants, 'variant')} {verb} impossible: {shown}{more}."
