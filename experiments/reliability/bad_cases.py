"""Tries of the files of real users in tests/data/cases, each with the answer that is right.

A case that is refused has to say what stands in the file; a case that is answered has to have the
numbers. Where both are allowed, either will do.
"""

import json
import pathlib
import shutil
from collections.abc import Callable, Iterator

from experiments.reliability.outcomes import Outcome, Try, says

CASES = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "cases"
TINY = f"--config={CASES.parents[2]}/configs/tiny.py"
ALPHA = 0.340
FIT = ("--law", "chinchilla", "--no-profile", "--json", "fit.json")
Judge = Callable[[Outcome], str]


def tries() -> Iterator[Try]:
    """Each in its own folder's files, copied to the current directory."""
    for folder, argv, judge in (*_fits(), *_others(), *_data()):
        shutil.copytree(CASES / folder, ".", dirs_exist_ok=True)
        yield Try(f"case {folder}", argv, judge)


def _fits() -> Iterator[tuple[str, tuple[str, ...], Judge]]:
    """Tables for `scaling fit`: the law's alpha, whatever the table looks like."""
    right = _param("alpha", ALPHA, 0.002)
    for folder, name, options in (
        ("01-trailing-comma", "shift_ok.csv", ()),
        ("01-trailing-comma", "trailing.csv", ()),
        ("01-trailing-comma", "trailing_plausible.csv", ()),
        ("02-excel-european", "excel.csv", ()),
        ("02-excel-european", "bom_crlf.csv", ()),
        ("02-excel-european", "excel_utf16.csv", ()),
        ("03-space-after-comma", "spaced.csv", ()),
        (
            "04-units",
            "cells.csv",
            ("--map", 'n_params="Model Size",n_tokens=Tokens,loss="Val Loss"'),
        ),
        ("04-units", "thousands.csv", ()),
        ("29-jsonl-bom", "bom.jsonl", ()),
    ):
        yield folder, ("fit", name, *options, *FIT), right
    comma = ("--map", "n_params=params, total,n_tokens=tokens=D,loss=loss (nats, val)")
    yield "23-comma-in-header", ("fit", "headers.csv", *comma, *FIT), right
    units = ("--map", "n_params=Params (M),n_tokens=Tokens (B),loss=Val Loss")
    yield "04-units", ("fit", "headers.csv", *units, *FIT), right
    yield "05-duplicate-headers", ("fit", "dup.csv", *FIT), says("columns are called loss")
    yield "06-perplexity", ("fit", "ppl.csv", *FIT), says("perplexity")
    yield "07-lr-sweep", ("fit", "lr_sweep.csv", *FIT), says("150.*30", "lr")
    best = ("--best-of", "lr")
    yield "07-lr-sweep", ("fit", "lr_sweep.csv", *best, *FIT), _param("alpha", 0.347, 0.003)
    starts = ("--law", "chinchilla", "--starts", "1", "--seed", "2", "--no-profile")
    yield "28-unconverged-ok", ("fit", "ref.csv", *starts), _not_ok


def _others() -> Iterator[tuple[str, tuple[str, ...], Judge]]:
    wandb = ("--map", "n_params=model.n_params,n_tokens=train/tokens_seen,loss=val/loss")
    yield (
        "08-wandb-runs-csv",
        ("fit", "runs.csv", *wandb, *FIT),
        says("State.*4 crashed", "no finite loss"),
    )
    out = ("--out", "table.csv")
    chart = ("--map", "loss=tiny-20m - val/loss,n_tokens=Step", *out)
    yield "09-wandb-chart-csv", ("import", "csv", "chart.csv", *chart), says("chart")
    guide = "loss=summary.val_loss,n_params=config.n_params,n_tokens=summary.tokens"
    yield (
        "10-wandb-guide-csv",
        ("import", "csv", "project.csv", "--map", guide, "--out", "g.csv"),
        says(""),
    )
    scores = ("--metric", "acc,none", "--chance", "0.25", "--n-items", "1000")
    onset = says(r"4\.1\d*e\+?0?8")
    yield "11-lm-eval-json", ("emergence", "acc_none.csv", *scores), onset
    yield (
        "11-lm-eval-json",
        ("emergence", "results", "--metric", "acc"),
        says("lm-eval|n_params|4\\."),
    )
    percent = ("--metric", "acc", "--chance", "0.25", "--n-items", "1000")
    yield "12-percent-accuracy", ("emergence", "percent.csv", *percent), says("per cent|%")
    yield "12-percent-accuracy", ("emergence", "fraction.csv", *percent), onset
    yield "25-compare-isoflop", ("compare", "iso.csv", "--laws", "chinchilla,kaplan"), _no_nan
    yield (
        "27-blank-rows",
        ("fit", "isoflop_one_nan.csv", "--law", "isoflop"),
        says("excluded|left out"),
    )
    names = "n_params=parameters,flops=compute_budget,loss=final_loss"
    for file in ("isoflops.json", "isoflops.jsonl"):
        yield "30-cs336-json", ("fit", file, "--law", "isoflop", "--map", names), says(r"\.51")


def _data() -> Iterator[tuple[str, tuple[str, ...], Judge]]:
    """Sources: what `scaling data stats` counts, or a refusal that names what the file is."""

    def stats(section: str, name: str, *more: str) -> tuple[str, ...]:
        paths = f"--config.data.{section}.paths=('{name}',)"
        return ("data", "stats", TINY, f"--config.data.name={section}", paths, *more)

    tokens = says("512|refuse|header|dtype")
    yield "13-llmc-bin", stats("tokens", "train.bin"), _not_said("55,?433", tokens)
    yield "14-npy-header", stats("tokens", "shard_000000.npy"), _not_said("32,?033", tokens)
    wide = _not_said("400,?000", says("uint32|200,?000"))
    yield "15-uint32-as-uint16", stats("tokens", "train.bin"), wide
    yield "16-json-gz", stats("text", "part-0000.json.gz"), says("documents 400")
    yield "17-zst-frames", stats("text", "long28_stream.jsonl.zst"), says("documents|window")
    skip = "--config.data.text.on_bad=skip"
    yield "18-jsonl-null", stats("text", "only_null.jsonl", skip), says("skipped 1")
    field = "--config.data.text.field=meta.content"
    yield "19-nested-field", stats("text", "nested.jsonl", field), says("documents 40")
    yield "19-nested-field", stats("text", "array.json"), says("documents 40")
    yield "20-parquet", stats("text", "shard.parquet"), says("Parquet|documents")


def _param(name: str, value: float, within: float) -> Judge:
    """The fit in fit.json has this value; a refusal is allowed too."""

    def judge(outcome: Outcome) -> str:
        if outcome.status == 2:
            return ""
        found = json.loads(pathlib.Path("fit.json").read_text())["params"][name]["value"]
        return "" if abs(found - value) <= within else f"{name} {found:.4f} for {value}"

    return judge


def _not_ok(outcome: Outcome) -> str:
    return "status ok" if "status ok" in outcome.out else ""


def _no_nan(outcome: Outcome) -> str:
    """NaN is allowed with a sentence about it."""
    said = "warning" in (outcome.out + outcome.err)
    return "NaN without a word" if "nan" in outcome.out.lower() and not said else ""


def _not_said(pattern: str, other: Judge) -> Judge:
    def judge(outcome: Outcome) -> str:
        absent = says(pattern)(outcome)
        return other(outcome) if absent else f"{pattern} is said"

    return judge
