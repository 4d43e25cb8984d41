"""`scaling show`: the record of a run, for people or as JSON."""

import pathlib
from typing import Any

from scaling.cli.parser import Parser
from scaling.doors.files import dump
from scaling.doors.reading import Missing
from scaling.doors.terminal import printable
from scaling.errors import UserError
from scaling.run.metrics import FILE, losses, saved_steps
from scaling.run.record import read_config, read_metrics, read_record, read_status

_EPILOG = """\
examples:
  scaling show runs/tiny            what was trained, on what, with which result
  scaling show runs/tiny --json     the record as it is, for jq
  scaling show runs/tiny runs/wide  one after the other"""


def show(argv: list[str]) -> int:
    """Prints the record of each directory, or how far the run is when there is none yet."""
    parser = Parser(
        prog="scaling show",
        description="Print the record of a run directory.",
        epilog=_EPILOG,
    )
    parser.add_argument("workdirs", nargs="+", metavar="DIR", help="a run directory")
    parser.add_argument("--json", action="store_true", help="print record.json as it is")
    arguments = parser.parse_args(argv)
    for workdir in arguments.workdirs:
        try:
            record = read_record(workdir)
        except Missing:
            if arguments.json:
                raise
            _print_unfinished(workdir)
        else:
            if arguments.json:
                print(dump(record))
            else:
                _print_record(record)
                _print_losses(workdir, record["n_steps"], record["warnings"])
    return 0


def _print_losses(workdir: str, n_steps: int, said: list[str]) -> None:
    """Rows that are gone from metrics.jsonl, whenever that happened."""
    for text in losses(pathlib.Path(workdir) / FILE, n_steps):
        if text not in said:
            _print_line(f"warning: {text}")


def _print_record(record: dict) -> None:
    title = f"{record['name']}  {record['run_id']}  {record['status']}"
    _print_table(title, _summary(record))
    if record["evals"]:
        _print_grid("evaluation", record["evals"])
    if record["probes"]:
        _print_grid("probes", _probe_rows(record["probes"]))
    for warning in record["warnings"]:
        _print_line(f"warning: {warning}")


def _probe_rows(probes: dict[str, dict]) -> dict[str, dict]:
    """One row a group of items: means of every metric, chance and ceiling."""
    rows = {}
    for label, probe in probes.items():
        for group in probe["groups"]:
            means = {
                name: None if tally["sum"] is None else tally["sum"] / tally["n"]
                for name, tally in group["metrics"].items()
            }
            facts = {"items": group["n"], "chance": group["chance"], "ceiling": group["ceiling"]}
            rows[f"{label} {_settings(group['keys'])}"] = facts | means
    return rows


def _print_unfinished(workdir: str) -> None:
    """A run without a record: its config must be there, the rest may be."""
    config = read_config(workdir)
    rows = [("config", _settings(config["config"]))]
    for name, reader in (("status", read_status), ("last metrics", _last_row)):
        try:
            found = reader(workdir)
        except UserError:
            continue
        rows += [(f"{name}: {key}", value) for key, value in found.items() if value is not None]
    _print_table(f"{config['config'].get('name', '')}  {config['run_id']}  no record yet", rows)
    _print_losses(workdir, max(saved_steps(workdir), default=0), [])


def _last_row(workdir: str) -> dict:
    rows = read_metrics(workdir)
    return {k: v for k, v in rows[-1].items() if not isinstance(v, list)} if rows else {}


def _summary(record: dict) -> list[tuple[str, Any]]:
    hardware, code = record["hardware"], record["code"]
    params = ", ".join(f"{k} {v:,}" for k, v in record["params"].items() if v)
    flops = ", ".join(f"{k} {_number(v)}" for k, v in record["flops_by_convention"].items())
    rows = [
        ("loss", f"{_number(record['loss'])} nats per token"),
        ("loss, smoothed training", _number(record["loss_smoothed"])),
        ("parameters N", f"{record['n_params']:,}  ({params})"),
        ("tokens D", f"{record['n_tokens']:,} in {record['n_steps']:,} steps"),
        ("FLOPs C", f"{_number(record['flops'])}  ({flops})"),
        ("config", _settings(record["config"])),
        ("seeds", _settings(record["seeds"])),
        ("data", _settings(record["data"])),
        (
            "hardware",
            f"{hardware['n_devices']} x {hardware['device_kind']}; {hardware['host_cpu']}",
        ),
        ("time", _times(record)),
        ("attempts", record["attempts"]),
        ("updates skipped", record["n_skipped_updates"]),
        ("code", f"{code['commit'] or code['source_hash']}{' (modified)' * bool(code['dirty'])}"),
        ("versions", ", ".join(f"{k} {v}" for k, v in record["versions"].items() if v)),
        ("created, finished", f"{record['created']}, {record['finished']}"),
    ]
    for key in ("divergence", "error", "parent"):
        if record.get(key):
            value = record[key]
            rows.append((key, _settings(value) if isinstance(value, dict) else value))
    return rows


def _times(record: dict) -> str:
    split = ", ".join(f"{k} {v:.1f}" for k, v in record["time_s"].items())
    return f"{record['wall_time_s']:.1f} s  ({split})"


def _settings(config: dict, prefix: str = "") -> str:
    """section.key=value of everything, on one line that the terminal wraps."""
    parts = []
    for key, value in config.items():
        if isinstance(value, dict):
            parts.append(_settings(value, f"{prefix}{key}."))
        elif value is not None:
            parts.append(f"{prefix}{key}={value}")
    return " ".join(parts)


def _number(value: Any) -> str:
    if value is None:
        return "not finite or unknown"
    return f"{value:.5g}" if isinstance(value, float) or abs(value) > 10**6 else f"{value:,}"


def _print_table(title: str, rows: list[tuple[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row(Text(printable(key)), Text(printable(value)))
    _console().print(table)


def _print_grid(title: str, sets: dict[str, dict]) -> None:
    """One row a set, one column a scalar; curves stay in the record."""
    from rich.table import Table
    from rich.text import Text

    columns = list(
        dict.fromkeys(k for v in sets.values() for k in v if not isinstance(v[k], list | dict))
    )
    table = Table(title=Text(title), title_justify="left")
    for column in ("", *columns):
        table.add_column(Text(printable(column)), overflow="fold")
    for name, values in sets.items():
        cells = [values.get(column, "") for column in columns]
        shown = [_number(c) if not isinstance(c, str | bool) else str(c) for c in cells]
        table.add_row(Text(printable(name)), *(Text(printable(c)) for c in shown))
    _console().print(table)


def _print_line(text: str) -> None:
    from rich.text import Text

    _console().print(Text(printable(text)))


def _console() -> Any:
    from rich.console import Console

    return Console(soft_wrap=False)
