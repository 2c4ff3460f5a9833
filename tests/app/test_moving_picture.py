"""A moving picture shows each screen in its time, and needs nothing but itself."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pyte

from .make_tour import LARGEST, PLACE, QUEUE
from .moving_picture import HEIGHT, WIDTH, Screen, cells, moving_picture

SPACE = "{http://www.w3.org/2000/svg}"


def shot(text: str, seconds: float, caption: str = "") -> Screen:
    screen = pyte.Screen(12, 3)
    pyte.ByteStream(screen).feed(text.encode())
    return Screen(cells(screen), caption, seconds)


FILM = [
    shot("\x1b[1;1Hone  <a>\x1b[2;1Hstays", 1, "first"),
    shot("\x1b[1;1Htwo\x1b[2;1Hstays\x1b[3;1H\x1b[1;38;2;255;0;1mred\x1b[0m", 2, "second"),
    shot("\x1b[1;1Hone  <a>\x1b[2;1Hstays\x1b[3;3H\x1b[7mback", 1, "third"),
]


class Film:
    """A moving picture as a browser works its styles out."""

    def __init__(self, picture: str) -> None:
        root = ElementTree.fromstring(picture)
        style = root.findtext(f"{SPACE}style") or ""
        frames = r"@keyframes (k\d+)\{((?:[\d.]+%\{visibility:\w+\})+)\}"
        steps = {
            name: [(float(at), how) for at, how in re.findall(r"([\d.]+)%\{\w+:(\w+)\}", text)]
            for name, text in re.findall(frames, style)
        }
        still = dict(re.findall(r"\.(k\d+)\{visibility:(\w+);animation-name:\1\}", style))
        (total,) = re.findall(r"\.k\{animation:([\d.]+)s step-end infinite\}", style)
        self.seconds = float(total)
        self._groups: list[tuple[dict[tuple[int, int], str], list[tuple[float, str]], str]] = []
        for group in root.iter(f"{SPACE}g"):
            name = (group.get("class") or "").removeprefix("k ")
            texts = {
                (round(float(one.get("x", 0)) / WIDTH), int(float(one.get("y", 0)) // HEIGHT)): (
                    one.text or ""
                )
                for one in group.findall(f"{SPACE}text")
            }
            self._groups.append((texts, steps.get(name, []), still.get(name, "visible")))

    def at(self, second: float) -> dict[tuple[int, int], str]:
        """What one sees: texts by column and row."""
        found: dict[tuple[int, int], str] = {}
        for texts, steps, shown in self._groups:
            passed = [how for at, how in steps if at <= 100 * second / self.seconds + 1e-9]
            if [shown, *passed][-1] == "visible":
                found |= texts
        return found

    def still(self) -> dict[tuple[int, int], str]:
        """What one sees where nothing moves."""
        shown = [texts for texts, _, how in self._groups if how == "visible"]
        return {place: text for texts in shown for place, text in texts.items()}


def test_each_screen_is_seen_in_its_time() -> None:
    film = Film(moving_picture(FILM, still=1, title="a & b"))
    first = {(0, 0): "one", (5, 0): "<a>", (0, 1): "stays", (0, 4): "first"}
    second = {(0, 0): "two", (0, 1): "stays", (0, 2): "red", (0, 4): "second"}
    third = first | {(2, 2): "back", (0, 4): "third"}
    for at, expected in ((0, first), (0.99, first), (1.01, second), (2.9, second), (3.01, third)):
        assert film.at(at) == expected
    assert film.still() == second


def test_what_stays_is_drawn_once_and_nothing_is_fetched_or_run() -> None:
    picture = moving_picture(FILM, still=0, title="a & b")
    assert picture.count(">stays<") == 1
    assert picture.count(">one<") == 1
    assert "<script" not in picture
    assert re.findall(r"https?://[^\"]*", picture) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in picture


def test_colours_are_those_of_the_terminal() -> None:
    picture = moving_picture(FILM, still=0, title="")
    red = re.search(r'class="(\w+)"[^>]*>red<', picture)
    assert red is not None
    assert f".{red[1]}{{fill:#ff0001;font-weight:700}}" in picture
    # inverse video: the letters take the background's colour, on a bar of the letters' colour
    bar = re.search(r'<rect class="(\w+)" x="20" y="40" width="40" height="20"', picture)
    assert bar is not None
    assert f".{bar[1]}{{fill:#e0e0e0}}" in picture


def test_block_characters_are_rectangles_in_the_columns_of_a_terminal() -> None:
    blocks = shot("\x1b[38;2;1;2;3m▀▀\x1b[38;2;4;5;6m▂▌\x1b[0mx", 1)
    picture = moving_picture([blocks], still=0, title="")
    rects = re.findall(
        r'<rect class="\w+" x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"/>', picture
    )
    assert rects == [("0", "0", "20", "10"), ("20", "15", "10", "5"), ("30", "0", "5", "20")]
    assert re.findall(r"<text[^>]*>([^<]+)</text>", picture) == ["x"]


def test_the_tour_is_short_small_and_leads_to_a_comparison() -> None:
    picture = PLACE.read_text()
    assert len(picture.encode()) <= LARGEST
    assert "<script" not in picture
    film = Film(picture)
    assert 10 < film.seconds < 20
    shown = [film.at(film.seconds * i / 60) for i in range(60)]
    scenes = [
        *("Runs", "New run", QUEUE, "augmentation preview", "Monitor", "accuracy by encoder"),
        "settings that differ",
    ]
    first = [next(i for i, one in enumerate(shown) if scene in words(one)) for scene in scenes]
    assert first == sorted(first)


def words(shown: dict[tuple[int, int], str]) -> str:
    return "\n".join(shown.values())
