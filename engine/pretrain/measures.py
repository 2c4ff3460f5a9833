"""What a pretraining measures of itself beside its steps, and changes nothing by it.

A sample of a few BatchNorm groups is augmented, encoded and compared with the queue just as a step
does it, between two steps and with random numbers of its own. So it is the same for every way of
computing steps (a recorded one cannot be asked for what it holds), and steps give the same bits
with and without it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.augment.augmenter import normalise
from engine.evaluate.contrast_measures import contrast
from engine.evaluate.embedding_measures import (
    alignment,
    dead_dimensions,
    effective_rank,
    spread,
    uniformity,
)
from engine.models.moco import shuffle
from engine.pretrain.host_copies import HostCopies, Measured
from engine.pretrain.observed_encoder import ObservedEncoder, weight_distance
from engine.pretrain.state_check import check_count, check_mapping, check_tensor
from engine.pretrain.training_state import TrainingState
from engine.runtime.worker_threads import one_thread_beside
from engine.seeds import stream_seed

SAMPLE = 256
"""Images of a sample, at least, as far as a batch has them: two BatchNorm groups or more."""
USUAL_EVERY = {"cpu": 100, "cuda": 1_000}
"""Steps between measures where the setting leaves it open, by the type of the device.

A sample costs about a quarter of a step on a CPU. On a card it is launched operation by operation
and takes as long as ten recorded steps or more (9 % of an H200's time at every 100 steps).
"""
_COMPARED = 256  # queries that are compared with the queue, at most
_PAIRED = 1024  # embeddings that are compared with each other, at most


class _Snapshot(NamedTuple):
    """Keys as they were encoded at a step, and the views that they were encoded from."""

    step: int
    views: Tensor  # (g, 3, H, W), one BatchNorm group
    keys: Tensor  # (g, dim)


def measure_due(step: int, steps_per_epoch: int, every: int, total: int) -> bool:
    """Whether there are measures after a step.

    At the ends of epochs that are about ``every`` steps apart, within longer epochs each ``every``
    steps as well, and at the end. It depends on the step alone, so that a resumed run measures at
    the same ones.

    Args:
        step: the steps done.
        steps_per_epoch: at least 1.
        every: steps between measures, about; at least 1.
        total: steps of the run.
    """
    if step == 0:
        return False
    epoch, place = divmod(step, steps_per_epoch)
    if place == 0:
        return step == total or epoch % max(1, round(every / steps_per_epoch)) == 0
    return step == total or (place % every == 0 and steps_per_epoch - place >= every / 2)


class Measures:
    """Measures a pretraining between its steps.

    Args:
        state: of the pretraining, which is read only.
        total: steps of the run.

    Attributes:
        queue_age: steps after which a key leaves the queue.
    """

    def __init__(self, state: TrainingState, total: int) -> None:
        self._state, self._total = state, total
        model, config = state.model, state.config
        batch, splits = config.optim.batch_size, config.model.bn_splits
        self._group = batch // splits
        self._groups = min(splits, max(2, -(-SAMPLE // self._group)))
        enqueued = batch * (2 if model.symmetric else 1)
        self.queue_age = len(model.queue) / enqueued
        self._enqueued = enqueued
        # Each draws its own dropout: a key is encoded without, as the model's.
        self._q = ObservedEncoder(model.encoder_q, state.runtime, dropout=True)
        self._k = ObservedEncoder(model.encoder_k, state.runtime, dropout=False)
        self._q_whole = ObservedEncoder(model.encoder_q, state.runtime, dropout=False)
        self._snapshot: _Snapshot | None = None
        self._copies = HostCopies(state.runtime.device)

    def state_dict(self) -> dict[str, Any]:
        """The keys of a sample that are not old enough yet, and their step; else empty.

        The views that they were encoded from are drawn anew: they depend on the step alone.
        """
        if self._snapshot is None:
            return {}
        return {"step": self._snapshot.step, "keys": self._snapshot.keys}

    def load_state_dict(self, state: object) -> None:
        """Takes ``state_dict`` out of a checkpoint of the same run.

        Raises:
            DamagedFileError: when it is no such state.
        """
        found = check_mapping(state, "measures")
        self._snapshot = None
        if not found:
            return
        device, dim = self._state.runtime.device, self._state.model.queue.shape[1]
        like = torch.empty(self._group, dim, device="meta")
        keys = check_tensor(found.get("keys"), like, "measures.keys")
        step = check_count(found.get("step"), self._state.step, "measures.step")
        with torch.no_grad(), one_thread_beside(device):
            views, order = self._sample(step)
        self._snapshot = _Snapshot(step, self._one_group(views[1], order), keys.to(device))

    def after_step(self) -> None:
        """Measure what is due after the last step of the state."""
        state = self._state
        self._follow()
        every = state.config.monitor.measure_every
        every = every or USUAL_EVERY.get(state.runtime.device.type, USUAL_EVERY["cpu"])
        if measure_due(state.step, state.steps_per_epoch, every, self._total):
            self.measure()

    def _follow(self) -> None:
        """Compare the keys of the last sample with what they would be now, once they are old."""
        snapshot, state = self._snapshot, self._state
        if snapshot is None or state.step - snapshot.step < max(1, int(self.queue_age)):
            return
        self._snapshot = None
        with torch.no_grad(), one_thread_beside(self._state.runtime.device):
            self._k.refresh()
            now = self._k.embed(snapshot.views, groups=1, seed=0)
            agreement = (now * snapshot.keys).sum(1).mean()
            self._send({"queue/agreement": agreement}, None)

    def measure(self) -> None:
        """Measure the state after its last step."""
        with torch.no_grad(), one_thread_beside(self._state.runtime.device):
            self._measure()

    def _measure(self) -> None:
        state, model = self._state, self._state.model
        views, order = self._sample(state.step)
        seed = stream_seed(state.config.runtime.seed, "measures", "dropout", state.step)
        for encoder in (self._q, self._k, self._q_whole):
            encoder.refresh()
        q = self._q.embed(views[0], groups=self._groups, seed=seed)
        shuffled = self._k.embed(views[1][order], groups=self._groups, seed=0)
        k = torch.empty_like(shuffled).index_copy_(0, order, shuffled)
        task = contrast(q[:_COMPARED], k[:_COMPARED], model.queue)
        few = q[:_PAIRED]
        group = self._one_group(views[1], order)
        alone = self._k.embed(group, groups=1, seed=0)
        as_query = self._q_whole.embed(group, groups=1, seed=0)
        if self._snapshot is None:
            self._snapshot = _Snapshot(state.step, group, alone)
        values = {
            "contrast/positive": task.positive,
            "contrast/negative": task.negative,
            "contrast/hardest": task.hardest,
            "contrast/gap": task.positive - task.negative,
            "contrast/top1": task.top1,
            "contrast/top5": task.top5,
            "encoders/distance": weight_distance(model.encoder_q, model.encoder_k),
            "encoders/agreement": (alone * as_query).sum(1).mean(),
            "embedding/spread": spread(few).mean(),
            "embedding/dead": dead_dimensions(few),
            "embedding/alignment": alignment(q, k),
            "embedding/uniformity": uniformity(few),
        }
        if state.gradient_norm is not None:
            values["train/gradient_norm"] = state.gradient_norm
        self._send(values, few)

    def _one_group(self, views: Tensor, order: Tensor) -> Tensor:
        """A group as the keys had it: no key is normalised with others than before."""
        return views[order][:: self._groups]

    def _sample(self, step: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Two views of some images, and the order in which their keys are encoded.

        Args:
            step: whose sample it is; nothing else decides.

        Returns:
            Views ``(n, 3, H, W)``, normalised; the order int64 ``(n,)``. All on the device.
        """
        state = self._state
        seed, device = state.config.runtime.seed, state.runtime.device
        count = self._group * self._groups
        generator = torch.Generator(device)
        generator.manual_seed(stream_seed(seed, "measures", step))
        indices = torch.randint(len(state.images), (count,), generator=generator, device=device)
        images = state.images.index_select(0, torch.cat((indices, indices)))
        numbers = state.augmenter.uniform_numbers(len(images), generator)
        params = state.augmenter.params(numbers)
        augmented = state.augmenter.apply(images, params, dense=True if state.static else None)
        views = normalise(augmented, state.mean, state.std)
        views = views.contiguous(memory_format=torch.channels_last)
        order = torch.arange(count, device=device)
        if state.model.shuffle_keys:
            order = shuffle(count, generator, device)
        return (views[:count], views[count:]), order

    def _send(self, values: dict[str, Tensor], embeddings: Tensor | None) -> None:
        """Begin to copy values to the host; the rank of the embeddings is worked out there."""
        stacked = torch.stack([value.float() for value in values.values()])
        rows = () if embeddings is None else (embeddings,)
        self._copies.send(self._state.step, tuple(values), stacked, *rows)

    def read(self, *, wait: bool = False) -> list[Measured]:
        """What has arrived on the host, in the order of the steps.

        Args:
            wait: for all that was measured.
        """
        found: list[Measured] = []
        for step, names, (stacked, *embeddings) in self._copies.read(wait=wait):
            values = dict(zip(names, stacked.tolist(), strict=True))
            if embeddings:
                with one_thread_beside(self._state.runtime.device):
                    values["embedding/rank"] = effective_rank(embeddings[0]).item()
                values["queue/filled"] = min(
                    1.0, step * self._enqueued / len(self._state.model.queue)
                )
            found.append(Measured(step, values))
        return found
