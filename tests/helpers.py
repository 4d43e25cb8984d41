"""What several test files need: small configs, small batches."""

import dataclasses

import jax
import numpy as np

from scaling.config import ModelConfig
from scaling.models.transformer import TransformerOptions
from scaling.resolve import resolve
from scaling.sharding import parse_mesh

VOCAB = 32
OWN = {field.name for field in dataclasses.fields(TransformerOptions)}


def transformer(**fields):
    """A ModelConfig from its fields and those of TransformerOptions, side by side."""
    own = {name: fields.pop(name) for name in OWN & fields.keys()}
    return ModelConfig(**fields, options=TransformerOptions(**own))


def varied(model, **fields):
    """`model` with other values of its fields, or of those of TransformerOptions."""
    own = {name: fields.pop(name) for name in OWN & fields.keys()}
    options = dataclasses.replace(model.options, **own)
    return dataclasses.replace(model, **fields, options=options)


def model_section(**fields):
    """A loose model section; fields of TransformerOptions go into their own."""
    own = {name: fields.pop(name) for name in OWN & fields.keys()}
    if own and fields.get("name", "transformer") == "transformer":
        fields["transformer"] = own
    return fields


def small_config(**sections):
    """A RunConfig of a model that compiles in about a second; sections override fields."""
    loose = {
        "model": {"depth": 2, "width": 32, "n_heads": 8, "layers": "scan"},
        "data": {"name": "markov", "seq_len": 16},
        "train": {"batch_size": 16, "steps_per_dispatch": 4},
        "eval": {"batch_size": 8, "n_rows": 8},
    }
    for name, section in sections.items():
        if isinstance(section, dict):
            loose[name] = loose.get(name, {}) | section
        else:
            loose[name] = section
    return resolve(loose | {"model": model_section(**loose["model"])})


def random_batch(config, *lead, seed=0):
    """Numpy arrays of a training batch of random tokens, every fourth target without weight."""
    shape = (*lead, config.train.batch_size, config.data.seq_len + 1)
    tokens = np.random.default_rng(seed).integers(0, VOCAB, shape).astype(np.int32)
    weights = np.ones(shape, np.float32)[..., 1:]
    weights[..., ::4] = 0.0
    return {"tokens": tokens[..., :-1], "targets": tokens[..., 1:], "weights": weights}


def factorisations(n=8):
    """Every mesh shape over data, fsdp, tensor with `n` devices."""
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    return [
        parse_mesh(f"data:{d},fsdp:{f},tensor:{n // d // f}")
        for d in divisors
        for f in divisors
        if n % (d * f) == 0
    ]


def relative_error(a, b):
    """Largest difference over the largest entry, leaf by leaf; the greatest of all leaves."""
    errors = jax.tree.map(
        lambda x, y: (
            np.max(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)))
            / max(1e-30, np.max(np.abs(np.asarray(y, np.float64))))
        ),
        a,
        b,
    )
    return max(jax.tree.leaves(errors))


def probe_result(label):
    """A probe's result as it stands in a record: 17 of 100 items right."""
    tally = {"n": 100, "sum": 17.0, "sum_sq": 17.0}
    group = {
        "keys": {"condition": "novel", "shots": 2},
        "n": 100,
        "metrics": {"accuracy": tally},
        "chance": 0.125,
        "ceiling": 0.5,
    }
    return {
        "label": label,
        "probe": label,
        "config": {"name": label},
        "step": 2,
        "n_tokens": 4096,
        "groups": [group],
    }
