"""Tables whose design is not the law's are named, and `best_of` takes what the law wants."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.analysis.compare import compare
from scaling.analysis.fit import fit
from scaling.analysis.law import factorial
from scaling.analysis.laws import LAWS
from scaling.analysis.tables.design import settle, take_best
from scaling.analysis.tables.kinds import kind_of
from scaling.analysis.tables.mixed import mixed
from scaling.cli import main
from scaling.errors import UserError

CASES = Path(__file__).parent.parent / "data" / "cases"
CHINCHILLA = LAWS.load("chinchilla")
QUICK = {"profile": False, "starts": 60}


def grid(**factors) -> pd.DataFrame:
    """A Chinchilla sweep, a row for every combination with `factors`: lists, or one value."""
    table = factorial(
        n_params=np.geomspace(2e7, 2e9, 4),
        n_tokens=np.geomspace(1e9, 1e11, 4),
        **{k: v for k, v in factors.items() if isinstance(v, list)},
    )
    loss = 1.7 + 400 * table.n_params**-0.34 + 410 * table.n_tokens**-0.28
    return table.assign(loss=loss, **{k: v for k, v in factors.items() if not isinstance(v, list)})


def test_a_learning_rate_sweep_is_named_and_best_of_fits_what_was_chosen_by_hand():
    sweep, by_hand = (CASES / "07-lr-sweep" / f"{n}.csv" for n in ("lr_sweep", "best_by_hand"))
    best, want = fit("chinchilla", sweep, best_of=["lr"], **QUICK), fit(
        "chinchilla", by_hand, **QUICK
    )  # fmt: skip
    assert best.params["alpha"].value == pytest.approx(0.347, abs=5e-4)
    assert best.derived["a"].value == pytest.approx(0.451, abs=5e-4)
    assert best.params["alpha"].value == pytest.approx(want.params["alpha"].value, rel=1e-6)
    said = "\n".join(best.warnings)
    assert "30 of 150 rows kept" in said
    assert "5 of 30 points the best lr is the smallest or largest" in said
    plain = "\n".join(fit("chinchilla", sweep, **QUICK).warnings)
    assert "150 rows lie at 30 points" in plain
    assert "--best-of lr" in plain


def test_best_of_is_one_choice_for_all_laws_and_for_the_command_line(capsys):
    sweep = CASES / "07-lr-sweep" / "lr_sweep.csv"
    found = compare(["chinchilla", "kaplan"], sweep, best_of=["lr"], starts=30)
    assert {len(f.table) for f in found.fits.values()} == {30}
    assert any("30 of 150 rows kept" in w for w in found.warnings)
    assert main(["fit", str(sweep), "--best-of", "lr", "--starts", "30", "--no-profile"]) == 0
    assert "30 of 150 rows kept" in capsys.readouterr().out


def test_best_of_against_a_loop_over_cells():
    """The rows that a plain loop takes, with a seed that is not chosen over."""
    rng = np.random.default_rng(0)
    table = grid(lr=[1e-4, 1e-3, 1e-2], batch=[32, 64], seed=[0, 1])
    table["loss"] *= np.exp(0.1 * rng.standard_normal(len(table)))
    table["n_steps"] = table["n_tokens"] // table["batch"]
    table = table.sample(frac=1, random_state=1, ignore_index=True)
    want = []
    for _, cell in table.groupby(["n_params", "n_tokens", "seed"]):
        want.append(cell["loss"].min())
    kept, said = take_best([CHINCHILLA], table, ["lr", "batch"])
    assert sorted(kept["loss"]) == sorted(want)
    assert "32 of 192 rows kept" in said[0]
    assert "each seed by itself" in said[0]


def test_edges_single_values_and_seeds_are_said():
    table = grid(**{"optim.peak_lr": [1e-4, 1e-3, 1e-2], "seed": [0, 1]})
    lr = table["optim.peak_lr"]
    table["loss"] += np.where(table.n_params < 1e8, lr, (np.log10(lr) + 3) ** 2)  # edge, middle
    lone = table[(table.n_params > 1e9) & (lr != 1e-3)].index
    kept, said = take_best([CHINCHILLA], table.drop(lone), ["lr", "seed"])
    said = "\n".join(said)
    assert len(kept) == 16
    assert "lr is column 'optim.peak_lr'" in said
    assert "at 8 of 16 points the best optim.peak_lr is the smallest" in said
    assert "4 of 16 points have one optim.peak_lr only" in said
    assert "better than what one run gives" in said


def test_tokens_that_differ_by_less_than_a_batch_are_one_point():
    table = grid(batch=[48, 100, 512])
    table["n_tokens"] = table["n_tokens"] // (table["batch"] * 1024) * table["batch"] * 1024
    assert table["n_tokens"].nunique() > 4
    assert "48 rows lie at 16 points" in settle(CHINCHILLA, table)[1][0]
    assert len(take_best([CHINCHILLA], table, ["batch"])[0]) == 16


@pytest.mark.parametrize(
    ("best_of", "words"),
    [
        (["momentum"], "unknown column 'momentum'"),
        (["n_params"], "the law reads this column"),
        (["lr", "lr"], "given twice"),
    ],
)
def test_what_cannot_be_chosen_over_is_refused(best_of, words):
    with pytest.raises(UserError, match=words):
        take_best([CHINCHILLA], grid(lr=[1e-3, 1e-2]), best_of)


def test_an_accuracy_is_best_when_high():
    table = pd.DataFrame(
        {"loss": [2.0, 2.0, 1.0, 1.0], "lr": [1, 2, 1, 2], "accuracy": [3, 4, 6, 5]}
    )
    kept, _ = take_best([LAWS.load("sigmoid")], table, ["lr"])
    assert kept["accuracy"].tolist() == [4, 6]


def test_checkpoints_are_no_final_losses():
    table = grid(lr=1e-3)
    table["run_name"] = "size-" + table["n_params"].astype(int).astype(str)
    assert "16 rows look like checkpoints of 4 runs" in settle(CHINCHILLA, table)[1][0]
    log = table[table["n_params"] < 3e7].drop(columns="run_name")
    log = pd.concat([log, log.assign(n_tokens=log["n_tokens"] * 150)]).assign(step=range(8))
    assert "log of one run" in settle(CHINCHILLA, log)[1][0]
    one_each = table.assign(run_name=np.arange(len(table)).astype(str))
    assert settle(CHINCHILLA, one_each)[1] == []


def test_a_plain_sweep_and_its_bookkeeping_are_not_complained_of():
    table = grid(lr=1e-3).assign(
        name="run", status="complete", wall_time_s=np.arange(16.0), width=np.repeat([64, 128], 8)
    )
    assert settle(CHINCHILLA, table.drop(columns="name"))[1] == []
    fitted = fit("chinchilla", table.drop(columns="name"), **QUICK)
    assert not [w for w in fitted.warnings if "column" in w]


def test_a_table_that_mixes_data_names_the_column():
    """Two sources with floors of their own; the column is named, also under a name of no meaning,
    and what --where it proposes fits one of them."""
    text, world = grid(lr=1e-3).assign(group="text"), grid(lr=1e-3).assign(group="world")
    world["loss"] -= 1.0
    table = pd.concat([text, world], ignore_index=True)
    for column in ("group", "config.data.name", "colour"):
        found = fit("chinchilla", table.rename(columns={"group": column}), **QUICK)
        (said,) = [w for w in found.warnings if f"column {column!r}" in w]
        assert "explains" in said
        assert f"--where '{column}=text'" in said
    assert not [w for w in fit("chinchilla", text, **QUICK).warnings if "'group'" in w]


def test_a_mixture_without_effect_is_said_only_where_the_name_says_it():
    table = pd.concat([grid().assign(tokenizer=t, colour=t) for t in ("bpe", "bytes")])
    noise = np.random.default_rng(1).standard_normal(len(table))
    said = mixed(CHINCHILLA, table.reset_index(drop=True).drop(columns="colour"), noise)
    assert len(said) == 1
    assert "'tokenizer' has 2 values (bpe, bytes) and one law is fitted" in said[0]
    assert mixed(CHINCHILLA, table.drop(columns="tokenizer"), noise) == []
    one = table.assign(group=table["tokenizer"].map({"bpe": "text", "bytes": "luck+text"}))
    assert mixed(CHINCHILLA, one.drop(columns=["tokenizer", "colour"]), noise) == []
    sizes = table.assign(family=table["n_params"].map("{:g}".format)).drop(columns="tokenizer")
    assert mixed(CHINCHILLA, sizes, noise) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("config.optim.peak_lr", "lr"),
        ("optim/lr", "lr"),
        ("Learning Rate", "lr"),
        ("lr_schedule", "schedule"),
        ("batch_size", "batch"),
        ("global-batch-size", "batch"),
        ("optim.weight_decay", "weight_decay"),
        ("wd", "weight_decay"),
        ("seeds.run", "seed"),
        ("config.data.name", "data"),
        ("data.fingerprint", "data"),
        ("vocab_size", "tokenizer"),
        ("config.data.seq_len", None),
        ("n_params", None),
        ("loss", None),
    ],
)
def test_settings_are_known_by_name(name, kind):
    assert kind_of(name) == kind
