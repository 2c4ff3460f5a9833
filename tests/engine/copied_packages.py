"""A copy of both packages to which a test adds files and lines, to count the places to touch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ..environment import with_packages

ROOT = Path(__file__).parents[2]


class CopiedPackages:
    """The packages in a folder of their own, and every place that was touched in them.

    Args:
        folder: where to put them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.touched: list[str] = []
        for package in ("engine", "moco_tui"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, folder / package, ignore=ignored)

    def add_file(self, path: str, text: str) -> None:
        assert not (self.folder / path).exists()
        (self.folder / path).write_text(text)
        self.touched.append(path)

    def add_line(self, path: str, after: str, line: str) -> None:
        place = self.folder / path
        text = place.read_text()
        assert text.count(f"{after}\n") == 1
        place.write_text(text.replace(f"{after}\n", f"{after}\n{line}\n"))
        self.touched.append(path)

    def change_line(self, path: str, line: str, into: str) -> None:
        place = self.folder / path
        text = place.read_text()
        assert text.count(f"{line}\n") == 1
        place.write_text(text.replace(f"{line}\n", f"{into}\n"))
        self.touched.append(path)

    def moco(self, *words: str) -> str:
        """What a command prints, on runs and data in this folder and on the CPU."""
        folders = ("--runs-dir", "runs", "--data-dir", "data", "--device", "cpu")
        return self.run("-m", "moco_tui", *folders, *words)

    def run(self, *words: str) -> str:
        """What ``python WORDS`` prints with the copied packages."""
        environment = with_packages(self.folder, PYTHONDONTWRITEBYTECODE="1")
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
