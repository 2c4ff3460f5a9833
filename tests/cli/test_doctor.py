"""The report on this machine: complete, and harmless."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

from .conftest import Call, trained


def test_the_report_has_every_section_and_changes_nothing(
    call: Call, root: Path, tmp_path: Path
) -> None:
    trained(root)
    before = sorted(tmp_path.rglob("*"))
    called = call("doctor")
    assert called.code == 0
    for section in (
        "versions",
        "cpu",
        "device",
        "terminal",
        "runs folder",
        "data folder",
        "logout",
        "problems",
    ):
        assert f"\n{section}\n" in "\n" + called.out
    assert version("torch") in called.out
    assert platform.python_version() in called.out
    assert str(root) in called.out
    facts = json.loads(call("doctor", "--json").out)
    assert facts["versions"]["textual"] == version("textual")
    assert facts["runs folder"]["locks"] is True
    assert facts["runs folder"]["writable"] is True
    assert facts["data folder"]["exists"] is False
    assert facts["terminal"]["terminal"] is False
    assert sorted(tmp_path.rglob("*")) == before


def test_a_device_that_is_not_there_is_a_problem_and_no_failure(call: Call) -> None:
    called = call("doctor", "--device", "cuda:99", "--json")
    assert called.code == 0
    assert any("cuda:99" in problem for problem in json.loads(called.out)["problems"])


def test_read_only_tries_no_lock(call: Call, root: Path) -> None:
    facts = json.loads(call("--read-only", "doctor", "--json").out)
    assert "locks" not in facts["runs folder"]
