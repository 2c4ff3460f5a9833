"""Damages checkpoints in every way, and checks that none of them loads or ends in a traceback.

    python tests/survival/checkpoints.py [--tries 2000] [--seed N]

As many files of today's format as ``--tries`` says are made from one whole checkpoint: a bit is
flipped, bytes are overwritten, removed or added, the file is cut, two files are mixed. Each must be
refused by one sentence. A tenth as many have another pickle and a right digest, as made by hand:
none may end in a traceback. The same damage is done to checkpoints of version 0.1, which have no
digest: those that load in silence are counted, and must hold the numbers of the whole file. The
exit code is 0 when all held. Prints ``checkpoints: tried N, survived N`` last.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from engine.errors import RunError
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.checkpoint_archive import seal

FIXTURES = Path(__file__).parents[1] / "fixtures" / "v01" / "runs"


def damaged(data: bytes, other: bytes, draw: random.Random) -> tuple[str, bytes]:
    """One way of damage, by its name, and the bytes after it."""
    size = len(data)
    at = draw.randrange(size)
    length = min(draw.choice([1, 8, 512, 4096]), size - at)
    after = at + length
    match draw.choice(
        ["flip", "flip", "tail", "overwrite", "zeros", "remove", "add", "cut", "mix"]
    ):
        case "flip":
            return "flip", data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        case "tail":
            at = size - 1 - draw.randrange(200)
            return "tail", data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        case "overwrite":
            return "overwrite", data[:at] + draw.randbytes(length) + data[after:]
        case "zeros":
            return "zeros", data[:at] + bytes(length) + data[after:]
        case "remove":
            return "remove", data[:at] + data[after:]
        case "add":
            return "add", data[:at] + draw.randbytes(length) + data[at:]
        case "cut":
            return "cut", data[:at]
        case _:
            return "mix", data[:at] + other[at:]


def with_other_pickle(data: bytes, draw: random.Random) -> bytes:
    """The archive with bytes of its pickle changed, and a right digest over all."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            member = bytearray(old.read(name))
            if name.endswith("data.pkl"):
                for _ in range(draw.randint(1, 5)):
                    member[draw.randrange(len(member))] = draw.randrange(256)
            new.writestr(name, bytes(member))
    archive = bytearray(out.getvalue())
    comment = seal(memoryview(archive))
    return bytes(archive) + comment


def attempt(path: Path, data: bytes) -> tuple[str, Any]:
    """What came of loading these bytes: ``refused``, ``loaded`` or ``traceback``."""
    path.write_bytes(data)
    try:
        state = checkpoints.load(path)
    except RunError as error:
        text = str(error)
        return ("refused" if text.isprintable() and text.endswith(".") else "traceback"), text
    except Exception as error:
        return "traceback", repr(error)
    return "loaded", state


def same(one: Any, two: Any) -> bool:
    """Whether two states are the same, number for number."""
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return (
            isinstance(two, dict)
            and list(one) == list(two)
            and all(same(one[key], two[key]) for key in one)
        )
    if isinstance(one, list):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return bool(one == two)


def todays(folder: Path, count: int, draw: random.Random) -> tuple[int, int]:
    """Damages files of today: how many there were, and how many were refused as they should be."""
    source = sorted(FIXTURES.glob("*/checkpoint.pt"))[0]
    state = checkpoints.load(source)
    checkpoints.save(folder / "a.pt", state)
    checkpoints.save(folder / "b.pt", state | {"step": 1, "mean": torch.ones(3)})
    data, other = ((folder / name).read_bytes() for name in ("a.pt", "b.pt"))
    counts = {"refused": 0, "loaded": 0, "traceback": 0}
    tried = 0
    while tried < count:
        how, wrong = damaged(data, other, draw)
        if wrong in (data, other):
            continue
        tried += 1
        came, told = attempt(folder / "checkpoint.pt", wrong)
        counts[came] += 1
        if came != "refused":
            print(f"  {how}: {came}: {str(told)[:200]}")
    print(f"today: {tried} damaged, {counts['refused']} refused")
    made = count // 10
    tracebacks = 0
    for _ in range(made):
        came, told = attempt(folder / "checkpoint.pt", with_other_pickle(data, draw))
        if came == "traceback":
            tracebacks += 1
            print(f"  pickle: {told[:200]}")
    print(
        f"today: {made} made by hand with a right digest, {made - tracebacks} without a traceback"
    )
    return tried + made, counts["refused"] + made - tracebacks


def of_0_1(folder: Path, count: int, draw: random.Random) -> tuple[int, int]:
    """Damages files of version 0.1: how many there were, and how many of them did no harm.

    That is a traceback, or other numbers that load in silence.
    """
    sources = sorted(FIXTURES.glob("*/checkpoint.pt"))
    files = [(path.read_bytes(), checkpoints.load(path)) for path in sources]
    counts = {"refused": 0, "loaded": 0, "traceback": 0}
    tried = others = 0
    while tried < count:
        data, state = draw.choice(files)
        other = draw.choice(files)[0]
        how, wrong = damaged(data, other, draw)
        if wrong in [whole for whole, _ in files]:
            continue
        tried += 1
        came, told = attempt(folder / "checkpoint.pt", wrong)
        counts[came] += 1
        if came == "traceback" or (came == "loaded" and not same(told, state)):
            others += 1
            print(f"  {how}: {came}, not as it was: {str(told)[:200]}")
    print(
        f"version 0.1: {tried} damaged, {counts['refused']} refused, {counts['loaded']} loaded in "
        f"silence, {others} a traceback or loaded with other numbers"
    )
    return tried, tried - others


def main() -> int:
    """Runs both; 0 when all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        counts = [part(Path(name), options.tries, draw) for part in (todays, of_0_1)]
    tried, survived = (sum(column) for column in zip(*counts, strict=True))
    print(f"checkpoints: tried {tried}, survived {survived}")
    return int(survived != tried)


if __name__ == "__main__":
    sys.exit(main())
