"""The house itself: what import-linter's contracts do not say of it."""

from __future__ import annotations

import ast
import graphlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "moco_tui")
LONGEST = 400
LOOSE = {"engine": 5, "moco_tui": 6}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_import_circle_is_left_lazy_and_type_only_imports_counted() -> None:
    grimp = pytest.importorskip("grimp")  # on a machine that is lent, with packages of its own
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    uses = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    assert len(uses) > 150
    try:
        graphlib.TopologicalSorter(uses).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_a_module_has_at_most_400_lines() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in modules()}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_few_modules_lie_loose_beside_the_rooms(package: str) -> None:
    loose = [p.name for p in (ROOT / package).glob("*.py") if not p.stem.startswith("__")]
    assert len(loose) <= LOOSE[package], loose


def test_a_file_name_occurs_once() -> None:
    """But for pairs: ``config/ROOM/NAME.py`` has the settings of ``ROOM/NAME.py``.

    A command is named as it is called, whatever else has that name.
    """
    places = defaultdict(set)
    for path in modules():
        name = named(path)
        if path.stem in ("__init__", "__main__") or name.startswith("moco_tui/cli/"):
            continue
        # one of a pair stands for both
        places[path.name].add(
            name.replace("engine/config/heads/", "engine/probe/").replace(
                "engine/config/", "engine/"
            )
        )
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_two_classes_share_no_name() -> None:
    places = defaultdict(list)
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(named(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_every_module_says_what_it_is() -> None:
    without = [named(p) for p in modules() if not ast.get_docstring(ast.parse(p.read_text()))]
    assert without == []


def test_works_beside_the_keys_begin_in_one_place() -> None:
    """A coroutine that is made before its turn is warned of where it never comes."""
    app = (ROOT / "moco_tui").rglob("*.py")  # ``engine`` knows no workers of Textual
    begun = {named(path) for path in app if ".run_worker" in path.read_text()}
    assert begun == {"moco_tui/widgets/background_work.py"}


def test_the_tests_mirror_the_rooms() -> None:
    """A test lies in the room of what it tests, and is named after a module of that room."""
    strays = []
    for path in sorted((ROOT / "tests" / "engine").glob("*/test_*.py")):
        room = path.parent.name
        homes = [ROOT / "engine" / room, *(ROOT / "engine" / "config").glob("*/")]
        name = f"{path.stem.removeprefix('test_')}.py"
        if name != "registry.py" and not any((home / name).exists() for home in homes):
            strays.append(named(path))
    assert strays == []
