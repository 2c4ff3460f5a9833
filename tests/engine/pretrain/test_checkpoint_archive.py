"""A damaged or hand-made checkpoint is one sentence: nothing of it is unpickled, nothing loads."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.errors import RunError
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.checkpoint_archive import (
    DamagedArchiveError,
    ForeignArchiveError,
    check_archive,
    check_pickle,
    seal,
)

STATE = {"step": 3, "model": {"w": torch.arange(60.0)}, "o": {0: {"m": torch.ones(3)}}, "n": None}
FIXTURES = Path(__file__).parents[2] / "fixtures" / "v01" / "runs"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of today."""
    path = tmp_path_factory.mktemp("whole") / "checkpoint.pt"
    checkpoints.save(path, STATE)
    return path.read_bytes()


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def refused(path: Path, data: bytes) -> str:
    """The sentence about a file of these bytes."""
    path.write_bytes(data)
    with pytest.raises(RunError) as caught:
        checkpoints.load(path)
    text = str(caught.value)
    assert str(path) in text
    assert text.endswith(".")
    assert text.isprintable()
    return text


def rebuilt(data: bytes, change: Callable[[str, bytes], bytes], *, kind: int = 0) -> bytes:
    """An archive of the members of another one, changed; without a digest."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", kind) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out.getvalue()


def sealed(data: bytes) -> bytes:
    """The archive with a right digest, as whoever makes a file by hand could give it."""
    archive = bytearray(data)
    comment = seal(memoryview(archive))
    return bytes(archive) + comment


def test_whole_bytes_load_and_torch_reads_them_without_this_program(
    whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(whole)
    for state in (checkpoints.load(path), torch.load(path, weights_only=True)):
        assert torch.equal(state["model"]["w"], torch.arange(60.0))
        assert (state["step"], state["schema"]) == (3, checkpoints.SCHEMA)
    assert check_archive(whole)


def test_every_flipped_bit_is_found(whole: bytes) -> None:
    ends = range(8 * len(whole) - 8 * 103, 8 * len(whole))  # the digest and the archive's own end
    drawn = random.Random(1).sample(range(8 * len(whole)), 200)
    for bit in {*ends, *drawn}:
        with pytest.raises((DamagedArchiveError, ForeignArchiveError)):
            check_archive(flipped(whole, bit))


def test_cut_longer_and_mixed_files_are_damaged(whole: bytes, tmp_path: Path) -> None:
    size = len(whole)
    path = tmp_path / "checkpoint.pt"
    other = tmp_path / "other.pt"
    checkpoints.save(other, STATE | {"step": 4})
    wrong = [
        *(whole[:keep] for keep in (0, 1, size // 2, size - 81, size - 64, size - 1)),
        whole + b"\0",
        whole[:-81],  # the comment alone is gone
        whole[:-83] + b"\0\0",  # and its length says so
        whole[: size // 2] + other.read_bytes()[size // 2 :],
        whole[:-64] + b"0" * 64,
        whole[:-81] + bytes(81),
        bytes(size),
        b"\x80\x02}.",
    ]
    for data in wrong:
        assert "damaged" in refused(path, data)


@pytest.mark.parametrize("run", sorted(p.name for p in FIXTURES.iterdir() if p.is_dir()))
def test_a_file_of_version_0_1_loads_and_a_damaged_one_does_not(run: str, tmp_path: Path) -> None:
    source = FIXTURES / run / "checkpoint.pt"
    if not source.exists():
        return
    data = source.read_bytes()
    assert checkpoints.load(source)["schema"] == checkpoints.SCHEMA
    draw = random.Random(2)
    with zipfile.ZipFile(source) as archive:
        places = [(data.index(archive.read(i)), i.file_size) for i in archive.infolist()]
    for _ in range(5):  # within the members, which have checksums
        start, length = draw.choice([place for place in places if place[1] > 1000])
        bit = 8 * start + draw.randrange(8 * length)
        assert "damaged" in refused(tmp_path / "checkpoint.pt", flipped(data, bit))
    assert "damaged" in refused(tmp_path / "checkpoint.pt", data + b"\0")


def bomb_key() -> bytes:
    """A dict whose key is a tuple of two tuples of two ..., which takes 2**60 steps to hash."""
    levels = b"".join(b"q%c0h%ch%c\x86" % (n, n, n) for n in range(60))
    return b"\x80\x02})" + levels + b"K\x01s."


HAND_MADE = {
    "code": b"cos\nsystem\n(S'true'\ntR.",
    "huge bytearray": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "endless key": bomb_key(),
    "endless key in an OrderedDict": b"\x80\x02ccollections\nOrderedDict\n])K\x01\x86a\x85R.",
    "text of a length that is not there": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "nothing": b"",
    "stop": b".",
    "a stack that is empty": b"\x80\x02s.",
    "a place that is empty": b"\x80\x02h\x07.",
    "recursion": b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"}\x86.",
    "number of many digits": b"\x80\x02I" + b"9" * 6000 + b"\n.",
    "surrogate": b"\x80\x02X\x03\0\0\0\xed\xa0\x80.",
    "protocol of the future": b"\x80\xff}.",
    "garbage": bytes(range(256)),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made_pickles_are_one_sentence(name: str, whole: bytes, tmp_path: Path) -> None:
    def change(member: str, data: bytes) -> bytes:
        return HAND_MADE[name] if member.endswith("data.pkl") else data

    data = rebuilt(whole, change)
    path = tmp_path / "checkpoint.pt"
    for bytes_ in (data, sealed(data)):
        assert "moco-tui" in refused(path, bytes_)


def test_an_archive_that_grows_or_is_of_two_minds_is_refused(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    same = rebuilt(whole, lambda _, data: data)
    # Schema 3 without a digest: a comment cut off so well that the archive is whole.
    assert "its digest is missing" in refused(path, same)
    bomb = rebuilt(whole, lambda name, data: bytes(1 << 20) if "/data/" in name else data, kind=8)
    short = rebuilt(whole, lambda name, data: data[:4] if "/data/" in name else data)
    twice = io.BytesIO(same)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    script = rebuilt(whole, lambda _, data: data)
    added = io.BytesIO(script)
    with zipfile.ZipFile(added, "a") as archive:
        archive.writestr("archive/constants.pkl", b"\x80\x02).")
    for data in (bomb, short, twice.getvalue(), added.getvalue()):
        assert "moco-tui" in refused(path, data)
        assert "moco-tui" in refused(path, sealed(data))


def test_a_size_that_is_only_claimed_is_not_made(whole: bytes, tmp_path: Path) -> None:
    def enlarge(name: str, data: bytes) -> bytes:
        # The size of the tensor of 60 numbers, (60,), becomes (2**54,): 64 PiB.
        big = b"\x8a\x07" + (1 << 54).to_bytes(7, "little") + b"\x85"
        return data.replace(b"K\x3c\x85", big) if name.endswith("data.pkl") else data

    data = sealed(rebuilt(whole, enlarge))
    assert "was not written by moco-tui" in refused(tmp_path / "checkpoint.pt", data)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_too_little_memory_is_no_damage(
    error: Exception, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torch, "load", refuse)
    assert "memory ran out" in refused(tmp_path / "checkpoint.pt", whole)


def test_swapped_members_are_found(whole: bytes, tmp_path: Path) -> None:
    """Of version 0.1 the checksum of a member is in the archive; of today there is the digest."""
    first, second = torch.arange(60.0).numpy().tobytes(), torch.ones(60).numpy().tobytes()
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(path, {"a": torch.arange(60.0), "b": torch.ones(60)})
    data = path.read_bytes()
    swapped = data.replace(first, b"X" * 240).replace(second, first).replace(b"X" * 240, second)
    assert "damaged" in refused(path, swapped)
    old = io.BytesIO()
    torch.save({"schema": 2, "a": torch.arange(60.0), "b": torch.ones(60)}, old)
    data = old.getvalue()
    swapped = data.replace(first, b"X" * 240).replace(second, first).replace(b"X" * 240, second)
    assert swapped != data
    assert "damaged" in refused(path, swapped)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=200))
@example(b"\x80\x02\x8a\n" + bytes(10) + b".")  # a whole pickle of its own
def test_no_bytes_are_more_than_refused(data: bytes) -> None:
    with pytest.raises((DamagedArchiveError, ForeignArchiveError)):
        check_archive(data)
    with pytest.raises(ForeignArchiveError):
        check_pickle(b"\x80\x02" + data + b"\x95")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 99), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(value=VALUES)
def test_every_state_of_builtin_values_passes(value: Any) -> None:
    check_pickle(pickle.dumps({"value": value}, protocol=2))
