"""Where a run came from: what is kept of each start, and what is said of a change."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.runs import RunFolder, create, own
from engine.runs.provenance import (
    FILE,
    PARTS_MOST,
    ProvenancePart,
    change_words,
    changed,
    commit_at,
    merged,
    with_start,
)

FIRST = {"command": "moco-tui pretrain", "packages.torch": "2.11", "environment.A": "1"}


def test_a_later_part_holds_what_changed_and_what_is_gone() -> None:
    parts = with_start([], 0, 10.0, FIRST)
    assert parts == [{"step": 0, "time": 10.0, "values": FIRST}]
    now = {"command": "moco-tui resume", "packages.torch": "2.11"}
    parts = with_start(parts, 5, 20.0, now)
    assert parts[1]["values"] == {"command": "moco-tui resume", "environment.A": None}
    assert merged(parts) == now
    assert with_start(parts, 9, 30.0, now) == parts


def test_parts_of_steps_that_are_computed_again_go() -> None:
    parts = with_start([], 0, 1.0, FIRST)
    parts = with_start(parts, 8, 2.0, FIRST | {"packages.torch": "2.12"})
    again = with_start(parts, 8, 3.0, FIRST)
    assert again == parts[:1]
    assert with_start(parts, 0, 3.0, {"command": "x"}) == [
        {"step": 0, "time": 3.0, "values": {"command": "x"}}
    ]


def test_a_run_that_is_resumed_for_ever_keeps_its_first_and_its_last_state() -> None:
    parts: list[ProvenancePart] = []
    for step in range(3 * PARTS_MOST):
        values = FIRST | {"environment.SLURM_JOB_ID": str(step), f"environment.N{step % 7}": "x"}
        parts = with_start(parts, step, float(step), values)
    assert len(parts) == PARTS_MOST
    assert merged(parts[:1])["environment.SLURM_JOB_ID"] == "0"
    assert merged(parts) == values
    assert [part["step"] for part in parts] == sorted(part["step"] for part in parts)


def test_a_line_names_what_changed_but_not_the_command() -> None:
    now = {"command": "other", "packages.torch": "2.12", "program.commit": "b" * 40}
    words = change_words(FIRST | {"program.commit": "a" * 40}, now)
    assert words == (
        f"torch 2.11 then, 2.12 now; program commit {'a' * 12} then, {'b' * 12} now; "
        "A 1 then, none now"
    )
    assert change_words(FIRST, FIRST | {"command": "other"}) == ""
    many = {f"environment.V{i}": "1" for i in range(9)}
    assert change_words({}, many).endswith("; 3 more")


def test_a_step_has_the_commit_of_the_part_that_computed_it() -> None:
    parts = with_start([], 0, 1.0, {"program.commit": "a"})
    parts = with_start(parts, 4, 1.0, {"program.commit": "a", "command": "x"})
    parts = with_start(parts, 8, 2.0, {"program.commit": "b"})
    assert [commit_at(parts, step) for step in (0, 1, 8, 9, 99)] == ["a", "a", "a", "b", "b"]
    assert commit_at([], 3) == ""


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("patch-0123456789ab.diff", True),
        ("packages-0123456789ab.txt", True),
        ("patch-xyz.diff", False),
        ("run.json", False),
    ],
)
def test_files_of_a_run_are_known_by_their_names(name: str, is_one: bool) -> None:
    assert bool(FILE.fullmatch(name)) == is_one


def test_the_owner_keeps_parts_in_the_record_and_files_beside_it(run: RunFolder) -> None:
    files = {"patch-0123456789ab.diff": b"--- a\n"}
    with own(run) as owner:
        assert owner.note_provenance(0, FIRST, files) == {}
        now = FIRST | {"packages.torch": "2.12"}
        assert owner.note_provenance(3, now, files) == FIRST
    assert merged(run.record().provenance) == now
    assert [part["step"] for part in run.record().provenance] == [0, 3]
    assert (run.path / "patch-0123456789ab.diff").read_bytes() == b"--- a\n"


def test_a_link_where_a_file_should_be_leads_no_write_out_of_the_folder(
    run: RunFolder, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (run.path / "patch-0123456789ab.diff").symlink_to(other)
    with own(run) as owner:
        owner.note_provenance(0, FIRST, {"patch-0123456789ab.diff": b"x"})
    assert not other.exists()


@pytest.mark.parametrize(
    "parts", [5, ["x"], [{"step": -1, "time": 0, "values": {}}], [{"step": 0, "values": {}}]]
)
def test_a_record_with_another_form_is_a_sentence(run: RunFolder, parts: object) -> None:
    document = msgspec.json.decode(run.record_path.read_bytes())
    run.record_path.write_bytes(msgspec.json.encode(document | {"provenance": parts}))
    with pytest.raises(RunError, match=r"damaged: .*provenance"):
        run.record()


def test_a_record_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    run = create(tmp_path, "pretrain", PretrainConfig())
    document = msgspec.json.decode(run.record_path.read_bytes())
    del document["provenance"], document["study"]
    run.record_path.write_bytes(msgspec.json.encode(document))
    record = run.record()
    assert (record.provenance, record.study) == ([], "")
    assert changed(merged(record.provenance), FIRST) == FIRST
