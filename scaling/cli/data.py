"""`scaling data`: what is in a data source, and what a run sees at step K."""

import json
from typing import Any

from scaling.cli.flags import EXAMPLES, load_run_config
from scaling.cli.parser import Parser
from scaling.config import RunConfig
from scaling.errors import UserError, unknown

_USAGE = f"""\
usage: scaling data stats --config=FILE [--json]
       scaling data show  --config=FILE --step=K [--rows=N]

stats   documents, tokens, bytes, hash, entropy rate (nats per token) of the data source; of each
        file its format, and the documents kept, skipped and repeated; warnings that records of
        runs on it will carry
show    the examples that make up step K (from 0): their documents and their text

config:
{EXAMPLES}

examples:
  scaling data stats --config=configs/tiny.py
  scaling data stats --config=configs/tiny.py --config.data.name=markov --json
  scaling data show --config=configs/tiny.py --step 1000 --rows 4"""

_LISTS = {"files": "file", "warnings": "warning"}  # One line for each item.


def data(argv: list[str]) -> int:
    """The verb. Returns the exit status; raises UserError for bad input."""
    if not argv or argv[0] in ("-h", "--help") or {"-h", "--help"} & set(argv[1:]):
        print(_USAGE)
        return 0
    actions = {"stats": _stats, "show": _show}
    if argv[0] not in actions:
        raise unknown("data command", argv[0], actions)
    config, rest = load_run_config(argv[1:])
    actions[argv[0]](config, rest)
    return 0


def printable(text: str) -> str:
    """`text` with everything that is not a visible character or a space written as an escape."""
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text
    )


def _open(config: RunConfig) -> Any:
    from scaling.data.pipeline import open_pipeline

    return open_pipeline(
        config.data,
        batch_size=config.train.batch_size,
        seed=config.seed,
        n_rows_eval=config.eval.n_rows,
    )


def _stats(config: RunConfig, argv: list[str]) -> None:
    parser = Parser("scaling data", add_help=False)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args(argv).json
    pipeline = _open(config)
    stats = {"source": config.data.name, **pipeline.stats()}
    if pipeline.warnings:
        stats["warnings"] = list(pipeline.warnings)
    if as_json:
        print(json.dumps(stats, indent=2))
        return
    validation = stats.pop("validation", {})
    _print_facts(stats)
    for key, value in validation.items():
        _print_facts({key: value}, "validation: ")


def _print_facts(facts: dict[str, Any], label: str = "") -> None:
    for key, value in facts.items():
        for item in value if key in _LISTS else [value]:
            print(f"{label + _LISTS.get(key, key):<16} {_plain(item)}")


def _show(config: RunConfig, argv: list[str]) -> None:
    parser = Parser("scaling data", add_help=False)
    parser.add_argument("--step", type=int, required=True)
    parser.add_argument("--rows", type=int)
    args = parser.parse_args(argv)
    if args.rows is not None and args.rows < 1:
        raise UserError(f"--rows={args.rows} must be 1 or more")
    if args.step < 0:
        raise UserError(f"--step={args.step} is before the first step; steps count from 0")
    for i, example in enumerate(_open(config).examples(args.step)[: args.rows]):
        print(f"step {args.step}, row {i}: row {example.row} of the source, epoch {example.epoch}")
        for place in example.places:
            print(f"  from {printable(place.document)} at token {place.offset}")
        print(f"  {printable(example.text)}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {_plain(item)}" for key, item in value.items() if item != "")
    if isinstance(value, list | tuple):
        return "  ".join(_plain(item) for item in value) or "-"
    if isinstance(value, float):
        return f"{value:.9g}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))
