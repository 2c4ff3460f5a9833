"""Every command of the manual is called, and every example of Python is run.

In a runs folder with small runs of the names that the pages use. What would train for long is
called, too, up to where the training would begin: settings, presets, files and runs that it names
are looked up and checked as ever. Of commands that need somebody else (a running trainer, a server)
the options alone are checked.
"""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import engine
import moco_tui.cli.branch_run
import moco_tui.cli.pretrain
import moco_tui.cli.probe
import moco_tui.cli.study
from engine.data import shapes
from engine.exchange import encoder_export
from engine.jobs import look_at
from engine.sink import Interrupted
from moco_tui.cli import cli
from moco_tui.cli.command_table import COMMANDS, load_command
from moco_tui.cli.options import Settings
from moco_tui.present.manual_pages import PAGES, manual_page

from ..environment import REPOSITORY
from .conftest import Call, probed, study_with_a_run

TINY: dict[str, Any] = {
    "data.limit": 100,
    "optim.epochs": 2,
    "optim.batch_size": 20,
    "moco.queue_size": 64,
    "model.bn_splits": 2,
    "monitor.knn_every": 1,
    "monitor.knn_k": 5,
    "log.keep_every": 1,
    "log.device_seconds": 1,
    "runtime.device": "cpu",
    "runtime.threads": 1,
}
OPTIONS_ALONE = {
    *("demo", "serve", "pause", "continue", "stop", "checkpoint", "resume", "import", "notify"),
}
"""Commands that are not called: the demo trains for minutes, the others need somebody else."""
OTHER_PROGRAMS = {
    *(".", "python3", "pip", "loginctl", "systemd-run", "tmux", "screen", "mosh", "ssh"),
    *("torchrun", "bash"),
}
"""What may stand in a page beside commands of this program."""


README = "README"
PAGES_FOLDER = REPOSITORY / "moco_tui" / "manual"


def shell_lines(page: str) -> list[str]:
    """The lines of the blocks of shell in a page, or in the README, continued ones joined."""
    path = PAGES_FOLDER / f"{page}.md" if page != README else REPOSITORY / "README.md"
    blocks = re.findall(r"^```sh\n(.*?)^```$", path.read_text(), flags=re.M | re.S)
    joined = "".join(blocks).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module", autouse=True)
def _few_shapes() -> Iterator[None]:
    """Drawing all 12,000 images takes a second, and many commands draw them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "TRAIN_IMAGES", 400)
        patch.setattr(shapes, "TEST_IMAGES", 100)
        yield


@pytest.fixture(scope="module")
def small_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs and files that the pages name."""
    place = tmp_path_factory.mktemp("manual")
    work = engine.Workspace(place / "runs", place / "data")
    work.root.mkdir()
    study, _ = study_with_a_run(work.root)
    study.set_user(name="sizes")
    small = work.pretrain("quick", TINY, name="small")
    probed(work.root, small.id, name="tenth")
    (place / "mine.toml").write_text("[moco]\nqueue_size = 1024\n")
    (place / "theirs.toml").write_text("[moco]\ntemperature = 0.1\n")
    return place


@pytest.fixture
def small_place(
    root: Path, tmp_path: Path, small_runs: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of it, in which a page may do as it likes."""
    shutil.copytree(small_runs, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("images", "cifar10"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been trained; nothing is."""
    found: list[Any] = []

    def note(_settings: Settings, run: Any, *_: Any, **__: Any) -> int:
        found.append(run)
        return 0

    for module in (moco_tui.cli.pretrain, moco_tui.cli.probe):
        monkeypatch.setattr(module, "start", note)
    monkeypatch.setattr(moco_tui.cli.probe, "probe_each", note)
    for module, name in (
        (moco_tui.cli.pretrain, "over_ranks"),
        (moco_tui.cli.pretrain, "submit_new"),
        (moco_tui.cli.probe, "submit_new"),
        (moco_tui.cli.study, "submit_study"),
        (moco_tui.cli.branch_run, "submit_new"),
    ):
        monkeypatch.setattr(module, name, note)
    monkeypatch.setattr(moco_tui.cli.study, "_compute", note)
    monkeypatch.setattr(moco_tui.cli.study, "print_plan", note)  # times steps
    monkeypatch.setattr(look_at, "look_at", interrupted)  # looks at 2,000 images
    write = encoder_export.export_encoder

    def export(folder: Any, format_: str, place: Any, sink: Any) -> Any:
        # A graph and the features of all images take seconds, the weights none.
        quick = format_ == "safetensors"
        return write(folder, format_, place, sink) if quick else (place.target, place.target)

    monkeypatch.setattr(encoder_export, "export_encoder", export)
    return found


def interrupted(*_: Any, **__: Any) -> Any:
    """As after Ctrl+C."""
    raise Interrupted("stop")


def checked_options(name: str, arguments: list[str]) -> None:
    """Lets click look at the options and arguments of a command."""
    # With the program's settings: a command keeps the names of its help from its first context.
    top = click.Context(cli, info_name="moco-tui", obj=Settings(), **cli.context_settings)
    load_command(name).make_context(name, arguments, parent=top)


@pytest.mark.parametrize("page", [name for name in (*PAGES, README) if shell_lines(name)])
def test_the_commands_of_a_page_do_what_it_says(
    page: str, call: Call, small_place: Path, begun: list[Any]
) -> None:
    for line in shell_lines(page):
        for words in commands_of(line):
            program, *arguments = words
            if program == "moco-tui" and page == README:
                arguments = ["small" if word == "mine" else word for word in arguments]
            if program != "moco-tui":
                assert program in OTHER_PROGRAMS, line
            elif not arguments:
                continue  # the app
            elif arguments[0] in OPTIONS_ALONE:
                checked_options(arguments[0], arguments[1:])
            else:
                assert arguments[0] in COMMANDS or arguments[0] == "--version", line
                said = call(*arguments)
                expected = 130 if arguments[0] == "look" else 0
                assert said.code == expected, f"{line}\n{said.err}"


def commands_of(line: str) -> Iterator[list[str]]:
    """The single commands of a line of a shell, without variables and redirections."""
    for part in re.split(r" && | \| ", line):
        words = shlex.split(part, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            del words[0]
        if ">" in words:
            del words[words.index(">") :]
        if words:
            yield [Path(words[0]).name if "/" in words[0] else words[0], *words[1:]]


def test_a_wrong_command_would_be_found(call: Call, small_place: Path, begun: list[Any]) -> None:
    for line, reason in (
        ("moco-tui pretrain --preset notebok", "There is no preset"),
        ("moco-tui pretrain --set queue_size=0", "must be"),
        ("moco-tui probe small --head logistics", "head"),
        ("moco-tui probe nothing", "There is no run"),
        ("moco-tui study --axis moco.momentun=0.9 --dry-run", "momentum"),
        ("moco-tui runs --filter 'top1>'", "filter"),
        ("moco-tui runs --sorted name", "--sort"),
    ):
        (words,) = commands_of(line)
        said = call(*words[1:])
        assert said.code == 2
        assert reason in said.err
    assert begun == []
    with pytest.raises(click.UsageError):
        checked_options("serve", ["--readwrite"])


def test_the_examples_of_python_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MOCO_TUI_RUNS")
    tries = 0
    for page in PAGES:
        text = manual_page(page).text
        blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)
        if not blocks:
            continue
        said: list[str] = []
        runner = doctest.DocTestRunner(
            optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False
        )
        test = doctest.DocTestParser().get_doctest("".join(blocks), {}, page, None, 0)
        assert len(test.examples) >= len(blocks), f"{page}: a block without an example"
        runner.run(test, out=said.append)
        assert runner.summarize(verbose=False).failed == 0, "".join(said)
        tries += runner.tries
    assert tries > 10
