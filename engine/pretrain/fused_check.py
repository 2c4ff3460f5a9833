"""Whether what the compiler made of a step computes what the step computes: asked on one batch.

A compiler may be wrong in silence: torch 2.11 gave a function that returns a conversion without
effect a gradient of exactly zero, and an encoder would never have trained. So a fused step is
accepted only after the functions that are to train, themselves, have agreed with those that were
compiled: views, loss, keys, statistics of BatchNorm, and the gradient of every parameter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from engine.models.moco import MoCo
from engine.pretrain.training_state import TrainingState
from engine.runtime.cuda_graph import preserved

Augment = Callable[[Tensor, Tensor], Tensor]
Loss = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
Amounts = dict[str, Tensor]
"""Of one computation, each on the host and in float32 or float64, by a name for people."""

#: Largest difference without a cause, relative to the length of what is compared.
NEAR = 1e-3
#: Views are changed by this share of themselves, to see how far roundings reach: 8 units in the
#: last place of float32, about what a net of twenty layers adds up.
LAST_PLACES = 1e-6
#: Draws of each kind where the step is random, as dropout makes it.
DRAWS = 16
#: Standard errors by which the means of such draws may differ. By chance one of 100,000 numbers
#: does (Student's t with 30 degrees of freedom).
STANDARD_ERRORS = 5.0


class Halves(NamedTuple):
    """The two functions of a step that are compiled; see ``PlainStep``."""

    augment: Augment
    loss: Loss


def disagreement(
    state: TrainingState, indices: Tensor, *, written: Halves, compiled: Halves
) -> str:
    """What the compiled halves of a step compute otherwise than the written ones.

    Where the plain step always gives the same, a length may be off by ``NEAR`` and twice what
    roundings do: in float32 those of the last places of the views, in bfloat16 those between plain
    bfloat16 and plain float32. Where it does not (dropout), compiled draws have to be like plain
    ones: in their mean, and in how far they go along the mean of other plain draws. What the plain
    step moves by more than its roundings must not be exactly zero.

    The state and its generators stay as they are; gradients are dropped.

    Args:
        state: of the pretraining; the step is one of its next.
        indices: ``(B,)`` int64 on the device, the images of the batch.
        written: as they are in the source.
        compiled: the very functions that will train; they are compiled in here if this is their
            first call.

    Returns:
        A clause, as "its gradient of backbone.conv1.weight is zero", or nothing.
    """
    batch = _CheckedBatch(state)
    with preserved(state.changing_tensors(), state.generators()):
        views, clause = _views(state, indices, written.augment, compiled.augment)
        if clause:
            return clause
        order = state.model.key_order(views.chunk(2)[0], state.shuffle_generator)

        fused = batch.amounts(compiled.loss, views, order)
        # The first two of the plain step share their random numbers, if it draws any.
        before = [generator.get_state() for generator in state.generators()]
        first = batch.amounts(written.loss, views, order)
        for generator, its_state in zip(state.generators(), before, strict=True):
            generator.set_state(its_state)
        if state.runtime.bfloat16:
            rounded = batch.amounts(written.loss, views, order, bfloat16=False)
        else:
            changed = views * (1.0 + LAST_PLACES * (2.0 * _uniform_like(views) - 1.0))
            rounded = batch.amounts(written.loss, changed, order)
        second = batch.amounts(written.loss, views, order)
        random = {name for name in first if _differs(second[name], first[name], rounded[name])}
        for name in first:
            if name not in random:
                clause = _judge(name, fused[name], first[name], rounded[name])
                if clause:
                    return clause
        if not random:
            return ""
        along = _Draws(random)
        for _ in range(DRAWS):
            along.add(batch.amounts(written.loss, views, order))
        directions = {name: _unit(along.sums[name]) for name in random}
        plain, drawn = _Draws(random, directions), _Draws(random, directions)
        for _ in range(DRAWS):
            plain.add(batch.amounts(written.loss, views, order))
            drawn.add(batch.amounts(compiled.loss, views, order))
    found = (_judge_draws(name, drawn, plain) for name in first if name in random)
    return next((clause for clause in found if clause), "")


def view_disagreement(
    state: TrainingState, indices: Tensor, *, written: Augment, compiled: Augment
) -> str:
    """As ``disagreement``, of the augmentations alone."""
    with preserved((), state.generators()):
        return _views(state, indices, written, compiled)[1]


def key_disagreement(state: TrainingState, ours: MoCo) -> str:
    """Whether a model orders the keys of a step, and puts them into its queue, in the same bits.

    As ``disagreement``; of a model that shares its tensors with that of the state.
    """
    model, batch = state.model, state.config.optim.batch_size
    generator, queue = state.shuffle_generator, (state.model.queue, state.model.queue_ptr)
    count = batch * (2 if model.symmetric else 1)
    keys = torch.arange(count, device=model.queue.device)[:, None].expand(-1, model.queue.shape[1])
    keys = keys.to(model.queue.dtype).contiguous()
    found = []
    for each in (model, ours):
        with preserved(queue, [generator]):
            order = each.key_order(state.images[:batch], generator)
            model.queue_ptr.fill_(len(model.queue) - 1)  # so that the keys go around its end
            each.enqueue(keys)
            found.append((order, generator.get_state(), *(tensor.clone() for tensor in queue)))
    named = zip(("order", "random numbers", "queue", "queue_ptr"), *found, strict=True)
    return next((f"its {name} of keys is another" for name, *two in named if not _equal(*two)), "")


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)


def _views(
    state: TrainingState, indices: Tensor, written: Augment, compiled: Augment
) -> tuple[Tensor, str]:
    """The views of a batch as they are written, and a clause where the compiled ones are others."""
    images = state.images.index_select(0, indices)
    numbers = state.augmenter.uniform_numbers(
        2 * len(images), state.augment_generator, state.own_generators
    ).to(images.device)
    views = written(images, numbers)
    if written is compiled:
        return views, ""
    same = _length(compiled(images, numbers) - views) <= NEAR * _length(views)
    return views, "" if same else "its augmented views are others"


class _CheckedBatch:
    """One batch, computed as often as wanted from the same statistics of BatchNorm."""

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.statistics = {
            f"statistic {name}": buffer
            for name, buffer in state.model.named_buffers()
            if name.startswith("encoder_")
        }

    def amounts(
        self, loss: Loss, views: Tensor, order: Tensor | None, *, bfloat16: bool | None = None
    ) -> Amounts:
        """All that a loss and its backward give; what they change is put back.

        Args:
            loss: as ``Loss``.
            views: of the batch.
            order: of the keys.
            bfloat16: as in the run (None), or, in float32, with what a run in bfloat16 has memory
                for.
        """
        state = self.state
        runtime, encoder = state.runtime, state.model.encoder_q
        spare = contextlib.nullcontext() if bfloat16 is None else _sparing_memory()
        if bfloat16 is None:
            bfloat16 = runtime.bfloat16
        state.optimizer.zero_grad(set_to_none=True)
        with spare, preserved(list(self.statistics.values()), ()):
            view_1, view_2 = views.chunk(2)
            with torch.autocast(runtime.device.type, dtype=torch.bfloat16, enabled=bfloat16):
                value, keys = loss(view_1, view_2, order)
            value.backward()  # type: ignore[no-untyped-call]
            found = {"loss": value, "keys": keys, **self.statistics}
            for name, parameter in encoder.named_parameters():
                gradient = parameter.grad
                found[f"gradient of {name}"] = (
                    torch.zeros_like(parameter) if gradient is None else gradient
                )
            # float64: a count of batches is exact in it, and lengths of roundings are not rounded.
            amounts = {
                name: amount.detach().to("cpu", torch.float64) for name, amount in found.items()
            }
        state.optimizer.zero_grad(set_to_none=True)
        return amounts


@contextlib.contextmanager
def _sparing_memory() -> Iterator[None]:
    """Inside, what a backward pass will need lies on the host, and cuDNN tries nothing out.

    Of a net in float32 both take more of the device than training it in bfloat16 ever does.
    """
    tried = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        with torch.autograd.graph.save_on_cpu():
            yield
    finally:
        torch.backends.cudnn.benchmark = tried


class _Draws:
    """Of several draws, what their comparison needs; the draws themselves are not kept.

    Args:
        names: the amounts that are looked at.
        directions: a unit vector for some of these.

    Attributes:
        count: draws so far.
        sums: of each amount, over the draws.
        squares: of each amount, the sum of the squares of its lengths.
        along: of each amount with a direction, how far each draw goes along it.
    """

    def __init__(self, names: Iterable[str], directions: Amounts | None = None) -> None:
        self.count = 0
        self.sums: Amounts = {}
        self.squares = dict.fromkeys(names, 0.0)
        self.along: dict[str, list[float]] = {name: [] for name in self.squares}
        self._directions = directions or {}

    def add(self, amounts: Amounts) -> None:
        """Counts one draw in."""
        self.count += 1
        for name in self.squares:
            amount = amounts[name]
            self.sums[name] = self.sums[name] + amount if name in self.sums else amount
            self.squares[name] += _length(amount) ** 2
            if name in self._directions:
                self.along[name].append(float((amount * self._directions[name]).sum()))

    def variation(self, name: str) -> float:
        """Sum over the draws of the squared distance to their mean."""
        return max(self.squares[name] - _length(self.sums[name]) ** 2 / self.count, 0.0)


def _judge(name: str, fused: Tensor, plain: Tensor, rounded: Tensor) -> str:
    """A clause when an amount without randomness is not what the plain step gives, else nothing.

    Args:
        name: of the amount.
        fused: from the compiled function.
        plain: from the written one.
        rounded: with fewer roundings or with others: bfloat16 is measured from there.
    """
    allowed = NEAR * _length(rounded) + 2.0 * _length(rounded - plain)
    if not bool(plain.isfinite().all() and rounded.isfinite().all()):
        return ""  # the run ends there, and says why
    if _length(fused) == 0.0 and _length(plain) > allowed:
        return f"its {name} is zero"
    off = _length(fused - rounded)
    if not off <= allowed:  # also where it is no number
        return (
            f"its {name} is off by {off:.2g} of {_length(plain):.3g}, where {allowed:.2g} "
            "would be right"
        )
    return ""


def _judge_draws(name: str, fused: _Draws, plain: _Draws) -> str:
    """A clause when compiled draws of an amount are not like plain ones, else nothing."""
    count = plain.count
    mean, expected = fused.sums[name] / count, plain.sums[name] / count
    if not bool(expected.isfinite().all()):
        return ""
    if _length(fused.sums[name]) == 0.0 < _length(expected):
        return f"its {name} is zero"
    # Along the direction, which is that of other draws, all the noise across it is left out.
    ours, theirs = torch.tensor(fused.along[name]), torch.tensor(plain.along[name])
    error = float(((ours.var() + theirs.var()) / count).sqrt())
    step = float(ours.mean() - theirs.mean())
    if not abs(step) <= STANDARD_ERRORS * error + NEAR * abs(float(theirs.mean())):
        return (
            f"its {name} is {float(ours.mean()):.3g} in place of {float(theirs.mean()):.3g} "
            f"(standard error {error:.1g})"
        )
    freedom = count * (count - 1)  # of the squared error of a difference of two means
    error = ((fused.variation(name) + plain.variation(name)) / freedom) ** 0.5
    off = _length(mean - expected)
    if not off <= STANDARD_ERRORS * error + NEAR * _length(expected):
        return (
            f"its {name} is off by {off:.2g} of {_length(expected):.3g} "
            f"(standard error {error:.1g})"
        )
    return ""


def _unit(values: Tensor) -> Tensor:
    length = _length(values)
    return values / length if length > 0.0 else values


def _differs(one: Tensor, other: Tensor, rounded: Tensor) -> bool:
    """Whether two draws are further apart than roundings are."""
    return _length(one - other) > NEAR * _length(other) + 2.0 * _length(rounded - other)


def _length(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values.detach().double()))


def _uniform_like(values: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) of the shape of ``values``, the same ones in each call."""
    generator = torch.Generator(values.device).manual_seed(0)
    numbers = torch.rand(values.shape, generator=generator, device=values.device)
    return torch.empty_like(values).copy_(numbers)  # its memory format
