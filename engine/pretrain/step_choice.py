"""How the steps of a pretraining are computed on CUDA where ``runtime.capture`` is ``auto``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, NamedTuple

from engine.augment.kernel_augmenter import KernelAugmenter
from engine.config.data.data_set import SIZE
from engine.config.schema import PretrainConfig
from engine.runtime.device import Runtime

Capture = Literal["recorded", "fused", "kernels", "off"]
"""``runtime.capture`` without ``auto``."""

KERNELS_REPAID_BY = {"convnet": 4_000, "resnet18": 650, "resnet34": 650, "resnet50": 650}
"""Steps that save what getting the kernels in Triton ready takes, by encoder: of 512 pairs of
32 x 32 pixels.

Counted from what was measured on an H200 (torch 2.11, bfloat16; ``tests/benchmarks/card/step.py``),
not measured itself: a step of the convnet goes from 7.4 to 2.2 ms and one of ResNet-18 from 39.8 to
8.9 ms; with the kernels uncached and augmentations that torch.compile found in its cache, such
steps were ready 9.3 and 9.5 s later than recorded ones. Twice that is counted here, since there are
more kernels now, which no card has compiled yet. ResNet-34 and ResNet-50 were not measured.
"""

KERNELS_AND_COMPILER_REPAID_BY = {
    "convnet": 6_000,
    "resnet18": 1_000,
    "resnet34": 1_000,
    "resnet50": 1_000,
}
"""The same where torch.compile has to join the augmentations, since no kernel makes such views:
about 30 s where nothing is cached. A fused step takes as long as one with kernels, is ready later
and needs more memory."""

FUSING_REPAID_BY = 9_400
"""The same for fusing the whole step (48.6 s, from 7.4 to 2.3 ms): for an encoder of the user's
own, for which there are no kernels and which is taken for as small as the convnet."""

_WAYS: dict[str, Capture] = {"fused": "fused", "kernels": "kernels"}  # by what a step was first
_PAIRS, _STEM_AREA = 512, 16
_COMPILING = "torch.compile, up to a minute where nothing is cached"
_KERNELS = "kernels in Triton, some seconds where nothing is cached"


class StepChoice(NamedTuple):
    """A way of computing steps.

    Attributes:
        capture: the way.
        why: a clause without a full stop; empty where nothing was left open.
    """

    capture: Capture
    why: str = ""

    @property
    def words(self) -> str:
        """For the log."""
        return f"steps: {self.capture}; {self.why}"


def chosen_step(config: PretrainConfig, steps: int, runtime: Runtime) -> StepChoice:
    """What ``runtime.capture`` comes to in a run of so many steps on a CUDA device.

    Kernels in Triton where there are some for the encoder, else the compiler. A run goes on as it
    began, since each way rounds otherwise. Deterministic runs are recorded as they are written: the
    compiler chooses kernels by their time.

    Args:
        config: of the pretraining.
        steps: of the whole run.
        runtime: where it computes; knows how its steps were computed so far.
    """
    asked = config.runtime.capture
    if asked != "auto":
        return StepChoice(asked)
    if runtime.steps_so_far:
        return StepChoice(
            _WAYS.get(runtime.steps_so_far.split()[0], "recorded"), "as the run began"
        )
    if config.runtime.deterministic:
        return StepChoice("recorded", "a deterministic run is computed as it is written")
    if find_spec("triton") is None:
        return StepChoice("recorded", "kernels and torch.compile need triton, which is not here")
    repaid = steps_that_repay(config)
    has_kernels = config.model.encoder in KERNELS_REPAID_BY
    making = _KERNELS if has_kernels and _has_view_kernel(config) else _COMPILING
    if steps < repaid:
        return StepChoice(
            "recorded",
            f"{steps:,} steps would not repay a faster way ({making}), {repaid:,} would",
        )
    way: Capture = "kernels" if has_kernels else "fused"
    return StepChoice(way, f"{steps:,} steps repay it ({making}), from {repaid:,} on")


def steps_that_repay(config: PretrainConfig) -> int:
    """Steps from which on kernels, or fusing where there are none, take less time in all.

    What such a step saves is memory traffic, which grows with the pixels of a batch; the stem for
    large images leaves a sixteenth of them.
    """
    model = config.model
    pixels = float(config.optim.batch_size * config.data.size**2)
    if model.stem == "imagenet":
        pixels /= _STEM_AREA
    kernels = KERNELS_REPAID_BY if _has_view_kernel(config) else KERNELS_AND_COMPILER_REPAID_BY
    most = kernels.get(model.encoder, FUSING_REPAID_BY)
    return max(1, round(most * _PAIRS * SIZE**2 / pixels))


def _has_view_kernel(config: PretrainConfig) -> bool:
    return KernelAugmenter.can_take(config.augment, config.data.size)
