"""What is installed of the packages: their files, and that they work from an installer's folder."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from typing import Any

import pytest
from packaging.requirements import Requirement

import engine
import moco_tui

from .environment import REPOSITORY, with_packages

PACKAGES = ("engine", "moco_tui")
BUILT = (".pyc", ".so")
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def held(root: Path) -> set[str]:
    """The files of both packages, without what is built and the manual pages."""
    found = {
        path.relative_to(root).as_posix()
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix not in BUILT
    }
    return {name for name in found if not name.startswith("moco_tui/man/")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Source distribution, wheel made of it, and the folder where that was installed.

    The compiler is one that fails, so that nothing waits for it: the kernels in C are optional.
    """
    place = tmp_path_factory.mktemp("built")
    source, out, site = place / "source", place / "dist", place / "site"
    source.mkdir()
    for package in PACKAGES:
        copytree(
            REPOSITORY / package,
            source / package,
            ignore=ignore_patterns("__pycache__", *(f"*{end}" for end in BUILT)),
        )
    for path in REPOSITORY.iterdir():
        if path.is_file() and not path.name.startswith("."):
            copy(path, source / path.name)
    env = with_packages() | {"CC": "false"}

    def python(cwd: Path, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    hook = (
        "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
    )
    python(source, "-c", hook, "build_sdist", str(out))
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "unpacked", filter="data")
    (unpacked,) = (place / "unpacked").iterdir()
    python(unpacked, "-c", hook, "build_wheel", str(out))
    (wheel,) = out.glob("*.whl")
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    python(place, *pip, "--target", str(site), str(wheel))
    return {"sdist": sdist, "wheel": wheel, "site": site}


@pytest.mark.filterwarnings("ignore:.*experimental")
def test_the_patterns_cover_every_file_of_the_packages() -> None:
    setuptools = pytest.importorskip("setuptools")
    from setuptools.config.pyprojecttoml import apply_configuration

    found: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        build = apply_configuration(
            setuptools.Distribution({"script_name": "setup.py"}), "pyproject.toml"
        ).get_command_obj("build_py")
        build.ensure_finalized()
        for _package, folder, _to, names in build.data_files:
            found |= {f"{folder}/{name}" for name in names}
        found |= {str(module[2]) for module in build.find_all_modules()}
    wanted = held(REPOSITORY)
    assert {path for path in wanted if path.endswith(".tcss")}
    assert {name for name in found if not name.endswith(BUILT)} == wanted


def test_the_version_is_one_and_has_its_section_in_the_change_log() -> None:
    version = PROJECT["version"]
    assert moco_tui.__version__ == version
    assert f"\n## [{version}] - 20" in (REPOSITORY / "CHANGELOG.md").read_text()
    with pytest.raises(AttributeError, match="nothing"):
        _ = moco_tui.nothing
    assert engine.__distribution__ == PROJECT["name"]


def test_the_source_distribution_builds_and_holds_no_more_than_it_needs(
    built: dict[str, Path],
) -> None:
    with tarfile.open(built["sdist"]) as archive:
        sizes = {m.name.partition("/")[2]: m.size for m in archive if m.isfile()}
    assert held(REPOSITORY) <= sizes.keys()
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md"):
        assert name in sizes
    strange = [n for n in sizes if n.startswith(("tests/", "runs/", ".")) or n.endswith(BUILT)]
    assert strange == []
    assert built["sdist"].stat().st_size < 2_000_000


def test_the_wheel_holds_the_packages_and_names_the_project(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        names = set(archive.namelist())
        (about,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(about))
        (script,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        assert "moco-tui = moco_tui.__main__:main" in archive.read(script).decode()
    assert {name for name in names if name.startswith(PACKAGES)} - held(REPOSITORY) == {
        name for name in names if ".dist-info/" in name or ".data/" in name
    }
    assert held(REPOSITORY) <= names
    pages = {name.rpartition("/")[2] for name in names if "/data/share/man/man1/" in name}
    assert pages == {path.name for path in (REPOSITORY / "moco_tui/man").iterdir()}
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["License-Expression"] == "MIT"
    assert built["wheel"].stat().st_size < 2_000_000


def test_what_is_installed_runs_from_another_folder(built: dict[str, Path], tmp_path: Path) -> None:
    site = built["site"]
    env = with_packages(site, MOCO_TUI_RUNS=str(tmp_path / "runs"))
    # Without the checkout, from which a file that is missing here could come.
    env["PYTHONPATH"] = ":".join(p for p in env["PYTHONPATH"].split(":") if p != str(REPOSITORY))

    def called(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
        )

    said = called(sys.executable, str(site / "bin" / "moco-tui"), "--version")
    assert (said.stdout, said.stderr) == (f"moco-tui {PROJECT['version']}\n", "")
    listed = called(sys.executable, str(site / "bin" / "moco-tui"), "presets", "quick")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert tomllib.loads(listed.stdout)["optim"]["epochs"] > 0
    first_screen = (
        "import asyncio, pathlib, sys, moco_tui\n"
        "from moco_tui.app import MocoApp\n"
        "from moco_tui.session import Session\n"
        "async def main():\n"
        "    app = MocoApp(Session(pathlib.Path('runs'), data_dir=pathlib.Path('data')))\n"
        "    async with app.run_test(size=(100, 30)) as pilot:\n"
        "        await pilot.pause()\n"
        "        print(type(app.screen).__name__, moco_tui.__file__)\n"
        "asyncio.run(main())\n"
    )
    shown = called(sys.executable, "-c", first_screen)
    assert shown.stdout.split() == ["RunsScreen", str(site / "moco_tui" / "__init__.py")], (
        shown.stderr
    )


def test_the_lock_is_that_of_the_project_and_names_the_public_registry_alone() -> None:
    lock = tomllib.loads((REPOSITORY / "uv.lock").read_text())
    (own,) = [package for package in lock["package"] if package["name"] == PROJECT["name"]]
    asked = [requirement for group in requirements().values() for requirement in group]
    locked = own["metadata"]["requires-dist"]
    names = {(entry["name"], specifiers(entry.get("specifier", ""))) for entry in locked}
    wanted = {(one.name, frozenset(map(str, one.specifier))) for one in map(Requirement, asked)}
    assert names == wanted, "uv lock writes it anew"
    assert own["version"] == PROJECT["version"]
    sources = {source for p in lock["package"] for source in p["source"].items()}
    assert sources == {("registry", "https://pypi.org/simple"), ("editable", ".")}
    hosts = set(re.findall(r"https?://[^/\"]*", (REPOSITORY / "uv.lock").read_text()))
    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}


def test_the_citation_is_of_this_version() -> None:
    citation = (REPOSITORY / "CITATION.cff").read_text()
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in citation
    (day,) = re.findall(r'\ndate-released: "(\S+)"\n', citation)
    assert f"\n## [{version}] - {day}\n" in (REPOSITORY / "CHANGELOG.md").read_text()


def test_the_images_copy_what_the_package_is_built_from() -> None:
    needed = {"pyproject.toml", "README.md", "LICENSE", *PACKAGES}
    container = (REPOSITORY / "Containerfile").read_text()
    copied = {
        name for line in re.findall(r"^COPY (.*)$", container, re.M) for name in line.split()[:-1]
    }
    definition = (REPOSITORY / "apptainer.def").read_text()
    (section,) = re.findall(r"^%files\n((?:    .*\n)+)", definition, re.M)
    pairs = [line.split() for line in section.splitlines()]
    assert needed <= copied == {name for name, _ in pairs}
    assert all(place == f"/opt/source/{name}" for name, place in pairs)
    let_through = re.findall(r"^!(.*)$", (REPOSITORY / ".dockerignore").read_text(), re.M)
    assert set(let_through) == copied
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []
    (python,) = re.findall(r"^ARG PYTHON=(.*)$", container, re.M)
    assert PROJECT["requires-python"] == f">={python}"
    assert f"\nFrom: python:{python}-slim" in definition


def requirements() -> dict[str, list[str]]:
    return {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


def specifiers(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))
