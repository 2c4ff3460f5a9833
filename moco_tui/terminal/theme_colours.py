"""The colours of a theme that the app adds: frames, states of runs, curves; and text made legible.

A theme of Textual names six colours, of which some are often the same, and says nothing of whether
a text in them can be read. Here they become as many as a chart has curves, each at a contrast.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from textual.color import Color, Lab, lab_to_rgb, rgb_to_lab

CURVES = 12
"""Colours of curves."""
LEAST_CONTRAST = 4.5
"""Of a text to what is behind it (WCAG 2.2, 1.4.3)."""
LEAST_FRAME = 1.6
"""Of a frame, which is to be seen and not to be read."""
APART = 18.0
"""Least distance of two curves in CIE L*a*b*, where one is the least that an eye can tell."""
# Degrees of the hue in L*a*b*: blue, orange, green, magenta, yellow, cyan, red, violet.
_HUES = (265, 60, 145, 340, 95, 205, 30, 305, 175, 235, 115, 15)
_PREFERRED = ("primary", "warning", "success", "error", "accent", "secondary")
_STATES = {
    "running": "success",
    "paused": "warning",
    "failed": "error",
    "finished": "primary",
    "queued": "secondary",
    "lost": "accent",
}
_TEXTS = ("primary", "secondary", "warning", "error", "success", "accent")
_ANSI_CURVES = (
    *("ansi_blue", "ansi_yellow", "ansi_green", "ansi_red", "ansi_magenta", "ansi_cyan"),
    *("ansi_bright_blue", "ansi_bright_yellow", "ansi_bright_green", "ansi_bright_red"),
    *("ansi_bright_magenta", "ansi_bright_cyan"),
)
_ANSI_STATES = {
    "running": "ansi_green",
    "paused": "ansi_yellow",
    "failed": "ansi_red",
    "finished": "ansi_blue",
    "queued": "ansi_cyan",
    "lost": "ansi_magenta",
}


def own_variables(variables: Mapping[str, str], *, ansi: bool) -> dict[str, str]:
    """What the style sheets need beside the variables of a theme, or in their place.

    Args:
        variables: of the theme, as Textual makes them.
        ansi: it has the colours of the terminal, of which nothing is known.
    """
    if ansi:
        found = {"frame": "ansi_bright_black", "focus": variables["primary"]}
        found |= {"curve-band": "ansi_bright_black", "curve-level": "ansi_default"}
        found |= {f"state-{state}": colour for state, colour in _ANSI_STATES.items()}
        found |= {"state-stopped": "ansi_default", "text-muted": "ansi_default"}
        return found | {f"curve-{n}": colour for n, colour in enumerate(_ANSI_CURVES, 1)}
    names = ("background", "surface", "panel", "foreground", *_TEXTS)
    texts = {f"text-{name}": variables[f"text-{name}"] for name in _TEXTS}
    keys = ("block-cursor-background", "footer-key-foreground")
    more = {key: variables[key] for key in keys}
    if variables["text-muted"].startswith("#"):  # else it is for Textual to choose, by ground
        more["text-muted"] = variables["text-muted"]
    return dict(_derived(tuple({**{n: variables[n] for n in names}, **texts, **more}.items())))


@lru_cache(32)
def _derived(items: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The same from the colours that it depends on, each theme once."""
    theme = {name: _opaque(Color.parse(value), "#000000") for name, value in items}
    behind = [theme["surface"], _opaque(theme["panel"], theme["surface"].hex), theme["background"]]
    ground = behind[0]
    foreground = legible(theme["foreground"], behind)
    found: dict[str, Color] = {
        "foreground": foreground,
        "text-muted": legible(
            theme.get("text-muted") or ground.blend(foreground, 0.62, alpha=1), behind
        ),
        "frame": legible(ground.blend(foreground, 0.28, alpha=1), [ground], LEAST_FRAME),
        "focus": legible(theme["primary"], behind),
        "curve-level": legible(ground.blend(foreground, 0.75, alpha=1), behind),
        "footer-foreground": foreground,
        "footer-description-foreground": foreground,
        "footer-key-foreground": legible(theme["footer-key-foreground"], behind),
    }
    found |= {f"text-{name}": legible(theme[f"text-{name}"], behind) for name in _TEXTS}
    cursor = _opaque(theme["block-cursor-background"], ground.hex)
    black, white = Color(0, 0, 0), Color(255, 255, 255)
    # White on a colour that is dark enough for it, or nearly so; black on the others.
    bright = contrast(white, cursor) < 0.8 * LEAST_CONTRAST
    found["block-cursor-background"] = cursor if bright else legible(cursor, [white])
    found["block-cursor-foreground"] = black if bright else white
    curves = _curves(theme, behind)
    found |= {f"curve-{number}": colour for number, colour in enumerate(curves, 1)}
    found["curve-band"] = legible(ground.blend(curves[0], 0.5, alpha=1), [ground], 2.0)
    taken: list[Color] = []
    for state, name in _STATES.items():
        colour = legible(theme[name], behind)
        if _nearest(colour, taken) < APART:
            colour = max(_wheel(behind), key=lambda one: _nearest(one, taken))
        taken.append(colour)
        found[f"state-{state}"] = colour
    found["state-stopped"] = found["text-muted"]
    return tuple((name, colour.hex) for name, colour in found.items())


def _curves(theme: Mapping[str, Color], behind: Sequence[Color]) -> list[Color]:
    """First those of the theme that are far enough apart, then the farthest of the wheel."""
    chosen: list[Color] = []
    for name in _PREFERRED:
        colour = legible(theme[name], behind)
        if _nearest(colour, chosen) >= 2 * APART:
            chosen.append(colour)
    wheel = _wheel(behind)
    while len(chosen) < CURVES:
        chosen.append(max(wheel, key=lambda colour: _nearest(colour, chosen)))
    return chosen


def _wheel(behind: Sequence[Color]) -> list[Color]:
    """Colours of every hue, light and dark."""
    lights = (72, 88, 60) if _is_dark(behind[0]) else (42, 28, 50)
    return [legible(_of_hue(hue, light), behind) for light in lights for hue in _HUES]


def _nearest(colour: Color, others: Iterable[Color]) -> float:
    """The distance of a colour to the nearest of others."""
    return min((distance(colour, other) for other in others), default=math.inf)


def distance(one: Color, other: Color) -> float:
    """How far apart two colours are to the eye: CIE76, the Euclidean distance in L*a*b*."""
    a, b = _lab(one.rgb), _lab(other.rgb)
    return math.dist((a.L, a.a, a.b), (b.L, b.a, b.b))


@lru_cache(1024)
def _lab(rgb: tuple[int, int, int]) -> Lab:
    return rgb_to_lab(Color(*rgb))


def _of_hue(degrees: float, light: float, chroma: float = 55.0) -> Color:
    """A colour of a hue and lightness in L*a*b*, as strong as fits into RGB or less."""
    angle = math.radians(degrees)
    lab = Lab(light, chroma * math.cos(angle), chroma * math.sin(angle))
    return lab_to_rgb(lab).clamped


def _is_dark(colour: Color) -> bool:
    return luminance(colour) < 0.18  # the middle grey: as far from white as from black


def _opaque(colour: Color, behind: str) -> Color:
    return colour if colour.a == 1 else Color.parse(behind) + colour


def luminance(colour: Color) -> float:
    """Relative luminance, from 0 of black to 1 of white (WCAG 2.2)."""
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in colour.rgb)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    """Contrast ratio, from 1 of the same to 21 of black and white (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def legible(colour: Color, behind: Sequence[Color], least: float = LEAST_CONTRAST) -> Color:
    """The colour, brought no nearer to white or black than a contrast to all of these takes."""
    end = Color(255, 255, 255) if _is_dark(behind[0]) else Color(0, 0, 0)
    colour = _opaque(colour, behind[0].hex)
    for step in range(21):
        mixed = colour.blend(end, step / 20, alpha=1)
        if all(contrast(mixed, ground) >= least for ground in behind):
            return mixed
    return end
