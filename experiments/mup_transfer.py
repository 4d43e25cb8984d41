"""Does the best learning rate stay put when the model grows?

Hypothesis (Yang et al. 2022, arXiv 2203.03466, figure 1): under the standard parametrisation the
best learning rate of AdamW falls like 1 / width; under muP it does not move. Over depth the same
should hold with the 1 / sqrt(depth) rule (Yang et al. 2023, arXiv 2310.02244).

Verdict (200 steps of 1,024 tokens of stdlib, constant rate). Width: confirmed. Best at 32, 64, 128
under SP 2^-6.0, 2^-7.4, 2^-8.5 (2^-8 and 2^-9 tie), under muP 2^-6.0, 2^-6.4, 2^-6.3; muP's best
loss at 128 is 1.985 nats, SP's 1.993. Depth: not confirmed at this size. From 2 to 8 layers SP's
best rate hardly moves (2^-6.0 to 2^-6.2) and muP's rises (2^-6.0 to 2^-5.2): the rule is too
cautious for a short run of a pre-norm transformer, yet muP's best loss is lower (2.098, SP 2.138).
With depth_alpha 1 (CompleteP; Dey et al. 2025, arXiv 2505.01618): confirmed. muP's best rate stays
at 2^-6.0, 2^-5.9, 2^-5.9 for 2, 4, 8 layers, with 2.170, 2.132, 2.092 nats (SP 2.138 at 8 layers).

Method: a grid of learning rates in factors of two at several sizes, each run on the same fresh
batches; the loss is the mean over the last tenth of the steps. One compiled program per size serves
the whole grid, since learning rates are inputs.

    python -m experiments.mup_transfer                       # width 32 to 128, AdamW, stdlib bytes
    python -m experiments.mup_transfer --optimizer muon --lo -9 --hi -3
    python -m experiments.mup_transfer --axis depth --sizes 2,4,8
    python -m experiments.mup_transfer --axis depth --depth-alpha 1           # CompleteP

It prints by how many grid steps the optimum moves between the smallest and the largest size.
"""

import argparse
import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from scaling import sharding
from scaling.config import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
)
from scaling.core.build import make_program
from scaling.core.step import make_train_steps
from scaling.data.pipeline import open_pipeline
from scaling.durations import Duration, Rates
from scaling.models.transformer import TransformerOptions
from scaling.optim.schedules import learning_rates

BASE_WIDTH, BASE_DEPTH = 32, 2


@dataclasses.dataclass(frozen=True)
class Study:
    """What is held fixed. `lrs` are log2 of the peak learning rates."""

    lrs: tuple[int, ...] = tuple(range(-10, -3))
    optimizer: str = "adamw"
    source: str = "stdlib"
    n_steps: int = 200
    batch_size: int = 16
    seq_len: int = 64
    n_devices: int = 1
    depth_alpha: float = 0.5
    cache_dir: Path | None = None

    def config(self, parametrization: str, axis: str, size: int) -> RunConfig:
        sizes = {"width": BASE_WIDTH, "depth": BASE_DEPTH} | {axis: size}
        model = ModelConfig(
            parametrization=parametrization,
            base_width=BASE_WIDTH,
            base_depth=BASE_DEPTH,
            depth_alpha=self.depth_alpha,
            **sizes,
            options=TransformerOptions(n_heads=4),
        )
        warmup = Duration(self.n_steps // 10, "steps")
        optim = OptimConfig(
            name=self.optimizer, schedule=ScheduleConfig(name="constant", warmup=warmup)
        )
        return RunConfig(
            model=model,
            optim=optim,
            data=DataConfig(name=self.source, seq_len=self.seq_len),
            train=TrainConfig(batch_size=self.batch_size),
        )


def losses(study: Study, config: RunConfig) -> np.ndarray:
    """Loss in nats per token at every learning rate of the study, NaN where a run diverged."""
    pipeline = open_pipeline(
        config.data,
        batch_size=study.batch_size,
        seed=config.seed,
        n_rows_eval=1,
        cache_dir=study.cache_dir,
    )
    rows = [pipeline.batch(step) for step in range(study.n_steps)]
    mesh = sharding.make_mesh(sharding.parse_mesh(f"data:{study.n_devices}"))
    rates = Rates(study.batch_size * study.seq_len, None, 1, 1.0)
    out = []
    with sharding.use_mesh(mesh):
        program = make_program(config, pipeline.vocab_size, mesh)
        run = make_train_steps(config, program.optimizer)
        stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        batches = sharding.place(mesh, stacked, None, "batch", "seq")
        for lr in study.lrs:
            optim = dataclasses.replace(config.optim, peak_lr=2.0**lr)
            curve = jnp.asarray(learning_rates(optim, study.n_steps, rates))
            _, metrics = run(program.init(config.seed), batches, {"lr": curve}, study.n_steps)
            out.append(np.asarray(metrics["loss"])[-study.n_steps // 10 :].mean())
    return np.array(out)


def best_lr(study: Study, row: np.ndarray) -> float:
    """log2 of the best learning rate, by a parabola through the least loss and its neighbours."""
    k = int(np.nanargmin(row))
    if not 0 < k < len(row) - 1 or not np.all(np.isfinite(row[k - 1 : k + 2])):
        return float(study.lrs[k])
    left, middle, right = row[k - 1 : k + 2]
    return study.lrs[k] + 0.5 * (left - right) / (left - 2 * middle + right)


def sweep(study: Study, parametrization: str, axis: str, sizes: list[int]) -> dict[int, np.ndarray]:
    return {size: losses(study, study.config(parametrization, axis, size)) for size in sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axis", choices=("width", "depth"), default="width")
    parser.add_argument("--sizes", default="", help="comma-separated; default 32,64,128 or 2,4,8")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--source", default="stdlib")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lo", type=int, default=-10, help="log2 of the least learning rate")
    parser.add_argument("--hi", type=int, default=-4, help="log2 of the greatest learning rate")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--depth-alpha", type=float, default=0.5, help="muP's depth rule: 0.5 or 1")
    args = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", args.devices)
    defaults = {"width": "32,64,128", "depth": "2,4,8"}
    sizes = [int(s) for s in (args.sizes or defaults[args.axis]).split(",")]
    study = Study(
        lrs=tuple(range(args.lo, args.hi + 1)),
        optimizer=args.optimizer,
        source=args.source,
        n_steps=args.steps,
        n_devices=args.devices,
        depth_alpha=args.depth_alpha,
    )
    print(f"{'':14}" + "".join(f"{'2^' + str(lr):>8}" for lr in study.lrs) + "    best")
    for parametrization in ("sp", "mup"):
        found = []
        for size in sizes:
            row = losses(study, study.config(parametrization, args.axis, size))
            found.append(best_lr(study, row))
            cells = "".join(f"{x:8.3f}" for x in row)
            label = f"{parametrization:4}{args.axis} {size}"
            print(f"{label:14}{cells}  2^{found[-1]:.1f}", flush=True)
        doublings = math.log2(sizes[-1] / sizes[0])
        moved = found[-1] - found[0]
        print(
            f"{parametrization}: the best rate moved by {moved:+.1f} factors of two over "
            f"{doublings:.0f} doublings of {args.axis}\n"
        )


if __name__ == "__main__":
    main()
