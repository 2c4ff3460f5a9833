"""Lists of devices: what they mean, and what is refused in a sentence."""

from __future__ import annotations

import pytest

from engine.config.device_list import devices_text, parse_devices
from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("all", ("all",)),
        ("cuda:0,cuda:2", ("cuda:0", "cuda:2")),
        (" cuda:2 , cuda:0 ", ("cuda:2", "cuda:0")),
        ("cpu", ("cpu",)),
        ("cpu:3", ("cpu", "cpu", "cpu")),
        ("cpu,cuda:01,cpu:2", ("cpu", "cuda:1", "cpu", "cpu")),
        ("mps", ("mps",)),
    ],
)
def test_a_list_has_a_device_for_each_process(text: str, devices: tuple[str, ...]) -> None:
    assert parse_devices(text) == devices
    assert parse_devices(",".join(devices)) == devices, "it may be read again"
    assert sorted(parse_devices(devices_text(devices))) == sorted(devices)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "devices names none; it must be all, or devices between commas"),
        (" ", "devices names none"),
        ("cuda:0,", "devices names empty; it must be all"),
        ("cuda:0,cuda:1,cuda:0", "devices names cuda:0 twice; each device may stand there once."),
        ("cuda:1,cuda:01", "devices names cuda:1 twice"),
        ("mps,mps", "devices names mps twice"),
        ("all,cpu", "devices is all,cpu; all stands alone, without others."),
        ("cuda", "devices names cuda; it must be"),
        ("auto", "devices names auto; it must be"),
        ("cpu:0", "devices names cpu:0; it must be"),
        ("cpu:-1", "devices names cpu:-1; it must be"),
        ("cuda:٣", "devices names"),
        ("cpu:2000", "devices names more than 1,024 processes."),
        ("\x1b[2J", "devices names ?[2J; it must be"),
    ],
)
def test_a_wrong_list_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_devices(text)
    assert str(caught.value).startswith(sentence)
    assert caught.value.key == "devices"


def test_a_study_takes_a_list_or_a_number_of_workers() -> None:
    assert build(StudyConfig, {"devices": ["cuda:0", "cpu:2"]}).devices == ("cuda:0", "cpu:2")
    with pytest.raises(ConfigError, match=r"^devices names cuda:0 twice"):
        build(StudyConfig, {"devices": ["cuda:0", "cuda:0"]})
    with pytest.raises(ConfigError, match=r"^workers is 2, and devices names a process"):
        build(StudyConfig, {"devices": ["cpu:2"], "workers": 2})
