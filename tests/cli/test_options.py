"""Options that commands share: given before or after a command, alone or in groups."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from moco_tui.cli.options import JSON, Settings, option_group, shared_options

from .conftest import Call, trained


@dataclass(frozen=True)
class Size:
    width: int = 1
    height: int = 2


SIZE = option_group(
    "size",
    Size,
    click.option("--width", type=int, default=1, help="How wide."),
    click.option("--height", type=int, default=2, help="How high."),
)


@click.command()
@click.option("--first", is_flag=True, help="Stands first.")
@SIZE
@JSON
@shared_options
@click.pass_obj
def draw(settings: Settings, first: bool, size: Size, as_json: bool) -> None:
    print(first, size, as_json, settings.device)


def test_a_group_of_options_reaches_the_command_as_one_value() -> None:
    def run(*words: str) -> str:
        return CliRunner().invoke(draw, words, obj=Settings()).output

    assert run() == f"False {Size()} False None\n"
    words = ("--height", "5", "--json", "--device", "cpu")
    assert run(*words) == f"False {Size(1, 5)} True cpu\n"
    help_ = run("--help")
    places = [help_.index(text) for text in ("first", "width", "height", "json", "runs-dir")]
    assert places == sorted(places)


@pytest.mark.parametrize("before", [True, False])
def test_an_option_may_stand_before_or_after_the_command(
    call: Call, root: Path, tmp_path: Path, before: bool
) -> None:
    folder = trained(root)
    other = ["--runs-dir", str(tmp_path / "other")]
    words = [*other, "runs", "--json"] if before else ["runs", "--json", *other]
    assert json.loads(call(*words).out) == []
    assert [run["id"] for run in json.loads(call("runs", "--json").out)] == [folder.id]


def test_of_two_places_the_one_after_the_command_wins(call: Call, root: Path) -> None:
    folder = trained(root)
    words = ["--runs-dir", "/nonexistent", "runs", "--json", "--runs-dir", str(root)]
    assert [run["id"] for run in json.loads(call(*words).out)] == [folder.id]
