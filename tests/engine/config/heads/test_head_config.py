import pytest

from engine.config.baselines import SupervisedConfig
from engine.config.heads import HEADS, draws_random, sections_of, trains_encoder
from engine.config.heads.finetune import FinetuneConfig
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


def test_only_fine_tuning_trains_the_encoder_and_reads_sections_of_others() -> None:
    assert [name for name in HEADS if trains_encoder(name)] == ["finetune"]
    assert not trains_encoder("mine:Own")
    assert sections_of("finetune") == ("finetune", "logistic", "supervised")
    assert sections_of("linear") == ("linear",)
    assert sections_of("mine:Own") == ("mine:Own",)
    assert draws_random("finetune")


def test_the_rates_of_fine_tuning_are_those_that_move_the_encoder() -> None:
    settings = FinetuneConfig(lr=(0.1, 0.0, 0.02, 0.1))
    assert settings.rates == (0.02, 0.1)
    assert settings.with_passes(1).rates == ()
    # Those of the training from scratch are among the default ones, beside a lower one.
    assert set(SupervisedConfig().lr) < set(FinetuneConfig().rates)
    assert min(FinetuneConfig().rates) < min(SupervisedConfig().lr)
    assert "from 0.02 and 0.1, 0.02 for the classifier, or none" in settings.sentence()
    whole = FinetuneConfig(lr=(0.1,), head_lr=0.0, fixed_lr=0.0)
    assert "0.1, one for the whole net, or none" in whole.sentence()
    assert whole.sentence().endswith("where nothing is held out, the encoder stays frozen.")
