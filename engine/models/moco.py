"""Momentum contrast: two encoders, a queue of keys and the contrastive loss.

He et al., arXiv:1911.05722 (section 3), with the head of arXiv:2003.04297 as an option.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config.data.data_set import SIZE
from engine.config.moco_schema import MocoConfig
from engine.config.schema import ModelConfig
from engine.models.dropout import Dropout
from engine.models.encoder import Encoder, build_encoder
from engine.models.info_nce import info_nce
from engine.models.split_batchnorm import at_least_float32, set_views


class MoCo(nn.Module):
    """Query encoder, momentum (key) encoder and the queue of keys.

    A step is, in this order: ``momentum_update``, ``loss``, ``backward`` of the loss, that of the
    optimizer, ``enqueue``. So no query meets the other view of its own image in the queue. The
    momentum update comes first as in https://github.com/facebookresearch/moco; algorithm 1 of the
    paper has it after the optimizer.

    The key encoder drops no units, its BatchNorm always uses the statistics of the batch, and no
    gradient reaches it. Everything is initialised from torch's default generator.

    Args:
        model: the encoder.
        moco: the method.
        size: height and width of the images, in pixels.

    Attributes:
        queue: float32 ``(K, dim)``, the oldest key at ``queue_ptr``.
        queue_ptr: int64 scalar.
        kept: float32 ``(B, feature_dim)``, the features of the queries of the first view at the
            last step, before the head and without a gradient; None: nobody wants them. Stays at its
            address, so that a recorded step can write it; not part of the state.
    """

    queue: Tensor
    queue_ptr: Tensor
    pull: Tensor | None
    kept: Tensor | None

    def __init__(self, model: ModelConfig, moco: MocoConfig, size: int = SIZE) -> None:
        super().__init__()
        self.momentum = moco.momentum
        # 1 - m where that changes: on the device, since a recorded step repeats its numbers. Not
        # part of the state: the step says it.
        scheduled = moco.momentum_schedule != "constant"
        pull = torch.tensor(1.0 - moco.momentum) if scheduled else None
        self.register_buffer("pull", pull, persistent=False)
        self.temperature = moco.temperature
        self.symmetric = moco.symmetric
        self.shuffle_keys = moco.shuffle_keys
        self.encoder_q = build_encoder(model, size)
        # Both encoders start with the same weights; only encoder_q is trained.
        self.encoder_k: Encoder = copy.deepcopy(self.encoder_q).requires_grad_(False)
        for module in self.encoder_k.modules():
            if isinstance(module, Dropout):
                module.p = 0.0
        # Random unit vectors until real keys have taken their places, as in the authors' code.
        queue = F.normalize(torch.randn(moco.queue_size, model.dim), dim=1)
        self.register_buffer("queue", queue)  # (K, dim), the oldest key at queue_ptr
        self.register_buffer("queue_ptr", torch.zeros((), dtype=torch.int64))
        self.register_buffer("kept", None, persistent=False)

    def train(self, mode: bool = True) -> MoCo:
        """As of any module, but the key encoder's BatchNorm stays with the batch's statistics."""
        super().train(mode)
        self.encoder_k.train()
        return self

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """What the optimizer holds: the parameters of encoder_q and nothing else."""
        return self.encoder_q.parameters()

    def keep_features(self, batch: int) -> Tensor:
        """Have each step from now on write the features of its queries into ``kept``.

        To be called before a step is compiled or recorded.

        Args:
            batch: B, pairs in a step.

        Returns:
            ``kept``.
        """
        width = self.encoder_q.feature_dim
        self.kept = torch.zeros(batch, width, device=self.queue.device)
        return self.kept

    def loss(
        self, view_1: Tensor, view_2: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The contrastive loss of a batch of pairs, and the keys to enqueue after the step.

        Each direction is InfoNCE (eq. 1) with the queue as it stands as negatives; the symmetric
        loss is the sum of both. Under ``torch.autocast`` the encoders run in its dtype; the
        embeddings are normalised and compared in float32.

        Args:
            view_1: ``(B, 3, H, W)`` normalised images; the queries when not symmetric.
            view_2: the other view of the same images.
            generator: draws the shuffling of the keys, on the images' device or the CPU; None:
                the default generator of the images' device.

        Returns:
            The loss, a float32 scalar with a gradient towards encoder_q, and the keys, ``(M, dim)``
            float32 without a gradient: M = 2B (view_1's, then view_2's) or B (view_2's).

        Raises:
            ValueError: when the BatchNorm groups do not divide the batch.
        """
        return self.loss_in_order(view_1, view_2, self.key_order(view_1, generator))

    def key_order(self, view: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """The order in which the keys of a step are encoded, int64, or None: as they stand.

        Against the leak through BatchNorm (section 3.3, "shuffling BN"): a key then is normalised
        with other samples than its query. Each view of the keys is shuffled on its own: (2B,), or
        (B,) when not symmetric.
        """
        if not self.shuffle_keys:
            return None
        batch, views = len(view), 2 if self.symmetric else 1
        return torch.cat(
            [number * batch + shuffle(batch, generator, view.device) for number in range(views)]
        )

    def loss_in_order(
        self, view_1: Tensor, view_2: Tensor, order: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """``loss`` with the keys encoded in an order drawn before: no randomness but dropout's."""
        if not self.symmetric:
            query = self.embed(self.encoder_q, view_1, 1, self.kept)
            keys = self._keys(view_2, 1, order)
            return self.contrast(query, keys), keys
        views = torch.cat((view_1, view_2))  # (2B, 3, H, W): one pass in place of two
        query = self.embed(self.encoder_q, views, 2, self.kept)
        keys = self._keys(views, 2, order)
        return self.contrast(query, keys), keys

    def contrast(self, query: Tensor, keys: Tensor) -> Tensor:
        """The loss of some pairs whose views are encoded: InfoNCE, symmetric as the sum of both.

        Args:
            query: ``(V * n, dim)`` of unit length: of the first view, or of both views in turn.
            keys: ``(V * n, dim)``: of the second view, or of both views in turn as well.

        Returns:
            A scalar with a gradient towards ``query``.
        """
        if not self.symmetric:
            return info_nce(query, keys, self.queue, self.temperature)
        query_1, query_2 = query.chunk(2)
        key_1, key_2 = keys.chunk(2)
        return info_nce(query_1, key_2, self.queue, self.temperature) + info_nce(
            query_2, key_1, self.queue, self.temperature
        )

    def embed(
        self, encoder: Encoder, images: Tensor, views: int, kept: Tensor | None = None
    ) -> Tensor:
        """``(V * B, dim)`` float32 embeddings of unit length; ``kept`` gets the first features.

        Args:
            encoder: ``encoder_q`` or ``encoder_k``.
            images: ``(V * B, 3, H, W)``, normalised, one view after the other.
            views: V.
            kept: ``(B, feature_dim)``, written; None: nobody wants the features.
        """
        return self._unit(self._embeddings(encoder, images, views, kept), None)

    def _embeddings(
        self, encoder: Encoder, images: Tensor, views: int, kept: Tensor | None = None
    ) -> Tensor:
        """As ``embed``, of the length and dtype that the encoder gives."""
        set_views(encoder, views)  # BatchNorm normalises each view apart, as two passes would
        try:
            features = encoder.features(images)
        finally:
            set_views(encoder, 1)
        if kept is not None:
            kept.copy_(features.detach()[: len(kept)])
        return encoder.project(features)

    def _unit(self, embeddings: Tensor, order: Tensor | None) -> Tensor:
        """Embeddings of unit length, at least float32, that of row ``i`` in row ``order[i]``."""
        with torch.autocast(embeddings.device.type, enabled=False):
            unit = F.normalize(at_least_float32(embeddings), dim=1)
        return unit if order is None else torch.empty_like(unit).index_copy_(0, order, unit)

    def _in_order(self, images: Tensor, order: Tensor) -> Tensor:
        """Image ``order[i]`` at place ``i``."""
        return images.index_select(0, order)

    @torch.no_grad()
    def _keys(self, images: Tensor, views: int, order: Tensor | None) -> Tensor:
        """``(V * B, dim)`` keys in the order of ``images``, encoded in ``order``."""
        shuffled = images if order is None else self._in_order(images, order)
        return self._unit(self._embeddings(self.encoder_k, shuffled, views), order)

    @torch.no_grad()
    def momentum_update(self) -> None:
        """Move the key encoder's parameters towards the query encoder's (eq. 2), in float32.

        The buffers of the key encoder are its own running statistics and are not touched.
        """
        # k + (1 - m) (q - k) = m k + (1 - m) q, for all parameters in one call
        keys: list[Tensor] = list(self.encoder_k.parameters())
        queries: list[Tensor] = list(self.encoder_q.parameters())
        if self.pull is None:
            torch._foreach_lerp_(keys, queries, 1.0 - self.momentum)
            return
        # The same written out: lerp takes no weight from the device for all of them.
        differences = list(torch._foreach_sub(queries, keys))
        torch._foreach_mul_(differences, self.pull)
        torch._foreach_add_(keys, differences)

    def set_momentum(self, momentum: float) -> None:
        """Use this momentum from now on, also in a recorded step.

        Args:
            momentum: m, in [0, 1].

        Raises:
            ValueError: when it is another one and the model was made for a constant momentum.
        """
        if momentum == self.momentum:
            return
        if self.pull is None:
            raise ValueError("the momentum of this model is constant")
        self.momentum = momentum
        self.pull.fill_(1.0 - momentum)  # a scalar: the host does not wait

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Put ``keys`` ``(M, dim)`` over the oldest of the queue; the newest K stay when M > K.

        M need not divide K. Without a host synchronisation, and with static shapes, so that it can
        be captured: a slice from queue_ptr on would need its value on the host.
        """
        size, count = len(self.queue), len(keys)
        kept = min(size, count)
        offsets = torch.arange(count - kept, count, device=self.queue.device)
        self.queue.index_copy_(
            0, (self.queue_ptr + offsets) % size, keys[count - kept :].to(self.queue.dtype)
        )
        self.queue_ptr.copy_((self.queue_ptr + count) % size)

    def extra_repr(self) -> str:
        """What ``print`` shows of the method."""
        return (
            f"queue={tuple(self.queue.shape)}, momentum={self.momentum}, "
            f"temperature={self.temperature}, symmetric={self.symmetric}"
        )


def shuffle(n: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """A random permutation of ``n`` as int64 on ``device``, drawn where the generator lives.

    Sorting random numbers can be captured in a CUDA graph; equal numbers (of 24 bits) keep their
    order, which for 512 images concerns one pair in a hundred permutations.
    """
    place = device if generator is None else generator.device
    numbers = torch.rand(n, generator=generator, device=place)
    return numbers.argsort(stable=True).to(device, non_blocking=True)
