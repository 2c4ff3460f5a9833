"""Every published set, from its files to a probed encoder: pretraining, probe, classes, parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.jobs.execute import execute
from engine.runs import create

from .data import stand_ins

PRETRAIN = {
    "model.bn_splits": 2,
    "moco.queue_size": 20,
    "optim.batch_size": 10,
    "optim.epochs": 1,
    "monitor.knn_k": 2,
    "monitor.measures": False,
    "runtime.device": "cpu",
    "runtime.threads": 1,
}
CONVNET = {"model.encoder": "convnet", "model.dim": 8}
RESNET = {"model.encoder": "resnet18"}


@pytest.mark.parametrize(
    ("name", "encoder", "pretrained", "labelled", "tested", "classes"),
    [
        ("cifar100", CONVNET, 200, 100, 100, 100),
        ("svhn", CONVNET, 60, 30, 20, 10),
        ("svhn-extra", CONVNET, 90, 50, 20, 10),  # 9 of a class, of which half is 5
        ("stl10", RESNET, 70, 20, 20, 10),  # those without a label are pretrained on too
        ("imagenette", CONVNET, 30, 20, 20, 10),
    ],
)
def test_from_the_files_to_a_probed_encoder(
    name: str,
    encoder: dict[str, object],
    pretrained: int,
    labelled: int,
    tested: int,
    classes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_ins.SETS[name.removesuffix("-extra")](monkeypatch)
    settings = {**PRETRAIN, **encoder, "data.source": name, "data.image_size": 32}
    run = create(tmp_path / "runs", "pretrain", build(PretrainConfig, settings))
    assert execute(run, data_dir=tmp_path) == "finished"
    assert run.record().step == pretrained // 10
    log = run.metrics()
    log.poll()
    assert len(log.series("knn/top1")[1]) == 2, "of the untrained encoder and of the trained one"
    wanted = {"task.name": "all", "label_fraction": 0.5, "baselines": ["random-init"]}
    wanted |= {"runtime.device": "cpu", "runtime.threads": 1}
    probe = create(tmp_path / "runs", "probe", build(ProbeConfig, wanted), parent=run.id)
    assert execute(probe, data_dir=tmp_path) == "finished"
    result = probe.record().result
    assert [row["source"] for row in result["rows"]] == ["pretrained", "random-init"]
    for row in result["rows"]:
        assert len(row["per_class"]) == classes
        assert sum(sum(line) for line in row["confusion"]) == tested
    assert (result["labels"], result["test_images"]) == (labelled, tested)
