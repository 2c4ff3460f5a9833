"""The file that names the job of a run, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.slurm_schema import SlurmOptions
from engine.errors import RunError
from engine.runs import RunFolder
from engine.runs.submission import (
    Submission,
    forget_submission,
    known_submission,
    read_submission,
    submission_path,
    write_submission,
)

WHOLE = Submission(
    job="17", tasks=4, submitted=1.7e9, options=SlurmOptions(partition="main", time="10", cpus=2)
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "k7xw2m").mkdir()
    return RunFolder(tmp_path / "k7xw2m")


def test_what_is_written_is_read_until_it_is_forgotten(folder: RunFolder) -> None:
    assert read_submission(folder) is None
    write_submission(folder, WHOLE)
    assert read_submission(folder) == WHOLE
    forget_submission(folder)
    assert read_submission(folder) is None
    forget_submission(folder)  # and a second time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"job": 17, "submitted": 1.0}',
        '{"job": "17 --wrap=id", "submitted": 1.0}',
        '{"job": "17\\n", "submitted": 1.0}',
        '{"job": "-17", "submitted": 1.0}',
        '{"job": "17", "submitted": "now"}',
        '{"job": "17", "submitted": 1.0, "options": {"time": "10 --wrap=id"}}',
        '{"job": "17", "submitted": 1.0, "options": {"wrap": "id"}}',
        '{"job": "17", "submitted": 1.0, "schema": 2}',
        "\xff",
        " " * 20_000,
    ],
)
def test_anything_else_is_one_sentence_and_no_job(folder: RunFolder, text: str) -> None:
    submission_path(folder).write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match=r"slurm\.json"):
        read_submission(folder)
    assert known_submission(folder) is None


def test_a_link_is_not_followed(folder: RunFolder, tmp_path: Path) -> None:
    write_submission(folder, WHOLE)
    elsewhere = tmp_path / "elsewhere.json"
    submission_path(folder).rename(elsewhere)
    submission_path(folder).symlink_to(elsewhere)
    assert known_submission(folder) is None
