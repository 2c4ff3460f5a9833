"""Odd contents and odd kinds of every file of a run folder and of the index, at random."""

from __future__ import annotations

import copy
import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = (
    *("run.json", "user.json", "metrics.jsonl", "devices.jsonl", "log.txt"),
    *("heartbeat", "lock", "control"),
)
INDEX = ("history.json", "history.json.lock")
ESCAPES = "\x1b]0;PLANTED\x07\x1b[31m\x1b[2J\u009b31m\u202eodd\u2066\u200f\x00\x7f\r"
"""A title, a colour, a cleared screen, CSI in one character, text turned around, NUL, DEL, CR."""
PLANTED = (b"\x1b]0;PLANTED", b"\x1b[2J\xc2\x9b", "\u009b".encode(), "\u202e".encode())
"""What must not be among the bytes that the app draws."""
HUGE = 50 * 2**20


def _deep(levels: int) -> Any:
    made: Any = 1
    for _ in range(levels):
        made = [made]
    return made


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**400, -(10**400), 1e308, float("nan"), float("inf")),
    *("", "x", "NaN", "1e999", ESCAPES, "../../../etc", "/dev/zero", "=1+1", "@odd", "\ud800"),
    *("A" * 100_000, [], {}, [[]], {"": {}}, {ESCAPES: ESCAPES}, _deep(500), [None] * 10_000),
    *(5, 2**63, "os:system", ["x", 5, None], {"x": "y"}, "run.json", "latest", "2020-01-01"),
)

RAW: tuple[bytes, ...] = (
    *(b"", b"[]", b"5", b'"x"', b"null", b"{", b"{}", b"\xef\xbb\xbf{}", b"\xff\xfe\x00", b"{}{}"),
    *(bytes(4096), b"[" * 200_000, b"9" * 5000, b'{"schema":99}', b'{"schema":"1"}'),
    *(b'{"schema":2,"schema":1}', b'{"meta":{"index":null}}', b'{"runs":[]}', b'{"runs":{"x":5}}'),
    *(b'{"meta":{"index":{"schema":"1"}},"runs":{}}', b'{"meta":[],"runs":null}'),
    *(ESCAPES.encode(errors="surrogatepass"), b'{"step":1e400,"train/loss":"x"}\n' * 50),
    *(b'{"step":-1}\n{"step":"x"}\n[]\n5\n', b'{"void_after":-1}\n', b'{"step":1,"time":"x"}\n'),
    *(b'{"step":99999999999999999999,"train/loss":1}\n', b'{"step":3,"train/loss":null}\n'),
)

LINES: tuple[bytes, ...] = (
    *(b'{"step":40,"epoch":"x","train/loss":1}', b'{"step":41,"train/loss":[]}', b"\x00\xff"),
    *(b'{"step":42,"train/loss":1e999}', b'{"step":1e3,"train/loss":1}', b'{"void_after":"x"}'),
    b'{"step":43,"' + ESCAPES.encode() + b'":1}',
    b'{"step":44,"' + b"m" * 50_000 + b'":1}',
    b'{"began":1,"every":1,"columns":["cpu","' + ESCAPES.encode() + b'"],"cards":["\\u001b[31m"]}',
    *(
        b"[1,1e999,null]",
        b"[5,50,2]",
        b'{"seconds":1,"others":[{"card":0,"pid":1,"user":"\\u009b"}]}',
    ),
)


@dataclass(frozen=True)
class Odd:
    """Something odd in a run folder, or with the index.

    Attributes:
        name: what, in words.
        change: makes it, given the runs folder, the run and the canary.
        hides: the run itself need not be listed any more.
        special: no plain file: commands that write are tried, too.
    """

    name: str
    change: Callable[[Path, Path, Path], None]
    hides: bool = False
    special: bool = False


def paths_in(value: Any, depth: int = 5, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a JSON document, so many levels deep."""
    if here:
        yield here
    if depth:
        keys: Any = value if isinstance(value, dict) else ()
        if isinstance(value, list):
            keys = range(min(2, len(value)))
        for key in keys:
            yield from paths_in(value[key], depth - 1, (*here, key))


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy in which the value at a path is another."""
    made = copy.deepcopy(document)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


def dumped(document: Any) -> bytes:
    """JSON, also of what has no UTF-8."""
    return json.dumps(document).encode()


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a long integer"
    return text if len(text) < 40 else text[:37] + "..."


def odd_field(chance: random.Random, run: Path) -> Odd:
    """A field of the record, the notes, the heartbeat or the index with another value."""
    name = chance.choice([*["run.json"] * 6, "user.json", "heartbeat", "history.json"])
    path = (run.parent if name == "history.json" else run) / name
    document = json.loads(path.read_bytes())
    fields = list(paths_in(document))
    field = chance.choice(fields)
    if chance.random() < 0.15:
        field = (*field[:-1], f"new{ESCAPES if chance.random() < 0.5 else ''}")
        if isinstance(field, tuple) and not isinstance(_at(document, field[:-1]), dict):
            field = ("new",)
    value = chance.choice(VALUES)

    def change(root: Path, run: Path, canary: Path) -> None:
        target = (root if name == "history.json" else run) / name
        target.write_bytes(dumped(with_value(json.loads(target.read_bytes()), field, value)))

    what = ".".join(map(str, field)).encode("ascii", "replace").decode()
    return Odd(f"{name}: {what!r} is {_shown(value)}", change)


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def odd_content(chance: random.Random) -> Odd:
    """A whole file with other content."""
    name = chance.choice((*FILES[:-1], "history.json", "checkpoint.pt"))
    if name in ("metrics.jsonl", "devices.jsonl", "log.txt") and chance.random() < 0.5:
        raw = b"\n".join(chance.sample(LINES, 3)) + chance.choice([b"", b"\n"])
        mode = "ab"
    else:
        raw, mode = chance.choice(RAW), "wb"

    def change(root: Path, run: Path, canary: Path) -> None:
        with ((root if name == "history.json" else run) / name).open(mode) as file:
            file.write(raw)

    return Odd(f"{name}: {'added' if mode == 'ab' else 'all of it'} {_shown(raw)}", change)


def odd_size(chance: random.Random) -> Odd:
    """A file of 50 MB."""
    name = chance.choice((*FILES[:-1], "history.json"))
    raw = chance.choice([b"x", b" ", b"[", b"\n", b'{"step":1}\n', b"\x1b[31m"])
    in_field = name == "user.json" and chance.random() < 0.5

    def change(root: Path, run: Path, canary: Path) -> None:
        path = (root if name == "history.json" else run) / name
        if in_field:
            document = json.loads(path.read_bytes())
            path.write_bytes(dumped(document | {"note": "n" * HUGE}))
        else:
            path.write_bytes(raw * (HUGE // len(raw)))

    return Odd(f"{name}: 50 MB of {'note' if in_field else _shown(raw)}", change)


def odd_kind(chance: random.Random) -> Odd:
    """Something else than a plain file in the place of one."""
    names = (*FILES, *INDEX, "checkpoint.pt", ".reserve", "run folder")
    name = chance.choice(names)
    kind = chance.choice(
        ("pipe", "link", "link to a folder", "/dev/zero", "dangling link", "folder", "socket")
        if name != "run folder"
        else ("pipe", "/dev/zero", "dangling link", "socket")
    )

    def change(root: Path, run: Path, canary: Path) -> None:
        if name == "run folder":
            place(root / "zzzzzz", kind, canary)
        else:
            place((root if name in INDEX else run) / name, kind, canary)

    return Odd(f"{name}: a {kind}", change, hides=name == "run.json", special=True)


def place(path: Path, kind: str, canary: Path) -> None:
    """Puts something of a kind in the place of a file or folder."""
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            inner.unlink()
        path.rmdir()
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
        (path / "inside").write_text("x")
    elif kind == "socket":
        # A path of a socket has at most 107 bytes: bound from its folder.
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(path.parent)
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.fchdir(here)
            os.close(here)
    else:
        targets = {
            "link": canary / "paper.tex",
            "link to a folder": canary / "folder",
            "/dev/zero": Path("/dev/zero"),
            "dangling link": canary / "nothing",
        }
        path.symlink_to(targets[kind])


def odd_request(chance: random.Random) -> Odd:
    """Odd names among the requests."""
    name = chance.choice(
        [
            f"{'9' * 20}-1-aaaaaa.stop",
            f"{'0' * 20}-1-aaaaaa.stop",
            "x.stop",
            "odd\x1b[31m\nname.stop",
            "n" * 250,
            f"{'٣' * 20}-1-aaaaaa.stop",
        ]
    )

    def change(root: Path, run: Path, canary: Path) -> None:
        (run / "control").mkdir(exist_ok=True)
        (run / "control" / name).touch()

    return Odd(f"control: {name.encode('ascii', 'replace').decode()!r}", change)


def _field(field: str, value: Any) -> Odd:
    path = tuple(field.split("."))

    def change(root: Path, run: Path, canary: Path) -> None:
        document = json.loads((run / "run.json").read_bytes())
        (run / "run.json").write_bytes(dumped(with_value(document, path, value)))

    return Odd(f"run.json: {field!r} is {_shown(value)}", change)


def _kind(name: str, kind: str) -> Odd:
    def change(root: Path, run: Path, canary: Path) -> None:
        place((root if name in INDEX else run) / name, kind, canary)

    return Odd(f"{name}: a {kind}", change, hides=name == "run.json", special=True)


KNOWN: tuple[Odd, ...] = (
    _field("config.augment.order", 5),
    _field("config.augment.rotation.degrees", "x"),
    _field("step", 10**400),
    _field("created", 10**400),
    _field("kind", ESCAPES),
    _field("parent", ESCAPES),
    _kind("run.json", "pipe"),
    _kind("heartbeat", "link"),
    _kind("metrics.jsonl", "/dev/zero"),
    _kind("devices.jsonl", "pipe"),
    _kind("history.json", "folder"),
    _kind("lock", "pipe"),
    _kind("log.txt", "link"),
)
"""What has broken something once: these are tried first, before any that are drawn."""


def some_odd(chance: random.Random, run: Path) -> Odd:
    """One odd thing of any sort."""
    sort = chance.choices(("field", "content", "size", "kind", "request"), (50, 16, 5, 25, 4))[0]
    if sort == "field":
        return odd_field(chance, run)
    made = {
        "content": odd_content,
        "size": odd_size,
        "kind": odd_kind,
        "request": odd_request,
    }
    return made[sort](chance)
