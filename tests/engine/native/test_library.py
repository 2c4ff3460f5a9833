"""Which kernels are used, and that everything works where there are none."""

from __future__ import annotations

import pytest
import torch

from engine.native import library
from engine.native.library import LEVELS, OFF, SWITCH, level


class Built:
    """A library for all levels of a processor that has ``best`` of them."""

    def __init__(self, best: int) -> None:
        self.best = best

    def moco_levels(self) -> int:
        return self.best


@pytest.mark.parametrize(
    ("best", "switch", "torch_level", "expected"),
    [
        (3, None, None, "avx512"),
        (4, None, None, "avx512_bf16"),
        (3, "", None, "avx512"),
        (3, None, "avx2", "avx2"),
        (4, "on", None, "avx512_bf16"),
        (4, "avx512", None, "avx512"),
        (4, "on", "avx2", "avx2"),
        (3, "on", None, "avx512"),
        (2, "on", None, "avx2"),
        (1, "on", None, "plain"),
        (3, "avx2", None, "avx2"),
        (1, "avx512", None, "plain"),
        (3, "off", None, OFF),
        (3, "no such level", None, OFF),
        (3, "on", "avx2", "avx2"),
        (3, "on", "default", "plain"),
        (3, "on", "avx512", "avx512"),
        (3, "plain", "avx2", "plain"),
    ],
)
def test_the_level_is_the_best_that_all_allow(
    monkeypatch: pytest.MonkeyPatch,
    best: int,
    switch: str | None,
    torch_level: str | None,
    expected: str,
) -> None:
    monkeypatch.setattr(library, "library", lambda: Built(best))
    monkeypatch.setattr(library, "multiplies_tiles", lambda: False)
    for name, value in ((SWITCH, switch), ("ATEN_CPU_CAPABILITY", torch_level)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert level() == expected


@pytest.mark.parametrize(
    ("best", "switch", "expected"),
    [
        (4, None, "avx512"),
        (4, "on", "avx512"),
        (3, None, "avx512"),
        (2, None, "avx2"),
        (4, "avx512_bf16", "avx512_bf16"),
        (4, "off", OFF),
    ],
)
def test_where_torch_multiplies_tiles_its_convolutions_are_taken(
    monkeypatch: pytest.MonkeyPatch, best: int, switch: str | None, expected: str
) -> None:
    monkeypatch.setattr(library, "library", lambda: Built(best))
    monkeypatch.setattr(library, "multiplies_tiles", lambda: True)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    monkeypatch.delenv(SWITCH, raising=False)
    if switch is not None:
        monkeypatch.setenv(SWITCH, switch)
    assert level() == expected


@pytest.mark.parametrize(
    ("amx", "isa", "expected"),
    [
        (True, None, True),
        (True, "DEFAULT", True),
        (True, "avx512_core_amx", True),
        (True, "AVX512_CORE_BF16", False),
        (True, "AVX2", False),
        (False, None, False),
    ],
)
def test_tiles_are_multiplied_where_processor_and_environment_let_torch(
    monkeypatch: pytest.MonkeyPatch, amx: bool, isa: str | None, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if isa is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert library.multiplies_tiles() == expected


def test_without_a_library_there_is_no_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "library", lambda: None)
    monkeypatch.setenv(SWITCH, "on")
    assert level() == OFF
    assert OFF not in LEVELS


def test_a_library_that_does_not_fit_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        origin = "/no/such/file.so"

    monkeypatch.setattr("importlib.util.find_spec", lambda _: Found())
    assert library.library.__wrapped__() is None
    monkeypatch.setattr(library, "_SIGNATURES", {"no_such_kernel": []})
    monkeypatch.setattr(Found, "origin", None)
    assert library.library.__wrapped__() is None
