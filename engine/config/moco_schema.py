"""Settings of momentum contrast."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class MocoConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Momentum contrast (arXiv:1911.05722; sections in the comments are the paper's)."""

    # Section 3.2, "dictionary as a queue"; 65,536 for ImageNet, 4,096 in the CIFAR-10 demo.
    queue_size: Annotated[
        int,
        Meta(ge=1, le=4_194_304, description="keys in the dictionary, K", extra={"unit": "keys"}),
    ] = 4096
    # Equation 2. The paper has 0.999 for ImageNet; 0.99 is that of the CIFAR-10 demo.
    momentum: Annotated[
        float, Meta(ge=0.0, le=1.0, description="momentum m of the key encoder")
    ] = 0.99
    # That of BYOL (arXiv:2006.07733, section 3.2) and MoCo v3 (arXiv:2104.02057).
    momentum_schedule: Annotated[
        Literal["constant", "cosine"],
        Meta(description="of m: constant, or from it to 1 along half a cosine over all steps"),
    ] = "constant"
    # Tau of equation 1, 0.07 by section 3.3.
    temperature: Annotated[
        float, Meta(gt=0.0, le=100.0, description="temperature of the softmax")
    ] = 0.07
    # The paper's loss has one direction; the CIFAR-10 demo offers both.
    symmetric: Annotated[
        bool, Meta(description="sum the losses of both directions; else one direction")
    ] = True
    # Section 3.3, "shuffling BN": statistics of one group would tell which key belongs to a query.
    shuffle_keys: Annotated[
        bool, Meta(description="shuffle the keys' batch so that BatchNorm groups differ")
    ] = True
