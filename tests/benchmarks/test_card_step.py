"""``card/step.py`` also runs on a CPU, so that it still works when there is a card to measure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.pretrain.kernel_step import KernelStep
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining

from ..engine.tiny import RUNTIME, config_with, noise
from .card import step


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


def test_every_preset_is_measured_and_its_kernels_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert step.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "step.json").read_text(encoding="utf-8"))
    assert [row["preset"] for row in rows] == list(step.PRESETS)
    shown = capsys.readouterr().out
    for row in rows:
        assert row["kind"] == "plain"
        assert row["ms"] > 0
        assert all(math.isfinite(loss) for loss in row["loss"])
        assert f"### {row['preset']} eager [plain]" in shown
        listing = (tmp_path / f"kernels-{row['preset']}-eager.txt").read_text(encoding="utf-8")
        assert "convolution" in listing
        spent = [float(line.split()[0]) for line in listing.splitlines()]
        assert spent == sorted(spent, reverse=True)
        assert sum(spent) == pytest.approx(1e3 * row["kernel_ms"], rel=0.01)


def test_a_way_that_fails_is_named_and_the_others_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(preset: str, *_: object) -> tuple[dict[str, object], list[step.Kernel]]:
        if preset == step.PRESETS[0]:
            raise RuntimeError("no kernel image")
        figures = dict.fromkeys(
            (
                "ms",
                "host_ms",
                "peak_mib",
                "train_mib",
                "ready_s",
                "kernel_ms",
            ),
            1.0,
        )
        rest = {"preset": preset, "kind": "plain", "kernels": 1, "loss": [1.0], "notices": []}
        return figures | rest, [step.Kernel("copy", 1.0, 2.0)]

    monkeypatch.setattr(step, "measure", measure)
    assert step.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 1
    assert f"### {step.PRESETS[0]} eager FAILED: RuntimeError: no kernel image" in (
        capsys.readouterr().out
    )
    [row] = json.loads((tmp_path / "step.json").read_text(encoding="utf-8"))
    assert row["preset"] == step.PRESETS[1]


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    words = ["-1", "--device", "cpu", "--quick", "--out", str(tmp_path)]
    assert step.main(words) == 0
    assert json.loads((tmp_path / "step.json").read_text(encoding="utf-8")) == []


def test_each_way_is_one_that_a_run_can_have() -> None:
    """And the augmentations of a step with kernels can be left as they are written."""
    for capture in step.WAYS.values():
        config_with(runtime__capture=capture)
    config = config_with(model__dropout=0.0)
    training = Pretraining(config, noise().train.images, RUNTIME)
    inner = PlainStep(training.state)
    with step.augmentations_as_written():
        kernels = KernelStep(inner)
        assert kernels.prepare() == []
    assert kernels.kind == "kernels"
    assert inner.augment == inner._augment_as_written
    training.close()
