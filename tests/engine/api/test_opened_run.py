"""What a run says of itself from Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from engine.errors import RunError, UserError

from .conftest import SMALL, Trained


def test_a_pretraining_tells_its_state(trained: Trained) -> None:
    run = trained.run
    assert (run.kind, run.status, run.name) == ("pretrain", "finished", "first")
    assert run.settings["optim.batch_size"] == SMALL["optim.batch_size"]
    assert run.config.optim.batch_size == SMALL["optim.batch_size"]  # type: ignore[union-attr]
    assert run.provenance["command"]
    assert repr(run) == f"Run({str(run.path)!r})"
    assert run.log() == run.folder.log_tail(20)


def test_each_kind_offers_its_own(trained: Trained) -> None:
    run, probe, study = trained.run, trained.probe, trained.study
    for call, words in (
        (run.rows, "only a probe"),
        (study.rows, "only a probe"),
        (run.results, "only a study"),
        (probe.results, "only a study"),
        (probe.encoder, "only a pretraining"),
        (study.encoder, "only a pretraining"),
    ):
        with pytest.raises(RunError, match=words):
            call()


def test_rows_of_a_probe_are_copies_of_what_is_recorded(trained: Trained) -> None:
    rows = trained.probe.rows()
    recorded = trained.probe.record.result["rows"]
    assert rows == recorded
    rows[0]["top1"] = -1
    assert trained.probe.rows() == recorded


def test_results_of_a_study_are_those_of_its_report(trained: Trained) -> None:
    results = trained.study.results()
    assert (results.complete, results.cells_done, results.cells_total) == (True, 2, 2)
    by_label = {row["label"]: row for row in results.rows}
    (moco,) = [row for row in trained.probe.rows() if row["source"] == "pretrained"]
    # The study counts the probe that was made by hand: it has the same settings.
    assert by_label["K 64"]["mean"] == moco["top1"]
    assert (by_label["K 64"]["low"], by_label["K 64"]["kind"]) == (None, "single")
    assert {cell["run"] for cell in results.cells} == {trained.probe.id}
    assert results.answer
    assert results.protocol


def test_a_run_whose_folder_is_gone_is_a_sentence(trained: Trained) -> None:
    from engine.api.opened_run import Run
    from engine.runs import RunFolder

    gone = Run(RunFolder(trained.run.path.with_name("zzzzzz")), trained.run.path)
    with pytest.raises(RunError):
        _ = gone.status
    with pytest.raises(RunError):
        gone.encoder()


def test_an_import_takes_the_normalisation_that_its_user_names(trained: Trained) -> None:
    mean, std = [0.485, 0.456, 0.406], np.array([0.229, 0.224, 0.225])
    net = torchvision.models.resnet18()
    net.load_state_dict(torch.load(trained.imported.path.parents[1] / "weights.pt"))
    net.fc = torch.nn.Identity()
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    x = torch.tensor(((images / 255.0 - mean) / std).transpose(0, 3, 1, 2)).float()
    with torch.no_grad():
        expected = net.eval()(x).numpy()
    found = trained.imported.features(images, mean=mean, std=std.tolist())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    encoder = trained.imported.encoder(mean=tuple(mean), std=std)  # type: ignore[arg-type]
    np.testing.assert_array_equal(encoder.features(images), found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"came without mean and std.*name both, as encoder\(mean=\.\.\., std=\.\.\.\)"),
        ({"mean": (0.5, 0.5, 0.5)}, "^mean and std belong together"),
        ({"mean": (0.5, 0.5), "std": (0.5, 0.5)}, "must be three numbers each"),
        ({"mean": (0.5, 0.5, 0.5), "std": "abc"}, "must be three numbers each"),
        ({"mean": (124, 116, 104), "std": (58, 57, 57)}, "of channels in 0 to 1"),
    ],
)
def test_a_normalisation_that_cannot_be_used_is_a_sentence(
    trained: Trained, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        trained.imported.encoder(**options)


def test_a_recorded_normalisation_is_not_overruled(trained: Trained) -> None:
    with pytest.raises(RunError, match="has its own mean and std"):
        trained.run.encoder(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
