"""The names that others give the weights of a ResNet."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.errors import RunError
from engine.exchange.foreign_file import ForeignFile
from engine.exchange.foreign_layouts import find_encoder
from engine.models.encoder import build_encoder

from .foreign_states import LAYOUTS, State, net

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def read(state: State) -> ForeignFile:
    return ForeignFile(state, {}, "0")


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_the_features_of_torchvisions_net(layout: str, stem: str) -> None:
    theirs = net(stem)
    found = find_encoder(read(LAYOUTS[layout](theirs.state_dict())), "resnet18", "x.pt")
    assert (found.layout, found.model.stem, found.has_head) == (layout, stem, False)
    assert found.left_out
    encoder = build_encoder(found.model).without_head().eval()
    encoder.load_state_dict(found.weights)
    expected = nn.Sequential(*list(theirs.children())[:-1], nn.Flatten())
    with torch.no_grad():
        torch.testing.assert_close(encoder(IMAGES), expected(IMAGES), rtol=1e-5, atol=1e-5)


def test_timms_resnets_have_these_names_too() -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("resnet18", pretrained=False).eval()
    found = find_encoder(read(theirs.state_dict()), "resnet18", "x.pt")
    encoder = build_encoder(found.model).without_head().eval()
    encoder.load_state_dict(found.weights)
    theirs.reset_classifier(0)
    with torch.no_grad():
        torch.testing.assert_close(encoder(IMAGES), theirs(IMAGES), rtol=1e-5, atol=1e-5)


def test_half_precision_is_widened() -> None:
    state = {key: value.half() if value.is_floating_point() else value
             for key, value in net("cifar").state_dict().items()}  # fmt: skip
    weight = find_encoder(read(state), "resnet18", "x").weights["backbone.conv1.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["conv1.weight"].float())


def changed(**parts: Tensor | None) -> State:
    state = dict(net("cifar").state_dict())
    for name, value in parts.items():
        key = name.replace("__", ".")
        state.pop(key, None)
        if value is not None:
            state[key] = value
    return state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            changed(layer9__weight=torch.zeros(1)),
            r"it has 1 key \(layer9.weight\) that fits nowhere",
        ),
        (changed(bn1__weight=None, bn1__bias=None), r"it lacks 2 keys \(bn1.weight, bn1.bias\)\."),
        (changed(bn1__weight=torch.zeros(3)), r"bn1.weight of 3; it must be 64\."),
        (changed(conv1__weight=torch.zeros(64, 3, 5, 5)), "a first convolution of 64 x 3 x 5 x 5"),
        (
            changed(bn1__bias=torch.full((64,), torch.nan)),
            "bn1.bias with values that are no finite",
        ),
        (changed(bn1__running_var=torch.full((64,), -1.0)), "a variance below 0"),
        (changed(bn1__bias=torch.zeros(64).to_sparse()), "bn1.bias that is no plain tensor"),
        ({"a\x1b[31m.b": torch.zeros(1)}, r"\(a\[31m.b\) that fits nowhere and lacks 1"),
    ],
)
def test_what_does_not_fit_is_named(state: State, words: str) -> None:
    with pytest.raises(RunError, match=words):
        find_encoder(read(state), "resnet18", "x.pt")


def test_another_net_is_named_by_its_keys() -> None:
    with pytest.raises(RunError, match="does not hold a resnet34: it lacks 80 keys"):
        find_encoder(read(dict(net("cifar").state_dict())), "resnet34", "x.pt")
