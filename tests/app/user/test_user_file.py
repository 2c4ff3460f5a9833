"""The user's configuration: what is right holds, what is wrong is named, nothing raises."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moco_tui.present.run_columns import COLUMNS, GLYPH
from moco_tui.user.user_file import config_path, read_user_file
from moco_tui.user.user_schema import UserConfig

ESCAPE = "\\u001b]0;owned\\u0007"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_without_a_file_everything_has_its_default(path: Path) -> None:
    user = read_user_file(path)
    assert user.config == UserConfig()
    assert user.problems == ()
    assert not path.exists()


def test_what_is_right_holds_beside_what_is_wrong(path: Path) -> None:
    path.write_text(
        """
theme = "nord"
ask_before_stop = false
[keys]
runs.new = "z, ctrl+n"
"monitor.panel.1" = "f1"
[form.pretrain]
"moco.queue_size" = 16384
optim.epochs = 20
temperature = 0
[form.probe]
label_fraction = 0.2
task.groups = {a = ["ship"], b = ["cat"]}
[columns]
runs = ["name", "best"]
[notify]
on = ["failed"]
command = ["say", "done; it is"]
seconds = 61
terminal = "loud"
"""
    )
    user = read_user_file(path)
    assert user.config.theme == "nord"
    assert not user.config.ask_before_stop
    assert user.config.keys == {"runs.new": "z,ctrl+n", "monitor.panel.1": "f1"}
    assert user.config.form.pretrain == {"moco.queue_size": 16384, "optim.epochs": 20}
    groups = {"a": ("ship",), "b": ("cat",)}
    assert user.config.form.probe == {"label_fraction": 0.2, "task.groups": groups}
    assert user.config.columns.runs == ("name", "best")
    assert user.config.notify.on == ("failed",)
    assert user.config.notify.command == ("say", "done; it is")
    assert (user.config.notify.seconds, user.config.notify.terminal) == (10, "auto")
    assert [problem.partition(": ")[2] for problem in user.problems] == [
        "moco.temperature is 0; it must be a number above 0 and at most 100.",
        "notify.seconds is 61; it must be a whole number of at least 1 and at most 60.",
        "notify.terminal is loud; it must be one of auto, bell, off, osc777, osc9.",
    ]
    assert all(problem.startswith(f"{path}: ") for problem in user.problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("thme = 'nord'", "did you mean theme?"),
        ("[notify]\ncomand = ['x']", "did you mean notify.command?"),
        ("terminal = 'bell'", "did you mean notify.terminal?"),
        ("[nonsense]\nx = 1", "nonsense is not a setting"),
        ("theme = 3", "theme is 3"),
        ("keys = 3", "keys is 3; it must be a table"),
        ("notify = 'all'", "notify is not a setting"),
        ("[keys]\n'runs.new' = ''", "it must be keys between commas"),
        ("[keys]\n'runs.new' = ['n']", "it must be keys between commas"),
        ("[form.pretrain]\nqueue_sise = 1", "did you mean moco.queue_size?"),
        ("[form.study]\n'probe.data.source' = 'cifar10'", "cannot be set for a study"),
        ("[form.nonsense]\nx = 1", "form.nonsense is not a setting"),
        ("[notify]\non = ['ended']", "notify.on is"),
        ("[notify]\ncommand = 'rm -rf'", "notify.command is rm -rf; it must be a list"),
        (f"theme = '''a'''\n[notify]\ncommand = [\"{ESCAPE}\"]", "control characters"),
        (f'[keys]\n"{ESCAPE}" = "x"', "control characters"),
        pytest.param("a" + ".a" * 2000 + " = 1", "not a setting", id="deep tables"),
        ("theme = " + "[" * 90 + "]" * 90, "theme is"),
        ("theme = ", "not valid TOML"),
        ("theme = 'a'\ntheme = 'b'", "not valid TOML"),
    ],
)
def test_a_mistake_is_one_clean_sentence(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    user = read_user_file(path)
    assert any(said in problem for problem in user.problems), user.problems
    assert all(problem.isprintable() for problem in user.problems)
    assert user.config.notify == UserConfig().notify
    assert user.config.keys == {}


def test_a_file_of_nonsense_is_told_in_few_sentences(path: Path) -> None:
    path.write_text("".join(f"nonsense{i} = {i}\n" for i in range(5000)))
    problems = read_user_file(path).problems
    assert len(problems) == 22
    assert "480 more settings are wrong" in problems[-2]
    assert "more than 500 settings; the rest is left out" in problems[-1]


def test_what_is_no_file_of_a_configuration_is_named(path: Path, tmp_path: Path) -> None:
    """A folder, a device behind a link, a pipe, a link to nothing, too many bytes, other bytes."""
    odd = {name: tmp_path / name for name in ("folder", "device", "pipe", "gone", "large", "latin")}
    odd["folder"].mkdir()
    odd["device"].symlink_to("/dev/zero")
    os.mkfifo(odd["pipe"])
    odd["gone"].symlink_to(tmp_path / "nothing")
    odd["large"].write_bytes(b"#" * (1 << 21))
    odd["latin"].write_bytes(b"theme = '\xe4'")
    for name, file in odd.items():
        user = read_user_file(file)
        assert user.config == UserConfig(), name
        assert len(user.problems) == 1, name
        assert str(file) in user.problems[0]
        assert user.problems[0].endswith("The defaults hold.")


def test_a_link_to_a_file_elsewhere_is_read(path: Path, tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "dotfiles" / "moco.toml").write_text("theme = 'nord'")
    path.symlink_to(tmp_path / "dotfiles" / "moco.toml")
    assert read_user_file(path).config.theme == "nord"


def test_nothing_is_started_for_a_file_that_others_may_write(path: Path) -> None:
    path.write_text(
        "theme = 'nord'\n[notify]\ncommand = ['x']\napprise = ['json://h']\nseconds = 5"
    )
    path.chmod(0o666)
    user = read_user_file(path)
    assert (user.config.notify.command, user.config.notify.apprise) == ((), ())
    assert (user.config.theme, user.config.notify.seconds) == ("nord", 5)
    assert [("everybody may write" in problem) for problem in user.problems] == [True, True]
    path.chmod(0o644)
    assert read_user_file(path).config.notify.command == ("x",)


def test_where_the_file_is(tmp_path: Path) -> None:
    assert config_path({"MOCO_TUI_CONFIG": str(tmp_path / "x.toml")}) == tmp_path / "x.toml"
    assert config_path({"MOCO_TUI_CONFIG": "x.toml"}) == Path.cwd() / "x.toml"
    assert config_path({}).name == "config.toml"
    assert config_path({}).parent.name == "moco-tui"


def test_a_process_in_another_folder_reads_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moco_tui.training.detached import child_environment

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOCO_TUI_CONFIG", "mine.toml")
    child = child_environment()
    monkeypatch.chdir("/")
    assert config_path(child) == tmp_path / "mine.toml"
    monkeypatch.delenv("MOCO_TUI_CONFIG")
    assert "MOCO_TUI_CONFIG" not in child_environment()


def test_the_columns_are_those_of_the_list() -> None:
    known = UserConfig.__struct_fields__
    assert "columns" in known
    from typing import get_args

    from moco_tui.user.user_schema import ListColumn

    narrow = {"K|labels", GLYPH}  # stand for others where there is little room
    assert set(get_args(ListColumn)) == {column.title for column in COLUMNS} - narrow


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("best", True),
        ("vs base", True),
        ("moco.queue_size", True),
        ("queue_size", True),
        ("knn/top1", True),
        ("best.knn/top1", True),
        ("mine/of_my_own", True),
        ("bset", False),
        ("moco.queue_sise", False),
    ],
)
def test_settings_and_metrics_can_be_columns(path: Path, name: str, good: bool) -> None:
    path.write_text(f'[columns]\nruns = ["name", "{name}"]')
    user = read_user_file(path)
    assert user.config.columns.runs == (("name", name) if good else ())
    assert bool(user.problems) != good
    if not good:
        assert "did you mean" in user.problems[0]
        assert "columns.runs names" in user.problems[0]
