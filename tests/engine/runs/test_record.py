"""Whatever a record holds, it is refused in a sentence or does no harm to whoever shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config.schema import StudyConfig
from engine.errors import DamagedFileError, RunError
from engine.history.entry import from_document, make_entry, to_document
from engine.history.keys import sort_entries
from engine.runs.data_identity import described
from engine.runs.metric_log import MetricLog
from engine.runs.record import Record, UserNotes, decode_record, decode_user, encode_record
from engine.study.study_state import state_from_entries
from engine.text import is_plain
from moco_tui.cli.runs import listing
from moco_tui.cli.show import _text
from moco_tui.present import comparison, comparison_export, run_summary
from moco_tui.present.baseline import RunBaseline
from moco_tui.present.run_facts import facts
from moco_tui.present.run_order import arrange
from moco_tui.present.run_preview import head_lines, settings_part
from moco_tui.present.run_progress import progress_line
from moco_tui.present.run_rows import row_of

from ..odd_records import BY_HAND, HOSTILE, changed, odd_records, paths, valid

PATH = Path("/runs/b2c3d4/run.json")
BASES = {kind: valid(kind) for kind in ("pretrain", "probe", "study")}
PLACES = [(kind, at) for kind, base in BASES.items() for at in paths(base)]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [HOSTILE, "x" * 11_000, "NaN", "-Infinity", "../..", "a.b:C"]
)
numbers = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([10**400, -1, 0, 1e308, -1e308, 5e-324, 2**63])
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def shown_everywhere(record: Record) -> str:
    """Everything that is made of a record without a terminal, as one text."""
    entry = make_entry(record, UserNotes())
    document = json.loads(json.dumps(to_document(entry), allow_nan=False))
    assert from_document(document) == entry
    row = row_of(entry)
    other = make_entry(decode_record(json.dumps(BASES["pretrain"]).encode(), PATH), UserNotes())
    for key in (
        "-created",
        "state",
        "data",
        "K",
        "loss",
        "-best",
        "labels",
        "augment",
        "queue_size",
    ):
        sort_entries([entry, other], key)
    rows = [row for row, _ in arrange([row, row_of(other)], "-created", unfolded=())]
    state_from_entries(STUDY, [entry, other])
    folder: Any = _Folder(record)
    ran = comparison.compared_run(folder)
    found = comparison.side_by_side([ran, ran, msgspec.structs.replace(ran, settings={})])
    document = msgspec.json.decode(encode_record(record))
    previewed = head_lines(row, record, {}, RunBaseline({}, ""))
    previewed += settings_part(record).lines(80)
    return "\n".join(
        [
            *(listing(rows, width) for width in (None, 80)),
            str(run_summary.line(row)),
            *(
                text
                for line in head_lines(row, record, {}, RunBaseline({}, ""))
                for text, _ in line
            ),
            *(text for line in settings_part(record).lines(80) for text, _ in line),
            json.dumps(facts(row), default=str),
            _text(folder, record, UserNotes(), record.status),
            progress_line(record, record.status, 80, ascii_only=True),
            described(record.data),
            comparison_export.to_csv(found),
            comparison_export.to_json(found),
            "\n".join(_texts(document)),
        ]
    )


STUDY = StudyConfig(queue_sizes=(2048,), seeds=(3,), tasks=("ten",), subset_seeds=(0,))


class _Folder:
    """A run folder that has nothing but this record."""

    def __init__(self, record: Record) -> None:
        self._record, self.path, self.id = record, Path("/runs") / record.id, record.id
        self.devices_path = Path("/runs/not/there")

    def record(self) -> Record:
        return self._record

    def status(self, record: Record) -> str:
        return record.status

    def metrics(self) -> MetricLog:
        return MetricLog(Path("/runs/not/there"))

    def title(self) -> str:
        return self._record.name or self.id


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def check(data: bytes) -> None:
    record, why = None, ""
    try:
        record = decode_record(data, PATH)
    except DamagedFileError as error:
        why = str(error)
    if record is None:
        assert why.startswith(f"{PATH} is damaged: ")
        assert is_plain(why)
        assert len(why) < 400
        return
    made = shown_everywhere(record)
    assert all(map(is_plain, made.split("\n")))


@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(place=st.sampled_from(PLACES), value=anything)
def test_any_value_in_any_field(place: tuple[str, Any], value: Any) -> None:
    kind, at = place
    check(json.dumps(changed(BASES[kind], at, value)).encode())


@settings(max_examples=50, deadline=None, derandomize=True)
@given(data=st.binary(max_size=300) | anything.map(lambda value: json.dumps(value).encode()))
def test_any_file(data: bytes) -> None:
    check(data)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    value=st.fixed_dictionaries(
        {"schema": st.just(1) | anything},
        optional={"name": anything, "tags": anything, "note": anything},
    )
)
def test_any_notes(value: Any) -> None:
    notes, why = UserNotes(), ""
    try:
        notes = decode_user(json.dumps(value).encode(), PATH)
    except RunError as error:
        why = str(error)
    assert is_plain(why)
    assert all(map(is_plain, (notes.name, notes.note, *notes.tags)))
    assert (len(notes.name) <= 200, len(notes.note) <= 1000) == (True, True)
    assert all(0 < len(tag) <= 50 and " " not in tag for tag in notes.tags)


def test_odd_records_are_a_sentence_or_can_be_shown() -> None:
    odd = odd_records()
    assert len({name for name, _ in odd}) == len(odd) >= 200
    for name, data in odd[:BY_HAND] + odd[BY_HAND::12]:
        if name in ("schema 0", "schema 99", "schema of digits"):
            with pytest.raises(RunError, match=r"newer moco-tui|cannot migrate"):
                check(data)  # no damage: such a file is kept as it is
        else:
            check(data)


@pytest.mark.parametrize("name", ["order 5", "degrees x", "label_fraction x", "dotted order"])
def test_the_sentence_names_the_setting(name: str) -> None:
    with pytest.raises(DamagedFileError, match=r"config: [\w.]+ is (5|x); it must be"):
        decode_record(dict(odd_records())[name], PATH)


@pytest.mark.parametrize(
    "name",
    ["future setting", "future encoder", "own encoder", "order unknown", "kind of the future"],
)
def test_a_run_of_the_future_is_readable(name: str) -> None:
    data = dict(odd_records())[name]
    record = decode_record(data, PATH)
    assert record.config == json.loads(data)["config"]
    shown_everywhere(record)
