"""What people give a run is bounded when it is written, and never lost in silence."""

from __future__ import annotations

import pytest

from engine.errors import RunError
from engine.runs import RunFolder
from engine.runs.note_limits import TAGS_MOST


def test_more_tags_than_are_read_back_are_refused(run: RunFolder) -> None:
    tags = [f"t{i}" for i in range(TAGS_MOST)]
    assert len(run.set_user(tags=tags).tags) == TAGS_MOST
    with pytest.raises(RunError, match="may have 1,000 tags; these would be 1,001"):
        run.set_user(tags=[*tags, "more"])
    assert len(run.user().tags) == TAGS_MOST
