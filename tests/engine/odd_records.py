"""Records that no trainer wrote: every field of a valid record with every odd value.

``odd_records`` gives them as the bytes of ``run.json``, for tests and for scripts.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig

HOSTILE = (
    "a\x1b]0;title\x07b\x1b[31mred\x1b[2J c\x9b31m\x9d0;t\x9c d\u202ee\u2066f\u200fg"
    "\nh\r\ti\x00j\x7f\x85k\u2028l [red]m[/red] {n} \x08o"
)
"""What a terminal, a right-to-left reader, a table or markup would obey."""
SURROGATE = "s\\ud800t"
"""A lone surrogate as it stands in JSON; ``json.dumps`` writes it for such a text."""

Path = tuple[str | int, ...]


def valid(kind: str) -> dict[str, Any]:
    """A record of a kind with something in every field."""
    config = {"pretrain": PretrainConfig, "probe": ProbeConfig, "study": StudyConfig}[kind]()
    return {
        "schema": 2,
        "id": "b2c3d4",
        "kind": kind,
        "name": "a name",
        "preset": "quick" if kind == "pretrain" else "",
        "config": json.loads(msgspec.json.encode(config)),
        "parent": "ppp222" if kind == "probe" else "",
        "seed": 3,
        "status": "finished",
        "created": 1.7e9,
        "started": 1.7e9 + 1,
        "ended": 1.7e9 + 90,
        "trained_seconds": 80.5,
        "running_since": None,
        "host": "box",
        "pid": 77,
        "boot_id": "b",
        "device": "cpu",
        "facts": {"threads": 2, "classes": 10, "table": {"a": [1]}},
        "data": [{"step": 0, "train": 100, "train_images": "00ff", "train_labels": "ff00"}],
        "step": 20,
        "epoch": 2.0,
        "total_steps": 40,
        "steps_per_epoch": 10,
        "pairs_per_step": 256,
        "chance": 8.3,
        "checkpoint_step": 20,
        "checkpoint_time": 1.7e9 + 80,
        "best": {"knn/top1": 50.0, "train/epoch_loss": 7.5, "probe/pretrained/test_top1": 60.0},
        "last": {"train/loss": 7.0, "knn/top1": 49.0, "probe/pretrained/test_top1": 60.0},
        "untrained": {"knn/top1": 20.0},
        "stage": {"name": "knn", "done": 1, "total": 2},
        "ack": {"id": "1", "request": "stop", "step": 20, "time": 1.7e9 + 80},
        "result": {
            "task": "ten",
            "head": "logistic",
            "label_fraction": 0.1,
            "labels": 100,
            "test_images": 40,
            "encoder_step": 40,
            "encoder_schedule_steps": 80,
            "protocol": "as it is done",
            "rows": [
                {
                    "source": "pretrained",
                    "top1": 60.0,
                    "low": 55.0,
                    "high": 65.0,
                    "balanced": 60.0,
                    "majority": 10.0,
                    "per_class": {"cat": 50.0},
                    "budget": {"epochs": 5, "planned_epochs": 6},
                    "convergence": {
                        "converged": False,
                        "gain": 1.0,
                        "noise": 2.0,
                        "epochs": [3, 6],
                    },
                }
            ],
        },
        "error": "why it failed",
    }


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """The places of everything in a JSON value, tables before what is in them."""
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = list(enumerate(value))[:1]
    for name, item in items:
        yield (*at, name)
        yield from paths(item, (*at, name))


def changed(record: dict[str, Any], at: Path, value: Any) -> dict[str, Any]:
    """A copy of a record with another value at a place."""
    made = copy.deepcopy(record)
    inner: Any = made
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = value
    return made


ODD: dict[str, Any] = {
    "null": None,
    "true": True,
    "five": 5,
    "minus": -1,
    "float": 1e308,
    "tiny": 5e-324,
    "digits": 10**400,
    "digits20": 10**19,
    "empty": "",
    "text": "x",
    "hostile": HOSTILE,
    "list": [],
    "lists": [[[]], None, {"a": 1}],
    "table": {},
    "tables": {"a": {"b": [1]}, HOSTILE: HOSTILE},
    "nan": "NaN",
    "many": list(range(1000)),
}
"""Values that may stand where something else is expected."""


def _raw() -> Iterator[tuple[str, bytes]]:
    """Files that are odd as a whole."""
    plain = json.dumps(valid("pretrain")).encode()
    yield "empty file", b""
    yield "white space", b" \n\n"
    yield "zero bytes", b"\0" * 500
    yield "half", plain[: len(plain) // 2]
    yield "byte order mark", b"\xef\xbb\xbf" + plain
    yield "utf-16", plain.decode().encode("utf-16")
    yield "latin-1", plain.replace(b"a name", "\xe4".encode("latin-1"))
    yield "bad utf-8", plain.replace(b"a name", b"\xff\xfe\xc0\x80")
    yield "null within", plain.replace(b"a name", b"a\0b")
    yield "escaped null", plain.replace(b"a name", b"a\\u0000b")
    yield "lone surrogate", plain.replace(b"a name", b"a\\ud800b")
    yield "two lone surrogates", plain.replace(b"a name", b"\\udc00\\ud800")
    yield "raw surrogate", plain.replace(b"a name", b"\xed\xa0\x80")
    yield "twice the same key", plain.replace(b'"name"', b'"name": 5, "name"')
    yield "twice, odd last", plain[:-1] + b', "config": 5}'
    yield "deep list", b"[" * 100_000
    yield "deep table", b'{"a":' * 100_000
    yield "deep facts", plain.replace(b'{"threads": 2', b'{"d": ' + b"[" * 500 + b"]" * 500)
    yield "deep enough", plain.replace(b'"threads": 2', b'"d": ' + b"[" * 20 + b"]" * 20)
    yield "many values", plain.replace(b'"threads": 2', b'"d": [' + b"0," * 300_000 + b"0]")
    yield "large", plain + b" " * (17 << 20)
    yield "5,000 digits", plain.replace(b'"seed": 3', b'"seed": ' + b"9" * 5000)
    yield "huge exponent", plain.replace(b'"seed": 3', b'"seed": 1e999')
    yield "not a number", plain.replace(b'"seed": 3', b'"seed": NaN')
    yield "a text", b'"text"'
    yield "a number", b"5"
    yield "a list", b"[" + plain + b"]"
    yield "null", b"null"
    yield "no fields", b"{}"
    yield "trailing", plain + b"}"
    yield "comment", b"// hello\n" + plain
    yield "schema 1", plain.replace(b'"schema": 2', b'"schema": 1')
    yield "schema 0", plain.replace(b'"schema": 2', b'"schema": 0')
    yield "schema 99", plain.replace(b'"schema": 2', b'"schema": 99')
    yield "schema of digits", plain.replace(b'"schema": 2', b'"schema": ' + b"9" * 400)
    yield "schema text", plain.replace(b'"schema": 2', b'"schema": "2"')


def _chosen() -> Iterator[tuple[str, bytes]]:
    """Single values that have broken something, or could."""
    probe, study, pretrain = valid("probe"), valid("study"), valid("pretrain")
    for name, base, at, value in (
        ("order 5", pretrain, ("config", "augment", "order"), 5),
        ("order of numbers", pretrain, ("config", "augment", "order"), [5]),
        ("order unknown", pretrain, ("config", "augment", "order"), ["own.code:New", "future"]),
        ("dotted order", pretrain, ("config", "augment.order"), 5),
        ("degrees x", pretrain, ("config", "augment", "rotation", "degrees"), "x"),
        ("enabled x", pretrain, ("config", "augment", "flip", "enabled"), "x"),
        ("augment 5", pretrain, ("config", "augment"), 5),
        ("config []", pretrain, ("config",), []),
        ("config {}", pretrain, ("config",), {}),
        ("future setting", pretrain, ("config", "future"), {"a": [{"b": None}]}),
        ("future encoder", pretrain, ("config", "model", "encoder"), "vit"),
        ("own encoder", pretrain, ("config", "model", "encoder"), "my.module:Net"),
        ("label_fraction x", probe, ("config", "label_fraction"), "x"),
        ("label_fraction 1e308", probe, ("config", "label_fraction"), 1e308),
        ("groups", probe, ("config", "task", "groups"), {"a": 5}),
        ("groups hostile", probe, ("config", "task", "groups"), {HOSTILE: [HOSTILE]}),
        ("task 5", probe, ("config", "task"), 5),
        ("rows of numbers", probe, ("result", "rows"), [1, None]),
        ("rows x", probe, ("result", "rows"), "x"),
        ("row without", probe, ("result", "rows"), [{}]),
        ("encoder_step 1e308", probe, ("result", "encoder_step"), 1e308),
        ("parent up", probe, ("parent",), "../.."),
        ("parent of root", probe, ("parent",), "/etc"),
        ("parent itself", probe, ("parent",), "b2c3d4"),
        ("seeds many", study, ("config", "seeds"), list(range(100_000))),
        ("seeds none", study, ("config", "seeds"), []),
        ("tasks hostile", study, ("config", "tasks"), [HOSTILE]),
        ("twice the same seed", study, ("config", "seeds"), [1, 1]),
        ("kind of the future", pretrain, ("kind",), "distill"),
        ("kind hostile", pretrain, ("kind",), HOSTILE),
        ("metric of the future", pretrain, ("last", "future/metric"), 1.0),
        ("infinite metric", pretrain, ("last", "train/loss"), "Infinity"),
        ("metric hostile", pretrain, ("last", HOSTILE), 1.0),
        ("metrics many", pretrain, ("last",), {f"m{i}": i for i in range(5000)}),
        ("created -1e300", pretrain, ("created",), -1e300),
        ("created 1e12", pretrain, ("created",), 1e12),
        ("status lost", pretrain, ("status",), "lost"),
        ("status running", pretrain, ("status",), "running"),
        ("data text step", pretrain, ("data",), [{"step": "x"}]),
        ("long name", pretrain, ("name",), "n" * 1_000_000),
        ("long error", pretrain, ("error",), HOSTILE * 10_000),
    ):
        yield name, json.dumps(changed(base, at, value)).encode()


BY_HAND = 77
"""How many of ``odd_records`` come first and were made by hand."""


@functools.cache
def odd_records() -> tuple[tuple[str, bytes], ...]:
    """Odd files of records: a name for each, and what ``run.json`` holds.

    Those made by hand first, then every field with an odd value; about 900.
    """
    found = [*_raw(), *_chosen()]
    assert len(found) == BY_HAND
    for kind in ("pretrain", "probe", "study"):
        base = valid(kind)
        for number, at in enumerate(paths(base)):
            # All values at all places would be thousands: at each place some, in turn.
            names = list(ODD)
            several = len(at) == 1
            picked = [(number + 5 * i) % len(names) for i in range(4 if several else 1)]
            for name in (names[i] for i in picked):
                label = f"{kind} {'.'.join(map(str, at))} {name}"
                found.append((label, json.dumps(changed(base, at, ODD[name])).encode()))
    return tuple(found)
