"""The processor, as the system describes it."""

from __future__ import annotations

from pathlib import Path

from engine.machine.processor import processor


def test_the_model_and_the_flags_of_the_first_core(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("model name\t: A CPU 5\nflags\t\t: fpu avx2 avx512f\n\nflags\t: amx_bf16\n")
    assert processor(file) == ("A CPU 5", ["avx2", "avx512f"])


def test_features_of_arm(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nFeatures\t: fp asimd sve\n")
    model, flags = processor(file)
    assert model
    assert flags == ["asimd", "sve"]


def test_where_the_system_says_nothing_there_is_a_name_all_the_same(tmp_path: Path) -> None:
    model, flags = processor(tmp_path / "none")
    assert model
    assert flags == []
