"""A probe's table says in the row of a net trained from scratch how long it was trained."""

from __future__ import annotations

from typing import Any

import pytest

from engine.runs import Record
from moco_tui.cli.outcome import result_table
from moco_tui.present.probe_table import probe_lines

JUDGED = {"epochs": [25, 50], "top1": [70.0, 72.0], "gain": 2.0, "noise": 1.1, "images": 5000}
GOOD = {**JUDGED, "gain": 0.4, "converged": True}
RISING = {**JUDGED, "converged": False}
CONFIG = {"supervised": {"epochs": 60, "max_images": 400_000}, "head": "logistic", "task": {}}


def result(budget: Any, convergence: Any = None) -> dict[str, Any]:
    row = {"top1": 70.0, "low": 69.0, "high": 71.0, "balanced": 70.0, "majority": 10.0}
    return {
        "task": "ten",
        "head": "logistic",
        "label_fraction": 0.5,
        "labels": 25_000,
        "test_images": 10_000,
        "protocol": "as it is",
        "rows": [
            {"source": "pretrained", **row},
            {"source": "supervised", **row, "budget": budget, "convergence": convergence},
        ],
    }


CASES = [
    ({"epochs": 100, "planned_epochs": 100}, GOOD, "100 epochs, converged", False),
    ({"epochs": 100, "planned_epochs": 100}, RISING, "100 epochs, not converged", True),
    ({"epochs": 16, "planned_epochs": 100}, RISING, "16 of 100 epochs, not converged", True),
    ({"epochs": 16, "planned_epochs": 100}, GOOD, "16 of 100 epochs, converged", True),
    ({"epochs": 100, "planned_epochs": 100}, None, "100 epochs", False),
    ({"epochs": 8, "planned_epochs": 8}, {**GOOD, "converged": None}, "8 epochs", False),
    ({"epochs": 60}, None, "60 epochs", False),  # of version 0.1, whose record has the rest
    ({"epochs": 16}, None, "16 of 60 epochs", True),
]


@pytest.mark.parametrize(("budget", "convergence", "words", "marked"), CASES)
def test_both_tables_say_how_long_it_was_trained(
    budget: dict[str, Any], convergence: dict[str, Any] | None, words: str, marked: bool
) -> None:
    made = result(budget, convergence)
    printed = result_table(made, CONFIG).splitlines()
    line = next(line for line in printed if line.startswith("supervised"))
    assert line.endswith(f"  {words}")
    record = Record(id="a", kind="probe", created=0.0, config=CONFIG, result=made)
    shown = ["".join(text for text, _ in line) for line in probe_lines(record, record.config)]
    row = next(line for line in shown if line.startswith("supervised  "))
    assert ("70.0 %*" in row) == marked
    assert f"{'* ' if marked else ''}supervised: {words}" in shown
    gain = {True: "+0.40", False: "+2.00", None: "+0.40"}
    reasons = [line for line in shown if "in place of 25" in line]
    assert reasons == (
        [f"  (50 in place of 25: {gain[convergence['converged']]} points, noise 1.10)"]
        if convergence
        else []
    )


def test_without_a_net_from_scratch_the_table_has_no_word_of_it() -> None:
    made = result(None)
    made["rows"].pop()
    assert "trained" not in result_table(made, CONFIG).splitlines()[2]


@pytest.mark.parametrize("damaged", [5, "x", [], {"epochs": "many"}, {"epochs": True}])
def test_what_cannot_be_read_is_left_out(damaged: Any) -> None:
    made = result(damaged, damaged)
    record = Record(id="a", kind="probe", created=0.0, config={"supervised": 5}, result=made)
    shown = ["".join(text for text, _ in line) for line in probe_lines(record, record.config)]
    assert not any("epochs" in line for line in shown)
    assert "70.0" in result_table(made, {"supervised": 5})


@pytest.mark.parametrize(
    ("lr", "epochs", "words"),
    [(0.02, 60, "60 epochs, learning rate 0.02"), (0.0, 0, "left frozen"), ("x", None, "")],
)
def test_the_row_of_a_fine_tuned_encoder_says_how_far_it_was_moved(
    lr: Any, epochs: Any, words: str
) -> None:
    found = result({"epochs": 100, "planned_epochs": 100})
    found["rows"][0]["chosen"] = {"lr": lr, "tuning": {"epochs": epochs}}
    line = next(line for line in result_table(found, CONFIG).splitlines() if "pretrained  " in line)
    assert line.rstrip().endswith(words or "10.0")


def test_every_table_has_the_difference_to_training_from_scratch() -> None:
    made = result(None)
    found = {"gain": 3.21, "low": 2.08, "high": 4.34}
    made["rows"] = [
        row | {"over_scratch": found} if not i else row for i, row in enumerate(made["rows"])
    ]
    words = "+3.2 pts (+2.1 to +4.3)"
    printed = result_table(made, CONFIG).splitlines()
    title = next(i for i, text in enumerate(printed) if text.startswith("encoder  "))
    assert printed[title].endswith("less from scratch")
    assert sum(text.endswith(words) for text in printed) == 1
    record = Record(id="a", kind="probe", created=0.0, config=CONFIG, result=made)
    for width in (0, 110, 160):
        lines = probe_lines(record, record.config, width)
        shown = ["".join(text for text, _ in line) for line in lines]
        assert sum(words in text for text in shown) == 1
        column = width == 160
        assert any("over untrained" in t and "less from scratch" in t for t in shown) == column
        assert any(t.endswith(f"less from scratch: {words}") for t in shown) != column
        assert all(len(text) <= 160 for text in shown)
    styles = [style for line in lines for text, style in line if words in text]
    assert styles == ["good"]


@pytest.mark.parametrize("damaged", [5, {}, {"gain": "x", "low": 1, "high": 2}, {"gain": 1.0}])
def test_a_damaged_difference_is_left_out(damaged: Any) -> None:
    made = result(None)
    made["rows"][0]["over_scratch"] = damaged
    record = Record(id="a", kind="probe", created=0.0, config=CONFIG, result=made)
    for width in (0, 160):
        lines = probe_lines(record, record.config, width)
        assert not any("from scratch" in text for line in lines for text, _ in line)
    assert "from scratch" not in result_table(made, CONFIG).splitlines()[3]
