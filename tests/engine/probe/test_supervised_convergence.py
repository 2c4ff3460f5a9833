import math
import statistics

import pytest
import torch

from engine.probe.supervised_convergence import compare_lengths


def of_counts(both: int, gained: int, lost: int, neither: int):
    """Which images a short and a long training have right, from how many there are of each kind."""
    short = [True] * both + [False] * gained + [True] * lost + [False] * neither
    long = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return torch.tensor(short), torch.tensor(long)


@pytest.mark.parametrize(
    ("both", "gained", "lost", "neither", "converged"),
    [
        (600, 100, 100, 200, True),  # other errors, as many
        (600, 100, 60, 240, False),  # 4.0 points; two standard errors are 2.5
        (600, 100, 90, 210, True),  # 1.0 points; two standard errors are 2.8
        (600, 60, 100, 240, True),  # it became worse: it is long enough
        (6000, 400, 300, 3300, False),  # 1.0 points, seen with ten times the images
        (1000, 0, 0, 0, True),
        (700, 1, 0, 299, True),  # one image is no news: two standard errors are 0.2
        (100, 900, 0, 0, False),
    ],
)
def test_it_has_converged_when_twice_the_epochs_gain_no_more_than_the_noise(
    both, gained, lost, neither, converged
):
    short, long = of_counts(both, gained, lost, neither)
    got = compare_lengths((25, 50), short, long, 10.0)
    # The mean of what each image gained or lost, and the standard error of that mean.
    each = [1.0] * gained + [-1.0] * lost + [0.0] * (both + neither)
    gain, error = statistics.fmean(each), statistics.pstdev(each) / math.sqrt(len(each))
    assert got.gain == pytest.approx(100 * gain)
    assert got.noise == pytest.approx(200 * error, abs=1e-9)
    assert got.top1 == pytest.approx(
        (100 * (both + lost) / len(each), 100 * (both + gained) / len(each))
    )
    assert got.converged is converged
    assert got.text().startswith("converged" if converged else "not converged")
    assert "50 epochs in place of 25" in got.text()
    assert got.figures()["converged"] is converged


def test_the_same_gain_among_the_same_errors_is_converged_with_few_images_and_not_with_many():
    counts = ((60, 10, 8, 22), (6000, 1000, 800, 2200))
    few, many = (
        compare_lengths((10, 20), short, long, 10.0)
        for short, long in (of_counts(*each) for each in counts)
    )
    assert few.gain == many.gain == pytest.approx(2.0)
    assert (few.converged, many.converged) == (True, False)


@pytest.mark.parametrize(
    ("epochs", "right", "gained", "majority", "converged"),
    [
        ((10, 20), 500, 0, 10.0, True),
        ((9, 18), 500, 0, 10.0, None),  # the curve may only begin to rise
        ((9, 18), 500, 100, 10.0, False),  # and this one does
        ((50, 100), 110, 0, 10.0, None),  # 11.0 %, two standard errors 2.0: nothing is learned
        ((50, 100), 125, 0, 10.0, True),  # 12.5 %, two standard errors 2.1
        ((50, 100), 620, 0, 60.0, None),  # 62.0 % where 60 % is nothing, two standard errors 3.1
        ((50, 100), 640, 0, 60.0, True),
    ],
)
def test_what_has_not_begun_to_learn_is_not_called_converged(
    epochs, right, gained, majority, converged
):
    short, long = of_counts(right, gained, 0, 1000 - right - gained)
    got = compare_lengths(epochs, short, long, majority)
    assert got.converged is converged
    assert got.text().startswith("too short to say") == (converged is None)
