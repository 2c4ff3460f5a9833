"""What the formats need."""

from __future__ import annotations

import pytest

from engine.errors import RunError
from engine.exchange.encoder_formats import EncoderFormat, require_packages


def test_a_package_that_is_missing_is_a_sentence_with_the_line_that_installs_it() -> None:
    format_ = EncoderFormat("x", (".x", ".y"), {"": ("no_such_one",), ".y": ("nor_this",)}, "x")
    with pytest.raises(RunError) as one:
        require_packages(format_, ".x")
    assert str(one.value) == (
        "no_such_one is not installed; install the extra with pip install 'moco-tui[x]'."
    )
    with pytest.raises(RunError, match="no_such_one and nor_this are not installed"):
        require_packages(format_, ".y")
    require_packages(EncoderFormat("z", (".z",)))
