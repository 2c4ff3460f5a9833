"""Whatever a person names as a config file is read in bounded time, or refused in a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, StudyConfig
from engine.config.toml_file import MOST_BYTES, read_toml_file
from engine.errors import ConfigError
from engine.text import is_plain


def refused(path: Path, type_: type[PretrainConfig] | type[StudyConfig] = PretrainConfig) -> str:
    with pytest.raises(ConfigError) as error:
        resolve(type_, toml=path)
    sentence = str(error.value)
    assert is_plain(sentence)
    assert len(sentence) < 500
    return sentence


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"seed = " + b"1" * 5000, "more digits than can be read"),
        (b"queue_size = 0x" + b"f" * 6000, "moco.queue_size is too large to show; it must be"),
        (b"milestones = [0x" + b"f" * 6000 + b"]", "it must be a list of whole numbers"),
        (b"milestones = [9223372036854775808]", "it must be a list of whole numbers"),
        (b"a = " + b"[" * 100_000, "stand too deep within each other"),
        (b"a = " + b"{a=" * 5000, "stand too deep within each other"),
        (b"a" + b".a" * 100_000 + b" = 1", "stand too deep within each other"),
        (b"[a" + b".a" * 1000 + b"]\n" + b"b = 1\n" * 9, "stand too deep within each other"),
        (b"[data]\nsource = " + b"{a=" * 100 + b"1" + b"}" * 100, "data.source is {'a': {'a'"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'source = "a\x00b"', "is not valid TOML"),
        (b'source = "folder:/\\u001b]0;x\\u0007"', "holds control characters"),
        (b'source = "folder:/\\u202e"', "marks of direction"),
        (b'"' + b"k" * 100_000 + b'" = 1', "is not a setting of a pretraining"),
        (b'"\\u001b[31m" = 1', "?[31m is not a setting"),
        (b"#" * (MOST_BYTES + 1), "more than the 1,048,576 that such a file may have"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, bytes) else None,
)
def test_odd_files_are_a_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(data)
    assert words in refused(path)


def test_a_group_of_tables_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"[probe.task]\ngroups" + b".a" * 2000 + b" = 1")
    assert "probe.task.groups is too large to show" in refused(path, StudyConfig)


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "it is a pipe and no plain file" in refused(tmp_path / "pipe")
    assert "a folder stands where a file should be" in refused(tmp_path)
    assert "no plain file" in refused(Path("/dev/zero"))
    with pytest.raises(ConfigError, match="cannot be read: embedded null byte"):
        read_toml_file(Path("a\0b"))
    (tmp_path / "link").symlink_to("/dev/zero")
    assert "no plain file" in refused(tmp_path / "link")


def test_a_link_to_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("a = 1\n")
    (tmp_path / "link").symlink_to("config.toml")
    assert read_toml_file(tmp_path / "link") == {"a": 1}


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no /dev/fd")
def test_a_pipe_of_the_shell_is_read_up_to_a_limit() -> None:
    """As ``--config <(command)`` names one."""
    reader, writer = os.pipe()
    os.write(writer, b"a = 1\n")
    os.close(writer)
    try:
        assert read_toml_file(Path(f"/dev/fd/{reader}")) == {"a": 1}
    finally:
        os.close(reader)


def test_a_thousand_numbers_fit_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"a = [{', '.join(['0.1'] * 1000)}]\n")
    assert len(read_toml_file(path)["a"]) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "queue_size=" + "1" * 5000,
        "queue_size=0x" + "f" * 6000,
        "lr=" + "9" * 6000,
        "milestones=[" + "1" * 5000 + "]",
        "augment.order=" + "[" * 5000,
        "augment.order=" + "{a=" * 3000,
        "source=folder:/a\x1b[0m",
        "x" * 100_000,
        "y" * 100_000 + "=1",
    ],
    ids=lambda text: text[:20],
)
def test_odd_values_that_are_typed(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(PretrainConfig, sets=[text])
    assert is_plain(str(error.value))
    assert len(str(error.value)) < 400
