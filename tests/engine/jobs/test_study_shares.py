"""What each worker of a study computes with: cores divided, a card each, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.config.schema import StudyConfig
from engine.errors import ConfigError
from engine.jobs import study_shares
from engine.jobs.study_shares import on_one_device, shares_of, shares_on, with_share
from engine.runtime.named_devices import named_devices
from engine.study.grid import pretrain_config, pretrainings, probe_config, probe_points
from engine.study.result_keys import plain, pretraining_key, row_key
from tests.made_up_cards import made_up, show_cards

from .small_studies import small_study

FREE = {"pretrain.runtime.threads": 0, "probe.runtime.threads": 0}


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_shares, "available_cpus", lambda: 7)


def cards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    show_cards(monkeypatch, *map(made_up, range(count)))


def on(device: str, **changes: Any) -> StudyConfig:
    devices = {"pretrain.runtime.device": device, "probe.runtime.device": device}
    return small_study(**FREE | devices | changes)


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(("workers", "threads"), [(1, 0), (2, 3), (3, 2), (7, 1)])
def test_the_cores_are_divided(workers: int, threads: int) -> None:
    shares = shares_of(on("cpu", workers=workers))
    assert len(shares) == workers
    assert {(s.pretrain.threads, s.probe.threads) for s in shares} == {(threads, threads)}
    assert {s.pretrain.device for s in shares} == {"cpu"}


@pytest.mark.usefixtures("cores")
def test_threads_that_were_asked_for_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = {"pretrain.runtime.threads": 3, "probe.runtime.threads": 3}
    for share in shares_of(on("cpu", workers=2, **threads)):
        assert (share.pretrain.threads, share.probe.threads) == (3, 3)
    with pytest.raises(ConfigError, match=r"^3 workers of 3 threads .* there are 7 cores"):
        shares_of(on("cpu", workers=3, **threads))
    with pytest.raises(ConfigError, match=r"^8 workers of a thread each .* there are 7 cores"):
        shares_of(on("cpu", workers=8))
    monkeypatch.setattr(study_shares, "available_cpus", lambda: 1)
    with pytest.raises(ConfigError, match=r"there is 1 core for them\. Give --workers a smaller"):
        shares_of(on("cpu", workers=2))


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_each_worker_has_a_card(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 3)
    shares = shares_of(on(device, workers=3))
    assert [s.pretrain.device for s in shares] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [s.probe.device for s in shares] == ["cuda:0", "cuda:1", "cuda:2"]
    with pytest.raises(ConfigError, match=r"^4 workers need a card each, and there are 3 cards"):
        shares_of(on(device, workers=4))


@pytest.mark.usefixtures("cores")
def test_a_card_by_its_number_is_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 2)
    with pytest.raises(ConfigError, match="cuda:1, one card for 2 workers; name cuda or auto"):
        shares_of(on("cuda:1", workers=2))
    with pytest.raises(ConfigError, match="would share one Apple GPU"):
        shares_of(on("mps", workers=2))


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("devices", "parts"),
    [
        (["cpu:2"], [("cpu", 3), ("cpu", 3)]),
        (["cpu"], [("cpu", 0)]),  # all cores, as without workers
        (["cuda:0", "cuda:2"], [("cuda:0", 3), ("cuda:2", 3)]),
        (["cuda:1"], [("cuda:1", 7)]),
        (["all"], [("cuda:0", 2), ("cuda:1", 2), ("cuda:2", 2)]),
        # A card takes a core, and those on the CPU divide the other six.
        (["cuda:0", "cpu:2"], [("cuda:0", 1), ("cpu", 3), ("cpu", 3)]),
    ],
)
def test_a_worker_for_each_device(
    devices: list[str], parts: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cards(monkeypatch, 3)
    shares = shares_of(on("auto", devices=devices))
    assert [(s.pretrain.device, s.pretrain.threads) for s in shares] == parts
    assert [(s.probe.device, s.probe.threads) for s in shares] == parts


@pytest.mark.usefixtures("cores")
def test_devices_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 2)
    with pytest.raises(ConfigError, match="names cuda:2, and torch can use only cuda:0 and cuda:1"):
        shares_of(on("auto", devices=["cuda:2"]))
    with pytest.raises(ConfigError, match="names mps, and torch sees no Apple GPU here"):
        shares_of(on("auto", devices=["mps"]))
    with pytest.raises(ConfigError, match=r"^8 workers on the CPU with 1 thread each are too many"):
        shares_of(on("auto", devices=["cpu:8"]))
    with pytest.raises(ConfigError, match="and 1 on other devices, are too many for 7 cores"):
        shares_of(on("auto", devices=["cpu:7", "cuda:0"]))
    cards(monkeypatch, 0)
    with pytest.raises(ConfigError, match="names cuda:0, and there is no card here that torch can"):
        shares_of(on("auto", devices=["cuda:0"]))
    with pytest.raises(ConfigError, match="devices is all, and there is no card"):
        named_devices(["all"])


@pytest.mark.usefixtures("cores")
def test_who_joins_leaves_the_others_their_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 3)
    assert named_devices(["all"], {"cuda:1"}) == ("cuda:0", "cuda:2")
    (share,) = shares_on(on("cpu"), ["cpu"], 1)
    assert share.pretrain.threads == 3


def test_a_study_of_one_process_finds_auto_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 3)
    placed = on_one_device(on("auto"), torch.device("cuda", 2))
    assert (placed.pretrain.runtime.device, placed.probe.runtime.device) == ("cuda:2", "cuda:2")
    assert on_one_device(on("auto"), torch.device("cpu")) == on("auto")
    assert on_one_device(on("cpu"), torch.device("cpu")) == on("cpu")


@pytest.mark.usefixtures("cores")
def test_a_share_leaves_the_keys_of_all_results(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 2)
    for device in ("cpu", "auto"):
        config = on(device, workers=2)
        for share in shares_of(config):
            worker = with_share(config, share)
            assert worker.workers == 1
            for variant, seed in pretrainings(config):
                one, other = (pretrain_config(c, variant, seed) for c in (config, worker))
                assert pretraining_key(plain(one)) == pretraining_key(plain(other))
                for point in probe_points(config):
                    probes = (probe_config(c, variant, seed, point) for c in (config, worker))
                    first, second = (row_key(plain(probe), "moco") for probe in probes)
                    assert first == second
