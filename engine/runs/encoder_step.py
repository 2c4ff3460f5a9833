"""Which encoder a probe was about: how many steps of its pretraining were behind it.

The encoder of a pretraining changes with every step, so a probe of step 3,900 and one of the end
are results of two encoders, although they have the same parent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from engine.runs.record import Record
from engine.runs.training_time import Timed

NOT_RECORDED = "step not recorded"
"""Said of a probe of version 0.1, whose result does not name the step."""


class EncoderStep(NamedTuple):
    """How far an encoder was trained.

    Attributes:
        step: steps of pretraining behind it.
        schedule: steps of the whole schedule, of which ``stop_epoch`` may be an early part; 0
            where that is not known.
        epoch: epochs behind it, fractional; None where that is not known.
        fingerprint: SHA-256 of the weights of the encoder, in hexadecimal; empty where that is not
            known.
        checkpoint: which one a person had named: an epoch or ``best``; empty: the last.
    """

    step: int
    schedule: int
    epoch: float | None = None
    fingerprint: str = ""
    checkpoint: str = ""

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self | None:
        """The one that a result of a probe names; None where it names none."""
        step = _count(result.get("encoder_step"))
        schedule = _count(result.get("encoder_schedule_steps"))
        epoch, digest = result.get("encoder_epoch"), result.get("encoder_fingerprint")
        named = result.get("encoder_checkpoint")
        if step is None:
            return None
        return cls(
            step,
            schedule or 0,
            _epochs(epoch),
            digest if isinstance(digest, str) else "",
            named if isinstance(named, str) else "",
        )

    @property
    def figures(self) -> dict[str, Any]:
        """As a result of a probe holds it."""
        known: dict[str, Any] = {
            "encoder_step": self.step,
            "encoder_schedule_steps": self.schedule,
        }
        if self.epoch is not None:
            known["encoder_epoch"] = self.epoch
        if self.fingerprint:
            known["encoder_fingerprint"] = self.fingerprint
        if self.checkpoint:
            known["encoder_checkpoint"] = self.checkpoint
        return known

    @property
    def percent(self) -> float | None:
        """Share of the schedule that is done, in per cent with one decimal; None: not known.

        Rounded down: 100 is the end of the schedule and nothing before it.
        """
        if not self.schedule:
            return None
        return min(math.floor(1000 * self.step / self.schedule) / 10, 100.0)

    def words(self) -> str:
        """For people: ``step 3,900 of 19,500, 20 %``; of an encoder from elsewhere ``imported``."""
        if self[:2] == IMPORTED[:2]:
            return "imported"
        if self.percent is None:
            return f"step {self.step:,}"
        return f"step {self.step:,} of {self.schedule:,}, {self.percent:g} %"


IMPORTED = EncoderStep(0, 0)
"""Of an encoder that was trained elsewhere. A schedule of this program has at least one step."""


def at_checkpoint(pretraining: Record) -> EncoderStep | None:
    """How far the encoder is that a probe would read now; None where there is no checkpoint."""
    if pretraining.checkpoint_step is None:
        return None
    if pretraining.origin:
        return IMPORTED
    optim = pretraining.config.get("optim")
    epochs = _count(optim.get("epochs")) if isinstance(optim, Mapping) else None
    return EncoderStep(pretraining.checkpoint_step, pretraining.steps_per_epoch * (epochs or 0))


def proven_step(probe: Record, pretraining: Record | None) -> EncoderStep | None:
    """The step of a probe's encoder: as recorded, else where ``began_after`` proves it."""
    known = EncoderStep.of(probe.result)
    if known is not None or pretraining is None or pretraining.status != "finished":
        return known
    return at_checkpoint(pretraining) if began_after(probe, pretraining.ended) else None


def began_after(probe: Timed, end: float | None) -> bool:
    """Whether a probe of version 0.1 began when its pretraining had finished.

    Its result names no step, so the times of the two records are all there is to go by. A probe of
    a later version records the step before its first number: its times prove nothing, since the
    clock may have been set between the two runs.

    Args:
        probe: its record, or its entry in the index.
        end: unix seconds at which the pretraining ended; None: not known.
    """
    of_0_1 = probe.trained_seconds is None  # it kept no such account
    return of_0_1 and probe.started is not None and end is not None and probe.started >= end


def encoder_words(result: Mapping[str, Any]) -> str:
    """The step of the encoder that a result of a probe is about, for people."""
    found = EncoderStep.of(result)
    return NOT_RECORDED if found is None else found.words()


def _count(value: Any) -> int | None:
    # In the index every number of a result is a float; the record may have been edited.
    known = type(value) in (int, float) and 0 <= value <= 10**15  # neither NaN nor an infinity
    return int(value) if known else None


def _epochs(value: Any) -> float | None:
    known = type(value) in (int, float) and 0 <= value <= 10**15
    return float(value) if known else None
