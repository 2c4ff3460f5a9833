"""What a run is computed with: the packages that are there, and of the environment little."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest
import torch

from engine.jobs import surroundings
from engine.jobs.surroundings import NO_COMMIT, card_facts, gather, variables
from engine.machine.installation import BuiltFrom, program_version
from engine.runs.provenance import FILE


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


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (
            BuiltFrom("a" * 40, 2, 0),
            {"program.commit": "a" * 40, "program.changed": 2, "program.untracked": 0},
        ),
        (BuiltFrom("a" * 40), {"program.commit": "a" * 40, "program.untracked": 0}),
        (BuiltFrom(), {"program.note": NO_COMMIT}),
    ],
)
def test_without_a_checkout_the_commit_is_that_of_the_build(
    monkeypatch: pytest.MonkeyPatch, built: BuiltFrom, expected: dict[str, object]
) -> None:
    monkeypatch.setattr(surroundings, "checkout_of", lambda file: None)
    monkeypatch.setattr(surroundings, "built_from", lambda: built)
    values = gather({}).values
    found = {key: value for key, value in values.items() if key.startswith("program.")}
    assert found == {"program.version": program_version(), **expected}
