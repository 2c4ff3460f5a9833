"""What is installed: this program's version and commit, and the packages beside it."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

_CHECKOUT = Path(__file__).resolve().parents[2]
_BUILT_FROM = Path(__file__).resolve().parents[1] / "built_from.json"
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


class BuiltFrom(msgspec.Struct, frozen=True):
    """What an installation was made from.

    Attributes:
        commit: 40 (or 64) hexadecimal digits; empty where nothing says it.
        changed: tracked files that differed from it; None where that is not known.
        untracked: files and folders that git neither tracked nor ignored.
    """

    commit: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{40}|[0-9a-f]{64})?$")] = ""
    changed: Annotated[int, msgspec.Meta(ge=0)] | None = None
    untracked: Annotated[int, msgspec.Meta(ge=0)] = 0


@functools.cache
def built_from() -> BuiltFrom:
    """The commit that this program was installed from.

    Of the file that ``engine.machine.build_commit`` writes into whatever is built from a
    repository, else of what pip notes where it was given the address of one (PEP 610). A checkout
    has neither, and is asked itself (``engine.jobs.checkout``).
    """
    from importlib.metadata import PackageNotFoundError, distribution

    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(_BUILT_FROM.read_bytes(), type=BuiltFrom)
    with contextlib.suppress(
        PackageNotFoundError, KeyError, TypeError, ValueError, OSError, msgspec.DecodeError
    ):
        installed = distribution("moco-tui")
        # Another one may be installed beside a tree whose modules these are.
        if Path(str(installed.locate_file("engine"))).resolve() == _BUILT_FROM.parent:
            source = msgspec.json.decode(installed.read_text("direct_url.json") or "{}")
            return msgspec.convert({"commit": source["vcs_info"]["commit_id"]}, BuiltFrom)
    return BuiltFrom()


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
