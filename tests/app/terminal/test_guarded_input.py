"""Whatever bytes a terminal sends, the keys after them act and nothing else does."""

from __future__ import annotations

import random

import pytest
from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser

from moco_tui.terminal.guarded_input import InputReader
from moco_tui.terminal.picture_protocol import PictureAnswers, PicturesAnswered
from tests.hand_clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()  # the time that Textual's parser sees
    monkeypatch.setattr("textual._parser.get_time", made)
    return made


def keys(reader: InputReader, data: bytes, clock: Clock) -> list[str]:
    """The keys that act after bytes and a pause, in which an unfinished sequence ends."""
    messages = list(reader.read(data))
    clock.now += 1.0
    messages += reader.read(b"")
    return [message.key for message in messages if isinstance(message, events.Key)]


BAD = {
    "a letter of Latin-1": b"\xe9",
    "the first byte of a character": b"\xf0\x9f",
    "no UTF-8": b"\xff\xfe\x80\xc0\xaf",
    "a surrogate in UTF-8": b"\xed\xa0\x80",
    "the mouse past column 95": b"\x1b[M \xa0\x30",
    "the mouse where two bytes are a letter": b"\x1b[M \xc3\xa9",
    "the mouse past column 223": b"\x1b[M \x00\x30",
    "the mouse, cut off": b"\x1b[M \xa0",
    "a key that is no character": b"\x1b[99999999u",
    "a key of 20 digits": b"\x1b[99999999999999999999u",
    "a key with a modifier that is no number": b"\x1b[97;1:2u",
    "a size of nothing": b"\x1b[48;0;0;0;0t",
    "a size of no screen": b"\x1b[48;99999999;99999999;1;1t",
    "what the terminal is": b"\x1b[?62;1;4;22c",
    "the terminal's version": b"\x1bP>|XTerm(379)\x1b\\",
    "its background colour": b"\x1b]11;rgb:1e1e/1e1e/1e1e\x07",
    "whether it shows pictures": b"\x1b_Gi=31;OK\x1b\\",
    "the size of a cell": b"\x1b[6;18;9t",
    "an unknown sequence": b"\x1b[1;2;3$w",
    "an unknown function key": b"\x1bOz",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_read_is_dropped(data: bytes, clock: Clock) -> None:
    reader = InputReader()
    assert keys(reader, data, clock) == []
    assert keys(reader, b"\x1b[A", clock) == ["up"]
    assert keys(reader, b"n", clock) == ["n"]


@pytest.mark.parametrize("name", [name for name in BAD if "cut off" not in name])
def test_a_key_right_behind_it_acts(name: str, clock: Clock) -> None:
    assert keys(InputReader(), BAD[name] + b"n", clock) == ["n"]


def test_a_report_of_the_mouse_may_come_in_two_parts(clock: Clock) -> None:
    reader = InputReader()
    assert list(reader.read(b"j\x1b[M \xa0")) != []
    assert keys(reader, b"\x30n", clock) == ["n"]


def test_what_it_says_about_pictures_may_come_in_two_parts(clock: Clock) -> None:
    """Once the question is asked the answers are a message, and never keys."""
    told = b"\x1b[6;18;9t\x1b_Gi=31;OK\x1b\\\x1bP>|kitty(0.42.1)\x1b\\\x1b[?62;52;c"
    apart = {told.index(start) + n for start in (b"\x1b_G", b"\x1bP") for n in (1, 2)}
    for cut in set(range(len(told))) - apart:  # there Textual takes Escape and a letter for keys
        answers = PictureAnswers()
        answers.waiting = True
        reader = InputReader(answers)
        messages = [*reader.read(told[:cut]), *reader.read(told[cut:] + b"n")]
        clock.now += 1.0
        messages += reader.read(b"")
        assert [m.key for m in messages if isinstance(m, events.Key)] == ["n"], cut
        (answered,) = (m for m in messages if isinstance(m, PicturesAnswered))
        assert (answered.protocol, answered.cell) == ("kitty", (9, 18))


def test_sizes_that_a_screen_may_have_arrive() -> None:
    sizes = [m.size for m in InputReader().read(b"\x1b[48;45;160;900;1600t")]  # type: ignore[attr-defined]
    assert sizes == [(160, 45)]


def test_every_key_that_textual_knows_arrives(clock: Clock) -> None:
    """No sequence of its table is taken for an unknown one, nor is a beginning of one."""
    for sequence in ANSI_SEQUENCES_KEYS:
        parser = XTermParser()
        wanted = [m.key for m in parser.feed(sequence) if isinstance(m, events.Key)]
        clock.now += 1.0
        wanted += [m.key for m in parser.tick() if isinstance(m, events.Key)]
        assert keys(InputReader(), sequence.encode(), clock) == wanted, repr(sequence)


def test_pasted_text_arrives_as_it_is(clock: Clock) -> None:
    text = "q é 日本 ~ [M"
    data = b"\x1b[200~" + text.encode() + b"\x1b[201~"
    for cut in range(len(data)):
        reader = InputReader()
        messages = [*reader.read(data[:cut]), *reader.read(data[cut:]), *reader.read(b"n")]
        pasted = [m.text for m in messages if isinstance(m, events.Paste)]
        assert pasted == [text]


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_never_end_the_reader(seed: int, clock: Clock) -> None:
    chance = random.Random(seed)
    pieces = [*BAD.values(), b"\x1b", b"\x1b[", b"\x1b[M", b"\x1b[<", b";", b"M", b"u", b"t"]
    reader = InputReader()
    for _ in range(200):
        data = b"".join(
            chance.choice(pieces) if chance.random() < 0.5 else chance.randbytes(3)
            for _ in range(chance.randrange(1, 20))
        )
        list(reader.read(data))
        if chance.random() < 0.3:
            clock.now += 1.0
            list(reader.read(b""))
    keys(reader, b"", clock)
    keys(reader, b"\x1b[201~", clock)  # a paste may have begun, which takes keys for its text
    assert keys(reader, b"n", clock) == ["n"]
