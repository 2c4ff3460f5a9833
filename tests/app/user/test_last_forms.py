"""What was last run is kept beside the user's configuration, and harms nothing when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from moco_tui.user.last_forms import LastForm, forms_path, read_forms, write_forms
from moco_tui.user.user_file import UserFile


def test_what_is_written_is_read(tmp_path: Path) -> None:
    user = UserFile(tmp_path / "new" / "config.toml")
    assert read_forms(user) == {}
    forms = {"pretrain": LastForm("quick", {"optim.lr": 0.1, "optim.milestones": [3, 5]}, "")}
    assert write_forms(user, forms) == ""
    assert read_forms(user) == forms


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pretrain": 3}', "[" * 9000, "\xff"])
def test_a_damaged_file_is_nothing(tmp_path: Path, text: str) -> None:
    user = UserFile(tmp_path / "config.toml")
    forms_path(user).write_text(text, encoding="latin-1")
    assert read_forms(user) == {}


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    user = UserFile(tmp_path / "file" / "config.toml")
    assert write_forms(user, {}).startswith("The form is not remembered:")
