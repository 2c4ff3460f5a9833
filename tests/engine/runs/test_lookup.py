"""The run that a person means: an exact word before the beginning of another, and never a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig
from engine.errors import RunError
from engine.runs import RunFolder, by_id, create, described, find, own
from engine.runs.record import encode_record


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def made(root: Path, id_: str, name: str = "", *, created: float | None = None) -> RunFolder:
    """A run whose id is chosen."""
    folder = create(root, "pretrain", PretrainConfig(), name=name)
    if created is not None:
        record = folder.record()
        record.created = created
        folder.record_path.write_bytes(encode_record(record))
    return RunFolder(folder.path.rename(root / id_))


def test_a_run_is_found_by_id_prefix_name_and_latest(root: Path) -> None:
    folders_ = [create(root, "pretrain", PretrainConfig(), name=f"n{i}") for i in range(3)]
    with own(folders_[1]) as owner:
        owner.transition("running")
        owner.transition("stopped")
    folders_[1].set_user(name="the good one")
    for i, folder in enumerate(folders_):
        assert find(root, folder.id) == folder
        assert find(root, folder.id.upper()) == folder
        shortest = next(
            folder.id[:n]
            for n in range(1, 7)
            if sum(other.id.startswith(folder.id[:n]) for other in folders_) == 1
        )
        assert find(root, shortest) == folder
        assert find(root, "the good one" if i == 1 else f"n{i}") == folder
    assert find(root, "the g") == folders_[1]
    assert find(root, "latest") == folders_[2]


def test_a_name_is_not_lost_to_the_beginning_of_an_id(root: Path) -> None:
    a, v2 = made(root, "kkkkkk", "b"), made(root, "mmmmmm", "v2")
    btc, v2k = made(root, "btcqcw", "first"), made(root, "v2kqxm", "second")
    assert find(root, "b") == a
    assert find(root, "v2") == v2
    assert find(root, "bt") == btc
    assert find(root, "v2k") == v2k
    assert find(root, "sec") == v2k, "the beginning of a name, where nothing else matches"


def test_an_id_wins_over_a_name_and_its_beginning_over_that_of_a_name(root: Path) -> None:
    run, called = made(root, "btcqcw"), made(root, "xxxxxx", "btcqcw")
    assert find(root, "btcqcw") == run
    assert find(root, "btc") == run
    called.set_user(name="BTCQCW")
    assert find(root, "BTCQCW") == run, "an id in any case of letters"


@pytest.mark.parametrize(
    ("ref", "ids", "hint"),
    [
        ("twin", ("bbbbbb (twin)", "cccccc (twin)"), "give the whole id."),
        ("d", ("ddddd1 (one)", "ddddd2)"), "give the whole id or name"),
        ("tw", ("bbbbbb (twin)", "cccccc (twin)"), "give the whole id or name"),
    ],
)
def test_two_that_match_are_refused_and_both_named(
    root: Path, ref: str, ids: tuple[str, ...], hint: str
) -> None:
    made(root, "bbbbbb", "twin")
    made(root, "cccccc", "twin")
    made(root, "ddddd1", "one")
    made(root, "ddddd2", "x" * 100)
    with pytest.raises(RunError, match="could be any of") as caught:
        find(root, ref)
    text = str(caught.value)
    assert all(id_.removesuffix(")") in text for id_ in ids)
    assert hint in text
    assert len(text) < 300


def test_of_many_that_match_five_are_named(root: Path) -> None:
    for i in range(2, 9):
        made(root, f"bbbbb{i}")
    with pytest.raises(RunError, match=r"bbbbb2, bbbbb3, .*bbbbb6 and 2 more; give"):
        find(root, "b")


def test_a_reference_that_means_none_is_a_sentence(root: Path) -> None:
    with pytest.raises(RunError, match="There are no runs in"):
        find(root, "latest")
    create(root, "pretrain", PretrainConfig(), name="twin")
    for text in ("nothing", "../etc", "a/b", "", "  ", ".", "..", "\0", "\x1b[31m", "😀" * 300):
        with pytest.raises(RunError) as caught:
            find(root, text)
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 400
    with pytest.raises(RunError, match="moco-tui restore lists"):
        find(root, "nothing", listed_by="moco-tui restore")


def test_what_latest_means_depends_on_what_is_wanted(root: Path) -> None:
    pretraining = create(root, "pretrain", PretrainConfig())
    with pytest.raises(RunError, match="has a checkpoint yet"):
        find(root, "latest", latest_of="pretrain")
    with pytest.raises(RunError, match="There is no study"):
        find(root, "latest", latest_of="study")
    pretraining.checkpoint_path.write_bytes(b"")
    study = create(root, "study", StudyConfig())
    create(root, "pretrain", PretrainConfig())  # has no checkpoint yet
    probe = create(root, "probe", ProbeConfig(), parent=pretraining.id)
    assert find(root, "latest") == probe
    assert find(root, "latest", latest_of="pretrain") == pretraining
    assert find(root, "latest", latest_of="study") == study


def test_no_run_may_be_called_latest(root: Path) -> None:
    with pytest.raises(RunError, match="choose another name"):
        create(root, "pretrain", PretrainConfig(), name=" latest\n")
    assert not root.exists() or list(root.iterdir()) == []
    run = create(root, "pretrain", PretrainConfig(), name="mine")
    with pytest.raises(RunError, match="choose another name"):
        run.set_user(name="latest")
    assert run.title() == "mine"


def test_what_a_record_names_is_never_another_run_of_a_like_name(root: Path) -> None:
    """The parent of a probe may be gone: neither a name nor a beginning stands in for it."""
    made(root, "bbbbbb1")
    named = made(root, "cccccc", "bbbbbb")
    assert by_id(root, "cccccc") == named
    for text in ("bbbbbb", "ccc", "latest", "", "..", "../runs/cccccc", ".trash"):
        with pytest.raises(RunError, match="There is no run"):
            by_id(root, text)


def test_a_run_is_described_by_its_id_and_name(root: Path) -> None:
    assert described(made(root, "bbbbbb")) == "bbbbbb"
    run = made(root, "cccccc", "before")
    run.set_user(name="now\x1b[2J")
    assert described(run) == "cccccc (now[2J)"


def test_a_damaged_run_hides_no_other(root: Path) -> None:
    good, bad = made(root, "bbbbbb", "good"), made(root, "cccccc", "bad")
    bad.record_path.write_bytes(b"garbage")
    bad.user_path.write_bytes(b"\xff")
    (root / "loop").symlink_to("loop")
    assert find(root, "good") == good
    assert find(root, "latest") == good
    assert find(root, "cccccc") == bad


def test_a_run_that_may_not_be_looked_into_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(root, "bbbbbb")
    closed = made(root, "cccccc").record_path
    deny_stat(monkeypatch, closed)
    with pytest.raises(RunError, match="cccccc cannot be read: permission is denied"):
        find(root, "cccccc")


def deny_stat(monkeypatch: pytest.MonkeyPatch, closed: Path) -> None:
    """As in a folder of another user; an administrator, who may run the tests, is not refused."""
    import os

    for name in ("stat", "lstat"):
        real = getattr(os, name)

        def refuse(path, *args, real=real, **options):
            if str(path) == str(closed):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **options)

        monkeypatch.setattr(os, name, refuse)
