from types import SimpleNamespace

import pytest
import torch

from engine.config.schema import LogisticConfig
from engine.probe.heads import Labelled, judge_logistic
from engine.sink import NullSink


class Listening(NullSink):
    def __init__(self):
        self.heard = []

    def log(self, message):
        self.heard.append(message)


@pytest.mark.parametrize(
    ("tolerance", "max_iter", "converged", "said"),
    [
        (1e-6, 1000, True, None),
        (1e-30, 1000, True, "at the floor of float64"),
        (1e-6, 2, False, "has not converged"),
    ],
)
def test_how_the_logistic_head_ended_is_said(tolerance, max_iter, converged, said):
    g = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 3
    features = torch.randn(60, 5, generator=g) + torch.eye(5)[targets]
    everyone = torch.arange(60)
    material = SimpleNamespace(
        targets=targets, test_targets=targets, fit=everyone, validate=everyone[:0],
        task=SimpleNamespace(groups=((0,), (1,), (2,))),
    )  # fmt: skip
    config = LogisticConfig(l2=(0.01,), tolerance=tolerance, max_iter=max_iter)
    sink = Listening()
    got = judge_logistic(Labelled(features), lambda: features, material, config, sink=sink)
    assert got["chosen"]["converged"] is converged
    endings = [m for m in sink.heard if "floor" in m or "converged" in m]
    assert len(endings) == (said is not None)
    assert all(said in message for message in endings)
