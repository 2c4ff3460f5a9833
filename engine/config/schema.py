"""The types of the configurations of pretrainings, probes and studies.

Every field carries its help text, unit and range in its type, so that the commands, the form of
the app and the error messages are all made from this one place. No torch here: the first screen
needs this module before torch is imported. The defaults are the values of the notebook that the
program began with; a comment names the source of one where there is an older one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct, defstruct

from engine.config.augment import AUGMENTATIONS, GEOMETRY
from engine.config.baselines import BASELINES, BaselineName, SupervisedConfig
from engine.config.data import DATA_SETS, PROBE_DATA_SETS, size_of_images, sources_in_words
from engine.config.data.data_set import LARGEST_SIZE, SIZE
from engine.config.heads import HEADS
from engine.config.heads.head_config import HeadConfig, OwnHeadConfig
from engine.config.moco_schema import MocoConfig
from engine.config.models import ENCODERS
from engine.config.optim_schema import OptimConfig
from engine.config.phrases import listed
from engine.config.run_schema import LogConfig, MonitorConfig, RuntimeConfig
from engine.config.slurm_schema import SlurmSettings
from engine.config.study_grid import StudyGrid

_ORDER = (
    f"{listed(GEOMETRY)} (one sampling) come first; "
    f"{listed([name for name in AUGMENTATIONS if name not in GEOMETRY])} are applied in the order "
    "given"
)

# --------------------------------------------------------------------------------------------
# Pretraining


class DataConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which images."""

    source: Annotated[
        str,
        Meta(description=sources_in_words(), extra={"registry": DATA_SETS}),
    ] = "cifar10"
    # Of CIFAR-10, and what a folder was always brought to.
    image_size: Annotated[
        int,
        Meta(
            ge=0,
            description=f"height and width of the images, {SIZE} to {LARGEST_SIZE}; 0: the set's "
            "own, of a folder 32",
            extra={"unit": "pixels"},
        ),
    ] = 0
    limit: Annotated[
        int,
        Meta(ge=0, description="use only this many training images, stratified; 0: all of them"),
    ] = 0
    holdout: Annotated[
        float,
        Meta(
            gt=0.0,
            lt=1.0,
            description="share of the training images whose labels are withheld for monitoring",
        ),
    ] = 0.1

    @property
    def size(self) -> int:
        """Height and width of the images, in pixels."""
        return size_of_images(self.source, self.image_size)


# Made from the registry, so that an augmentation is added by its own module and a line there. mypy
# cannot follow ``defstruct``, hence a declaration of its own for it.
if TYPE_CHECKING:

    class AugmentConfig(Struct, frozen=True, kw_only=True):
        """The augmentations, drawn anew for every image and view."""

        order: tuple[str, ...]

        def __init__(self, *, order: tuple[str, ...] = ..., **settings: Struct) -> None: ...
        def __getattr__(self, name: str) -> Any:
            """The settings of an augmentation, by its name in the registry."""

else:
    AugmentConfig = msgspec.defstruct(
        "AugmentConfig",
        [
            (
                "order",
                Annotated[
                    tuple[str, ...],
                    Meta(description=_ORDER, extra={"registry": AUGMENTATIONS}),
                ],
                tuple(AUGMENTATIONS),
            ),
            *((name, part.settings, part.settings()) for name, part in AUGMENTATIONS.items()),
        ],
        module=__name__,
        namespace={"__doc__": "The augmentations, drawn anew for every image and view."},
        frozen=True,
        forbid_unknown_fields=True,
        kw_only=True,
    )


class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The encoder and its projection head."""

    encoder: Annotated[
        str,
        Meta(
            description="convnet: the notebook's; resnet18, 34, 50: torchvision's with the CIFAR "
            "stem; or your own as package.module:Name",
            extra={"registry": ENCODERS},
        ),
    ] = "convnet"
    # That of ImageNet leaves 8x8 of 32x32 pixels to the first block; see ``size_defaults``.
    stem: Annotated[
        Literal["cifar", "imagenet"],
        Meta(
            description="of a resnet: cifar: 3x3, no pooling; imagenet: 7x7, stride 2, max "
            "pooling, the default from 96 pixels on"
        ),
    ] = "cifar"
    dim: Annotated[int, Meta(ge=2, le=8192, description="width of the embedding")] = 512
    # MoCo v2 (arXiv:2003.04297, section 2.2) takes the head of SimCLR.
    mlp_head: Annotated[
        bool, Meta(description="two-layer projection head (MoCo v2) in place of one linear layer")
    ] = False
    dropout: Annotated[float, Meta(ge=0.0, lt=1.0, description="dropout in the convnet")] = 0.3
    # Every place of a large image as features of its own makes them depend on where a thing is,
    # which a crop changes: the notebook's net with them learns less (see ``size_defaults``).
    feature_side: Annotated[
        int,
        Meta(
            ge=0,
            le=26,
            description="height and width to which the convnet averages its last block, the "
            "default 2 of more than 32 pixels; 0: every place makes features",
        ),
    ] = 0
    # 8 as in the CIFAR-10 demo of facebookresearch/moco, which simulates the BatchNorm of 8 GPUs.
    bn_splits: Annotated[
        int,
        Meta(ge=1, le=256, description="groups of a batch that BatchNorm normalises apart"),
    ] = 8


class PretrainConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One MoCo pretraining."""

    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    moco: MocoConfig = MocoConfig()
    optim: OptimConfig = OptimConfig()
    monitor: MonitorConfig = MonitorConfig()
    log: LogConfig = LogConfig()
    runtime: RuntimeConfig = RuntimeConfig()


# --------------------------------------------------------------------------------------------
# Probes


class TaskConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which classification the probe solves."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="binary, five, ten, all (every class), or any name with groups",
        ),
    ] = "ten"
    groups: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description="label of each group and the classes in it; empty: the task's own. "
            "Classes in no group are left out"
        ),
    ] = {}


class ProbeDataConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which images a probe is on."""

    source: Annotated[
        str,
        Meta(
            description="another data set than that of the pretraining (transfer): "
            f"{sources_in_words(notes=False)}; empty: that of the pretraining",
            extra={"registry": PROBE_DATA_SETS},
        ),
    ] = ""


class _ProbeTask(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The head of a probe, its labels and its task.

    A base class, since fields of a Struct come in the order of inheritance: these before the heads'
    sections, those of ``ProbeConfig`` after them. Forms, TOML files and records keep that order.
    """

    label_fraction: Annotated[
        float,
        Meta(gt=0.0, le=1.0, description="share of the training labels that may be used"),
    ] = 0.1
    head: Annotated[
        str,
        Meta(
            description="; ".join(f"{part.name}: {part.summary}" for part in HEADS.values()),
            extra={"registry": HEADS},
        ),
    ] = "logistic"
    subset_seed: Annotated[int, Meta(ge=0, lt=2**31, description="seed of the labelled subset")] = 0
    validation: Annotated[
        float,
        Meta(
            gt=0.0, lt=1.0, description="share of the labelled part that chooses the regularisation"
        ),
    ] = 0.2
    # With four labels a class one image a class would decide, by luck.
    tune_from: Annotated[
        int,
        Meta(ge=2, description="labels of the smallest class from which on anything is tuned"),
    ] = 5
    baselines: Annotated[
        tuple[BaselineName, ...],
        Meta(description=f"what stands beside the result: {', '.join(BASELINES)}"),
    ] = get_args(BaselineName)
    task: TaskConfig = TaskConfig()


# As ``AugmentConfig``: from the registry, with a declaration for mypy.
if TYPE_CHECKING:

    class _ProbeHeads(_ProbeTask, frozen=True, forbid_unknown_fields=True, kw_only=True):
        """Adds a section for every head of the registry."""

else:
    _ProbeHeads = defstruct(
        "_ProbeHeads",
        [
            (name, part.settings, part.settings())
            for name, part in HEADS.items()
            if part.settings is not None
        ],
        bases=(_ProbeTask,),
        module=__name__,
        frozen=True,
        forbid_unknown_fields=True,
        kw_only=True,
    )


class ProbeConfig(_ProbeHeads, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One probe of a frozen encoder, beside its baselines.

    Beside these fields there is a section for each head of ``HEADS``, with its settings: see
    ``head_settings``.
    """

    supervised: SupervisedConfig = SupervisedConfig()
    data: ProbeDataConfig = ProbeDataConfig()
    runtime: RuntimeConfig = RuntimeConfig()


def head_settings(config: ProbeConfig, head: str = "") -> HeadConfig:
    """The settings of a head in the configuration of a probe.

    Args:
        config: the probe.
        head: which head; empty: the one that the probe fits.

    Returns:
        Its section; for code of the user's own, which has none, an ``OwnHeadConfig``.
    """
    head = head or config.head
    if head in HEADS:
        settings: HeadConfig = getattr(config, head)
        return settings
    return OwnHeadConfig(path=head)


# --------------------------------------------------------------------------------------------
# Studies


class StudyConfig(StudyGrid, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Variants of a pretraining, each with several seeds, and probes of each of them.

    ``engine.config.variants`` makes the variants of ``axes``, ``recipes`` and ``ablate``; a study
    that names none of these varies the queue size. Settings that the grid varies (``GRID_KEYS``)
    must keep their defaults in ``pretrain`` and ``probe``; ``rules.problems`` refuses others.
    """

    pretrain: PretrainConfig = PretrainConfig()
    probe: ProbeConfig = ProbeConfig()
    # No setting of the result: ``study_key`` leaves it out.
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="processes that share the pretrainings and their probes; the cores are "
            "divided among them, of cards each has one",
        ),
    ] = 1
    # Nor this one. As typed; ``device_list.parse_devices`` reads it.
    devices: Annotated[
        tuple[str, ...],
        Meta(
            description="one process for each of these devices, in place of workers: all for every "
            "card, or cuda:0, cuda:2, cpu:2; empty: as workers and runtime.device say"
        ),
    ] = ()


def names_axes(config: StudyConfig) -> bool:
    """Whether a study says itself what it varies; else it varies the queue size."""
    return bool(config.axes or config.recipes or config.ablate)


GRID_KEYS: Mapping[str, str] = {
    "pretrain.moco.queue_size": "queue_sizes",
    "pretrain.runtime.seed": "seeds",
    "probe.label_fraction": "label_fractions",
    "probe.head": "heads",
    "probe.subset_seed": "subset_seeds",
    "probe.baselines": "baselines",
    "probe.task.name": "tasks",
    "probe.runtime.seed": "seeds",
}
"""Settings of a study's runs that its grid varies, and the setting of the study that holds the
values."""

NOT_IN_STUDIES = frozenset({"probe.data.source"})
"""Settings of its runs that a study cannot change: it probes on the images of its pretrainings."""

AnyConfig = PretrainConfig | ProbeConfig | StudyConfig
KINDS: dict[str, type[PretrainConfig] | type[ProbeConfig] | type[StudyConfig]] = {
    "pretrain": PretrainConfig,
    "probe": ProbeConfig,
    "study": StudyConfig,
}


def title(type_: type[Struct]) -> str:
    """What a type of configuration describes, in words: ``a pretraining``."""
    titles: dict[type[Struct], str] = {
        PretrainConfig: "a pretraining",
        ProbeConfig: "a probe",
        StudyConfig: "a study",
        SlurmSettings: "a Slurm job",
    }
    return titles.get(type_, type_.__name__)
