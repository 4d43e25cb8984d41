"""Smooth families, abrupt changes, and what tells one from the other."""

import math

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from experiments import emergence_breaks as study
from scaling.analysis.emergence.abrupt import ABRUPT, AbruptFit
from scaling.analysis.emergence.breaks import ALPHA, break_test, is_break
from scaling.analysis.emergence.series import Series
from scaling.analysis.emergence.shapefit import _levels, fit_shape
from scaling.analysis.emergence.shapes import SMOOTH
from scaling.analysis.emergence.wording import explain_verdict

UNIT = (0.0, 1.0, 0.0, 1.0)
WIDE = (-9.0, 9.0, -9.0, 9.0)
U = np.linspace(6, 9, 16)


def place_of(shape, width=1.0):
    """A theta of the family that the whole design sees."""
    at = {2: (), 3: (0.5,), 4: (7.4, math.log10(width))}
    return np.array(at[shape.n_params])


def curve_of(shape, low=0.15, high=0.85, width=1.0, u=U):
    return low + (high - low) * shape.rise(u, place_of(shape, width), (u[0], u[-1]))


def shares(mean, rng, n=1000, u=U, width=0.4):
    """A series of counted shares, one run a size."""
    y = rng.binomial(n, mean) / n
    n, luck = np.full(len(u), float(n)), np.full(len(u), width / 10)
    one = np.ones(len(u))
    return Series("accuracy", u, y, n, one, 1.0, luck, UNIT, 1.0, width, False)


def losses(mean, rng, se=0.004, u=U, better=-1.0):
    """A series of means with known errors."""
    y = mean + se * rng.standard_normal(len(u))
    error, luck = np.full(len(u), se), np.full(len(u), 0.02)
    return Series("loss", u, y, None, error, 1.0, luck, WIDE, better, 0.4, False)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_family_fits_its_own_curve_to_rounding(name):
    shape = SMOOTH[name]
    mean = curve_of(shape)
    found = fit_shape(shape, U, np.stack([mean, mean]), np.full(len(U), 1e4), 0.4, UNIT)
    assert found.chi2.max() < 0.01  # standard errors of .01: nothing to see
    if shape.n_params > 2:
        np.testing.assert_allclose(found.theta[0], place_of(shape), atol=0.01)
    np.testing.assert_allclose(found.curve[1], mean, atol=1e-3)


@pytest.mark.parametrize("name", [n for n in SMOOTH if SMOOTH[n].sigmoid])
@pytest.mark.parametrize("width", [0.4, 1.0, 2.5])
def test_the_width_is_that_from_10_to_90_per_cent(name, width):
    fine = np.linspace(2, 13, 200_001)
    rise = SMOOTH[name].rise(fine, place_of(SMOOTH[name], width), (6.0, 9.0))
    ends = np.interp([0.1, 0.9], rise, fine)
    assert np.ptp(ends) == pytest.approx(width, rel=1e-4)


@pytest.mark.parametrize("name", [n for n in SMOOTH if SMOOTH[n].n_params == 3])
def test_a_power_law_takes_no_less_than_the_width(name):
    """Over a range so long that the law has ends: 10 to 90 % of what it does in all."""
    theta, _ = SMOOTH[name].grid((0.0, 30.0), 0.4)
    fine = np.linspace(0, 30, 300_001)
    rise = SMOOTH[name].rise(fine, theta.max(0), (0.0, 30.0))
    ends = np.interp([0.1, 0.9], rise, fine)
    assert np.ptp(ends) == pytest.approx(0.4, rel=1e-2)


@pytest.mark.parametrize("box", [UNIT, WIDE, (0.2, 0.2, 0.0, 1.0), (0.0, 1.0, 0.7, 0.7)])
def test_levels_under_a_box_are_those_of_scipy(box):
    rng = np.random.default_rng(0)
    for _ in range(30):
        g, y, w = rng.random(8), rng.normal(0.5, 0.8, 8), rng.random(8) + 0.1
        a = 1 - g
        sums = (w @ (a * a), w @ (a * g), w @ (g * g), w @ (a * y), w @ (g * y))
        loss, low, high = _levels(tuple(map(np.array, sums)), box)
        root = np.sqrt(w)[:, None]
        most = np.array([box[1], box[3]]) + 1e-9
        right = lsq_linear(root * np.stack([a, g], 1), root[:, 0] * y, ((box[0], box[2]), most))
        assert loss + w @ (y * y) == pytest.approx(2 * right.cost, rel=1e-5)
        np.testing.assert_allclose([low, high], right.x, atol=1e-4)


@pytest.mark.parametrize("name", ABRUPT)
def test_a_change_is_fitted_as_by_least_squares_and_only_for_the_better(name):
    rng = np.random.default_rng(1)
    y, w = np.sort(rng.random(len(U))), rng.random(len(U)) + 0.5
    root = np.sqrt(w)
    for better in (1.0, -1.0):
        fit = AbruptFit(U, w, better)
        k = list(ABRUPT).index(name)
        least, _ = fit._each(y[None])[k]
        right = []
        for columns in ABRUPT[name].columns(U)[1]:
            beta, *_ = np.linalg.lstsq(root[:, None] * columns, root * y, rcond=None)
            if beta[-1] * better < 0:
                left = np.linalg.lstsq(root[:, None] * columns[:, :-1], root * y, rcond=None)[0]
                beta = np.append(left, 0.0)
            right.append((w * (y - columns @ beta) ** 2).sum())
        assert least[0] == pytest.approx(min(right), rel=1e-8)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("width", [0.4, 1.0])
def test_no_family_is_called_a_break_and_each_recovers_itself(name, width):
    shape = SMOOTH[name]
    right = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        s = shares(curve_of(shape, width=width), rng)
        found = break_test(s, draws=40, seed=seed)
        assert not found.bends
        own = next(f for f in found.families if f.name == name)
        best = min(f.aicc for f in found.families)
        right += own.aicc < best + 4 and own.p_value >= ALPHA
    assert right >= 3


@pytest.mark.parametrize("name", SMOOTH)
def test_a_loss_that_is_smooth_in_scale_is_no_break(name):
    mean = curve_of(SMOOTH[name], 3.2, 2.1)
    called = [is_break(losses(mean, np.random.default_rng(k)), draws=40) for k in range(4)]
    assert sum(called) <= 1


@pytest.mark.parametrize("background", [0.0, 0.3])
def test_a_jump_is_a_break_where_it_happened(background):
    mean = 0.2 + background * (U - 6) / 3 + 0.25 * (U > 7.45)
    places = []
    for seed in range(5):
        found = break_test(shares(mean, np.random.default_rng(seed)), draws=60, seed=seed)
        if found.bends:
            places.append(math.log10(found.place))
            assert found.p_value == max(f.p_value for f in found.families) < ALPHA
            assert background or found.may_jump
    assert len(places) >= 4
    assert np.abs(np.array(places) - 7.5).max() < 0.25


def test_a_loss_that_jumps_down_is_a_break_and_one_that_jumps_up_is_not():
    mean = 3.0 - 0.1 * (U - 6) - 0.2 * (U > 7.45)
    down = break_test(losses(mean, np.random.default_rng(0)), draws=60)
    assert down.bends
    assert down.place == pytest.approx(10**7.5, rel=0.3)
    up = 3.0 - 0.1 * (U - 6) + 0.2 * (U > 7.45)
    assert not is_break(losses(up, np.random.default_rng(0)), draws=60)


def test_steeper_than_the_stated_width_is_a_break_and_no_other():
    u = np.linspace(6, 8, 24)
    mean = 0.2 + 0.6 / (1 + np.exp(-(u - 7.02) * 2 * math.log(9) / 0.15))
    y = shares(mean, np.random.default_rng(3), n=3000, u=u)
    assert break_test(y, draws=60).bends
    allowed = shares(mean, np.random.default_rng(3), n=3000, u=u, width=0.1)
    found = break_test(allowed, draws=60)
    assert not found.bends
    assert found.width_ci95[0] < 0.15 < found.width_ci95[1]


def test_without_known_noise_an_exact_line_is_smooth():
    """One run a size and no items: what a law leaves over is all there is to go by."""
    u = np.linspace(6, 8, 9)
    one = np.ones(len(u))
    y = 0.1 + 0.3 * (u - 6)
    s = Series("score", u, y, None, one, 1e-18, 0.04 * one, WIDE, 1.0, 0.4, False)
    found = break_test(s, draws=30)
    assert not found.bends
    assert next(f for f in found.families if f.name == "linear").p_value > 0.5


@pytest.mark.parametrize("n_scales", [5, 6])
def test_few_scales_give_no_break_and_say_what_they_cannot(n_scales):
    u = np.linspace(6, 8, n_scales)
    s = shares(0.1 + 0.25 * (u > 7), np.random.default_rng(0), u=u, n=400)
    found = break_test(s, draws=40)
    assert not found.bends
    assert found.may_jump
    if n_scales == 5:
        assert next(f for f in found.families if f.name == "logistic").aicc is None


def test_the_sentence_says_what_was_tested():
    found = break_test(shares(0.2 + 0.5 * (U > 7.45), np.random.default_rng(0)), draws=60)
    text = explain_verdict("break", found)
    assert f"of {len(SMOOTH)} families" in text
    assert "0.4 decades" in text
    smooth = break_test(shares(curve_of(SMOOTH["logistic"]), np.random.default_rng(0)), draws=40)
    assert smooth.suffices in explain_verdict("smooth", smooth)


def test_the_study_of_the_test_counts_breaks():
    """`experiments/emergence_breaks.py`, in small."""
    noise = study.NOISES["items"]
    design = study.DESIGNS["12/3/1000"]
    smooth = study.rate(study.NULLS["logistic, 0.8"], design, noise, 5, 40)
    jumps = study.rate(study.JUMPS["jump on a line"], design, noise, 5, 40)
    assert smooth == 0
    assert jumps >= 0.8
    assert study.bound(study.JUMPS["jump"], design) > 0.99
    assert study.bound(study.JUMPS["jump"], study.DESIGNS["8/3/1000"]) < 0.7
    assert study.coverage(0.8, design, 5) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", study.NULLS)
def test_every_smooth_curve_is_called_a_break_in_5_per_cent_at_most(name):
    for design in study.DESIGNS.values():
        for noise in study.NOISES.values():
            assert study.rate(study.NULLS[name], design, noise, 60, 60) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", study.TOKENS)
def test_a_smooth_probability_of_a_token_is_a_mirage_in_nearly_all_studies(name):
    log_p, length = study.TOKENS[name]
    said = [study.analyse(study.answers(log_p, length, k), draws=60).verdict for k in range(30)]
    assert said.count("mirage") >= 28
