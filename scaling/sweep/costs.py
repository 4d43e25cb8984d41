"""What a run costs, in closed form: parameters, steps, tokens and FLOPs, once per shape."""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

from scaling.config import DataConfig, ModelConfig, ObjectiveConfig, RunConfig
from scaling.cost import accounting
from scaling.durations import Rates
from scaling.optim import schedules


class DataFacts(NamedTuple):
    """Of source and objective. vocab_size: of the model. unique_tokens: predictions of one epoch,
    None when endless."""

    vocab_size: int
    unique_tokens: int | None


@dataclasses.dataclass(frozen=True)
class ModelCost:
    """Of a model on a vocabulary and a row length: parameters by group, FLOPs per token by name."""

    params: dict[str, int]
    flops_per_token: dict[str, float]


class Pricer:
    """Prices run configs. Data sources are opened once each, or not at all with `vocab_size`."""

    def __init__(self, vocab_size: int | None = None, cache_dir: pathlib.Path | None = None):
        self._vocab_size, self._cache_dir = vocab_size, cache_dir
        self._facts = functools.cache(self._open)
        self._model_cost = functools.cache(_model_cost)

    def model_cost(self, config: RunConfig) -> ModelCost:
        """Raises UserError when the data source cannot be opened."""
        vocab_size = self.data(config).vocab_size
        # All of the data that a cost depends on.
        rows = DataConfig(seq_len=config.data.seq_len, documents=config.data.documents)
        return self._model_cost(config.model, config.objective, rows, vocab_size)

    def rates(self, config: RunConfig) -> Rates:
        """What turns durations of this run into steps; as `scaling.training.prepare` finds it."""
        shape = self.model_cost(config)
        return Rates(
            tokens_per_step=config.tokens_per_step,
            unique_tokens=self.data(config).unique_tokens,
            n_params=shape.params[accounting.DEFAULT_N],
            flops_per_token=shape.flops_per_token[accounting.DEFAULT_CONVENTION],
        )

    def cost(self, config: RunConfig) -> dict[str, Any]:
        """{"n_params", "n_tokens", "n_steps", "flops", "flops_own"}, a run without parent.

        Raises UserError for a length that does not fit into the run: to find that out when it
        starts is too late."""
        rates = self.rates(config)
        n_steps = config.train.duration.steps(rates, field="train.duration")
        schedules.check(config.optim, n_steps, rates)
        config.eval.every.steps(rates, n_steps, field="eval.every")
        flops = rates.flops_per_token * n_steps * rates.tokens_per_step
        return {
            "n_params": rates.n_params,
            "n_tokens": n_steps * rates.tokens_per_step,
            "n_steps": n_steps,
            "flops": flops,
            "flops_own": flops,
        }

    def data(self, config: RunConfig) -> DataFacts:
        """Raises UserError when the data source cannot be opened."""
        return self._facts(config.data, config.objective)

    def _open(self, data: DataConfig, objective: ObjectiveConfig) -> DataFacts:
        if self._vocab_size is not None:
            return DataFacts(self._vocab_size + objective.options.extra_ids(data), None)
        from scaling.data.cache import cache_root
        from scaling.data.pipeline import open_pipeline

        # Neither batch size nor seed change what is asked for here.
        pipeline = open_pipeline(
            data,
            objective=objective,
            batch_size=1,
            seed=0,
            n_rows_eval=1,
            cache_dir=cache_root(self._cache_dir),
        )
        return DataFacts(pipeline.vocab_size, pipeline.unique_tokens)


def _model_cost(
    model: ModelConfig, objective: ObjectiveConfig, data: DataConfig, vocab_size: int
) -> ModelCost:
    config = RunConfig(model=model, objective=objective, data=data)
    costs = {
        name: accounting.prediction_cost(config, name, vocab_size).training
        for name in accounting.CLOSED_FORMS
    }
    return ModelCost(accounting.param_counts(model, vocab_size, data.seq_len), costs)
