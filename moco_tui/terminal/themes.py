"""The themes of the app beside Textual's, and the one that it begins with."""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme

DARK, LIGHT = "textual-dark", "textual-light"
SIXTEEN = "ansi-dark"
"""Where a terminal shows 16 colours, those that its own user has chosen."""

HIGH_CONTRAST = Theme(
    name="high-contrast",
    primary="#4DB8FF",
    secondary="#7DF9FF",
    warning="#FFD400",
    error="#FF6B6B",
    success="#5CFF5C",
    accent="#FF9CFF",
    foreground="#FFFFFF",
    background="#000000",
    surface="#000000",
    panel="#1A1A1A",
    variables={
        "block-cursor-background": "#FFD400",
        "block-cursor-foreground": "#000000",
        "text-muted": "#D0D0D0",
    },
)
HIGH_CONTRAST_LIGHT = Theme(
    name="high-contrast-light",
    primary="#003E8A",
    secondary="#00505C",
    warning="#6B4300",
    error="#9B0000",
    success="#004D00",
    accent="#6A006A",
    foreground="#000000",
    background="#FFFFFF",
    surface="#FFFFFF",
    panel="#E8E8E8",
    dark=False,
    variables={
        "block-cursor-background": "#003E8A",
        "block-cursor-foreground": "#FFFFFF",
        "text-muted": "#404040",
    },
)
OWN = (HIGH_CONTRAST, HIGH_CONTRAST_LIGHT)


def first_theme(color_system: str | None) -> str:
    """The theme of a terminal, until a person chooses another.

    Args:
        color_system: what Rich found out about it: ``standard`` are 16 colours, to the nearest of
            which it would bring those of another theme, so that some would be the same.
    """
    return SIXTEEN if color_system == "standard" else DARK


def theme_names() -> list[str]:
    """The names of Textual's themes and of these, in order."""
    return sorted([*BUILTIN_THEMES, *(theme.name for theme in OWN)])
