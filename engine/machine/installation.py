"""What is installed: this program's version and commit, and the packages beside it."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import tomllib
from pathlib import Path

from engine.text import clean_text

_CHECKOUT = Path(__file__).resolve().parents[2]
_DISTRIBUTION = re.compile(r"([A-Za-z0-9][\w.]*?)-(\d[^-]*)(-py[\d.]+)?\.(dist|egg)-info")


@functools.cache
def program_version() -> str:
    """The version of this program; of a checkout that which its ``pyproject.toml`` says."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        file = _CHECKOUT / "pyproject.toml"
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        if project["name"] == "moco-tui":
            return str(project["version"])
    return distributions().get("moco-tui", "")


@functools.cache
def installed_commit() -> str:
    """The commit that pip installed this program from, where that was a repository (PEP 610)."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        source = json.loads(distribution("moco-tui").read_text("direct_url.json") or "{}")
        return clean_text(str(source["vcs_info"]["commit_id"]), 64)
    except (PackageNotFoundError, KeyError, TypeError, ValueError, OSError):
        return ""


@functools.cache
def distributions() -> dict[str, str]:
    """Names and versions of what is installed where this process looks for modules, by name.

    By the names of the folders that installers write (https://packaging.python.org/en/latest/
    specifications/recording-installed-packages/): to read their files would take a hundred times as
    long. Of one that is there twice, the first counts, as it does for an import.
    """
    found: dict[str, str] = {}
    for place in dict.fromkeys(sys.path):
        with contextlib.suppress(OSError):
            for name in os.listdir(place or "."):  # noqa: PTH208 - names alone
                match = _DISTRIBUTION.fullmatch(name)
                if match is not None:
                    found.setdefault(re.sub(r"[-_.]+", "-", match[1]).lower(), match[2])
    return dict(sorted(found.items()))
