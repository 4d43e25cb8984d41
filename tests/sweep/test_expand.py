"""From config to runs: deterministic, checked before anything is made, and fast."""

import json

import pytest

from scaling.cli.flags import load_config_dict
from scaling.errors import UserError
from scaling.resolve import resolve, run_id
from scaling.sweep import designs, expand, read_sweep, write_sweep
from scaling.sweep.axes import nest
from tests.sweep.examples import BUDGETS, base, quickstart, runs_of

CODE = {"commit": None}


def test_the_quickstart_ladder():
    sweep = expand(quickstart(holdout="largest n_params"))
    assert len(sweep.runs) == 16
    assert sweep.groups["text"].law == "chinchilla"
    assert sweep.groups["text"].holdout == "largest n_params"
    at = {run.run_id: i for i, run in enumerate(sweep.runs)}
    trunks = [run for run in sweep.runs if run.keep_steps]
    assert [run.axes["budget"] for run in trunks] == ["4M tokens"] * 4
    for i, run in enumerate(sweep.runs):
        config = run.config
        assert config.model.depth == 3
        assert config.model.width == run.axes["width"]
        assert config.eval.every.value == 100  # A share of the length would have no trunk.
        if run.parent is None:
            assert run.cost["flops_own"] == run.cost["flops"]
            continue
        assert at[run.parent.run_id] < i
        trunk = sweep.run(run.parent.run_id)
        assert run.parent.step in trunk.keep_steps
        assert trunk.config.model == config.model
        # A decay of 25 %: a quarter is left to do.
        assert run.cost["flops_own"] / run.cost["flops"] == pytest.approx(0.25, rel=0.02)


def test_run_ids_are_those_of_the_configs_and_do_not_change():
    first, second = expand(quickstart()), expand(quickstart())
    assert first == second
    assert first.sweep_id == second.sweep_id
    for run in first.runs:
        assert run.config == resolve(run.settings)
        assert run.run_id == run_id(run.config)
        assert run.config.name == run.name


def test_cost_is_what_the_run_will_find(tmp_path):
    from scaling.training.prepare import RunArgs, prepare

    (run,) = runs_of(base(), "one_depth", axes={"width": (16,), "budget": ("1e10 flops",)})
    setup = prepare(run.config, RunArgs(tmp_path / "run", "data:1", cache_dir=tmp_path))
    assert run.cost["n_steps"] == setup.total_steps
    assert run.cost["n_params"] == setup.params["total"]
    assert run.cost["flops"] == pytest.approx(1e10, rel=0.02)


def test_a_plain_run_config_is_a_sweep_of_one():
    config = base()
    config.name = "tiny"
    sweep = expand(config)
    assert sweep.name == "tiny"
    (run,) = sweep.runs
    assert run.run_id == run_id(resolve(config))
    assert run.axes == {}


def test_axes_multiply_and_zipped_ones_advance_together():
    axes = {"seed": (0, 1), "model.width": (32, 64), "optim.peak_lr": (0.1, 0.2)}
    runs = runs_of(base(), axes=axes, zipped=("model.width", "optim.peak_lr"))
    found = [(r.config.model.width, r.config.optim.peak_lr, r.config.seed) for r in runs]
    assert found == [(32, 0.1, 0), (32, 0.1, 1), (64, 0.2, 0), (64, 0.2, 1)]
    assert len(runs_of(base(), axes=axes)) == 8


def test_points_are_an_explicit_list():
    points = ({"model": {"width": 32}}, {"model.width": 64, "budget": "50 steps"})
    runs = runs_of(base(), points=points, axes={"seed": (3, 4)})
    assert [(r.config.model.width, r.cost["n_steps"], r.config.seed) for r in runs] == [
        (32, 100, 3),
        (32, 100, 4),
        (64, 50, 3),
        (64, 50, 4),
    ]


def test_filters_look_at_axes_and_cost():
    axes = {"width": (16, 32, 64), "budget": BUDGETS}
    where = ("tokens_per_param >= 20", "width < 64")
    runs = runs_of(base(), "one_depth", axes=axes, where=where)
    assert 0 < len(runs) < 8
    assert all(r.cost["n_tokens"] >= 20 * r.cost["n_params"] for r in runs)
    assert {r.axes["width"] for r in runs} == {16, 32}


def test_duplicates_are_merged_and_counted():
    again = {"budget": ("1M tokens", "1e6 tokens", "2M tokens")}
    one = designs.group(base(), axes=again)
    two = designs.group(base(), axes={"budget": ("2M tokens", "3M tokens")})
    sweep = expand(designs.sweep("s", one=one, two=two))
    assert len(sweep.runs) == 3
    assert sweep.n_duplicates == 2
    assert [(r.group, r.also_in) for r in sweep.runs] == [("one", ()), ("one", ("two",)),
                                                         ("two", ())]  # fmt: skip


def test_a_run_of_two_groups_is_in_the_trunk_of_one():
    trunk = designs.group(base(), "one_depth", axes={"width": (16,), "budget": BUDGETS}, trunk=True)
    alone = designs.group(base(), "one_depth", axes={"width": (16,), "budget": BUDGETS[:1]})
    alone.base.eval.every = "100%"
    sweep = expand(designs.sweep("s", alone=alone, trunk=trunk))
    assert len(sweep.runs) == len(BUDGETS)
    (shared,) = (run for run in sweep.runs if run.also_in)
    assert shared.groups == ("alone", "trunk")
    assert shared.parent is not None


@pytest.mark.parametrize("peak", [0.003, 0.05])  # 0.003 is the default of a run config.
def test_a_flag_wins_over_the_recipe(peak, tmp_path):
    file = tmp_path / "config.py"
    file.write_text("from tests.sweep.examples import quickstart as get_config\n")
    flags = [f"--config={file}", f"--config.groups.text.base.optim.peak_lr={peak}",
             "--config.groups.text.axes.width=(8,16)"]  # fmt: skip
    loose, _ = load_config_dict(flags)
    sweep = expand(loose)
    assert {run.config.optim.peak_lr for run in sweep.runs} == {peak}
    assert {run.config.model.width for run in sweep.runs} == {8, 16}
    assert {run.config.optim.name for run in sweep.runs} == {"muon"}


def test_another_schedule_drops_the_options_of_the_recipe():
    config = base()
    config.optim.schedule.name = "linear"
    (run,) = runs_of(config, "one_depth", axes={"width": (16,)})
    assert run.config.optim.schedule.name == "linear"
    axes = {"width": (16,), "optim.schedule.name": ("wsd", "cosine")}
    runs = runs_of(base(), "one_depth", axes=axes)
    assert [run.config.optim.schedule.name for run in runs] == ["wsd", "cosine"]


def test_runs_that_differ_in_the_decay_share_a_trunk_too():
    group = designs.group(
        base(),
        "one_depth",
        axes={"width": (16,), "optim.schedule.wsd.shape": ("1-sqrt", "linear"), "seed": (0, 1)},
        trunk=True,
    )
    runs = expand(designs.sweep("s", g=group)).runs
    assert [run.parent is not None for run in runs] == [False, False, True, True]
    assert all(run.parent.step == runs[0].keep_steps[0] for run in runs if run.parent)


GROUPS = {
    "an axis that is no field": ({"axes": {"optim.peek_lr": (1,)}}, "did you mean 'optim.peak_lr'"),
    "a dial without a recipe": ({"axes": {"width": (8,)}}, "model.width"),
    "an empty axis": ({"axes": {"seed": ()}}, "axis 'seed' has no values"),
    "an unknown law": ({"law": "chincilla"}, "did you mean 'chinchilla'"),
    "a condition that is none": ({"fit_where": ("n_tokens",)}, "COLUMN OPERATOR VALUE"),
    "a hold-out that is none": ({"holdout": "the largest"}, "COLUMN OPERATOR VALUE"),
    "an unknown recipe": ({"recipe": "one_dept", "axes": {"width": (8,)}}, "did you mean 'one_d"),
    "two dials": ({"recipe": "one_depth", "axes": {"width": (8,), "params": (1e4,)}}, "exactly on"),
    "a bad unit": ({"axes": {"budget": ("1 tokns",)}}, "did you mean 'tokens'"),
    "a bad value": ({"axes": {"model.width": ("x",)}}, "model.width='x' must be int"),
    "a value out of range": ({"axes": {"model.depth": (0,)}}, "below the least sensible"),
    "a filter that nothing meets": ({"where": ("n_params > 1e12",)}, "none of 1 points meets"),
    "a filter on nothing": ({"where": ("n_parms > 1",)}, "did you mean 'n_params'"),
    "zipped and uneven": (
        {"axes": {"seed": (1, 2), "model.width": (32,)}, "zipped": ("seed", "model.width")},
        "differ in length",
    ),
    "a zip of nothing": ({"axes": {"seed": (1, 2)}, "zipped": ("sed",)}, "did you mean 'seed'"),
    "points that are no mapping": ({"points": ({},)}, "not a mapping"),
    "an axis twice": ({"axes": {"seed": (1,)}, "points": ({"seed": 1},)}, "in axes and in points"),
    "a trunk without wsd": ({"trunk": True, "axes": {"budget": BUDGETS}}, "only with 'wsd'"),
}


@pytest.mark.parametrize("case", GROUPS)
def test_bad_groups(case):
    changes, message = GROUPS[case]
    group = designs.group(base()).to_dict() | changes
    if "axes" in changes:
        group["axes"] = nest(changes["axes"])
    with pytest.raises(UserError, match="group 'g': ") as error:
        expand({"name": "s", "groups": {"g": group}})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


TRUNKS = {
    "warm-up as a share": ("optim.schedule.warmup", "2%", "give it in steps or tokens"),
    "evaluations as a share": ("eval.every", "20%", "or '100%' for the end only"),
}


@pytest.mark.parametrize("case", TRUNKS)
def test_shares_of_the_length_have_no_trunk(case):
    path, value, message = TRUNKS[case]
    config = quickstart()
    config.groups.text.base.update_from_flattened_dict({path: value})
    with pytest.raises(UserError, match=message):
        expand(config)


def test_a_rate_that_depends_on_the_length_has_no_trunk():
    config = quickstart(widths=(16,))
    config.groups.text.axes.budget = BUDGETS[:2]
    config.groups.text.axes.optim = {"peak_lr": (0.1, 0.2)}
    config.groups.text.zipped = ("budget", "optim.peak_lr")
    with pytest.raises(UserError, match=r"one size also differ in optim\.peak_lr: 0\.1 -> 0\.2"):
        expand(config)


@pytest.mark.parametrize("name", ["a\nb", "$(reboot)", "../up", "", "-x", "a" * 61, "a b", "<b>"])
def test_hostile_names(name):
    group = designs.group(base())
    with pytest.raises(UserError, match="must be 1 to 60 letters"):
        expand(designs.sweep(name, g=group))
    with pytest.raises(UserError, match="must be 1 to 60 letters"):
        expand({"name": "s", "groups": {name: group.to_dict()}})


def test_other_nonsense_at_the_top():
    with pytest.raises(UserError, match="has no groups"):
        expand(designs.sweep("s"))
    with pytest.raises(UserError, match="did you mean 'groups'"):
        expand({"name": "s", "groups": {}, "group": {}})
    config = designs.sweep("s", g=designs.group(base()))
    config.groups.g.trunc = True
    with pytest.raises(UserError, match="did you mean 'trunk'"):
        expand(config)
    config = designs.sweep("s", g=designs.group(base().to_dict() | {"optm": {"name": "sgd"}}))
    with pytest.raises(UserError, match="did you mean 'optim'"):
        expand(config)
    with pytest.raises(UserError, match=r"has no recipe, .*scaling\.sweep\.designs"):
        expand({"name": "s", "groups": {"g": {"base": {}}}})
    with pytest.raises(UserError, match="group 'g' is 3"):
        expand({"name": "s", "groups": {"g": 3}})


def test_too_many_runs_are_refused_before_they_are_made():
    axes = {"seed": range(1000), "train.batch_size": range(1, 101), "optim.peak_lr": range(1, 1000)}
    many = designs.sweep("s", g=designs.group(base(), axes=axes))
    # To make them would take hours and all memory.
    with pytest.raises(UserError, match=r"99,900,000 runs are more than 10,000; add --yes"):
        expand(many)
    few = designs.sweep("s", g=designs.group(base(), axes={"seed": range(12)}))
    with pytest.raises(UserError, match="12 runs are more than 11"):
        expand(few, max_runs=11)
    assert len(expand(few, max_runs=None).runs) == 12


def test_ten_thousand_runs(tmp_path):
    """How long it takes measures experiments/bench/sweep_tables.py."""
    axes = {"width": range(8, 808, 8), "budget": [f"{k}e5 tokens" for k in range(1, 101)]}
    config = designs.sweep("s", g=designs.group(base(), "one_depth", axes=axes, trunk=True))
    sweep = expand(config)
    assert len(sweep.runs) == len({run.run_id for run in sweep.runs}) == 10_000
    write_sweep(tmp_path, sweep, CODE)
    assert len(read_sweep(tmp_path).runs) == 10_000


def test_what_is_written_is_what_is_read(tmp_path):
    sweep = expand(quickstart())
    written = write_sweep(tmp_path / "out", sweep, CODE)
    assert read_sweep(tmp_path / "out") == written
    assert written.runs == sweep.runs
    assert [run.config for run in written.runs] == [run.config for run in sweep.runs]
    stored = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert stored["sweep_id"] == sweep.sweep_id
    keys = {"run_id", "name", "group", "axes", "config", "parent", "keep_steps", "cost", "also_in"}
    assert all(run.keys() == keys for run in stored["runs"])


def test_a_directory_belongs_to_one_sweep(tmp_path):
    first = write_sweep(tmp_path, expand(quickstart()), CODE)
    before = (tmp_path / "sweep.json").read_bytes()
    assert write_sweep(tmp_path, expand(quickstart()), {"commit": "other"}) == first
    assert (tmp_path / "sweep.json").read_bytes() == before
    with pytest.raises(UserError, match="4 of 12 runs are not in it"):
        write_sweep(tmp_path, expand(quickstart(widths=(16, 32, 48))), CODE)
    config = quickstart()
    config.groups.text.trunk = False
    with pytest.raises(UserError, match="the same runs with other parents"):
        write_sweep(tmp_path, expand(config), CODE)
    assert (tmp_path / "sweep.json").read_bytes() == before
    # A law is no part of the runs.
    changed = write_sweep(tmp_path, expand(quickstart(law="chinchilla_tied")), CODE)
    assert changed.created == first.created
    assert read_sweep(tmp_path).groups["text"].law == "chinchilla_tied"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 9}', '{"schema_version": 1}'])
def test_a_file_that_is_no_sweep(text, tmp_path):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(UserError, match=r"sweep\.json"):
        read_sweep(tmp_path)


def test_a_directory_without_a_sweep(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_sweep(tmp_path)
