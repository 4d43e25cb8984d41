"""A fit as JSON and back. The names of the entries are a promise: other programs read them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling.analysis.law import Law
from scaling.analysis.laws import LAWS
from scaling.analysis.objective import get_loss, values_of, z_of
from scaling.analysis.region import Region
from scaling.analysis.result import Basin, Interval, Result
from scaling.doors import reading
from scaling.doors.files import dump
from scaling.doors.schemas import MAYBE
from scaling.errors import UserError

_ENTRY = {"value": MAYBE, "se": MAYBE, "ci95": (None, [MAYBE]), "identified": bool}
_ENTRY |= {"at_bound": bool, "conditional": [str]}
_BASIN = {"objective": reading.NUMBER, "starts": int, "params": {str: reading.NUMBER}}
_MATRIX = [[MAYBE]]
_ENGINE = {"z": [MAYBE], "box": _MATRIX, "cov": _MATRIX, "dof": int}
_ENGINE |= {"residual_quantiles": [MAYBE]}
_REGION = {"draws": _MATRIX, "ridge": _MATRIX, "depth": [reading.NUMBER], "room": [reading.NUMBER]}
_ENGINE |= {name: (None, shape) for name, shape in _REGION.items()}
_SHAPE = {
    "law": str,
    "status": str,
    "remedy": str,
    "advice": str,
    "n_points": int,
    "objective": MAYBE,
    "params": {str: _ENTRY},
    "derived": {str: _ENTRY},
    "starts": {str: reading.NUMBER},
    "basins": [_BASIN],
    "holdout": (None, {str: MAYBE}),
    "bootstrap": (None, dict),
    "warnings": [str],
    "loss": str,
    "delta": reading.NUMBER,
    "r2": MAYBE,
    "condition": MAYBE,
    "interval": str,
    "seed": int,
    "data": {"hash": str, "ranges": {str: [reading.NUMBER]}},
    "versions": {str: str},
    "engine": _ENGINE,
}


def dumps(fit: Result) -> str:
    """The fit as JSON text; what is not finite becomes null."""
    return dump(_plain(_payload(fit)))


def loads(text: str, where: str) -> dict[str, Any]:
    """The fields of the Result that `dumps` was given, by name, but for those that only live with
    the data. Raises UserError, naming `where` and the field, for other text."""
    data = reading.loads(text, where, _SHAPE)
    _check(data, LAWS.load(data["law"]), where)
    return _fields(data)


def _check(data: Mapping[str, Any], law: Law, where: str) -> None:
    """Raises UserError for what has the right types and yet is no fit of `law`."""
    names, engine, size = [p.name for p in law.params], data["engine"], len(law.params)
    tables = [data["params"], *(basin["params"] for basin in data["basins"])]
    if any(sorted(table) != sorted(names) for table in tables):
        raise UserError(f"{where}: params and basins must be of {', '.join(names)}, as {law.name}")
    ends = [e["ci95"] for e in (*data["params"].values(), *data["derived"].values())]
    pairs = [*(pair for pair in ends if pair is not None), *data["data"]["ranges"].values()]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(f"{where}: every ci95 and every range must be two numbers")
    lengths = {"z": (size,), "box": (2, size), "cov": (size, size)}
    parts = [engine[name] for name in _REGION]
    if any(part is None for part in parts) and any(part is not None for part in parts):
        raise UserError(f"{where}: engine needs all of {', '.join(_REGION)}, or none")
    if engine["draws"] is not None:
        m = len(engine["ridge"])
        lengths |= {"draws": (max(1, len(engine["draws"])), size), "ridge": (m, size)}
        lengths |= {"depth": (m,), "room": (m,)}
    for name, (rows, *rest) in lengths.items():
        value = engine[name]
        if len(value) != rows or any(len(row) != rest[0] for row in value if rest):
            raise UserError(f"{where}: engine.{name} must be {' x '.join(map(str, (rows, *rest)))} "
                            f"numbers for {law.name}")  # fmt: skip
    for name in ("n_points", "delta"):
        if data[name] < 0:
            raise UserError(f"{where}: {name}={data[name]} must not be below zero")
    if engine["dof"] < 0 or not engine["residual_quantiles"]:
        raise UserError(f"{where}: it needs engine.dof >= 0 and residual quantiles")
    if data["status"] != "failed" and (not data["basins"] or None in engine["z"]):
        raise UserError(f"{where}: a fit that is {data['status']} needs a basin and engine.z")
    if data["seed"] < 0:
        raise UserError(f"{where}: seed={data['seed']} must not be below zero")
    get_loss(data["loss"])


def _payload(fit: Result) -> dict[str, Any]:
    def entry(p: Interval) -> dict[str, Any]:
        return {
            "value": p.value,
            "se": p.se,
            "ci95": None if p.ci95 is None else list(p.ci95),
            "identified": p.identified,
            "at_bound": p.at_bound,
            "conditional": list(p.conditional),
        }

    def basin(b: Basin) -> dict[str, Any]:
        values = {k: float(v) for k, v in values_of(fit.law, b.z).items()}
        return {"objective": b.objective, "starts": b.starts, "params": values}

    region = fit.region
    return {
        "law": fit.law.name,
        "formula": fit.law.formula,
        "status": fit.status,
        "remedy": fit.remedy,
        "advice": fit.advice,
        "n_points": fit.n_points,
        "objective": fit.objective,
        "params": {name: entry(p) for name, p in fit.params.items()},
        "derived": {name: entry(p) for name, p in fit.derived.items()},
        "starts": fit.starts,
        "basins": [basin(b) for b in fit.basins],
        "holdout": fit.holdout,
        "bootstrap": fit.bootstrap,
        "warnings": fit.warnings,
        "loss": fit.loss,
        "delta": fit.delta,
        "r2": fit.r2,
        "condition": fit.condition,
        "interval": fit.interval,
        "seed": fit.seed,
        "data": {"hash": fit.data_hash, "ranges": fit.ranges},
        "versions": fit.versions,
        "engine": {
            "z": fit.z,
            "box": fit.box,
            "cov": fit.cov,
            "dof": fit.dof,
            "draws": None if region is None else region.draws,
            "ridge": None if region is None else region.ridge,
            "depth": None if region is None else region.depth,
            "room": None if region is None else region.room,
            "residual_quantiles": fit.residual_quantiles,
        },
    }


def _plain(value: Any) -> Any:
    """JSON-ready: arrays to lists, and what is not finite to null."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    def number(v) -> float:
        return float("nan") if v is None else float(v)

    def interval(e) -> Interval:
        ends = e["ci95"]
        if ends is not None:
            low, high = ends
            ends = (-np.inf if low is None else low, np.inf if high is None else high)
        marks = (e["identified"], e["at_bound"], tuple(e["conditional"]))
        return Interval(number(e["value"]), number(e["se"]), ends, *marks)

    law, engine = LAWS.load(data["law"]), data["engine"]
    arrays = {k: None if v is None else np.array(v, np.float64) for k, v in engine.items()}
    return dict(
        law=law,
        params={k: interval(v) for k, v in data["params"].items()},
        derived={k: interval(v) for k, v in data["derived"].items()},
        basins=[Basin(b["objective"], z_of(law, b["params"]), b["starts"]) for b in data["basins"]],
        objective=number(data["objective"]),
        r2=number(data["r2"]),
        condition=number(data["condition"]),
        z=arrays["z"],
        box=arrays["box"],
        cov=arrays["cov"],
        dof=int(engine["dof"]),
        region=_region(arrays),
        draws=arrays["draws"] if data["bootstrap"] else None,
        residual_quantiles=arrays["residual_quantiles"],
        ranges={k: tuple(v) for k, v in data["data"]["ranges"].items()},
        data_hash=data["data"]["hash"],
        **{
            k: data[k]
            for k in (
                *(
                    "status",
                    "remedy",
                    "advice",
                    "n_points",
                    "starts",
                    "warnings",
                    "loss",
                    "delta",
                    "seed",
                ),
                *("versions", "interval", "holdout", "bootstrap"),
            )
        },
    )


def _region(arrays: Mapping[str, Any]) -> Region | None:
    if arrays["draws"] is None:
        return None
    draws = arrays["draws"]
    ridge = arrays["ridge"].reshape(-1, draws.shape[1])
    return Region(draws, ridge, arrays["depth"], arrays["room"])
