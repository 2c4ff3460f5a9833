"""Batch normalisation over interleaved groups of the batch, against the leak of MoCo's queries.

BatchNorm lets the samples of a batch see each other, and a contrastive net can use that to tell
which key belongs to which query (arXiv:1911.05722, section 3.3). Where the paper spreads a batch
over several GPUs, one device can normalise groups of the batch apart.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class SplitBatchNorm2d(nn.Module):
    """BatchNorm2d that normalises ``num_splits`` groups of a batch apart.

    In training, sample ``n`` belongs to group ``n mod num_splits``. When ``V`` views stand one
    after another in the batch (see ``set_views``), each view is split on its own. The running
    statistics move by the mean over the groups of the groups' mean and unbiased variance, once for
    each view in turn, as ``V`` separate passes would have moved them. In eval mode it is
    BatchNorm2d. Parameters, buffers and their names are those of BatchNorm2d.

    Statistics, weight and bias are float32 whatever the input is; the output has the dtype and the
    memory format of the input.

    Args:
        num_features: channels ``C``.
        num_splits: groups of a view, ``S``; 1 is BatchNorm2d.
        eps: added to the variance.
        momentum: share of a new statistic in the running one.

    Shape:
        ``(V * B, C, H, W)`` to the same, with ``B`` a multiple of ``num_splits`` in training.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, num_features: int, num_splits: int, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.num_splits = num_splits
        self.eps = eps
        self.momentum = momentum
        self.views = 1
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``.

        Raises:
            ValueError: in training, when the groups do not divide the batch, or a group would
                have a single value a channel.
        """
        if not self.training:
            return F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=False,
                eps=self.eps,
            )
        groups = self.groups(x)
        if groups == 1:
            self.num_batches_tracked.add_(1)
            return F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                True,
                self.momentum,
                self.eps,
            )
        if self.views == 1 and x.is_contiguous():
            # (B, C, H, W) viewed as (B / S, S * C, H, W): sample n = a * S + j becomes channels
            # j * C to (j + 1) * C of row a, so torch's kernel normalises every group apart. With
            # momentum 1 its "running" statistics are those of this batch. They begin as zeros,
            # since the kernel multiplies what it replaces by 0, which is NaN for infinities.
            means = self.running_mean.new_zeros(groups * self.num_features)
            variances = torch.zeros_like(means)
            out = F.batch_norm(
                x.view(-1, groups * self.num_features, *x.shape[2:]),
                means,
                variances,
                self.weight.repeat(groups),
                self.bias.repeat(groups),
                True,
                1.0,
                self.eps,
            ).view(x.shape)
        else:
            out, means, variances = _NormaliseGroups.apply(
                x, self.weight, self.bias, self.views, self.num_splits, self.eps
            )
            out = out.reshape(x.shape)
        shape = (self.views, self.num_splits, self.num_features)
        self.track(means.view(shape), variances.view(shape))
        return out

    def groups(self, x: Tensor) -> int:
        """The number of groups of ``x`` in training, of all views.

        Raises:
            ValueError: as of ``forward``.
        """
        groups = check_groups(x.shape[0], self.views, self.num_splits)
        if x.shape[0] // groups * x.shape[2] * x.shape[3] == 1:
            raise ValueError(
                f"A BatchNorm group of one value a channel (input {tuple(x.shape)}, "
                f"{groups} groups) has no variance; the batch must be larger."
            )
        return groups

    @torch.no_grad()
    def track(self, means: Tensor, variances: Tensor) -> None:
        """Move the running statistics by those of each group, ``(V, S, C)``, view by view."""
        for mean, variance in zip(means.mean(1), variances.mean(1), strict=True):
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(len(means))

    def extra_repr(self) -> str:
        """What ``print`` shows of the layer."""
        return f"{self.num_features}, splits={self.num_splits}"


class _NormaliseGroups(torch.autograd.Function):
    """Groups of any memory format, ``apply(x, weight, bias, views, splits, eps)``.

    The gradient is written out, as BatchNorm kernels have it (Ioffe and Szegedy, arXiv:1502.03167,
    section 3): one sum over each group, then one passage over the values. Derived from the forward
    pass operation by operation it would move twice as much, half of it in float32.

    Only dimensions that lie next to each other in the logical order are split, which is a view for
    contiguous and for channels_last input alike.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, views: int, splits: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The output by groups, and the means and unbiased variances of the groups.

        Returns:
            The output (V, B / S, S, C, H, W), a tensor of its own, so that operations in place may
            follow; means and variances (V, 1, S, C, 1, 1).
        """
        batch, channels, height, width = x.shape
        rows = batch // (views * splits)
        values = at_least_float32(x.view(views, rows, splits, channels, height, width))
        variance, mean = torch.var_mean(values, dim=(1, 4, 5), correction=0, keepdim=True)
        inverse = torch.rsqrt(variance + eps)
        scale = _per_channel(weight) * inverse
        out = (values - mean) * scale + _per_channel(bias)
        # Up to torch 2.11 a compiled function that returns a conversion which changes nothing has
        # no gradient: exactly zero, without a word.
        if out.dtype != x.dtype:
            out = out.to(x.dtype)
        # The input in its own dtype; the normalised values are computed from it again.
        ctx.save_for_backward(x, weight, mean, inverse)
        count = rows * height * width
        variance = variance * (count / (count - 1))  # biased to normalise, unbiased to report
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """The gradients towards input, weight and bias."""
        x, weight, mean, inverse = ctx.saved_tensors
        views, _, splits, channels, _, _ = mean.shape
        shape = (views, len(x) // (views * splits), splits, channels, *x.shape[2:])
        values = (at_least_float32(x.view(shape)) - mean) * inverse
        grad = at_least_float32(grads[0])
        group = (1, 4, 5)
        grad_bias = grad.sum(group, keepdim=True)  # (V, 1, S, C, 1, 1)
        grad_weight = (grad * values).sum(group, keepdim=True)
        count = values[0, :, 0, 0].numel()  # values of a channel in a group
        grad_x = grad - (grad_bias + values * grad_weight) / count
        grad_x = (grad_x * (_per_channel(weight) * inverse)).to(x.dtype).reshape(x.shape)
        all_groups = (0, 1, 2, 4, 5)
        return grad_x, grad_weight.sum(all_groups), grad_bias.sum(all_groups), None, None, None


def _per_channel(values: Tensor) -> Tensor:
    """``(C,)`` to ``(C, 1, 1)``, which broadcasts over groups and pixels."""
    return values.view(-1, 1, 1)


def at_least_float32(values: Tensor) -> Tensor:
    """float64 as it is, everything else as float32."""
    return values if values.dtype == torch.float64 else values.float()


def check_groups(images: int, views: int, splits: int) -> int:
    """The number of BatchNorm groups of a batch.

    Raises:
        ValueError: when they do not divide it.
    """
    groups = views * splits
    if images % groups:
        raise ValueError(
            f"A batch of {images} images ({views} view{'s' * (views > 1)}) cannot be split into "
            f"{splits} BatchNorm groups a view; its size must be a multiple of {groups}."
        )
    return groups


def set_views(module: nn.Module, n: int) -> None:
    """Tell every SplitBatchNorm2d in ``module`` that batches hold ``n`` views one after another."""
    for layer in module.modules():
        if isinstance(layer, SplitBatchNorm2d):
            layer.views = n
