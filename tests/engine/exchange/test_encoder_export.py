"""Each export, loaded by the library that it is for, gives the features of the run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from engine.errors import RunError
from engine.exchange.encoder_export import ExportPlace, export_encoder
from engine.jobs.trained_encoder import load_encoder
from engine.runs import RunFolder, create

from ..tiny import config_with
from .conftest import MakeRun

IMAGES = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def place(target: Path | None, *, force: bool = False) -> ExportPlace:
    return ExportPlace(target, force, Path("data"), command="moco-tui export")


@torch.no_grad()
def features(run: RunFolder, images: Tensor = IMAGES) -> tuple[Tensor, Tensor]:
    encoder = load_encoder(run).encoder
    return encoder.backbone(images), encoder(images)


@pytest.mark.parametrize(
    ("encoder", "stem"),
    [
        ("resnet18", "cifar"),
        ("resnet18", "imagenet"),
        ("resnet34", "imagenet"),
        ("resnet50", "imagenet"),
    ],
)
def test_torchvision_loads_every_weight_and_gives_the_same_features(
    make_run: MakeRun, tmp_path: Path, encoder: str, stem: str
) -> None:
    run = make_run(model__encoder=encoder, model__stem=stem)
    path, card = export_encoder(run, "torchvision", place(tmp_path / "x.pt"))
    net = getattr(torchvision.models, encoder)()
    if stem == "cifar":
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    net.fc = nn.Identity()
    net.load_state_dict(torch.load(path, weights_only=True), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(IMAGES), features(run)[0], rtol=1e-6, atol=1e-6)
    # What the card says to do is done, word for word.
    code = card.read_text().partition("```python\n")[2].partition("```")[0]
    names: dict[str, nn.Module] = {}
    exec(code.replace("'x.pt'", repr(str(path))), {}, names)
    with torch.no_grad():
        torch.testing.assert_close(names["net"](IMAGES), net(IMAGES), rtol=0, atol=0)


def test_torchvision_has_no_convnet(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="torchvision has no net like the encoder convnet; --format"):
        export_encoder(make_run(), "torchvision", place(tmp_path / "x.pt"))
    assert list(tmp_path.glob("x*")) == []


@pytest.mark.parametrize("encoder", ["convnet", "resnet18"])
def test_safetensors_hold_all_weights_and_what_is_needed_to_use_them(
    make_run: MakeRun, tmp_path: Path, encoder: str
) -> None:
    library = pytest.importorskip("safetensors")
    run = make_run(model__encoder=encoder, model__mlp_head=True)
    path, _ = export_encoder(run, "safetensors", place(tmp_path / "x.safetensors"))
    trained = load_encoder(run)
    own = trained.encoder.state_dict()
    with library.safe_open(path, "pt") as file:
        assert set(file.keys()) == set(own)
        assert all(torch.equal(file.get_tensor(name), own[name]) for name in own)
        facts = file.metadata()
    assert (facts["run"], facts["encoder"], facts["image_size"]) == (run.id, encoder, "32")
    assert np.array(json.loads(facts["mean"]), np.float32).tolist() == trained.mean.tolist()
    assert np.array(json.loads(facts["std"]), np.float32).tolist() == trained.std.tolist()
    assert (facts["embedding_dim"], facts["data"]) == ("8", "cifar10")
    assert "frog" in json.loads(facts["classes"])


@pytest.mark.parametrize(("encoder", "size"), [("convnet", 32), ("resnet18", 32), ("convnet", 48)])
def test_onnxruntime_gives_the_same_for_any_number_of_images(
    make_run: MakeRun, tmp_path: Path, encoder: str, size: int
) -> None:
    pytest.importorskip("onnxscript")
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    side = 2 if size > 32 else 0  # an average in the graph
    run = make_run(
        model__encoder=encoder, model__mlp_head=True, data__image_size=size,
        model__feature_side=side,
    )  # fmt: skip
    path, _ = export_encoder(run, "onnx", place(tmp_path / "x.onnx"))
    graph = onnx.load(path)
    onnx.checker.check_model(graph)
    assert str(Path(__file__).parents[3]).encode() not in path.read_bytes(), "paths of this machine"
    assert {p.key: p.value for p in graph.metadata_props}["run"] == run.id
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        images = nn.functional.interpolate(IMAGES[:count], size)
        found = session.run(["features", "embedding"], {"images": images.numpy()})
        for theirs, ours in zip(found, features(run, images), strict=True):
            torch.testing.assert_close(torch.from_numpy(theirs), ours, rtol=1e-4, atol=1e-5)


def test_nothing_is_overwritten_unasked(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(model__encoder="resnet18")
    target = tmp_path / "x.pt"
    for taken in (target, tmp_path / "x.pt.md"):
        taken.write_text("mine")
        with pytest.raises(RunError, match=f"{taken} is there already; --force replaces it"):
            export_encoder(run, "torchvision", place(target))
        assert taken.read_text() == "mine"
        export_encoder(run, "torchvision", place(target, force=True))
        assert taken.read_bytes() != b"mine"
        for path in (target, tmp_path / "x.pt.md"):
            path.unlink()


def test_the_card_says_how_good_the_encoder_is_and_no_text_of_others_is_markup(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(model__encoder="resnet18")
    run.set_user(name="<b>|`x`*")
    _, card = export_encoder(run, "torchvision", place(tmp_path / "x`.pt"))
    text = card.read_text()
    assert text.startswith("# \\<b\\>\\|\\`x\\`\\*\n")
    assert "| kNN on withheld training images |  | 41.25 % |" in text
    assert text.count("```") == 2


@pytest.mark.parametrize(
    ("format_", "name", "words"),
    [
        ("pickle", "x", "pickle is no format of an encoder; it must be one of safetensors"),
        ("features", "x.xls", "has the suffix .xls, which says nothing"),
        ("features", "x", "has no suffix, which says nothing"),
        ("torchvision", "file/x.pt", "cannot be written: a file stands where a folder"),
    ],
)
def test_what_cannot_be_written_is_a_sentence(
    make_run: MakeRun, tmp_path: Path, format_: str, name: str, words: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=words):
        export_encoder(make_run(model__encoder="resnet18"), format_, place(tmp_path / name))


def test_a_run_without_a_checkpoint_has_no_encoder_yet(root: Path, tmp_path: Path) -> None:
    run = create(root, "pretrain", config_with())
    with pytest.raises(RunError, match="the run never reached one"):
        export_encoder(run, "torchvision", place(tmp_path / "x.pt"))
