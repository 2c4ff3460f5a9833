"""A linear classifier that is trained beside the encoder, and changes nothing of it.

Every way of computing a step has the features of its queries; it writes them into a tensor that
stays (``MoCo.kept``). Between two steps the classifier reads them there: no image is encoded twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.data.dataset import Dataset, holdout_split
from engine.pretrain.host_copies import HostCopies, Measured
from engine.pretrain.state_check import check_count, check_mapping, check_tensor
from engine.pretrain.training_state import TrainingState
from engine.runtime.worker_threads import one_thread_beside

EVERY_ON_A_CARD = 4
"""Steps between updates there, counted from the end of an epoch, so that each epoch has one. An
update is thirty small operations: 1 % of a step on two cores, but launched one by one they would be
more than that of a fused step, which takes 2 ms on a card."""

NO_LABELS = (
    "monitor.online_probe has nothing to measure: there is no image whose label could be withheld."
)

LEARNING_RATE = 3e-3
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8  # of Adam
_MOMENT_SHARE = 0.05  # of the newest batch in the running moments: they follow the encoder
_LEAST_VARIANCE = 1e-5

_STATE = ("weights", "first", "second", "mean", "variance", "sums")


class OnlineProbe:
    """A linear classifier of the features before the head, measured on withheld labels.

    The features are those that the steps compute: of augmented views, in training mode (BatchNorm
    with the statistics of its group, dropout), of an encoder that goes on changing. So its accuracy
    is below that of a probe of the same encoder, and says how the features grow, not what they are
    worth in the end. Hits are counted before the classifier is updated by their batch, and the rows
    whose labels are withheld (``holdout_split``: those of the kNN monitor) never update it.

    Softmax regression by Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1) at a constant rate,
    from weights of zero, on features that are standardised by running moments. No random numbers.

    Args:
        state: of the pretraining, which is read only, but that its model keeps features from now
            on. Steps must not be compiled or recorded yet.
        fit: int64 ``(N,)``, the labels to be trained on; -1 for all other images.
        held: int64 ``(N,)``, the labels that are withheld; -1 for all other images.
        classes: at least 1.

    Attributes:
        every: steps between updates.
    """

    def __init__(self, state: TrainingState, fit: Tensor, held: Tensor, classes: int) -> None:
        self._state, device = state, state.runtime.device
        self._features = state.model.keep_features(state.config.optim.batch_size)
        self._fit, self._held = fit.to(device), held.to(device)
        self._classes = torch.arange(classes, device=device)
        batch, width = self._features.shape
        self._inputs = torch.ones(batch, width + 1, device=device)  # the last one for the bias
        self._weights = torch.zeros(classes, width + 1, device=device)
        self._first, self._second = torch.zeros_like(self._weights), torch.zeros_like(self._weights)
        self._mean = torch.zeros(width, device=device)
        self._variance = torch.zeros(width, device=device)
        # Of this epoch: loss, rows and hits of the training, rows and hits of the withheld labels.
        # float32 counts up to 16 million.
        self._sums = torch.zeros(5, device=device)
        self._updates = 0
        self.every = EVERY_ON_A_CARD if state.static else 1
        self._copies = HostCopies(device)

    def after_step(self) -> None:
        """Update by the batch of the last step, and end the epoch, where these are due."""
        left = -self._state.step % self._state.steps_per_epoch
        if left % self.every == 0:
            self.update()
        if left == 0:
            self._copies.send(self._state.step, (), self._sums.clone())
            self._sums.zero_()

    def update(self) -> None:
        """Count the hits of the last batch, then train on it; waits for nothing."""
        # The same bits with any number of threads.
        with torch.no_grad(), one_thread_beside(self._state.runtime.device):
            self._train(self._standardised())

    def _standardised(self) -> Tensor:
        """The features of the batch with a column of ones, ``(B, D + 1)``."""
        variance, mean = torch.var_mean(self._features, dim=0, correction=0)
        share = max(_MOMENT_SHARE, 1.0 / (self._updates + 1))
        self._mean.lerp_(mean, share)
        self._variance.lerp_(variance, share)
        scaled = self._inputs[:, :-1]
        torch.sub(self._features, self._mean, out=scaled)
        scaled.mul_(torch.rsqrt(self._variance + _LEAST_VARIANCE))
        return self._inputs

    def _train(self, inputs: Tensor) -> None:
        batch = self._state.batch
        assert batch is not None  # of the step whose features they are
        fit, held = self._fit.index_select(0, batch), self._held.index_select(0, batch)
        scores = inputs @ self._weights.T  # (B, C)
        logarithms = torch.log_softmax(scores, dim=1)
        guesses = scores.argmax(1)
        right = fit.unsqueeze(1) == self._classes  # (B, C); of a row without a label none
        known = fit >= 0
        rows = known.sum()
        found = (
            -(logarithms * right).sum(),
            rows,
            (guesses == fit).sum(),
            (held >= 0).sum(),
            (guesses == held).sum(),
        )
        self._sums += torch.stack([value.float() for value in found])
        errors = (logarithms.exp() - right.float()) * known.unsqueeze(1)
        self._descend(errors.T @ inputs / rows.clamp(min=1))

    def _descend(self, gradient: Tensor) -> None:
        self._updates += 1
        of_first, of_second = _BETAS
        self._first.lerp_(gradient, 1.0 - of_first)
        self._second.mul_(of_second).addcmul_(gradient, gradient, value=1.0 - of_second)
        unbiased = self._second / (1.0 - of_second**self._updates)
        rate = LEARNING_RATE / (1.0 - of_first**self._updates)
        self._weights.addcdiv_(self._first, unbiased.sqrt_().add_(_EPSILON), value=-rate)

    def read(self, *, wait: bool = False) -> list[Measured]:
        """The epochs that have arrived on the host.

        Args:
            wait: for all that have ended.
        """
        found = []
        for step, _, (sums,) in self._copies.read(wait=wait):
            loss, rows, hits, held, held_hits = sums.tolist()
            values = {}
            if held:
                values["online/top1"] = 100.0 * held_hits / held
            if rows:
                values["online/train_top1"] = 100.0 * hits / rows
                values["online/loss"] = loss / rows
            if values:
                found.append(Measured(step, values))
        return found

    def state_dict(self) -> dict[str, Any]:
        """Everything that later updates and figures depend on. What has not been read is lost."""
        tensors = {name: getattr(self, f"_{name}") for name in _STATE}
        return {**tensors, "updates": self._updates}

    def load_state_dict(self, state: object) -> None:
        """Puts back what ``state_dict`` gave.

        Raises:
            DamagedFileError: when it is no state of such a probe; nothing has changed then.
        """
        found = check_mapping(state, "online_probe")
        for name in _STATE:
            check_tensor(found.get(name), getattr(self, f"_{name}"), f"online_probe.{name}")
        self._updates = check_count(found.get("updates"), None, "online_probe.updates")
        for name in _STATE:
            getattr(self, f"_{name}").copy_(found[name])


def numbers_kept(monitored: bool, dataset: Dataset, width: int) -> int:
    """How many float32 numbers a checkpoint holds of the online probe; 0 where there is none.

    Args:
        monitored: ``monitor.online_probe``.
        dataset: whose training images are pretrained on.
        width: of the features.
    """
    if not monitored or not dataset.train.labelled:
        return 0
    of_classes = 3 * len(dataset.class_names) * (width + 1)  # the weights and Adam's two moments
    return of_classes + 2 * width + 5  # mean and variance; the sums of the epoch


def probe_beside(state: TrainingState, dataset: Dataset) -> OnlineProbe | None:
    """The online probe of a pretraining; None where no label can be withheld, or it is not wanted.

    Args:
        state: of the pretraining, before its steps are compiled or recorded.
        dataset: whose training images are pretrained on.
    """
    config, labels = state.config, dataset.train.labels
    if not config.monitor.online_probe or not dataset.train.labelled:
        return None
    bank, withheld = holdout_split(labels, config.data.holdout, config.runtime.seed)
    if not len(withheld):
        return None
    fit, held = torch.full_like(labels, -1), torch.full_like(labels, -1)
    fit[bank], held[withheld] = labels[bank], labels[withheld]
    return OnlineProbe(state, fit, held, len(dataset.class_names))
