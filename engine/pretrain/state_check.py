"""Whether a loaded state fits what it is to be put into: every name, shape, type and range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor

from engine.errors import DamagedFileError
from engine.text import clean_text

_NAME = 80  # characters of a name in a message


def damaged(why: str) -> NoReturn:
    """Refuses a checkpoint.

    Raises:
        DamagedFileError: always; one sentence.
    """
    raise DamagedFileError(f"The checkpoint is damaged: {why}.")


def check_mapping(value: object, what: str) -> Mapping[Any, Any]:
    """The value, if it is a dict.

    Raises:
        DamagedFileError: when it is none.
    """
    if not isinstance(value, Mapping):
        damaged(f"{what} is missing or no dict")
    return value


def check_tensor(value: object, like: Tensor, what: str) -> Tensor:
    """The value, if it is a tensor of the shape and type of ``like``. No number in it is read.

    Raises:
        DamagedFileError: when it is not.
    """
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        damaged(f"{what} is missing or no tensor")
    if value.shape != like.shape or value.dtype != like.dtype:
        damaged(
            f"{what} is {_kind(value)} there and {_kind(like)} in the run, so it is not its state"
        )
    return value


def check_tensors(values: object, like: Mapping[str, Any], what: str) -> None:
    """Checks that there are the names of ``like`` and no others, each with its shape and type.

    Raises:
        DamagedFileError: when it is not so.
    """
    found = check_mapping(values, what)
    other = next((name for name in [*like, *found] if (name in like) != (name in found)), None)
    if other is not None:
        there, known = ("lacks", "has") if other in like else ("has", "does not know")
        name = clean_text(str(other), _NAME)
        damaged(f"{what} {there} {name}, which the model of the run {known}")
    for name, own in like.items():
        if isinstance(own, Tensor):  # a module of the user's own may have a state of another kind
            check_tensor(found[name], own, f"{what}.{name}")


def check_count(value: object, most: int | None, what: str, *, least: int = 0) -> int:
    """The value, if it is a whole number from ``least`` to ``most``.

    Raises:
        DamagedFileError: when it is not.
    """
    # type, not isinstance: true is no number
    if type(value) is not int or value < least or (most is not None and value > most):
        upper = "more" if most is None else f"{most:,}"
        damaged(f"{what} is no whole number from {least} to {upper}")
    return value


def check_number(value: object, what: str) -> float:
    """The value as a float, if it is a finite number.

    Raises:
        DamagedFileError: when it is not.
    """
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        damaged(f"{what} is no finite number")
    return float(value)  # type: ignore[arg-type]


def check_optimizer(values: object, optimizer: torch.optim.Optimizer) -> None:
    """Checks the state of an SGD: its groups, and a momentum buffer for each parameter at most.

    Raises:
        DamagedFileError: when it does not fit the optimizer.
    """
    state = check_mapping(values, "optimizer")
    groups, own_groups = state.get("param_groups"), optimizer.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own_groups):
        damaged("optimizer.param_groups does not fit the run")
    for group, own in zip(groups, own_groups, strict=True):
        what = "optimizer.param_groups"
        for name, value in check_mapping(group, what).items():
            if name == "params":
                continue
            if isinstance(value, bool) or value is None:
                continue
            check_number(value, f"{what}.{clean_text(str(name), _NAME)}")
        if group.get("params") != own["params"]:
            damaged(f"{what}.params does not fit the run")
        if isinstance(group.get("lr"), bool) or group.get("lr") is None:
            damaged(f"{what}.lr is no number")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, slots in check_mapping(state.get("state"), "optimizer.state").items():
        what = "optimizer.state"
        if type(number) is not int or not 0 <= number < len(parameters):
            damaged(f"{what} has an entry for no parameter of the run")
        buffers = check_mapping(slots, f"{what}.{number}")
        if buffers.keys() - {"momentum_buffer"}:
            damaged(f"{what}.{number} has an entry that SGD does not know")
        buffer = buffers.get("momentum_buffer")
        if buffer is not None:
            check_tensor(buffer, parameters[number], f"{what}.{number}.momentum_buffer")


def check_statistics(state: Mapping[str, Any], like: Tensor) -> tuple[Tensor, Tensor]:
    """``mean`` and ``std`` of the channels, if they are finite and ``std`` is positive.

    Raises:
        DamagedFileError: when they are not.
    """
    mean, std = (check_tensor(state.get(name), like, name) for name in ("mean", "std"))
    if not bool(mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
        damaged("mean or std is no finite number, or std not positive")
    return mean, std


def _kind(tensor: Tensor) -> str:
    shape = " x ".join(str(size) for size in tensor.shape) or "a single number"
    return clean_text(f"{shape} ({str(tensor.dtype).removeprefix('torch.')})", _NAME)
