"""A step of one pretraining that several ranks compute together.

W ranks with B / W pairs each do what one process does with B pairs. Every rank holds the whole
state (``TrainingState``), and draws the order of the images, their augmentations and the shuffling
of the keys for the whole batch, from the same streams as one process; then it takes its part:

- of the queries, those of the samples n with n mod W = rank, which are whole BatchNorm groups;
- of the keys, those that stand at such places once all keys are shuffled. So a key is normalised
  among other samples than its query, and mostly on another rank: the shuffling BN of
  arXiv:1911.05722, section 3.3. An image is augmented where it is encoded, so that no images need
  be sent.

All ranks then exchange the keys, by which their queues stay the same, and the mean of the
gradients, of the loss and of BatchNorm's running statistics, by which everything else does. Of
dropout, each rank draws masks of its own: that alone is not as one process would draw it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from engine.config.schema import PretrainConfig
from engine.errors import ConfigError
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.pretrain.plain_step import StepKind, augmented
from engine.pretrain.training_state import TrainingState
from engine.runtime.process_group import Ranks
from engine.seeds import stream_seed


def check_ranks(config: PretrainConfig, ranks: int) -> None:
    """Refuses a number of ranks that does not divide the batch and its BatchNorm groups.

    Raises:
        ConfigError: naming the setting.
    """
    batch, splits = config.optim.batch_size, config.model.bn_splits
    for key, value in (("optim.batch_size", batch), ("model.bn_splits", splits)):
        if value % ranks:
            raise ConfigError(
                f"{key} is {value}, which {ranks} ranks cannot share; it must be a multiple of "
                f"{ranks}.",
                key,
            )


class RankStep:
    """This rank's part of the step that ``PlainStep`` computes; see the module.

    Args:
        state: of the pretraining, the whole one.
        ranks: all of them.

    Raises:
        ConfigError: when they cannot share a batch.
    """

    kind: StepKind = "plain"

    def __init__(self, state: TrainingState, ranks: Ranks) -> None:
        check_ranks(state.config, ranks.world)
        self.state, self.ranks = state, ranks
        self.augment = augmented
        batch, device = state.config.optim.batch_size, state.runtime.device
        views = 2 if state.model.symmetric else 1
        self._rows = torch.arange(ranks.rank, batch, ranks.world, device=device)  # of a view
        offsets = torch.arange(views, device=device).unsqueeze(1) * batch
        self._all_rows = (offsets + self._rows).reshape(-1)  # of the views that are encoded
        self._norms = [m for m in state.model.modules() if isinstance(m, SplitBatchNorm2d)]
        self._state_is_shared = False

    # ---------------------------------------------------------------------- what rank 0 tells

    def prepare(self) -> list[str]:
        """As in ``Step``: rank 0 gives its state to the others, which all continue from there."""
        if not self.ranks.is_first or self._state_is_shared:
            return []
        state = self.state.state_dict()
        facts = {"bfloat16": self.state.runtime.bfloat16, "folder": self.ranks.folder}
        self.ranks.share({"state": state, **facts})
        self._state_is_shared = True
        notices = [
            f"{self.ranks.world} ranks share each step over {self.ranks.backend}: it is computed "
            "plainly, since steps that are recorded, fused or computed group by group are of one "
            "process"
        ]
        if any(isinstance(module, _BatchNorm) for module in self.state.model.modules()):
            notices.append(
                "the encoder has BatchNorm of torch's own, which normalises the part of each rank "
                "by itself: one process would normalise the whole batch together"
            )
        return notices

    def take(self, shared: Mapping[str, Any]) -> None:
        """On the other ranks: continue from what rank 0 has shared.

        Raises:
            UserError: when it is of another configuration or device.
        """
        self.state.load_state_dict(shared["state"])
        # As rank 0 has resolved or recorded it; another processor might have chosen otherwise.
        self.state.runtime = replace(self.state.runtime, bfloat16=shared["bfloat16"])
        self.ranks.folder = shared["folder"]

    def release(self) -> None:
        """The state is another one: it has to be shared anew."""
        self._state_is_shared = False

    def close(self) -> None:
        """Lets the other ranks go."""
        self.ranks.end()

    # ---------------------------------------------------------------------- the step

    def __call__(self, indices: Tensor) -> Tensor:
        """As in ``Step``; every rank has to be called with the same indices.

        Raises:
            TrainingError: a rank is lost.
        """
        if self.ranks.is_first:
            self.ranks.announce_step()
        state, model = self.state, self.state.model
        order = model.key_order(indices, state.shuffle_generator)
        queries, key_images = self._views(indices, order)
        model.momentum_update()
        self._seed_dropout()
        kept = None if model.kept is None else torch.zeros_like(model.kept[: len(self._rows)])
        precision = torch.autocast(
            state.runtime.device.type, dtype=torch.bfloat16, enabled=state.runtime.bfloat16
        )
        with precision, self._groups_of_a_rank():
            query = model.embed(model.encoder_q, queries, self._views_encoded, kept)
            with torch.no_grad():
                encoded = model.embed(model.encoder_k, key_images, self._views_encoded)
        keys = self._exchange(encoded, kept, order)
        loss = model.contrast(query, keys.index_select(0, self._all_rows))
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        loss = self._average(loss.detach())
        state.note_gradient()
        state.optimizer.step()
        model.enqueue(keys)  # last: see PlainStep
        return loss

    @property
    def _views_encoded(self) -> int:
        return 2 if self.state.model.symmetric else 1

    def _views(self, indices: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
        """The images that this rank encodes as queries and as keys, each view behind the other.

        Args:
            indices: int64 ``(B,)``, the images of the whole batch.
            order: of all keys, see ``MoCo.key_order``.

        Returns:
            ``(V * B / W, 3, H, W)`` both.
        """
        state, batch = self.state, len(indices)
        numbers = state.augmenter.uniform_numbers(
            2 * batch, state.augment_generator, state.own_generators
        ).to(state.images.device)
        # Rows of both views of the batch, the second ones behind the first.
        queries = self._all_rows
        keys = queries if order is None else order.index_select(0, queries)
        if not state.model.symmetric:
            keys = keys + batch
        rows = torch.cat((queries, keys))
        images = state.images.index_select(0, indices.index_select(0, rows % batch))
        views = self.augment(state, images, numbers.index_select(0, rows))
        return views[: len(queries)], views[len(queries) :]

    def _exchange(self, encoded: Tensor, kept: Tensor | None, order: Tensor | None) -> Tensor:
        """All keys of the step in the order of the batch, ``(V * B, dim)``.

        The features of the queries of all ranks go into ``MoCo.kept``, where somebody wants them.
        """
        parts = [encoded] if kept is None else [encoded, kept.to(encoded.dtype)]
        found = self.ranks.gather(parts)
        if kept is not None and self.state.model.kept is not None:
            self.state.model.kept.copy_(self._joined(found[1], 1))
        keys = self._joined(found[0], self._views_encoded)
        # Back from the places at which they were encoded.
        return keys if order is None else torch.empty_like(keys).index_copy_(0, order, keys)

    def _joined(self, parts: Tensor, views: int) -> Tensor:
        """The rows of all ranks ``(W, V * B / W, D)`` as those of the batch, ``(V * B, D)``."""
        world, rows, width = parts.shape
        by_view = parts.view(world, views, rows // views, width)
        return by_view.permute(1, 2, 0, 3).reshape(world * rows, width)

    def _average(self, loss: Tensor) -> Tensor:
        """Makes gradients, loss and statistics those of the whole batch; returns the loss."""
        model, loss = self.state.model, loss.clone()
        gradients = [p.grad for p in model.trainable_parameters() if p.grad is not None]
        # Running statistics move by the mean over groups, so their mean over the ranks is what the
        # groups of all ranks would have made of them.
        statistics = [
            buffer
            for encoder in (model.encoder_q, model.encoder_k)
            for buffer in encoder.buffers()
            if buffer.is_floating_point()
        ]
        self.ranks.average_([loss, *gradients, *statistics])
        return loss

    def _seed_dropout(self) -> None:
        """Gives this rank a stream of its own, which depends on the step and so needs no saving.

        Rank 0 goes on with that of one process, which the checkpoint holds.
        """
        if self.ranks.is_first:
            return
        state = self.state
        seed = stream_seed(state.config.runtime.seed, "dropout", self.ranks.rank, state.step)
        torch.default_generator.manual_seed(seed)
        if state.runtime.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    @contextlib.contextmanager
    def _groups_of_a_rank(self) -> Iterator[None]:
        """BatchNorm with this rank's share of the groups; beside steps it has all of them."""
        splits = [norm.num_splits for norm in self._norms]
        for norm, all_of_them in zip(self._norms, splits, strict=True):
            norm.num_splits = all_of_them // self.ranks.world
        try:
            yield
        finally:
            for norm, all_of_them in zip(self._norms, splits, strict=True):
                norm.num_splits = all_of_them
