import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from engine.evaluate.knn import knn_predict
from engine.sink import Interrupted, NullSink


def brute_force(features, bank, labels, classes, k, temperature):
    """Plain loops in Python floats."""

    def unit(row):
        norm = math.sqrt(sum(v * v for v in row))
        return [v / norm for v in row]

    bank = [unit(row) for row in bank.double().tolist()]
    out = []
    for row in features.double().tolist():
        row = unit(row)
        similar = sorted(
            ((sum(a * b for a, b in zip(row, other, strict=True)), i) for i, other in
             enumerate(bank)), reverse=True,
        )  # fmt: skip
        votes = [0.0] * classes
        for similarity, i in similar[:k]:
            votes[int(labels[i])] += math.exp(similarity / temperature)
        out.append(max(range(classes), key=lambda c: votes[c]))
    return out


def case(n=40, b=120, d=6, classes=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    scale = torch.rand(n, 1, generator=g) * 10 + 0.01
    return (
        torch.randn(n, d, generator=g) * scale,
        torch.randn(b, d, generator=g) * 3,
        torch.randint(classes, (b,), generator=g),
        classes,
    )


@pytest.mark.parametrize("k", [1, 7, 50, 120, 1000])
@pytest.mark.parametrize("temperature", [0.07, 0.5, 5.0])
def test_predictions_are_those_of_plain_loops_in_float64(k, temperature):
    features, bank, labels, classes = case()
    got = knn_predict(features, bank, labels, classes=classes, k=k, temperature=temperature)
    assert got.tolist() == brute_force(features, bank, labels, classes, k, temperature)


def test_predictions_are_those_of_scikit_learn():
    features, bank, labels, classes = case(n=300, b=2000, d=16, classes=7, seed=1)
    model = KNeighborsClassifier(
        20, metric="cosine", algorithm="brute", weights=lambda distance: _exp((1 - distance) / 0.1)
    )
    model.fit(bank.double().numpy(), labels.numpy())
    got = knn_predict(features, bank, labels, classes=classes, k=20, temperature=0.1)
    assert got.tolist() == model.predict(features.double().numpy()).tolist()


def _exp(values):
    return torch.from_numpy(values).exp().numpy()


@pytest.mark.parametrize("chunk", [1, 3, 40, 1000])
def test_the_chunk_changes_nothing(chunk):
    features, bank, labels, classes = case()
    whole = knn_predict(features, bank, labels, classes=classes, k=9, temperature=0.1)
    parts = knn_predict(features, bank, labels, classes=classes, k=9, temperature=0.1, chunk=chunk)
    assert torch.equal(whole, parts)


def test_a_low_temperature_does_not_overflow():
    features, bank, labels, classes = case()
    nearest = knn_predict(features, bank, labels, classes=classes, k=1, temperature=1.0)
    cold = knn_predict(features, bank, labels, classes=classes, k=50, temperature=1e-4)
    assert torch.equal(nearest, cold)


def test_equal_votes_go_to_the_first_class():
    bank = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    got = knn_predict(bank[:1], bank, torch.tensor([2, 1]), classes=3, k=2, temperature=0.1)
    assert got.tolist() == [1]


def test_a_bank_that_does_not_fit_its_labels_is_refused():
    features, bank, labels, classes = case()
    for bad in ((bank[:0], labels[:0]), (bank, labels[:5])):
        with pytest.raises(ValueError, match="a bank of"):
            knn_predict(features, *bad, classes=classes, k=3, temperature=0.1)


class Stopping(NullSink):
    def __init__(self, after):
        self.left, self.seen = after, []

    def progress(self, stage, done, total):
        self.seen.append((stage, done, total))

    def request(self):
        self.left -= 1
        return "stop" if self.left < 0 else None


def test_a_stop_is_heard_between_chunks():
    features, bank, labels, classes = case()
    sink = Stopping(after=2)
    with pytest.raises(Interrupted):
        knn_predict(
            features, bank, labels, classes=classes, k=3, temperature=1, chunk=10, sink=sink
        )
    assert sink.seen == [("kNN", 10, 40), ("kNN", 20, 40)]
