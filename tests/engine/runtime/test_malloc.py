"""Freed memory stays in the process or leaves it, seen by the page faults of one of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from ...environment import with_packages

PROGRAM = """
import resource, torch
from engine.runtime.malloc import hand_back_freed_memory, keep_freed_memory

def faults(count=4, size=4 << 20):  # four times 16 MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        blocks = [torch.ones(size) for _ in range(count)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
taken = keep_freed_memory()
faults()
kept = faults()
taken = taken and hand_back_freed_memory()
large = (1, 20 << 20)  # fits into no hole that the blocks before may have left in the heap
faults(*large)
print(kept, faults(*large), int(taken))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_large_blocks_are_reused_without_page_faults_until_they_are_handed_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=with_packages(),
        capture_output=True,
        text=True,
        check=True,
    )
    kept, handed_back, taken = map(int, done.stdout.split())
    assert taken == 1
    assert kept < 1_000  # by default up to 81,920, every page of every block
    assert handed_back > 10_000
