"""Emergence: truths that are known, and what the analysis makes of them."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from scaling.analysis.emergence import analyse, analyse_groups
from scaling.analysis.emergence.levels import make_levels, points, wilson
from scaling.analysis.emergence.onset import holm, mark, onset, p_above
from scaling.analysis.emergence.scores import emergence, linearity
from scaling.analysis.emergence.surface import frontier, heat_table
from scaling.analysis.emergence.threshold import loss_threshold
from scaling.errors import UserError

SIZES = np.geomspace(1e5, 1e8, 8)
CHANCE = 0.125


def probe_rows(accuracy, rng, *, n=400, runs=1, spread=0.0, sizes=SIZES, **columns):
    """A probe table: accuracy(size) -> right share, with noise of items and of runs."""
    rows = []
    for size in sizes:
        for run in range(runs):
            true = np.clip(accuracy(size) + spread * rng.standard_normal(), 0, 1)
            k = int(rng.binomial(n, true))
            row = {"run_id": f"{size:.0f}-{run}", "label": "task", "n_params": size, "n_items": n}
            row |= {"chance": CHANCE, "accuracy": k / n, "accuracy_n": n, "accuracy_sum_sq": k}
            rows.append(row | columns)
    return pd.DataFrame(rows)


def step(at, height):
    return lambda size: CHANCE + height * (size >= at)


def metric_rows(rng, log_p, *, length=5, n=500, runs=4):
    """Exact match of `length` tokens, each right with probability exp(log_p(size))."""
    rows = []
    for size in np.geomspace(1e6, 1e9, 10):
        for run in range(runs):
            k = int(rng.binomial(n, np.exp(length * log_p(size))))
            mean = log_p(size) + 0.3 / math.sqrt(n) * rng.standard_normal()
            row = {"run_id": f"{size:.0f}-{run}", "label": "task", "n_params": size, "chance": 0.0}
            row |= {"exact_match": k / n, "exact_match_n": n, "exact_match_sum_sq": k}
            row |= {"logprob_per_token": mean, "logprob_per_token_n": n}
            rows.append(row | {"logprob_per_token_sum_sq": n * (mean**2 + 0.09)})
    return pd.DataFrame(rows)


def test_wilson_has_its_published_values():
    low, high = wilson(np.array([0.0, 81.0, 10.0]), np.array([20.0, 263.0, 10.0]))
    # Newcombe 1998 (Stat. Med. 17, 857), table I, method 3.
    np.testing.assert_allclose(low, [0.0, 0.2553, 0.7225], atol=5e-5)
    np.testing.assert_allclose(high, [0.1611, 0.3662, 1.0], atol=5e-5)


@pytest.mark.parametrize("runs", [3, 5])
@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (2, 2), (5, 1)])
def test_the_interval_over_few_runs_of_a_share_holds_their_mean(runs, a, b):
    """Seeds near a knee lie anywhere (.13, .42, .77): a symmetric interval would leave [0, 1]."""
    draws = np.random.default_rng(3).beta(a, b, (400, runs))
    table = pd.DataFrame(
        {"n_params": np.repeat(np.arange(1.0, 401.0), runs), "accuracy": draws.ravel()}
    )
    levels = make_levels(points(table, "accuracy", "n_params", bins=np.arange(1.5, 400).tolist()))
    ends = np.array([level.seed_ci for level in levels])
    assert ((ends > 0) & (ends < 1)).all()
    assert ((ends[:, 0] < a / (a + b)) & (a / (a + b) < ends[:, 1])).mean() > 0.92
    losses = points(table.assign(logprob=np.log(table["accuracy"])), "logprob", "n_params", bins=2)
    assert all(level.seed_ci[1] < 0 for level in make_levels(losses))


def test_checkpoints_of_a_run_are_not_counted_as_runs_of_its_size():
    """Probed on the way (--steps): against size each run stands once, at its last step."""
    rng = np.random.default_rng(9)
    sizes = SIZES[::2]
    early = probe_rows(step(np.inf, 0), rng, sizes=sizes, step=10, n_tokens=100)
    late = probe_rows(step(1e6, 0.5), rng, sizes=sizes, step=20, n_tokens=200)
    table = pd.concat([early, late])
    found = analyse(table, "accuracy", draws=20)
    assert found.n_runs == len(sizes)
    assert found.levels[-1].mean > 0.5
    assert "last step" in found.warnings[0]
    assert analyse(table, "accuracy", "n_tokens", draws=20).n_runs == 2 * len(sizes)


@pytest.mark.parametrize(("runs", "spread"), [(1, 0.0), (5, 0.0), (5, 0.06), (3, 0.02)])
def test_chance_alone_has_an_onset_no_oftener_than_alpha(runs, spread):
    rng = np.random.default_rng(1)
    p = points(probe_rows(step(np.inf, 0), rng, runs=runs), "accuracy", "n_params")
    draws, n = 4000, int(p.n[0])
    true = CHANCE + spread * rng.standard_normal((draws, len(p.y)))
    y = rng.binomial(n, np.clip(true, 0, 1)) / n
    rate = holm(p_above(p, CHANCE, y), 0.05).any(-1).mean()
    print(runs, spread, rate)
    if spread == 0:
        assert 0.02 < rate < 0.06  # discrete counts cost a little
    else:
        assert rate < 0.15  # three runs tell little about how much runs differ


@pytest.mark.parametrize(("height", "runs", "spread"), [(0.3, 1, 0), (0.06, 1, 0), (0.1, 4, 0.04)])
def test_the_interval_holds_the_onset_of_a_step(height, runs, spread):
    rng = np.random.default_rng(2)
    inside, trials = 0, 150
    for trial in range(trials):
        at = float(np.exp(rng.uniform(np.log(SIZES[1]), np.log(SIZES[-2]))))
        table = probe_rows(step(at, height), rng, runs=runs, spread=spread)
        p = points(table, "accuracy", "n_params")
        found = onset(p, mark(make_levels(p), p, CHANCE, 0.05), CHANCE, 0.05, 200, trial)
        if found is not None:
            inside += (found.low or 0) < at <= (found.high or np.inf)
    assert inside >= 0.95 * trials - 2 * math.sqrt(trials * 0.95 * 0.05)


def test_a_strong_step_is_pinned_between_two_scales():
    pinned = 0
    for seed in range(40):
        table = probe_rows(step(SIZES[4] * 0.99, 0.4), np.random.default_rng(seed), n=2000)
        p = points(table, "accuracy", "n_params")
        found = onset(p, mark(make_levels(p), p, CHANCE, 0.05), CHANCE, 0.05, 200, seed)
        assert found.high == pytest.approx(SIZES[4])
        pinned += found.low == pytest.approx(SIZES[3])
    assert pinned > 20  # else some scale below came close to significance by luck


def test_one_lucky_item_is_no_ability():
    """Nothing is right by chance, yet one right answer in n is not above the resolution."""
    table = probe_rows(lambda size: 0.0, np.random.default_rng(0)).assign(chance=0.0)
    table.loc[3, "accuracy"] = 1 / 400
    assert analyse(table, "accuracy", draws=50).verdict == "none"


def test_against_a_loss_the_smallest_scale_is_the_largest_loss():
    rng = np.random.default_rng(4)
    table = probe_rows(step(SIZES[4], 0.4), rng).assign(loss=lambda t: 10 * t["n_params"] ** -0.1)
    found = analyse(table, "accuracy", "loss", draws=200)
    losses = [level.x for level in found.levels]
    assert losses == sorted(losses, reverse=True)
    assert found.onset.x == pytest.approx(10 * SIZES[4] ** -0.1)
    assert found.onset.low > found.onset.high


def test_scores_match_values_by_hand():
    y = [0.0, 0.0, 0.1, 0.1, 0.9]
    # dy^2 = 0, .01, 0, .64: median .005, mean .1625
    assert emergence(y) == pytest.approx(0.9 / math.sqrt(0.005))
    assert linearity(y) == pytest.approx(0.9 / math.sqrt(0.1625))
    assert emergence([0.9, 0.5, 0.1]) == pytest.approx(-2.0)
    assert linearity(np.linspace(0, 1, 6)) == pytest.approx(5.0)
    assert emergence([0.3, 0.3, 0.3]) == 0
    assert emergence([0, 0, 0, 1]) == np.inf


@pytest.mark.parametrize(
    ("log_p", "length"),
    [
        (lambda size: -3 * (size / 1e6) ** -0.35, 5),
        (lambda size: -2 + 0.28 * np.log(size / 1e6), 4),
    ],
)
def test_a_smooth_probability_of_each_token_is_a_mirage(log_p, length):
    table = metric_rows(np.random.default_rng(5), log_p, length=length)
    found = analyse(table, draws=200)
    assert found.verdict == "mirage"
    assert found.breaks["exact_match"].picks_up
    assert not found.breaks["logprob_per_token"].picks_up
    assert not any(tested.bends for tested in found.breaks.values())
    assert found.mirage.r2 > 0.95
    assert found.mirage.answer_tokens == pytest.approx(length, rel=0.15)
    json.loads(found.to_json())
    alone = analyse(table[[c for c in table if "logprob" not in c]], draws=200)
    assert alone.verdict == "smooth"
    assert alone.breaks["exact_match"].suffices in alone.explanation


def test_a_jump_of_the_continuous_metric_is_a_break():
    table = metric_rows(np.random.default_rng(6), lambda size: -2.0 + 1.5 * (size > 6e7), length=3)
    found = analyse(table, draws=200)
    assert found.verdict == "break"
    assert found.breaks["logprob_per_token"].place == pytest.approx(6e7, rel=0.3)
    assert "each is rejected at 5 %" in found.explanation
    alone = analyse(table[[c for c in table if "logprob" not in c]], draws=200)
    assert alone.verdict == "bends"
    assert "smooth laws" in str(alone)


def test_a_break_that_nothing_is_shown_to_predict_is_undecided():
    """An accuracy that jumps beside a log-probability that does not, and no word on the link."""
    rng = np.random.default_rng(8)
    table = probe_rows(step(6e6, 0.4), rng, n=1000, sizes=np.geomspace(1e5, 1e8, 20))
    smooth = -1 + 0.1 * np.log10(table["n_params"])
    table["logprob_per_token"] = smooth + 0.002 * rng.standard_normal(len(table))
    table["logprob_per_token_n"] = 1000
    assert analyse(table, "accuracy", draws=100).verdict == "undecided"


def test_too_steep_for_its_scales_is_neither_smooth_nor_a_break():
    table = probe_rows(step(SIZES[4] * 0.99, 0.4), np.random.default_rng(0), n=200)
    found = analyse(table, "accuracy", draws=100)
    assert found.verdict == "steep"
    assert "a jump within one step" in found.explanation


def test_a_smooth_width_is_positive_and_may_be_given():
    table = probe_rows(step(SIZES[4] * 0.99, 0.4), np.random.default_rng(0), n=2000)
    with pytest.raises(UserError, match="smooth_width=-1"):
        analyse(table, "accuracy", smooth_width=-1.0)
    assert analyse(table, "accuracy", smooth_width=1.0, draws=100).verdict == "bends"
    assert analyse(table, "accuracy", smooth_width=0.1, draws=100).verdict == "steep"


def test_the_loss_threshold_is_found_and_loss_is_the_axis_on_which_runs_agree():
    rng = np.random.default_rng(7)
    rows = [
        {"n_params": n, "n_tokens": d, "loss": 1.5 + 40 * n**-0.25 + 60 * d**-0.25}
        for n in np.geomspace(1e6, 1e9, 7)
        for d in np.geomspace(1e8, 1e11, 7)
    ]
    table = pd.DataFrame(rows).assign(label="task", chance=0.25)
    true = 0.25 + 0.6 * np.maximum(2.9 - table["loss"], 0)
    table["accuracy"] = rng.binomial(1000, true) / 1000
    p = points(table, "accuracy", "n_params", n_items=1000)
    found = loss_threshold(table.iloc[p.rows], p, 0.25, 300, 0)
    assert found.ci95[0] <= 2.9 <= found.ci95[1]
    assert found.slope == pytest.approx(0.6, rel=0.2)
    assert min(found.rms, key=found.rms.get) == "loss"
    assert found.rms["loss"] < 0.3 * found.rms["n_params"]


def test_heat_table_and_frontier():
    rows = [
        {"n_params": n, "n_tokens": d, "shots": s, "accuracy": min(1.0, n * d * (1 + s) / 1e18)}
        for n in (1e6, 1e7, 1e8)
        for d in (1e9, 1e10, 1e11)
        for s in (0, 3)
    ]
    table = pd.DataFrame(rows)
    heat = heat_table(table, "accuracy", "shots", "n_params")
    assert heat.shape == (2, 3)
    assert heat.loc[3, 1e6] == pytest.approx(np.mean([0.004, 0.04, 0.4]))
    lines = frontier(table[table["shots"] == 0], "accuracy", [0.01, 0.5, 2.0])
    reached = lines.pivot(index="target", columns="n_params", values="n_tokens")
    assert reached.loc[0.01].tolist() == pytest.approx([1e10, 1e9, 1e9])
    assert reached.loc[2.0].isna().all()
    assert 1e10 < reached.loc[0.5, 1e7] < 1e11


def test_conditions_are_never_averaged_silently():
    rng = np.random.default_rng(8)
    table = pd.concat(
        [probe_rows(step(1e6, 0.3), rng, condition=c, shots=s) for c in "ab" for s in (0, 15)]
    )
    with pytest.raises(UserError, match=r"mix condition, shots.*--where 'condition=a'"):
        analyse(table, "accuracy")
    found = analyse_groups(table, "accuracy", draws=20)
    assert list(found)[:2] == ["condition=a, shots=0", "condition=a, shots=15"]
    assert len(found) == 4
    one = analyse(table, "accuracy", where=("condition=a", "shots=15"), draws=20)
    assert one.levels == found["condition=a, shots=15"].levels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "acuracy"}, "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ({"x": "params"}, "unknown column 'params'"),
        ({"alpha": 0.9}, "alpha=0.9"),
        ({"chance": math.nan}, "chance is nan"),
        ({"bins": [3.0, 1.0]}, "rising"),
        ({"bins": 1}, "2 or more"),
        ({"where": "n_params>1e99"}, "no row of 8"),
        ({"continuous": "logp"}, "unknown metric 'logp'"),
    ],
)
def test_bad_input_says_what_to_do(options, message):
    table = probe_rows(step(1e6, 0.3), np.random.default_rng(0))
    with pytest.raises(UserError, match=message):
        analyse(table, **{"metric": "accuracy", **options})


def test_scales_that_are_not_positive_and_varying_chance_are_refused():
    table = probe_rows(step(1e6, 0.3), np.random.default_rng(0))
    with pytest.raises(UserError, match="not a positive scale"):
        analyse(table.assign(n_params=table["n_params"] - 2e5), "accuracy")
    with pytest.raises(UserError, match="chance varies"):
        analyse(table.assign(chance=np.linspace(0, 1, 8)), "accuracy")
