"""What a build adds to ``pyproject.toml``: the commit that it was made from, beside the packages.

Written into what is built and never into the source tree, so that nothing there can be out of
date. A source distribution carries the file on to the wheel that is made of it. setuptools takes
the two commands from here (``tool.setuptools.cmdclass``), and loads this file alone: it needs
nothing of the packages. What is written is read by ``engine.machine.installation``.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parents[2]
FILE = "engine/built_from.json"
_SECONDS = 20.0


def repository_state(root: Path) -> dict[str, str | int] | None:
    """Commit of a source tree, how many files differ from it and how many git does not know.

    None without git, and for a tree that is not the top of a repository which holds it: one that is
    unpacked below another project has no commit of its own.
    """
    try:
        top = _git(root, "rev-parse", "--show-toplevel").rstrip("\n")
        if not top or os.path.realpath(top) != os.path.realpath(root):
            return None
        _git(root, "ls-files", "--error-unmatch", "--", "pyproject.toml")
        commit = _git(root, "rev-parse", "--verify", "HEAD").strip()
        lines = _git(root, "status", "--porcelain", "--ignore-submodules=dirty").splitlines()
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    untracked = sum(line.startswith("??") for line in lines)
    return {"commit": commit, "changed": len(lines) - untracked, "untracked": untracked}


def _git(root: Path, *words: str) -> str:
    # Else a repository that a hook or a shell has set would be meant, and not that of the tree.
    kept = {key: text for key, text in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-c", "core.fsmonitor=false", "-C", str(root), *words],
        env=kept | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=_SECONDS,
        check=True,
    )
    return done.stdout


def note_state(state: dict[str, str | int] | None, root: Path, target: Path) -> None:
    """Writes the state of a tree into what is built from it.

    Args:
        state: see ``repository_state``.
        root: the source tree; one without a repository may bring the file along.
        target: the top of what is built; a file of an earlier build in it is replaced or removed.
    """
    path, carried = target / FILE, root / FILE
    if state is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not through a link: a source distribution links its files to those of the tree.
        path.unlink(missing_ok=True)
        path.write_text(json.dumps(state) + "\n", encoding="utf-8")
    elif not carried.exists():
        path.unlink(missing_ok=True)


class BuildPackages(build_py):
    """Copies the packages, and writes the commit beside them."""

    def run(self) -> None:
        """See setuptools; an editable installation asks its checkout instead."""
        super().run()
        if not self.editable_mode:
            note_state(repository_state(ROOT), ROOT, Path(self.build_lib))


class SourceDistribution(sdist):
    """Packs the sources, and the commit with them."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """See setuptools."""
        state = repository_state(ROOT)  # before: the release tree lies in the source tree
        super().make_release_tree(base_dir, files)
        note_state(state, ROOT, Path(base_dir))
