"""How the steps of a pretraining are computed on CUDA where ``runtime.capture`` is ``auto``."""

from __future__ import annotations

from typing import Literal, NamedTuple

from engine.config.data.data_set import SIZE
from engine.config.schema import PretrainConfig
from engine.runtime.device import Runtime

Capture = Literal["recorded", "fused", "kernels", "off"]
"""``runtime.capture`` without ``auto``."""

REPAID_BY = {"convnet": 7_000, "resnet18": 1_900, "resnet34": 1_900, "resnet50": 1_900}
"""Steps that save what the compiler takes, by encoder: of 512 pairs of 32 x 32 pixels.

On an H200 (torch 2.11, bfloat16, nothing cached) compiling took 35 s for the convnet, whose step
went from 7.0 to 2.0 ms, and 48 s for ResNet-18, whose step went from 34.5 to 8.6 ms
(``tests/benchmarks/card/step.py``). A deeper net has more to compile and saves more in each step.
"""

_PAIRS, _STEM_AREA = 512, 16
_COMPILING = "torch.compile, about a minute where nothing is cached"


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

    A run goes on as it began, since a fused step rounds otherwise. Deterministic runs are not
    fused: the compiler chooses kernels by their time.

    Args:
        config: of the pretraining.
        steps: of the whole run.
        runtime: where it computes; knows how its steps were computed so far.
    """
    asked = config.runtime.capture
    if asked != "auto":
        return StepChoice(asked)
    if runtime.steps_so_far:
        fused = runtime.steps_so_far.startswith("fused")
        return StepChoice("fused" if fused else "recorded", "as the run began")
    if config.runtime.deterministic:
        return StepChoice("recorded", "a deterministic run is not fused")
    repaid = steps_that_repay(config)
    if steps < repaid:
        return StepChoice(
            "recorded",
            f"{steps:,} steps would not repay fusing them first ({_COMPILING}), {repaid:,} would",
        )
    return StepChoice("fused", f"{steps:,} steps repay it ({_COMPILING}), from {repaid:,} on")


def steps_that_repay(config: PretrainConfig) -> int:
    """Steps from which on fusing them first takes less time in all.

    What a fused step saves is memory traffic, which grows with the pixels of a batch; the stem for
    large images leaves a sixteenth of them. An encoder of the user's own is taken for as small as
    the convnet.
    """
    model = config.model
    pixels = float(config.optim.batch_size * config.data.size**2)
    if model.stem == "imagenet":
        pixels /= _STEM_AREA
    most = REPAID_BY.get(model.encoder, max(REPAID_BY.values()))
    return max(1, round(most * _PAIRS * SIZE**2 / pixels))
