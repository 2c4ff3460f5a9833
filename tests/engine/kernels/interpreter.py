"""Runs a file of tests with the kernels in Triton's interpreter, and checks operations of torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

_ROOT = Path(__file__).parents[3]


def passes_in_the_interpreter(file: str, *words: str) -> str:
    """Has all tests of a file pass, in a process of its own.

    Args:
        file: of the tests.
        words: more for pytest.

    Returns:
        What pytest has said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", file, *words],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "only 0-dimensional arrays can be converted" in done.stdout:
        pytest.skip("Triton's interpreter, up to 3.6, does not work with NumPy from 2.4 on")
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
    return done.stdout


def check_operations(calls: Iterable[tuple[Any, tuple[Any, ...]]]) -> None:
    """Checks that operations are what torch takes them for.

    Args:
        calls: operations and arguments.
    """
    which = ("test_schema", "test_autograd_registration", "test_faketensor")
    for operation, arguments in calls:
        torch.library.opcheck(operation, arguments, test_utils=which)
