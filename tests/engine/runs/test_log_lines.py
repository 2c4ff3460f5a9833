"""The search of a log, beside a plain loop over its lines."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.runs import log_lines
from engine.runs.log_lines import MOST_FOUND, MOST_SEARCHED, LogMatches, matching_lines

BLOCK = 1 << 16


def plainly(text: str, wanted: str) -> list[str]:
    return [line for line in text.split("\n")[:-1] if wanted.lower() in line.lower()]


@pytest.mark.parametrize("seed", range(4))
def test_the_lines_are_those_of_a_loop(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    # Short ones and ones that are longer than a block, with characters of several bytes.
    lengths = [rng.choice([0, 1, 7, 60, 700]) for _ in range(2000)] + [BLOCK - 1, BLOCK, 150_000]
    rng.shuffle(lengths)
    lines = [("é€" * n)[:n] + rng.choice(["", "epoch", "EPOCH 3", "step"]) for n in lengths]
    text = "".join(f"{line}\n" for line in lines)
    (tmp_path / "log.txt").write_text(text)
    found = matching_lines(tmp_path / "log.txt", "Epoch")
    wanted = plainly(text, "epoch")
    assert len(wanted) > 500
    assert found == LogMatches(wanted[-MOST_FOUND:], "", found.begin, len(text.encode()))
    assert (found.begin == 0) == (len(wanted) <= MOST_FOUND)


def test_a_later_search_begins_where_the_first_ended(tmp_path: Path) -> None:
    path, rng = tmp_path / "log.txt", random.Random(5)
    path.write_text("")
    text, lines, end = "", [], 0
    for number in range(60):
        text += rng.choice(["step 1\n", "epoch", "epoch\nepoch \n", "\n", "x" * 70_000])
        path.write_text(text)
        new = matching_lines(path, "EPOCH", end)
        assert new.begin == end, number
        lines += new.lines
        end = new.end
        assert lines == [line.rstrip() for line in plainly(text, "epoch")], number
        last = text.rpartition("\n")[2]
        assert new.open_line == (last if "epoch" in last else "")
        assert end == len(text) - len(last)


def test_a_log_that_has_become_shorter_is_searched_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("epoch 1\nstep\n")
    found = matching_lines(path, "epoch", begin=1000)
    assert found == LogMatches(["epoch 1"], "", 0, 13)
    path.unlink()
    assert matching_lines(path, "epoch") == LogMatches([], "", 0, 0)


def test_it_reads_a_bounded_part_of_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.txt"
    count = MOST_SEARCHED + 500
    path.write_text("".join(f"line {n}\n" for n in range(count)))
    found = matching_lines(path, "line 0")
    assert (found.lines, found.end) == ([], path.stat().st_size), "it is too far from the end"
    assert found.begin > 0
    first = count - MOST_SEARCHED
    assert matching_lines(path, f"line {first}").lines[:1] == [f"line {first}"]
    assert matching_lines(path, "line").lines == [f"line {n}" for n in range(count)][-MOST_FOUND:]
    monkeypatch.setattr(log_lines, "_MOST_BYTES", 1000)
    found = matching_lines(path, "line")
    assert found.begin >= path.stat().st_size - 1000
    assert all(line in path.read_text().split("\n")[-100:] for line in found.lines)


def test_it_ends_at_a_block_once_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("".join(f"{n:0999d}\n" for n in range(1000)))
    asked = iter([False, False, True])
    found = matching_lines(path, "0", is_over=lambda: next(asked))
    assert 100 < len(found.lines) < 140


def test_what_a_terminal_would_not_show_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b" 10%\r 20%\r\x1b[31mred\x1b[0m\tepoch\xff\n")
    assert matching_lines(path, "epoch").lines == ["red epoch\ufffd"]
    assert matching_lines(path, "31m").lines == []
