"""What the index holds of a run."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config.schema import ProbeConfig
from engine.history.entry import from_document, make_entry, to_document
from engine.history.history import History
from engine.runs import create
from engine.runs.record import Record, UserNotes
from engine.text import plain_text

from .conftest import make, own_indexed

floats = st.floats(allow_nan=False, width=64)


def plain(limit: int) -> st.SearchStrategy[str]:
    """Texts as a record that was read has them."""
    return st.text(max_size=limit).map(lambda text: plain_text(text, limit))


@settings(max_examples=100, deadline=None)
@given(
    last=st.dictionaries(plain(5), floats, max_size=3),
    tags=st.lists(plain(5), max_size=3),
    name=plain(20),
    seed=st.integers(0, 2**31 - 1),
)
def test_an_entry_survives_its_document(
    last: dict[str, float], tags: list[str], name: str, seed: int
) -> None:
    record = Record(id="x", kind="pretrain", created=1.5, last=last, seed=seed, status="running")
    entry = make_entry(record, UserNotes(name=name, tags=tuple(tags)), stamp=-5)
    document = json.loads(json.dumps(to_document(entry), allow_nan=False))
    assert from_document(document) == entry


def test_an_entry_knows_every_setting_of_its_run(root: Path) -> None:
    folder = make(root, preset="resnet18-moco", moco__queue_size=99, augment__flip__p=0.25)
    (entry,) = History(root).list()
    record = folder.record()
    config = record.config
    assert entry.setting("moco.queue_size") == config["moco"]["queue_size"] == 99
    assert entry.setting("augment.flip.p") == 0.25
    assert entry.setting("model.encoder") == config["model"]["encoder"] == "convnet"
    assert entry.setting("optim.epochs") == config["optim"]["epochs"]
    assert entry.setting("augment.order") == config["augment"]["order"]
    assert entry.setting("nothing") is None


def test_the_numbers_of_a_result_are_in_the_entry(root: Path) -> None:
    folder = create(root, "probe", ProbeConfig())
    with own_indexed(folder) as owner:
        owner.transition("running")
        owner.result({"top1": 61.5, "rows": [1], "n": 5, "bad": float("nan"), "text": "x"})
        owner.transition("finished")
    (entry,) = History(root).list("top1>60")
    assert entry.result == {"top1": 61.5, "n": 5.0}
