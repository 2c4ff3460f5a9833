import math
import random

import pytest
import torch

from engine.evaluate.accuracy import (
    MOST_CONFUSED,
    confusion_matrix,
    score,
    wilson_interval,
)
from engine.runs.record import Record, decode_record, encode_record


def test_the_confusion_matrix_counts_truth_by_prediction():
    draw = random.Random(0)
    truth = [draw.randrange(4) for _ in range(200)]
    predicted = [draw.randrange(4) for _ in range(200)]
    expected = [[0] * 4 for _ in range(4)]
    for t, p in zip(truth, predicted, strict=True):
        expected[t][p] += 1
    got = confusion_matrix(torch.tensor(truth), torch.tensor(predicted), 4)
    assert got.tolist() == expected


@pytest.mark.parametrize(("correct", "total"), [(0, 7), (7, 7), (1, 9), (460, 1000), (9999, 10000)])
def test_the_interval_holds_the_shares_that_the_score_test_does_not_reject(correct, total):
    # Wilson: all p with |x/n - p| <= z * sqrt(p (1 - p) / n); found here by bisection.
    z, share = 1.959963984540054, correct / total

    def inside(p):
        return abs(share - p) <= z * math.sqrt(p * (1 - p) / total)

    def edge(near, far):
        for _ in range(200):
            middle = (near + far) / 2
            near, far = (middle, far) if inside(middle) else (near, middle)
        return near

    low, high = wilson_interval(correct, total)
    assert low == pytest.approx(edge(share, 0.0) if correct else 0.0, abs=1e-9)
    assert high == pytest.approx(edge(share, 1.0) if correct < total else 1.0, abs=1e-9)
    assert 0.0 <= low <= share <= high <= 1.0


def test_the_score_of_an_unbalanced_case_worked_by_hand():
    truth = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    predicted = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2, 2])
    got = score(truth, predicted, ("a", "b", "c"))
    assert got["top1"] == pytest.approx(60.0)
    assert got["per_class"] == {
        "a": pytest.approx(500 / 6),
        "b": pytest.approx(25.0),
        "c": None,
    }
    assert got["balanced"] == pytest.approx((500 / 6 + 25.0) / 2)
    assert got["majority"] == pytest.approx(60.0)
    assert got["confusion"] == [[5, 1, 0], [0, 1, 3], [0, 0, 0]]
    assert got["low"] < 60.0 < got["high"]


def test_the_score_is_made_of_builtin_values():
    def check(value):
        if isinstance(value, dict):
            assert all(type(key) is str for key in value)
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                check(item)
        else:
            assert value is None or type(value) in (int, float, str)

    check(score(torch.tensor([0, 1]), torch.tensor([0, 0]), ("a", "b")))


@pytest.mark.parametrize("classes", [MOST_CONFUSED, MOST_CONFUSED + 1, 1000])
def test_a_record_with_the_rows_of_a_probe_stays_readable(tmp_path, classes):
    truth = torch.arange(classes)
    names = [f"class{number}" for number in range(classes)]
    row = score(truth, truth.flip(0), names)
    assert ("confusion" in row) == (classes <= MOST_CONFUSED)
    result = {"rows": [{"source": str(number), **row} for number in range(6)]}
    record = Record(id=tmp_path.name, kind="probe", created=0.0, result=result)
    read = decode_record(encode_record(record), tmp_path / "run.json")
    assert read.result == result
