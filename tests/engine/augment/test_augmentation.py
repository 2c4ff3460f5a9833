import dataclasses
from typing import Any, NamedTuple

import pytest
import torch

from engine.augment.augmentation import AugmentParams, take


class Pair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


@dataclasses.dataclass
class Own:
    values: torch.Tensor
    inner: dict[str, Any]


def test_parameters_of_any_structure_are_sliced():
    values = torch.arange(6)
    params = AugmentParams(
        6, {"x": Own(values, {"pair": Pair(values, -values), "list": [values * 2]}), "y": values}
    )
    for rows in (slice(2, 5), torch.tensor([4, 0]), values > 3, slice(4, None), slice(0, 0)):
        part = params.take(rows)
        expected = values[rows]
        assert len(part) == len(expected)
        assert torch.equal(part["y"], expected)
        assert torch.equal(part["x"].values, expected)
        assert isinstance(part["x"].inner["pair"], Pair)
        assert torch.equal(part["x"].inner["pair"].b, -expected)
        assert torch.equal(part["x"].inner["list"][0], expected * 2)


@pytest.mark.parametrize("nothing", [None, 3, "text", Own])
def test_what_holds_no_tensors_is_refused(nothing):
    with pytest.raises(TypeError, match="is no tensor"):
        take(nothing, slice(0, 1))


def test_other_values_for_one_augmentation_leave_the_rest():
    values = torch.arange(3)
    params = AugmentParams(3, {"x": Own(values, {}), "y": values})
    changed = params.replace("x", values=values + 1)
    assert torch.equal(changed["x"].values, values + 1)
    assert torch.equal(changed["y"], values)
    assert torch.equal(params["x"].values, values)
