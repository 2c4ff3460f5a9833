"""Values that people typed: what is read, and one sentence for what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import ConfigError

BAD = [
    ("queue_size=0", "moco.queue_size", "of at least 1"),
    ("queue_size=1.5", "moco.queue_size", "whole number"),
    ("temperature=0", "moco.temperature", "above 0"),
    ("temperature=nan", "moco.temperature", "above 0"),
    ("lr=inf", "optim.lr", "at most 1000"),
    ("lr=abc", "optim.lr", "a number above 0"),
    ("bn_splits=7", "model.bn_splits", "divide optim.batch_size (512)"),
    ("bn_splits=100", "model.bn_splits", "divide"),
    ("augment.crop.p=1.01", "augment.crop.p", "at most 1"),
    ("kernel_size=4", "augment.blur.kernel_size", "odd"),
    ("augment.order=crop,flip", "augment.order", "each of"),
    ("augment.order=blur,crop,rotation,flip,color,gray", "augment.order", "one sampling"),
    ("stop_epoch=2501", "optim.stop_epoch", "2500"),
    ("milestones=160,120", "optim.milestones", "larger than the one before"),
    ("source=imagenet", "data.source", "folder:PATH"),
    ("device=gpu", "runtime.device", "cuda:N"),
    ("encoder=vgg", "model.encoder", "convnet, resnet18"),
    ("mlp_head=maybe", "model.mlp_head", "true or false"),
    ("queu_size=5", "queu_size", "did you mean moco.queue_size"),
    ("p=0.5", "p", "augment.crop.p"),
    ("sigma_min=3", "augment.blur.sigma_min", "must not be larger"),
]


@pytest.mark.parametrize(("text", "key", "words"), BAD)
def test_bad_values_get_one_sentence_with_key_and_remedy(text: str, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(PretrainConfig, sets=[text])
    message = str(caught.value)
    assert caught.value.key == key
    assert words in message
    assert "\n" not in message
    assert message.endswith((".", "?"))


@pytest.mark.parametrize(
    "text", ["crop.scale_min=1.0", "bn_splits=256", "queue_size=1", "stop_epoch=2500", "crop.p=0"]
)
def test_the_edges_of_the_ranges_are_right(text: str) -> None:
    resolve(PretrainConfig, sets=[text])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("label_fraction=0", "label_fraction"),
        ("label_fraction=1.5", "label_fraction"),
        ("task.name=seven", "task.name"),
        ('groups={a=["cat"]}', "task.groups"),
        ('groups={a=["cat"],b=["cat"]}', "task.groups"),
        ('groups={a=["cat"],b=[]}', "task.groups"),
        ("linear.lr=[]", "linear.lr"),
        ("linear.lr=0.1,-1", "linear.lr"),
        ("baselines=pixels,pixels", "baselines"),
        ("baselines=magic", "baselines"),
        ("validation=1", "validation"),
    ],
)
def test_bad_probe_values_name_their_key(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(ProbeConfig, sets=[text])
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("queue_size = ", "not valid TOML"),
        ("[moco]\nqueue = 3", "moco.queue is not a setting"),
        ("[mocco]\nqueue_size = 3", "mocco is not a setting"),
        ("[moco]\nqueue_size = 'many'", "moco.queue_size is many"),
    ],
)
def test_bad_toml_is_explained(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        resolve(PretrainConfig, toml=path)


def test_control_characters_never_reach_a_message() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(PretrainConfig, sets=["source=\x1b[31m" + "x" * 500])
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_before_toml_is_no_part_of_it(mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(mark + b"[moco]\nqueue_size = 77\n")
    assert resolve(PretrainConfig, toml=path).moco.queue_size == 77


def test_toml_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes("[moco]\nqueue_size = 77\n".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"run\.toml is not UTF-8"):
        resolve(PretrainConfig, toml=path)


def test_bytes_that_are_not_utf8_are_refused_before_anything_is_made() -> None:
    source = "folder:" + os.fsdecode(b"/data/lat\xe9n")
    with pytest.raises(ConfigError) as caught:
        resolve(PretrainConfig, extra={"data.source": source})
    assert caught.value.key == "data.source"
    assert "not UTF-8" in str(caught.value)
    groups = {"a": ["cat"], "b": [os.fsdecode(b"d\xf6g")]}
    with pytest.raises(ConfigError, match=r"task\.groups is .* not UTF-8"):
        resolve(ProbeConfig, extra={"task.groups": groups, "task.name": "pets"})
    accented = resolve(PretrainConfig, extra={"data.source": "folder:/data/lat\u00e9n \U0001f600"})
    assert accented.data.source == "folder:/data/lat\u00e9n \U0001f600"
