"""An encoder of somebody else as a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from engine.api.pretrained_encoder import PretrainedEncoder
from engine.config.resolve import build
from engine.config.schema import ProbeConfig, StudyConfig
from engine.data.dataset import load_dataset
from engine.errors import ConfigError, RunError
from engine.exchange.encoder_export import ExportPlace, export_encoder
from engine.exchange.imported_run import channels, import_encoder
from engine.history.entry import read_entry
from engine.history.history import History
from engine.jobs.execute import execute
from engine.jobs.look_at import look_at
from engine.jobs.surroundings import gather
from engine.jobs.trained_encoder import load_encoder
from engine.pretrain import checkpoint as checkpoints
from engine.runs import create
from engine.runs.encoder_look import LookRequest
from engine.sink import NullSink
from engine.study.grid import pretrain_config, pretrainings
from engine.study.study_state import state_from_entries

from .conftest import MakeRun
from .foreign_states import FILES, in_a_file, net


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.pt"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


def test_it_is_a_finished_pretraining_without_a_step(root: Path, weights: Path) -> None:
    run = import_encoder(root, weights, "resnet18", name="theirs", data="shapes")
    record = run.record()
    assert (record.kind, record.status, record.step, record.checkpoint_step) == (
        "pretrain",
        "finished",
        0,
        0,
    )
    assert record.origin.startswith("imported weights.pt sha256 ")
    assert record.facts["normalisation"] == "mean and std of the data that is probed"
    assert record.facts["left out"] == "2 keys were left out: fc (2)"
    # the stem of the ImageNet is named; versions before the other setting read the rest
    model = checkpoints.load(run.checkpoint_path)["model_config"]
    assert model["stem"] == "imagenet"
    assert "feature_side" not in model
    entry = History(root).get(run.id)
    assert (entry.name, entry.imported, entry.status) == ("theirs", True, "finished")
    with pytest.raises(RunError, match="finished"):
        execute(run, data_dir=root / "data")
    assert run.record().status == "finished"


def test_its_probe_is_that_of_the_encoder_on_the_statistics_of_the_data(
    root: Path, weights: Path, tmp_path: Path
) -> None:
    run = import_encoder(root, weights, "resnet18", data="shapes")
    config = build(ProbeConfig, {"label_fraction": 0.01, "task.name": "all", "baselines": ()})
    probe = create(root, "probe", config, parent=run.id)
    assert execute(probe, data_dir=tmp_path / "data", sink=NullSink()) == "finished"
    result = probe.record().result
    assert (result["encoder_step"], result["encoder_schedule_steps"]) == (0, 0)
    assert [row["source"] for row in result["rows"]] == ["pretrained"]
    text = export_encoder(
        probe, "torchvision", ExportPlace(tmp_path / "again.pt", False, tmp_path)
    )[1].read_text()
    assert f"{result['rows'][0]['top1']:.2f} %" in text
    theirs = torch.load(weights, weights_only=True)
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    assert all(torch.equal(theirs[key], value) for key, value in again.items())
    assert theirs.keys() - again.keys() == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_each_layout_is_imported_and_probed(
    root: Path, tmp_path: Path, pictures: Path, kind: str
) -> None:
    theirs = net("imagenet")
    torch.save(in_a_file(FILES[kind](theirs.state_dict()), kind), tmp_path / "theirs.pth")
    run = import_encoder(root, tmp_path / "theirs.pth", "resnet18", data=f"folder:{pictures}")
    data = load_dataset(load_encoder(run).config.data, data_dir=tmp_path / "data")
    assert data.test is not None
    trained = load_encoder(run).on(data.train.images)
    # Mean and deviation of the set and the net of the other library, without ours.
    whole, images = (x.images.double().numpy() / 255.0 for x in (data.train, data.test))
    mean, std = (getattr(whole, name)((0, 2, 3)) for name in ("mean", "std"))
    batch = (images - mean[:, None, None]) / std[:, None, None]
    expected = nn.Sequential(*list(theirs.children())[:-1], nn.Flatten())
    found = PretrainedEncoder(trained).features(data.test.images)
    with torch.no_grad():
        want = expected(torch.from_numpy(batch).float())
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)

    settings = {"label_fraction": 1.0, "task.name": "all", "baselines": ()}
    probe = create(root, "probe", build(ProbeConfig, settings), parent=run.id)
    assert execute(probe, data_dir=tmp_path / "data", sink=NullSink()) == "finished"
    result = probe.record().result
    assert [row["source"] for row in result["rows"]] == ["pretrained"]
    assert result["encoder_fingerprint"] == trained.at.fingerprint


def test_it_says_what_imported_it(root: Path, weights: Path) -> None:
    run = import_encoder(root, weights, "resnet18")
    (part,) = run.record().provenance
    assert part["step"] == 0
    assert part["values"] == gather({}).values
    for name, data in gather({}).files.items():
        assert (run.path / name).read_bytes() == data


def test_a_look_shows_the_neighbours_that_the_net_of_the_file_gives(
    root: Path, weights: Path, tmp_path: Path, pictures: Path
) -> None:
    run = import_encoder(root, weights, "resnet18", data=f"folder:{pictures}")
    request = LookRequest(encoders=((run.id, ""),), device="cpu")
    found = look_at(request, root=root, data_dir=tmp_path / "data")
    assert f"{run.id}: images are normalised by the statistics of their set" in found.notices
    (view,) = found.encoders
    assert (view.label, view.epoch) == (run.id, None)
    data = load_dataset(load_encoder(run).config.data, data_dir=tmp_path / "data")
    assert data.test is not None
    whole, images = (x.images.double() / 255.0 for x in (data.train, data.test))
    std, mean = torch.std_mean(whole, (0, 2, 3), correction=0, keepdim=True)
    net_ = torchvision.models.resnet18()
    net_.load_state_dict(torch.load(weights, weights_only=True))
    net_.fc = nn.Identity()
    with torch.no_grad():
        features = net_.eval()(((images - mean) / std).float()).double()
    features = features / features.norm(dim=1, keepdim=True)
    cosines = (features @ features.T).fill_diagonal_(-2.0)
    assert [row[0] for row in view.neighbours] == cosines.argmax(1).tolist()


def test_statistics_that_are_named_are_those_of_its_images(root: Path, weights: Path) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    run = import_encoder(root, weights, "resnet18", mean=mean, std=std)
    trained = load_encoder(run)
    assert not trained.takes_statistics
    assert trained.mean.tolist() == torch.tensor(mean).tolist()
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    assert trained.on(images) is trained
    unnamed = load_encoder(import_encoder(root, weights, "resnet18"))
    assert unnamed.takes_statistics
    assert unnamed.on(images).mean.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("encoder", "size", "side"),
    [
        *(("convnet", 0, 0), ("resnet18", 0, 0), ("resnet18", 48, 0)),
        *(("convnet", 48, 0), ("convnet", 48, 2), ("convnet", 0, 2), ("convnet", 64, 1)),
    ],
)
def test_our_own_file_comes_back_whole(
    make_run: MakeRun, root: Path, tmp_path: Path, encoder: str, size: int, side: int
) -> None:
    pytest.importorskip("safetensors")
    of_model = {"model__encoder": encoder, "model__mlp_head": True, "model__feature_side": side}
    run = make_run(data__image_size=size, **of_model)
    target = tmp_path / "x.safetensors"
    export_encoder(run, "safetensors", ExportPlace(target, False, tmp_path))
    first, second = load_encoder(run), load_encoder(import_encoder(root, target, encoder))
    assert second.encoder.has_head
    assert second.config.data.size == (size or 32)
    assert second.encoder.feature_dim == first.encoder.feature_dim
    state = second.encoder.state_dict()
    assert all(torch.equal(state[key], value) for key, value in first.encoder.state_dict().items())
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.std, second.std)


def test_a_study_does_not_take_it_for_one_of_its_pretrainings(root: Path, weights: Path) -> None:
    run = import_encoder(root, weights, "resnet18")
    model = dict(run.record().config["model"])
    study = build(StudyConfig, {f"pretrain.model.{key}": value for key, value in model.items()})
    entry = read_entry(run)
    assert entry is not None
    same = [pretrain_config(study, *at).model for at in pretrainings(study)]
    assert run.record().config["model"] == {k: getattr(same[0], k) for k in model}
    assert all(found.state == "missing" for found in
               state_from_entries(study, [entry]).pretrainings.values())  # fmt: skip
    # Without its origin it would be one: the settings are those of the study.
    entry.imported = False
    states = {found.state for found in state_from_entries(study, [entry]).pretrainings.values()}
    assert "finished" in states


@pytest.mark.parametrize(
    ("encoder", "options", "words"),
    [
        ("vit", {}, "it must be one of convnet, resnet18"),
        ("resnet18", {"mean": (0.5, 0.5, 0.5)}, "belong together"),
        ("resnet18", {"mean": (125.0, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}, "channels in 0 to 1"),
        ("resnet18", {"mean": (0.5, 0.5, 0.5), "std": (0.0, 0.2, 0.2)}, "above 0"),
        ("resnet18", {"data": "mnist"}, "data.source is mnist"),
    ],
)
def test_arguments_that_cannot_be_used_leave_nothing_behind(
    root: Path, weights: Path, encoder: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        import_encoder(root, weights, encoder, **options)  # type: ignore[arg-type]
    assert History(root).list() == []


def test_three_numbers_are_read_as_people_type_them() -> None:
    assert channels(None, "--mean") is None
    assert channels("[0.5, .25,1]", "--mean") == (0.5, 0.25, 1.0)
    for text in ("1,2", "a,b,c", ""):
        with pytest.raises(ConfigError, match=r"--mean .*it must be three numbers"):
            channels(text, "--mean")


def test_a_net_whose_features_are_all_zero_is_still_one(root: Path, tmp_path: Path) -> None:
    """Weights are judged by names and shapes, and not by their values."""
    net = torchvision.models.resnet18()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    torch.save(net.state_dict(), tmp_path / "zero.pt")
    encoder = load_encoder(import_encoder(root, tmp_path / "zero.pt", "resnet18")).encoder
    assert not encoder.has_head
    assert not encoder(torch.ones(1, 3, 32, 32)).any()
