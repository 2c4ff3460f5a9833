"""No test reads or changes the configuration of the person who runs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moco_tui.user.user_file import VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _nobodys_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("nobody") / "config.toml"))
        yield
