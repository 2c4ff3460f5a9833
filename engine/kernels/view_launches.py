"""Launch of the kernel that makes views."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.triton_views import views_kernel
from engine.kernels.view_plan import ViewPlan


def launch_views(
    images: Tensor,
    numbers: Tensor,
    table: Tensor,
    plan: ViewPlan,
    dtype: torch.dtype,
    precise: bool,
) -> Tensor:
    """Views of images; view ``n`` is of image ``n % B``.

    Args:
        images: uint8 ``(B, 3, H, W)``, contiguous.
        numbers: float32 ``(N, 38)``, contiguous, uniform in [0, 1).
        table: float32 ``(3, 38)``, contiguous; see ``triton_views``.
        plan: the operations.
        dtype: of the result, float32 or bfloat16.
        precise: take the exponential of torch on a card, to the bit; the interpreter has none.

    Returns:
        ``(N, 3, size, size)``, normalised, channels_last.
    """
    count, _, height, width = images.shape
    shape = (len(numbers), plan.size, plan.size, 3)
    out = torch.empty(shape, dtype=dtype, device=images.device).permute(0, 3, 1, 2)
    views_kernel[(len(numbers),)](
        images,
        numbers,
        table,
        out,
        count,
        HEIGHT=height,
        WIDTH=width,
        SIZE=plan.size,
        TILE=plan.tile,
        GEOMETRY=plan.packed_geometry,
        PHOTOMETRY=plan.packed_photometry,
        HALF=plan.half,
        BLENDS=plan.blends,
        SHIFTS=plan.shifts,
        PRECISE=precise,
        num_warps=plan.warps,
        enable_fp_fusion=False,  # see triton_views
    )
    return out
