"""What all tests share.

Tests of properties draw the same examples in every run, so that what passed once passes again.
``HYPOTHESIS_PROFILE=search`` draws others each time: to look for faults, by hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from moco_tui.user.user_file import VARIABLE

from .receiver import Receiver
from .stand_in_slurm import StandInSlurm

settings.register_profile("same", derandomize=True)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

_TEST_NUMBERS = count(1)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or changes the configuration of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("nobody") / "config.toml"))
        # Nor what a compiler keeps for that person.
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture(autouse=True)
def _nobodys_last_run(_nobodys_configuration: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a test find what another has run: forms begin like the last run of a person."""
    shared = Path(os.environ[VARIABLE])
    own = shared.parent / f"test-{next(_TEST_NUMBERS)}" / shared.name
    monkeypatch.setenv(VARIABLE, str(own))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the configuration of a person would stand."""
    path = tmp_path / "own" / "config.toml"
    path.parent.mkdir()
    monkeypatch.setenv(VARIABLE, str(path))
    return path


@pytest.fixture
def receiver(tmp_path: Path, config: Path) -> Receiver:
    """The command of a person's configuration, which keeps what it is told."""
    made = Receiver(tmp_path / "receiver")
    config.write_text(made.configured())
    return made


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandInSlurm:
    """Programs of Slurm that say what the test wants."""
    return StandInSlurm(tmp_path / "slurm-programs", monkeypatch)
