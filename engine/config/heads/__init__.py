"""The heads that a probe can fit to an encoder, each with its settings.

A head is two modules of one name and one line here: its settings (``engine/config/heads/NAME.py``,
a ``HeadConfig``) and its work (``engine/probe/NAME.py``, see ``engine.probe.head``). The settings
are a section of ``ProbeConfig`` under the name of the head, which must be an identifier.
"""

from __future__ import annotations

from engine.config.heads.finetune import FINETUNE
from engine.config.heads.linear import LINEAR
from engine.config.heads.logistic import LOGISTIC
from engine.config.registry import Registry

HEADS = Registry("head", (LINEAR, LOGISTIC, FINETUNE))
"""What ``head`` of a probe and ``heads`` of a study may name."""


def trains_encoder(head: str) -> bool:
    """Whether a head trains the encoder, as ``finetune`` does, or leaves it frozen."""
    settings = HEADS[head].settings if head in HEADS else None
    return getattr(settings, "trains_encoder", False)


def sections_of(head: str) -> tuple[str, ...]:
    """The sections of a probe's settings that the numbers of a head depend on, its own first."""
    settings = HEADS[head].settings if head in HEADS else None
    return (head, *getattr(settings, "depends_on", ()))


def draws_random(head: str) -> bool:
    """Whether the result of a head depends on ``runtime.seed``.

    For code of the user's own the answer is yes: a study then computes a probe once too often
    rather than take the result of another seed for it.
    """
    settings = HEADS[head].settings if head in HEADS else None
    return getattr(settings, "draws_random", True)
