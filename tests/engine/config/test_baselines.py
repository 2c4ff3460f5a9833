import importlib
from typing import get_args

from engine.config.baselines import BASELINES, BaselineName
from engine.config.fields import fields
from engine.config.schema import ProbeConfig, StudyConfig


def test_the_settings_the_table_and_what_makes_the_rows_name_the_same_baselines() -> None:
    names = get_args(BaselineName)
    assert tuple(BASELINES) == names
    for type_ in (ProbeConfig, StudyConfig):
        assert set(fields(type_)["baselines"].choices) == set(names)
        assert type_().baselines == names
    for baseline in BASELINES.values():
        module, _, attribute = baseline.work.partition(":")
        row = getattr(importlib.import_module(module), attribute)
        assert callable(row.reports)
        assert callable(row.row)
