"""Frozen dataclasses of a run. `scaling.resolve` is the boundary that fills and checks them.

Defaults live here (and in the option dataclasses of registered kinds), nowhere else. A section
with a `name` field picks an entry of a registry; that entry's own options sit in a sub-section
of the same name (`optim.name = "muon"`, `optim.muon.momentum = 0.95`).

Only what changes the numbers of a run is in here. Paths, mesh, checkpoint cadence and logging are
arguments of the command (`scaling.cli.train`) and do not enter the run_id.
"""

import dataclasses
from typing import Any, ClassVar

from scaling.durations import Duration
from scaling.registry import Registry

# One line per kind; the module is imported when the name is used.
MODELS = Registry(
    "model",
    {
        "transformer": "scaling.models.transformer:TransformerOptions",
        "lstm": "scaling.models.lstm:LSTMOptions",
    },
)
OBJECTIVES = Registry(
    "objective",
    {
        "lm": "scaling.objectives.lm:LanguageModel",
        "masked": "scaling.objectives.masked:Masked",
        "span": "scaling.objectives.span:Span",
        "scheduled_sampling": "scaling.objectives.scheduled_sampling:ScheduledSampling",
    },
)
OPTIMIZERS = Registry(
    "optimizer",
    {
        "adamw": "scaling.optim.adamw:AdamW",
        "sgd": "scaling.optim.sgd:SGD",
        "adafactor": "scaling.optim.adafactor:Adafactor",
        "lion": "scaling.optim.lion:Lion",
        "muon": "scaling.optim.muon:Muon",
    },
)
SCHEDULES = Registry(
    "schedule",
    {
        "constant": "scaling.optim.schedules:Constant",
        "linear": "scaling.optim.schedules:Linear",
        "cosine": "scaling.optim.schedules:Cosine",
        "inverse_sqrt": "scaling.optim.schedules:InverseSqrt",
        "wsd": "scaling.optim.schedules:WSD",
    },
)
SOURCES = Registry(
    "data source",
    {
        "stdlib": "scaling.data.stdlib:Stdlib",
        "text": "scaling.data.text:Text",
        "tokens": "scaling.data.tokens:Tokens",
        "markov": "scaling.data.worlds.markov:Markov",
        "hmm": "scaling.data.worlds.hmm:HMM",
        "cipher": "scaling.data.worlds.cipher:Cipher",
        "repeats": "scaling.data.worlds.repeats:Repeats",
        "chains": "scaling.data.worlds.chains:Chains",
        "arithmetic": "scaling.data.worlds.arithmetic:Arithmetic",
    },
)
PROBES = Registry(
    "probe",
    {
        "cipher": "scaling.probes.cipher:CipherProbe",
        "repeats": "scaling.probes.repeats:RepeatsProbe",
        "chains": "scaling.probes.chains:ChainsProbe",
        "arithmetic": "scaling.probes.arithmetic:ArithmeticProbe",
        "task": "scaling.probes.task:TaskProbe",
    },
)


MOST_SEED = 2**32 - 1  # jax would take another seed for any above, silently


def option(default: Any, doc: str, *, low=None, high=None, choices=None) -> Any:
    """A field with its documentation and the inclusive range (or set) of values that make sense."""
    meta = {"doc": doc, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=meta)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A section whose `name` picks a registry entry; `options` are that entry's own fields.

    An entry is a frozen dataclass, its fields the options; or another object with such a
    dataclass as its attribute `Options`; or has no options at all.
    """

    registry: ClassVar[Registry]
    name: str = ""
    options: Any = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        if self.options is None:
            cls = options_class(self.registry, self.name)
            object.__setattr__(self, "options", cls() if cls else None)


def options_class(registry: Registry, name: str) -> type | None:
    """The dataclass of an entry's options, or None. Raises UserError for an unknown name."""
    entry = registry.load(name)
    return entry if dataclasses.is_dataclass(entry) else getattr(entry, "Options", None)


@dataclasses.dataclass(frozen=True)
class ModelConfig(Kind):
    """What every model has. Sizes are in units, not bytes; the rest is the architecture's own."""

    registry: ClassVar[Registry] = MODELS
    name: str = "transformer"
    depth: int = option(2, "layers", low=1, high=10_000)
    width: int = option(64, "size of a position's vector", low=1, high=1_000_000)
    logit_softcap: float = option(0.0, "cap c: logits -> c tanh(logits / c); 0 is off", low=0.0)
    tied: bool = option(False, "share the embedding with the head")
    dtype: str = option("float32", "compute type", choices=("float32", "bfloat16"))
    parametrization: str = option("sp", "standard or maximal update", choices=("sp", "mup"))
    base_width: int = option(64, "muP: the width at which the learning rate was tuned", low=1)
    base_depth: int = option(2, "muP: the depth at which the learning rate was tuned", low=1)
    depth_alpha: float = option(
        0.5, "muP: branches fall as depth to this power; 1 is CompleteP", low=0.5, high=1.0
    )


@dataclasses.dataclass(frozen=True)
class DataConfig(Kind):
    """Where tokens come from and how they become rows of `seq_len` predictions."""

    registry: ClassVar[Registry] = SOURCES
    name: str = "stdlib"
    seq_len: int = option(128, "predictions per row", low=1, high=10_000_000)
    documents: str = option(
        "stream",
        "rows run across documents, or attention stops at boundaries",
        choices=("stream", "masked"),
    )
    val_fraction: float = option(0.05, "share of documents held out", low=0.0, high=0.9)
    seed: int = option(0, "seed of the split and of synthetic sources", low=0, high=MOST_SEED)


@dataclasses.dataclass(frozen=True)
class ScheduleConfig(Kind):
    """Learning rate over steps, as a multiple of the peak."""

    registry: ClassVar[Registry] = SCHEDULES
    name: str = "cosine"
    warmup: Duration = option(Duration(2, "%"), "linear warm-up")
    final: float = option(0.1, "last learning rate over peak", low=0.0, high=1.0)


@dataclasses.dataclass(frozen=True)
class OptimConfig(Kind):
    registry: ClassVar[Registry] = OPTIMIZERS
    name: str = "adamw"
    peak_lr: float = option(3e-3, "peak learning rate", low=0.0, high=1e4)
    weight_decay: float = option(0.0, "decoupled decay of matrices", low=0.0, high=1e3)
    decay_embeddings: bool = option(False, "decay the embedding and position tables too")
    clip_norm: float = option(1.0, "clip gradients to this global norm; 0 is off", low=0.0)
    skip_nonfinite: bool = option(
        False, "skip updates whose gradient is not finite, and count them"
    )
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig(Kind):
    """What is learned from the rows of a source; the options are the objective's own."""

    registry: ClassVar[Registry] = OBJECTIVES
    name: str = "lm"


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    duration: Duration = option(Duration(100, "steps"), "length of the run")
    batch_size: int = option(32, "rows per optimiser step", low=1, high=10_000_000)
    n_microbatches: int = option(1, "gradient accumulation steps", low=1)
    steps_per_dispatch: int = option(20, "steps in one device program call", low=1, high=10_000)
    max_loss: float = option(0.0, "above this loss the run has diverged; 0 is off", low=0.0)
    spike_factor: float = option(
        0.0, "loss above this multiple of its running mean has diverged; 0 is off", low=0.0
    )


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    every: Duration = option(Duration(25, "%"), "distance between evaluations")
    n_rows: int = option(
        256, "held-out rows, the same for every run on a source", low=1, high=1_000_000
    )
    batch_size: int = option(64, "rows per evaluation batch", low=1)


@dataclasses.dataclass(frozen=True)
class ProbeConfig(Kind):
    """A question asked of the model while it trains and at the end; it changes no weight."""

    registry: ClassVar[Registry] = PROBES
    name: str = "cipher"
    every: Duration = option(Duration(100, "%"), "distance between probings")
    seed: int = option(0, "seed of the probe's items", low=0, high=MOST_SEED)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that determines the numbers of one run; `name` and `probes` only look at it."""

    name: str = option("run", "label; letters, digits, . _ - only")
    seed: int = option(0, "seed of initial parameters and data order", low=0, high=MOST_SEED)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    # By label. Not hashed: dicts cannot be, and it is no part of the run's identity.
    probes: dict[str, ProbeConfig] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def tokens_per_step(self) -> int:
        """Predictions of one optimiser step, where every row is full."""
        return self.train.batch_size * self.objective.options.predictions(self.data)
