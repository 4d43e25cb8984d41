"""A `Fit` as JSON and back. The names of the entries are a promise: other programs read them."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling.analysis.laws import LAWS
from scaling.analysis.objective import values_of, z_of
from scaling.analysis.region import Region
from scaling.analysis.result import Basin, Fit, Interval


def dumps(fit: Fit) -> str:
    """The fit as JSON text; what is not finite becomes null."""
    return json.dumps(_plain(_payload(fit)), indent=1, allow_nan=False)


def loads(text: str) -> Fit:
    """The inverse of `dumps`. Raises KeyError, TypeError or JSONDecodeError for other text."""
    return _from_payload(json.loads(text))


def _payload(fit: Fit) -> dict[str, Any]:
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


def _from_payload(data: Mapping[str, Any]) -> Fit:
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
    return Fit(
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
