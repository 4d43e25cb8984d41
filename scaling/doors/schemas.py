"""What readers need of files that more than one floor reads; `scaling.doors.reading` checks it."""

from scaling.doors.reading import NUMBER

MAYBE = (*NUMBER, None)
_WORD = (str, None)

# config.json and status.json of a run directory
CONFIG = {"run_id": str, "config": dict}
STATUS = {"state": str, "step?": (int, None), "host?": _WORD, "error?": _WORD}

# What a table needs of record.json; the whole of it says run/record.schema.json.
FACTS = {
    "run_id": str,
    "status": str,
    "n_params": int,
    "n_tokens": int,
    "n_steps": int,
    "flops": NUMBER,
    "loss": MAYBE,
    "params": {str: int},
    "seeds": {str: int},
    "config": dict,
}

# probes/LABEL/step_*.json, and an entry of "probes" in a record
_TALLY = {"n": int, "sum": MAYBE, "sum_sq": MAYBE}
_GROUP = {
    "keys": {str: (str, *NUMBER, bool, None)},
    "n": int,
    "metrics": {str: _TALLY},
    "chance": MAYBE,
    "ceiling": MAYBE,
    "ceiling_of?": str,
}
PROBE = {
    "label": str,
    "probe": str,
    "config?": dict,
    "step": int,
    "n_tokens": int,
    "groups": [_GROUP],
}

# sweep.json
_PARENT = {"run_id": str, "step": int}
_RUN = {
    "run_id": str,
    "name": str,
    "group": str,
    "also_in": [str],
    "axes": dict,
    "parent": (None, _PARENT),
    "keep_steps": [int],
    "cost": {str: NUMBER},
    "config": dict,
}
_LEARN = {"law": _WORD, "fit_where": [str], "holdout": _WORD, "title": str}
SWEEP = {
    "schema_version": int,
    "name": str,
    "created": str,
    "code": dict,
    "n_duplicates": int,
    "groups": {str: _LEARN},
    "runs": [_RUN],
}

# What a table needs of sweep.json
PLACES = {"runs": [{"run_id": str, "group": str, "also_in?": [str], "axes?": dict}]}

# OUT/launch/settings.json
SETTINGS = {
    "cwd": str,
    "mesh?": _WORD,
    "checkpoint_every?": _WORD,
    "wandb?": _WORD,
    "cache_dir?": _WORD,
}

# OUT/code/scaling-snapshot.json
SNAPSHOT = {
    "source_hash": str,
    "commit": _WORD,
    "dirty": (bool, None),
    "diff_hash": _WORD,
    "diff": _WORD,
    "left_out": [str],
}
