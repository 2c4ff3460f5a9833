"""What a run is computed with: the packages that are there, and of the environment little."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
import torch

from engine.jobs import surroundings
from engine.jobs.surroundings import card_facts, distributions, gather, variables
from engine.runs.provenance import FILE


def test_versions_are_those_that_the_packages_say_themselves() -> None:
    distributions.cache_clear()
    found = distributions()
    said = {
        re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): one.version
        for one in reversed(list(importlib.metadata.distributions()))
    }
    assert {name: said.get(name) for name in found} == found
    assert {"torch", "numpy", "textual", "nvidia-ml-py"} <= found.keys()


def test_of_a_package_that_is_there_twice_the_first_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, version in (("a", "2.0"), ("b", "1.0")):
        (tmp_path / place / f"Some_Thing-{version}.dist-info").mkdir(parents=True)
        (tmp_path / place / f"old-{version}-py3.11.egg-info").mkdir()
        (tmp_path / place / "nonsense.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / x) for x in ("a", "b", "missing")])
    distributions.cache_clear()
    assert distributions() == {"old": "2.0", "some-thing": "2.0"}
    distributions.cache_clear()


def test_no_variable_is_recorded_but_those_that_matter() -> None:
    given = {
        "OMP_NUM_THREADS": "4",
        "MOCO_TUI_NATIVE": "off",
        "MOCO_TUI_COMMAND": "moco-tui pretrain",
        "PYTORCH_CUDA_ALLOC_CONF": "x" * 500,
        "TORCH_LOGS": "a\nb\x1b[31m",
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_USER": "me",
        "NVIDIA_API_KEY": "s3cret",
        "TORCH_HUB_TOKEN": "s3cret",
        "MKL_PROXY": "http://me:s3cret@host",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "HOME": "/home/me",
        "TORCH_\n": "x",
    }
    found = variables(given)
    assert found == {
        "MKL_PROXY": "http://***@host",
        "MOCO_TUI_NATIVE": "off",
        "OMP_NUM_THREADS": "4",
        "PYTORCH_CUDA_ALLOC_CONF": "x" * 200,
        "SLURM_JOB_ID": "17",
        "TORCH_LOGS": "a b[31m",
    }
    assert "s3cret" not in str(found)


def test_everything_gathered_fits_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = gather(card_facts(torch.device("cpu")))
    values = found.values
    assert values["environment.OMP_NUM_THREADS"] == "3"
    assert values["packages.torch"] == importlib.metadata.version("torch")
    assert values["packages.all"] in found.files
    assert all(FILE.fullmatch(name) for name in found.files)
    assert {"command", "program.version", "machine.cpu", "machine.cores"} <= values.keys()
    assert all(isinstance(value, str | int) for value in values.values())
    assert not any(key.startswith("machine.gpu") for key in values)


def test_code_of_the_users_own_has_its_digest_and_none_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_net_here.py").write_text("class Net: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("my_net_here")
    values = gather({}, ["my_net_here:Net", "my_net_here:Other", "builtins:int"]).values
    # sha256sum my_net_here.py
    assert values["code.my_net_here.digest"] == "955cd1f58a682342"
    assert values["code.builtins.note"] == "It has no file."
    del sys.modules["my_net_here"]


def test_a_checkout_says_its_version_in_its_project_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "moco-tui"\nversion = "9.8"\n')
    monkeypatch.setattr(surroundings, "_HERE", tmp_path / "engine" / "jobs" / "a.py")
    surroundings.program_version.cache_clear()
    assert surroundings.program_version() == "9.8"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\nversion = "9.8"\n')
    surroundings.program_version.cache_clear()
    assert surroundings.program_version() != "9.8"
    surroundings.program_version.cache_clear()
