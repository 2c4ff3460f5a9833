import pytest

from engine.config.heads import HEADS, draws_random
from engine.config.heads.linear import LinearConfig
from engine.config.schema import ProbeConfig, head_settings


def test_every_head_has_a_section_and_says_what_it_does() -> None:
    config = ProbeConfig()
    for name, part in HEADS.items():
        settings = head_settings(config, name)
        assert type(settings) is part.settings
        assert "chosen on 7" in settings.method("chosen on 7")
        assert settings.sentence().startswith(f"{name.capitalize()} head: ")


def test_without_a_name_the_settings_are_those_of_the_head_that_is_fitted() -> None:
    assert head_settings(ProbeConfig(head="linear")) == LinearConfig()
    assert head_settings(ProbeConfig(head="mine:Own")).method("chosen") == (
        "the head mine:Own (settings chosen)"
    )


@pytest.mark.parametrize(("head", "draws"), [("linear", True), ("logistic", False), ("m:H", True)])
def test_only_a_head_that_is_known_to_draw_nothing_is_the_same_for_every_seed(
    head: str, draws: bool
) -> None:
    assert draws_random(head) is draws


def test_only_the_linear_head_needs_views_and_counts_its_epochs() -> None:
    config = ProbeConfig()
    linear, logistic = head_settings(config, "linear"), head_settings(config, "logistic")
    assert (linear.views_per_image(), linear.passes()) == (10, 100)
    assert (logistic.views_per_image(), logistic.passes()) == (0, 1)
    short = linear.with_passes(3)
    assert (short.views_per_image(), short.passes()) == (1, 3)
    assert logistic.with_passes(3) == logistic
