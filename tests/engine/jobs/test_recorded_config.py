"""The configuration that a run of a study goes on with in another process."""

from __future__ import annotations

import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.jobs.recorded_config import placed


@pytest.mark.parametrize("type_", [PretrainConfig, ProbeConfig])
@pytest.mark.parametrize(
    ("recorded", "here", "wanted"),
    [
        ("cuda:3", "cuda:0", "cuda:0"),
        ("cuda:3", "auto", "auto"),
        ("cuda:3", "cuda", "cuda"),
        ("cuda:3", "cpu", "cuda:3"),
        ("cuda:3", "", "cuda:3"),
        ("cuda", "cuda:1", "cuda"),
        ("cpu", "cuda:1", "cpu"),
        ("auto", "cuda:1", "cuda:1"),  # all of a study's runs there share features on one card
        ("auto", "cpu", "auto"),
    ],
)
def test_a_card_by_its_number_is_that_of_the_worker(
    type_: type[PretrainConfig] | type[ProbeConfig], recorded: str, here: str, wanted: str
) -> None:
    config = build(type_, {"runtime.device": recorded})
    found = placed(config, here)
    assert found == build(type_, {"runtime.device": wanted})
