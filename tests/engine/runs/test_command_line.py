"""The command that a record keeps: as typed, on one line, without what is secret."""

from __future__ import annotations

import shlex
import sys

import pytest

from engine.runs import command_line
from engine.runs.command_line import LIMIT, command, is_secret, written


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["/opt/bin/moco-tui", "pretrain", "--set", "optim.epochs=3"],
         "moco-tui pretrain --set optim.epochs=3"),
        (["/x/moco_tui/__main__.py", "runs"], "python -m moco_tui runs"),
        (["train.py", "a b"], "python train.py 'a b'"),
        (["-c"], "python -c"),
        ([""], "python"),
        ([], "python"),
        (["moco-tui", "--name", "two\nlines\x1b[31m"], "moco-tui --name 'two lines[31m'"),
        (["train.py", "--wandb-api-key", "s3cret", "--lr", "1"],
         "python train.py --wandb-api-key *** --lr 1"),
        (["train.py", "--hf-token=s3cret"], "python train.py --hf-token=***"),
        (["moco-tui", "--data", "https://me:s3cret@host/x"], "moco-tui --data https://***@host/x"),
    ],
)  # fmt: skip
def test_a_command_is_written_as_a_shell_takes_it(arguments: list[str], text: str) -> None:
    assert written(arguments) == text
    assert "s3cret" not in written(arguments)


def test_words_survive_a_shell() -> None:
    words = ["moco-tui", "pretrain", "--name", "it's $HOME; `x`", "--set", 'a="b"']
    assert shlex.split(written(words)) == words


def test_a_long_command_is_cut() -> None:
    assert len(written(["moco-tui", "x" * 10 * LIMIT])) == LIMIT


def test_a_detached_trainer_names_the_command_that_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["moco-tui", "pretrain", "--detach"])
    for name, text in command_line.environment().items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr(sys, "argv", ["/x/moco_tui/__main__.py", "_train", "path"])
    assert command() == "moco-tui pretrain --detach"


@pytest.mark.parametrize("name", ["NVIDIA_API_KEY", "TORCH_TOKEN", "PYTORCH_PASSWORD", "MKL_KEY"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["NVIDIA_VISIBLE_DEVICES", "PYTORCH_KERNEL_CACHE_PATH"])
def test_other_names_are_not(name: str) -> None:
    assert not is_secret(name)
