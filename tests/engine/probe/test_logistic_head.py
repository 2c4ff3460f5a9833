"""What the logistic head says of its fit."""

import pytest
import torch

from engine.config.heads.logistic import LogisticConfig
from engine.probe.head import HeadData
from engine.probe.logistic_head import LogisticHead
from engine.probe.principal_directions import Spectrum
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
    config = LogisticConfig(l2=(0.01,), tolerance=tolerance, max_iter=max_iter)
    sink = Listening()
    data = HeadData(
        features=features,
        targets=targets,
        classes=3,
        fit=everyone,
        validate=everyone[:0],
        views=lambda _count, _augment=None: pytest.fail("it works on the images as they are"),
        spectrum=lambda: Spectrum.of(features),
        sink=sink,
    )
    got = LogisticHead(config).fit(data)
    assert got.chosen["converged"] is converged
    endings = [m for m in sink.heard if "floor" in m or "converged" in m]
    assert len(endings) == (said is not None)
    assert all(said in message for message in endings)
