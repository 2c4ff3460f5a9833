"""The pages of the manual: all are there, links lead somewhere, lines fit, nothing is stale."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import moco_tui
from engine.config.fields import fields
from engine.config.schema import KINDS
from engine.errors import UserError
from engine.runs import ShownStatus
from moco_tui.cli.command_table import listed_commands
from moco_tui.present import encoder_diagnoses as encoder
from moco_tui.present import knn_diagnoses as knn
from moco_tui.present import queue_diagnoses as queue
from moco_tui.present import shortcut_diagnosis as shortcut
from moco_tui.present.diagnoses import DIAGNOSES
from moco_tui.present.manual_pages import PAGES, anchors, manual_page, split_link
from moco_tui.screens.key_table import bound_keys
from moco_tui.screens.screen_registry import SCREENS

from ... import manual_pages as made

FOLDER = Path(moco_tui.__file__).parent / "manual"
REPOSITORY = Path(moco_tui.__file__).parents[1]
LONG = ("https://", "http://")


def test_every_file_is_a_page_and_every_page_a_file() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == sorted(PAGES)
    assert [path.name for path in FOLDER.iterdir() if path.suffix != ".md"] == []


def test_every_extra_is_named() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    table = manual_page("first-run").text.partition("Extras are")[2].split("```")[1]
    named = [line.split()[0] for line in table.splitlines()[1:]]
    assert sorted(named) == sorted(project["optional-dependencies"].keys() - {"dev"})


def test_the_readme_is_short_and_names_every_page() -> None:
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    assert len(lines) <= 220
    rows = [f"| [{n}](moco_tui/manual/{n}.md) | {manual_page(n).summary} |" for n in PAGES]
    assert [line for line in lines if "(moco_tui/manual/" in line and line.startswith("|")] == rows


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_a_title_and_one_line_on_it(name: str) -> None:
    page = manual_page(name)
    assert page.title
    assert not page.title.startswith("#")
    assert page.summary.endswith(".")
    assert len(f"{name:<12}{page.summary}") <= 96
    assert "<!--" not in page.text


@pytest.mark.parametrize("name", PAGES)
def test_the_lines_of_a_page_fit_into_80_columns_of_ascii(name: str) -> None:
    text = manual_page(name).text
    assert text.isascii(), "a terminal may show nothing else"
    in_block = False
    for line in text.splitlines():
        in_block ^= line.startswith("```")
        # The app draws a block within frames.
        assert len(line) <= (74 if in_block else 80), line
        assert line == line.rstrip()


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_pages_and_headings_that_are_there(name: str) -> None:
    for href in re.findall(r"\]\(([^)]+)\)", manual_page(name).text):
        inside = split_link(href, name)
        assert inside is not None, href
        page, anchor = inside
        assert not anchor or anchor in anchors(manual_page(page).text), href


def test_what_the_screens_open_is_there() -> None:
    for entry in SCREENS.values():
        page, _, anchor = entry.page.partition("#")
        if page:
            assert not anchor or anchor in anchors(manual_page(page).text), entry.page
    assert {"runs", "form", "monitor", "studies", "look"} <= {e.page for e in SCREENS.values()}


def test_links_are_told_apart() -> None:
    assert split_link("runs.md#filters", "form") == ("runs", "filters")
    assert split_link("#axes", "studies") == ("studies", "axes")
    assert split_link("form.md", "runs") == ("form", "")
    for outside in ("https://example.org/runs.md", "../README.md", "runs", "nothing.md"):
        assert split_link(outside, "runs") is None


def test_anchors_are_those_of_github_and_fenced_lines_are_none() -> None:
    text = "# A title\n\n```text\n# no heading\n```\n\n## Names, tags & `notes`\n"
    assert anchors(text) == {"a-title": "A title", "names-tags--notes": "Names, tags & notes"}


def test_an_unknown_page_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no page 'stuides'; did you mean studies\?"):
        manual_page("stuides")
    with pytest.raises(UserError, match="moco-tui manual lists the pages"):
        manual_page("xyzzy")
    with pytest.raises(UserError, match="no page"):
        manual_page("../../pyproject")


# ----------------------------------------------------------------------------------------------
# What is made from the code


@pytest.mark.parametrize("name", PAGES)
def test_what_is_made_from_the_code_is_up_to_date(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text()
    assert made.renewed(text) == text, "python -m tests.manual_pages --write"


def test_a_change_of_the_code_makes_a_page_stale() -> None:
    text = (FOLDER / "settings.md").read_text()
    assert made.renewed(text.replace("moco.queue_size = 4096", "moco.queue_size = 4095")) == text


@pytest.mark.parametrize("name", PAGES)
def test_every_mark_of_what_is_made_has_its_end(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text()
    marks = re.findall(r"<!-- (made|end)", text)
    assert set(re.findall(r"<!-- (\w+)", text)) <= {"made", "end"}
    assert marks == ["made", "end"] * (len(marks) // 2)
    assert len(made._MADE.findall(text)) == len(marks) // 2


def test_the_pages_of_reference_have_everything_there_is() -> None:
    keys = manual_page("keys").text
    scopes = {scope for found in made.SCOPES.values() for scope, _ in found}
    assert scopes <= {id_.partition(".")[0] for id_ in bound_keys()}
    assert "made: keys others -->" in (FOLDER / "keys.md").read_text()
    assert all(f"keys {screen} -->" in (FOLDER / "keys.md").read_text() for screen in made.SCOPES)
    for key in bound_keys().values():
        assert key.description.split("; ")[0] in keys
    commands = manual_page("commands").text
    assert [f"## {name}" in commands for name in listed_commands()].count(False) == 0
    settings = (FOLDER / "settings.md").read_text()
    for kind, sections in (
        ("pretrain", ("data", "augment", "model", "moco", "optim", "monitor", "log", "runtime")),
        ("probe", ("-", "task", "data", "linear", "logistic", "finetune", "supervised")),
    ):
        wanted = {key.partition(".")[0] if "." in key else "-" for key in fields(KINDS[kind])}
        assert wanted - {"runtime"} <= set(sections)
        assert all(f"made: settings {kind} {section} -->" in settings for section in sections)


def test_the_limits_of_the_diagnoses_are_those_of_the_code() -> None:
    text = " ".join(manual_page("monitor").text.split())
    for words in (
        f"From epoch {encoder.FIRST_EPOCHS} on, the mean losses of the last {encoder.LAST_EPOCHS}",
        f"above {encoder.AT_CHANCE:g} of chance",
        f"has been filled {encoder.FILLINGS} times",
        f"is below {encoder.FEW:g}, or below {encoder.FALLEN:g} of its largest value",
        f"at {encoder.IN_A_ROW} measures in a row",
        f"At least {shortcut.SOLVED:g} % of the queries",
        f"At least {encoder.DEAD_SHARE:g} of the dimensions",
        f"by {queue.DRIFT:g} of the distance",
        f"After {knn.LEAST_EPOCHS} epochs and {knn.LEAST_SHARE:g} of the schedule",
        f"by {knn.BEYOND:g} standard errors, twice in a row",
        f"The last {knn.IN_A_ROW} measures of kNN are below its best by {knn.BEYOND:g}",
    ):
        assert words in text
    assert [f"**{name}.**" in text for name in DIAGNOSES] == [True] * len(DIAGNOSES)


def test_every_state_of_a_run_is_explained() -> None:
    text = manual_page("runs").text
    table = text.partition("## States")[2].split("```")[1]
    states = [line.split()[0] for line in table.splitlines()[1:]]
    assert sorted(states) == sorted(get_args(ShownStatus))


# ----------------------------------------------------------------------------------------------
# The sentences of errors that a page explains


def _texts_of_the_code() -> str:
    """Every text of the packages; what is put into one while it runs stands as three dots."""
    return "\n".join(
        text
        for package in ("engine", "moco_tui")
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        for text in _texts(ast.parse(path.read_text()))
    )


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_messages_that_are_explained_are_those_of_the_code() -> None:
    text = _texts_of_the_code()
    page = " ".join(manual_page("trouble").text.split())
    quoted = re.findall(r"\*\*(.+?)\*\*", page)
    found = [part for words in quoted for part in re.findall(r"`([^`]+)`", words)]
    assert len(found) > 35
    assert [part for part in found if part not in text] == []
