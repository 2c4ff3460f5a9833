"""The settings of SGD and its schedule."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class OptimConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """SGD and its schedule."""

    epochs: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="length of the schedule", extra={"unit": "epochs"}),
    ] = 2500
    # Part of a long schedule can be trained: with ``epochs`` lowered the cosine would fall faster.
    stop_epoch: Annotated[
        int,
        Meta(
            ge=0,
            description="end after this many epochs without changing the schedule; 0: never early",
            extra={"unit": "epochs"},
        ),
    ] = 0
    batch_size: Annotated[
        int, Meta(ge=2, le=65536, description="pairs in a step", extra={"unit": "pairs"})
    ] = 512
    # 0.06 for 512 pairs as in the CIFAR-10 demo; not scaled when ``batch_size`` changes.
    lr: Annotated[float, Meta(gt=0.0, le=1000.0, description="learning rate at the start")] = 0.06
    # Goyal et al., arXiv:1706.02677, section 2.2: for large batches.
    warmup_epochs: Annotated[
        int,
        Meta(
            ge=0,
            description="epochs in which the learning rate rises to lr, step by step; 0: none",
            extra={"unit": "epochs"},
        ),
    ] = 0
    sgd_momentum: Annotated[float, Meta(ge=0.0, lt=1.0, description="momentum of SGD")] = 0.9
    weight_decay: Annotated[float, Meta(ge=0.0, le=1.0, description="weight decay of SGD")] = 5e-4
    schedule: Annotated[
        Literal["cosine", "step"],
        Meta(description="cosine to zero, or a drop at each milestone"),
    ] = "cosine"
    # A drop by 10 at epochs 120 and 160 of 200: the paper's ImageNet schedule (section 4).
    milestones: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        Meta(description="epochs at which the step schedule drops", extra={"unit": "epochs"}),
    ] = (120, 160)
    drop_factor: Annotated[
        float, Meta(gt=0.0, le=1.0, description="factor of each drop of the step schedule")
    ] = 0.1
