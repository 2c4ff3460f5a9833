"""What a run computes with, found out once, recorded, and used again when it goes on."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.config.run_schema import RuntimeConfig
from engine.native.library import OFF
from engine.runtime import device
from engine.runtime.device import resolve_runtime

CPU = RuntimeConfig(device="cpu")


@pytest.mark.parametrize(
    ("recorded", "here", "expected"),
    [
        ({}, "avx512", "avx512"),
        ({}, OFF, OFF),
        ({"threads": 2, "kernels": "avx2"}, "avx512", "avx2"),
        ({"threads": 2, "kernels": "avx512"}, "avx512", "avx512"),
        ({"threads": 2, "kernels": "avx512"}, "avx2", "avx2"),  # the nearest that there is
        ({"threads": 2, "kernels": "avx512"}, OFF, OFF),
        ({"threads": 2, "kernels": OFF}, "avx512", OFF),
        ({"threads": 2}, "avx512", OFF),  # begun when there were no kernels
        ({"threads": 2, "kernels": "of another version"}, "avx512", OFF),
    ],
)
def test_a_run_goes_on_with_the_kernels_that_it_began_with(
    monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any], here: str, expected: str
) -> None:
    # What is asked for in the environment counts for new runs alone.
    monkeypatch.setattr(device, "level", lambda: OFF if recorded else here)
    monkeypatch.setattr(device, "available", lambda: here)
    runtime = resolve_runtime(CPU, recorded=recorded)
    assert runtime.kernels == expected
    assert runtime.facts()["kernels"] == expected


def test_threads_and_precision_are_those_of_the_record() -> None:
    runtime = resolve_runtime(CPU, recorded={"threads": 3, "precision": "float32"})
    assert (runtime.threads, runtime.bfloat16) == (3, False)


def test_a_card_that_torch_cannot_use_is_named_with_its_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: f"Card {handle}",
        nvmlSystemGetDriverVersion=lambda: "535.104.05",
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    runtime = resolve_runtime(RuntimeConfig(device="auto"))
    assert runtime.device.type == "cpu"
    assert runtime.notice.startswith("Running on the CPU: this torch (")
    assert "cannot use the Card 0 that is here." in runtime.notice
    assert "Its driver is 535.104.05, and CUDA 13 needs 580 or newer." in runtime.notice
    assert "--index-url https://download.pytorch.org/whl/cu126" in runtime.notice
    driver.nvmlDeviceGetCount = lambda: 0
    assert resolve_runtime(RuntimeConfig(device="auto")).notice == ""
