"""Of several that ask, one tells; nobody tells twice."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from moco_tui.notify import told
from moco_tui.notify.told import Told


def test_one_of_many_is_the_one_that_tells(tmp_path: Path) -> None:
    answers: list[bool | None] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        answers.append(Told(tmp_path / "own" / "told").claim("run", 3, "lost"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=str) == [False] * 7 + [True]
    assert Told(tmp_path / "own" / "told").claim("run", 4, "lost")
    assert not Told(tmp_path / "own" / "told").claim("run", 4, "lost")


def test_where_nothing_can_be_kept_the_answer_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Told(tmp_path / "file" / "told").claim("run") is None


def test_old_marks_go_when_there_are_many(tmp_path: Path, monkeypatch: object) -> None:
    folder = tmp_path / "told"
    Told(folder).claim("first")
    old = time.time() - 31 * 86_400
    (mark,) = folder.iterdir()
    os.utime(mark, (old, old))
    Told(folder).claim("second")
    assert len(list(folder.iterdir())) == 2, "few are kept"
    for i in range(told._MOST):
        (folder / str(i)).touch()
    Told(folder).claim("third")
    assert not mark.exists()
    assert Told(folder).claim("second") is False
