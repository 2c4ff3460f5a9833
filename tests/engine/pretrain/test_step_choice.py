"""Which way of computing steps ``runtime.capture = auto`` comes to on CUDA, and what is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.config.augment import AUGMENTATIONS
from engine.config.resolve import resolve
from engine.config.run_schema import RuntimeConfig
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.pretrain import pretraining, step_choice
from engine.pretrain.pretraining import Pretraining
from engine.pretrain.step_choice import (
    FUSING_REPAID_BY,
    KERNELS_REPAID_BY,
    StepChoice,
    chosen_step,
    steps_that_repay,
)
from engine.runtime import compiled
from engine.runtime.device import resolve_runtime

from ...benchmarks.speed import fusion
from ..tiny import RUNTIME, Script, Standin, config_with, noise, run


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


@pytest.fixture(autouse=True)
def with_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with a card: torch's builds for CPUs come without it."""
    monkeypatch.setattr(step_choice, "find_spec", lambda name: name)


def choice(preset: str, steps: int, so_far: str = "", **values: Any) -> StepChoice:
    config = resolve(PretrainConfig, preset_name=preset, extra=values)
    return chosen_step(config, steps, dataclasses.replace(RUNTIME, steps_so_far=so_far))


@pytest.mark.parametrize(
    ("preset", "steps", "expected"),
    [
        ("notebook", 3_999, "recorded"),
        ("notebook", 4_000, "kernels"),
        ("resnet18-moco", 649, "recorded"),
        ("resnet18-moco", 650, "kernels"),
    ],
)
def test_a_run_takes_kernels_from_the_step_on_that_was_counted(
    preset: str, steps: int, expected: str
) -> None:
    found = choice(preset, steps)
    assert found.capture == expected
    assert f"{steps:,}" in found.why
    most = 650 if preset == "resnet18-moco" else 4_000
    assert f"{most:,}" in found.why
    assert "torch.compile" not in found.why


@pytest.mark.parametrize(("steps", "expected"), [(5_999, "recorded"), (6_000, "kernels")])
def test_views_that_no_kernel_makes_have_to_repay_their_compiling(
    steps: int, expected: str
) -> None:
    """As with an augmentation of the user's own."""
    own: dict[str, Any] = {"augment.order": [*AUGMENTATIONS, "own.views:Darker"]}
    found = choice("notebook", steps, **own)
    assert found.capture == expected
    assert "6,000" in found.why
    assert "torch.compile" in found.why


def test_an_encoder_without_kernels_is_fused() -> None:
    config = resolve(PretrainConfig, preset_name="notebook")
    own = replace(config, model=replace(config.model, encoder="own"))
    for steps, expected in ((FUSING_REPAID_BY - 1, "recorded"), (FUSING_REPAID_BY, "fused")):
        assert chosen_step(own, steps, RUNTIME).capture == expected


def test_without_triton_steps_are_recorded_and_it_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_choice, "find_spec", lambda _: None)
    found = choice("notebook", 1_000_000)
    assert found.capture == "recorded"
    assert "triton" in found.why


@pytest.mark.parametrize("asked", ["recorded", "fused", "kernels", "off"])
def test_what_was_asked_for_is_taken_without_a_word(asked: str) -> None:
    for steps in (1, 1_000_000):
        assert choice("notebook", steps, **{"runtime.capture": asked}) == StepChoice(asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("so_far", "expected"),
    [
        ("captured", "recorded"),
        ("plain", "recorded"),
        ("fused and captured", "fused"),
        ("fused", "fused"),
        ("kernels and captured", "kernels"),
        ("kernels", "kernels"),
    ],
)
@pytest.mark.parametrize("steps", [1, 1_000_000])
def test_a_run_goes_on_as_it_began(so_far: str, expected: str, steps: int) -> None:
    assert choice("notebook", steps, so_far) == StepChoice(expected, "as the run began")  # type: ignore[arg-type]


def test_the_facts_of_an_earlier_part_say_how_it_began() -> None:
    assert resolve_runtime(RuntimeConfig(device="cpu")).steps_so_far == ""
    facts = {"step": "fused and captured", "threads": 1}
    found = resolve_runtime(RuntimeConfig(device="cpu"), recorded=facts)
    assert found.steps_so_far == "fused and captured"


def test_a_deterministic_run_is_computed_as_written() -> None:
    values: dict[str, Any] = {"runtime.deterministic": True}
    found = choice("notebook", 1_000_000, **values)
    assert found == StepChoice("recorded", "a deterministic run is computed as it is written")


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ({"optim.batch_size": 256}, 2.0),
        ({"optim.batch_size": 1024}, 0.5),
        ({"data.image_size": 64, "model.stem": "cifar"}, 0.25),
        ({"data.image_size": 128, "model.stem": "imagenet"}, 1_000 / 650),  # of no kernel's size
    ],
)
def test_what_a_step_saves_grows_with_its_pixels(values: dict[str, Any], share: float) -> None:
    config = resolve(PretrainConfig, preset_name="resnet18-moco", extra=values)
    assert steps_that_repay(config) == round(KERNELS_REPAID_BY["resnet18"] * share)


def test_a_run_says_its_way_before_anything_is_compiled(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU with the stand-in for a recording: kernels where they repay, as its facts say."""
    config = config_with(optim__epochs=1, monitor__knn_every=0)
    prepare, said = Pretraining.prepare, list[list[str]]()
    with fusion.as_on_cuda(RUNTIME.device), monkeypatch.context() as patch:
        patch.setattr(pretraining, "recorder_for", lambda *_: Standin())
        patch.setattr(compiled, "BACKEND", "aot_eager")
        for most, way, step in (
            (10**9, "recorded", "captured"),
            (0, "kernels", "kernels and captured"),
        ):
            patch.setattr(step_choice, "KERNELS_REPAID_BY", {"convnet": most})
            sink = Script()

            def noted(training: Pretraining, sink: Script = sink) -> list[str]:
                said.append(list(sink.logged))
                return prepare(training)

            patch.setattr(Pretraining, "prepare", noted)
            assert run(config, dataset, tmp_path / f"{way}.pt", sink) == "finished"
            [line] = sink.logged
            assert line.startswith(f"steps: {way}; ")
            assert said[0] == [line]
            assert sink.facts["step"] == step
            said.clear()


def test_a_cpu_says_nothing_of_it(dataset: Dataset, tmp_path: Path) -> None:
    sink = Script()
    config = config_with(optim__epochs=1, monitor__knn_every=0)
    assert run(config, dataset, tmp_path / "a.pt", sink) == "finished"
    assert sink.logged == []
