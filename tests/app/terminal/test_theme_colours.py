"""The colours that are derived from a theme: legible, and far enough apart, in every theme."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from moco_tui.terminal import themes
from moco_tui.terminal.theme_colours import CURVES, legible, own_variables

THEMES = {theme.name: theme for theme in (*BUILTIN_THEMES.values(), *themes.OWN)}
OF_COLOUR = [name for name, theme in THEMES.items() if not theme.ansi]
STATES = ("running", "paused", "failed", "finished", "queued", "lost", "stopped")


def variables(theme: Theme) -> dict[str, str]:
    found = {**theme.to_color_system().generate(), **theme.variables}
    return found | own_variables(found, ansi=theme.ansi)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance: written down anew."""

    def luminance(text: str) -> float:
        parts = [part / 255 for part in Color.parse(text).rgb]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    first, second = luminance(one) + 0.05, luminance(other) + 0.05
    return max(first, second) / min(first, second)


def distance(one: str, other: str) -> float:
    """CIE76 by the formulas of CIE 15: sRGB, D65."""

    def lab(text: str) -> tuple[float, float, float]:
        parts = [part / 255 for part in Color.parse(text).rgb]
        red, green, blue = (
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        )
        xyz = (
            (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047,
            0.2126 * red + 0.7152 * green + 0.0722 * blue,
            (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883,
        )
        f = [t ** (1 / 3) if t > (6 / 29) ** 3 else t * 841 / 108 + 4 / 29 for t in xyz]
        return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])

    return math.dist(lab(one), lab(other))


@pytest.mark.parametrize("name", OF_COLOUR)
def test_every_text_is_legible(name: str) -> None:
    known = variables(THEMES[name])
    texts = ["foreground", "text-muted", "focus", "curve-level", "footer-key-foreground"]
    texts += [f"text-{each}" for each in ("primary", "warning", "error", "success", "accent")]
    texts += [f"curve-{number}" for number in range(1, CURVES + 1)]
    texts += [f"state-{state}" for state in STATES]
    for text in texts:
        for behind in ("surface", "panel", "background"):
            ground = Color.parse(known["surface"]) + Color.parse(known[behind])
            assert contrast(known[text], ground.hex) >= 4.4, (text, behind)
    cursor = known["block-cursor-foreground"], known["block-cursor-background"]
    assert contrast(*cursor) >= 4.4
    assert contrast(known["frame"], known["surface"]) >= 1.5
    assert contrast(known["frame"], known["surface"]) < contrast(
        known["focus"], known["surface"]
    ), "the frame in focus stands out"


@pytest.mark.parametrize("name", OF_COLOUR)
def test_no_two_curves_and_no_two_states_look_alike(name: str) -> None:
    """The palette of Textual's own theme has one colour as warning and as accent."""
    known = variables(THEMES[name])
    curves = [known[f"curve-{number}"] for number in range(1, CURVES + 1)]
    for one, other in combinations(curves, 2):
        assert distance(one, other) > 15
    for one, other in combinations(curves[:6], 2):
        assert distance(one, other) > 20
    for one, other in combinations([known[f"state-{state}"] for state in STATES], 2):
        assert distance(one, other) > 12
    for curve in curves:
        assert distance(curve, known["curve-level"]) > 8, "a level is no curve"


@pytest.mark.parametrize("name", [name for name in THEMES if name not in OF_COLOUR])
def test_where_the_terminal_has_the_colours_none_is_mixed(name: str) -> None:
    known = variables(THEMES[name])
    curves = [known[f"curve-{number}"] for number in range(1, CURVES + 1)]
    assert len(set(curves)) == CURVES
    own = [*curves, *(known[f"state-{state}"] for state in STATES), known["frame"]]
    assert all(colour.startswith("ansi_") for colour in own)
    assert all(Color.parse(colour).ansi is not None for colour in own)


def test_what_is_legible_stays_as_it_is() -> None:
    white, black, grey = (Color.parse(text) for text in ("#ffffff", "#000000", "#777777"))
    assert legible(white, [black]) == white
    assert legible(black, [white]) == black
    assert legible(black, [black]) != black
    assert contrast(legible(grey, [Color.parse("#888888")]).hex, "#888888") >= 4.4


def test_sixteen_colours_are_those_of_the_terminal() -> None:
    assert themes.first_theme("standard") == themes.SIXTEEN
    assert THEMES[themes.SIXTEEN].ansi
    for more in ("truecolor", "256", None):
        assert themes.first_theme(more) == themes.DARK
    assert {themes.DARK, themes.LIGHT} <= THEMES.keys()


@pytest.mark.parametrize("theme", themes.OWN)
def test_the_themes_of_high_contrast_are(theme: Theme) -> None:
    known = variables(theme)
    for text in ("foreground", "text-muted", "focus", *(f"state-{state}" for state in STATES)):
        assert contrast(known[text], known["surface"]) >= 7, text  # WCAG 2.2, 1.4.6
