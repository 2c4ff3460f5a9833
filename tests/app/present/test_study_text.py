"""The line of the study's panels: beside the table it says at every width what brackets mean."""

from __future__ import annotations

import pytest

from moco_tui.present.study_text import tabs

PANELS = ("table", "curve", "answer", "pretrainings", "log", "training")


@pytest.mark.parametrize("width", [62, 78, 100, 158])
@pytest.mark.parametrize("shown", PANELS)
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_nothing_is_cut_and_the_shown_panel_is_named(
    width: int, shown: str, short: bool, full: bool
) -> None:
    text = tabs(PANELS, shown, full=full, short=short, width=width)
    if width >= 78:
        assert text.cell_len <= width
    if shown == "table" or width >= 158:
        assert "[range] {partial}" in text.plain
    if "[range]" in text.plain:
        assert "{partial}" in text.plain
        assert ("* trained too short" in text.plain) == short
        assert ("(95 %)" if full else "±95 %") in text.plain
    else:
        assert all(name in text.plain for name in PANELS if name != "pretrainings")
    (mark,) = [span for span in text.spans if span.style == "reverse"]
    name = "runs" if shown == "pretrainings" and shown not in text.plain else shown
    assert text.plain[mark.start : mark.end].split() == [str(PANELS.index(shown) + 1), name]
    for number in range(1, 7):
        assert str(number) in text.plain


def test_with_room_all_panels_have_their_names() -> None:
    text = tabs(PANELS, "log", full=True, short=True)
    assert text.plain == (
        " 1 table  2 curve  3 answer  4 pretrainings  5 log  6 training "
        " (95 %) [range] {partial} * trained too short"
    )
    assert tabs(PANELS, "log", full=True, short=True, width=text.cell_len).plain == text.plain
