from engine.config.phrases import listed, numbers, plural


def test_lists_end_with_an_and() -> None:
    assert [listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_counts_have_separators_and_their_noun() -> None:
    assert (plural(1, "epoch"), plural(2500, "epoch")) == ("1 epoch", "2,500 epochs")


def test_whole_numbers_have_separators_and_others_are_short() -> None:
    assert numbers([4096, 16384]) == "4,096 and 16,384"
    assert numbers([0.001, 0.1, 10.0]) == "0.001, 0.1 and 10"
