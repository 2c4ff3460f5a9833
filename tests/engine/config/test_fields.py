"""The fields of a configuration, as the form and the messages see them."""

from __future__ import annotations

from engine.config.fields import fields
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.config.values import expand_key


def test_every_field_tells_the_person_what_it_is() -> None:
    for type_ in (PretrainConfig, ProbeConfig):
        for field in fields(type_).values():
            assert field.help, field.key
            assert field.expectation(), field.key
            assert expand_key(type_, field.key) == field.key
