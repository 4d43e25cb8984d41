"""One vocabulary of how runs end, for fits and for imports."""

import pytest

from scaling.analysis.tables.read import as_table
from scaling.analysis.tables.status import WORDS, canonical
from scaling.cli import main
from scaling.errors import UserError
from scaling.interop.columns import to_records
from scaling.run.record import STATUSES
from tests.analysis.synthetic import sweep


def table_with(last, name="status", rest="complete"):
    table = sweep()
    return table.assign(**{name: [rest] * (len(table) - 1) + [last]})


def test_our_words_are_among_everybodys():
    assert set(WORDS.values()) <= set(STATUSES)
    assert {status: canonical(status) for status in STATUSES} == dict(
        zip(STATUSES, STATUSES, strict=True)
    )


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("style", [str, str.upper, str.title, " {} ".format])
def test_every_word_is_read_alike_by_fit_and_import(word, style):
    table = table_with(style(word.replace(" ", "_")), rest="finished")
    kept, _ = as_table(table)
    records, _ = to_records(table, {}, source="t")
    assert len(kept) == len(table) - (WORDS[word] != "complete")
    assert records["status"].iloc[-1] == WORDS[word]


@pytest.mark.parametrize("word", ["CANCELLED by 1000", "CANCELLED+", "OUT_OF_MEMORY", "NODE_FAIL"])
def test_words_of_slurm(word):
    assert canonical(word) in ("interrupted", "failed")


@pytest.mark.parametrize("name", ["State", "state", "run_status", "JobState", "Run State"])
def test_a_state_counts_by_its_words(name):
    kept, notices = as_table(table_with("crashed", name, "finished"))
    assert len(kept) == 35
    assert f"1 of 36 runs left out (column {name!r}): 1 crashed" in notices[0]
    kept, notices = as_table(table_with("Ohio", name, "Utah"))
    assert len(kept) == 36
    assert notices == []


def test_an_unknown_word_is_refused_with_the_nearest_and_a_way_out(tmp_path, capsys):
    with pytest.raises(
        UserError, match="'finishd' in column 'status', row 36; did you mean 'finished'"
    ):
        as_table(table_with("finishd"))
    path = tmp_path / "t.csv"
    table_with("TERMINATED", rest="TERMINATED").to_csv(path, index=False)
    argv = ["fit", str(path), "--starts", "5", "--no-profile"]
    assert main(argv) == 2
    said = capsys.readouterr().err
    way_out = said[said.index("--where") :].split()
    assert main([*argv, *way_out]) == 0
    assert "36 points" in capsys.readouterr().out


def test_numbers_are_no_words():
    table = sweep().assign(status=[0] * 35 + [1])
    with pytest.raises(UserError, match="--where status=0"):
        as_table(table)
    assert len(as_table(table, unfinished=True)[0]) == 36
    kept, notices = as_table(sweep().assign(status=0))
    assert len(kept) == 36
    assert "holds the number 0 only" in notices[0]


def test_an_empty_cell_is_not_complete():
    kept, notices = as_table(table_with(None))
    assert len(kept) == 35
    assert "1 without a status" in notices[0]
    assert len(as_table(sweep().assign(status=None))[0]) == 36
