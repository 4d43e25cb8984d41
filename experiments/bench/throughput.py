"""Training speed beside an equal-shape Llama of `transformers` on PyTorch, alternating in one run.

    python -m experiments.bench.throughput                    # CPU: four shapes, a few minutes
    python -m experiments.bench.throughput --shapes 3x64 --rounds 3
    python -m experiments.bench.throughput --no-torch         # ours alone
    python -m experiments.bench.throughput --against REV      # beside the code of a git commit
    python -m experiments.bench.throughput --device gpu       # adds MFU of a 350M model in bfloat16

Each side is a process of its own that builds its model once and then, when asked, trains for a few
seconds while the other one sleeps; so both see the same drift of a shared machine, and the ratio is
taken round by round. Both: Llama blocks (RMSNorm, RoPE, SwiGLU), untied head, AdamW, clipping,
byte vocabulary, rows of 128 tokens, batch 32, float32, eager PyTorch with its defaults. Goal: 1.5
times the tokens per second of PyTorch at L2 d32, L3 d64, L4 d128, L6 d256.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

BATCH, SEQ, VOCAB = 32, 128, 256
SHAPES = ("2x32", "3x64", "4x128", "6x256")


def ours(depth: int, width: int, *, batch=BATCH, seq=SEQ, vocab=VOCAB, dtype="float32"):
    """(a function training for about one dispatch and returning its tokens, facts)."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from scaling.core.build import abstract_batch, choose_mesh, make_program
    from scaling.core.step import make_train_steps
    from scaling.cost import accounting
    from scaling.machine.hardware import measured_matmul_rate, peak_rate
    from scaling.resolve import resolve
    from scaling.sharding import make_mesh, place, use_mesh

    config = resolve(
        {
            "model": {"depth": depth, "width": width, "dtype": dtype, "transformer": {
                "n_heads": max(1, width // 16 if width < 512 else width // 64),
                "activation": "swiglu", "mlp_ratio": 8 / 3}},
            "data": {"name": "markov", "seq_len": seq},
            "train": {"batch_size": batch},
            "eval": {"batch_size": batch},
        }
    )  # fmt: skip
    mesh = make_mesh(choose_mesh(config, None))
    K = config.train.steps_per_dispatch
    tokens = np.random.default_rng(0).integers(0, vocab, (K, batch, seq + 1)).astype(np.int32)
    with use_mesh(mesh):
        program = make_program(config, vocab, mesh)
        rows = {
            "tokens": tokens[..., :-1],
            "targets": tokens[..., 1:],
            "weights": np.ones((K, batch, seq), np.float32),
        }
        rows = place(mesh, rows, None, "batch")
        start = time.perf_counter()
        steps = make_train_steps(config, program.optimizer)
        dials = {"lr": jnp.full(K, 1e-3)}
        abstract = (program.abstract_state, abstract_batch(config, mesh, K), dials, jnp.int32(K))
        compiled = steps.lower(*abstract).compile()
        compile_s = time.perf_counter() - start
        state = program.init(0)

    def run() -> int:
        nonlocal state
        with use_mesh(mesh):
            state, metrics = compiled(state, rows, dials, jnp.int32(K))
            jax.block_until_ready(metrics)
        return K * batch * seq

    per_token = accounting.flops_per_token(config, vocab)[accounting.UTILISATION_CONVENTION]
    peak = peak_rate(jax.devices()[0].device_kind) if dtype == "bfloat16" else None
    facts = {
        "compile_s": compile_s,
        "flops_per_token": per_token,
        "peak": (peak * jax.device_count()) if peak else measured_matmul_rate(dtype),
    }
    return run, facts


def theirs(depth: int, width: int):
    """The same for PyTorch."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    heads = max(1, width // 16)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB, hidden_size=width, intermediate_size=round(width * 8 / 3),
            num_hidden_layers=depth, num_attention_heads=heads, num_key_value_heads=heads,
            max_position_embeddings=SEQ, use_cache=False,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    tokens = torch.randint(0, VOCAB, (BATCH, SEQ + 1))

    def run() -> int:
        # Ours predicts SEQ targets from SEQ inputs; its own loss would drop the last one.
        logits = model(tokens[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return BATCH * SEQ

    return run, {}


def worker(side: str, shape: str, dtype: str) -> None:
    """Builds, warms up, prints facts; then trains for as many seconds as each input line asks."""
    depth, width = (int(n) for n in shape.split("x"))
    if side == "theirs":
        run, facts = theirs(depth, width)
    elif dtype == "bfloat16":
        run, facts = ours(depth, width, batch=64, seq=2048, vocab=32_768, dtype=dtype)
    else:
        run, facts = ours(depth, width)
    run()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        tokens, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < float(line):
            tokens += run()
        print(json.dumps({"tokens_per_s": tokens / elapsed}), flush=True)


class Side:
    """A worker process and what it has measured. tree: whose code it runs, this one's or another
    checkout's with a script of the same name."""

    def __init__(self, side: str, shape: str, dtype: str = "float32", tree: pathlib.Path = ROOT):
        command = [sys.executable, "-m", "experiments.bench.throughput", "--worker", side, shape]
        self._process = subprocess.Popen(
            [*command, "--dtype", dtype],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
        )
        self.facts = self._read()
        self.rates: list[float] = []

    def _read(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker died with status {self._process.wait()}")
        return json.loads(line)

    def measure(self, seconds: float) -> None:
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        self.rates.append(self._read()["tokens_per_s"])

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def compare(
    shape: str,
    rounds: int,
    seconds: float,
    torch: bool,
    dtype: str = "float32",
    before: pathlib.Path | None = None,
) -> dict:
    """One row of the table: medians over rounds, the ratio taken within each round. before: another
    checkout, in PyTorch's place."""
    sides = [Side("ours", shape, dtype)] + ([Side("theirs", shape)] if torch else [])
    if before:
        sides.append(Side("ours", shape, dtype, before))
    for _ in range(rounds):
        for side in sides:
            side.measure(seconds)
    for side in sides:
        side.close()
    mine, facts = statistics.median(sides[0].rates), sides[0].facts
    row = {
        "shape": shape,
        "ours": mine,
        "compile_s": facts["compile_s"],
        "flops_rate": mine * facts["flops_per_token"],
        "of_peak": mine * facts["flops_per_token"] / facts["peak"],
    }
    if len(sides) > 1:
        ratios = [a / b for a, b in zip(sides[0].rates, sides[1].rates, strict=True)]
        row |= {"theirs": statistics.median(sides[1].rates), "ratio": statistics.median(ratios)}
        row |= {"ratio_min": min(ratios), "ratio_max": max(ratios)}
        row["compile_before"] = sides[1].facts.get("compile_s")
    return row


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--shapes", nargs="+", default=SHAPES, help="layers x width")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=4.0, help="per side and round")
    p.add_argument("--no-torch", action="store_true")
    p.add_argument("--against", metavar="REV", help="a git commit in place of PyTorch")
    p.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    p.add_argument("--dtype", default="float32", help=argparse.SUPPRESS)
    p.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.worker:
        worker(*args.worker, args.dtype)
        return
    if args.device == "gpu":
        row = compare("24x1024", args.rounds, args.seconds, torch=False, dtype="bfloat16")
        print(f"350M bfloat16: {row['ours']:,.0f} tok/s, MFU {row['of_peak']:.1%} (goal 50 %)")
        return
    with checkout(args.against) as before:
        _table(args, before)


@contextlib.contextmanager
def checkout(revision: str | None):
    """A worktree of a commit, gone afterwards; None for None."""
    if revision is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as place:
        tree = pathlib.Path(place) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def _table(args: argparse.Namespace, before: pathlib.Path | None) -> None:
    name = "before" if before else "torch"
    print(
        f"shape   ours tok/s  {name:>6} tok/s ratio (min-max)     GFLOP/s  of matmul rate  compile"
    )
    for shape in args.shapes:
        torch = not args.no_torch and before is None
        row = compare(shape, args.rounds, args.seconds, torch, before=before)
        other, ratio = "-", "-"
        if "theirs" in row:
            other = f"{row['theirs']:,.0f}"
            ratio = f"{row['ratio']:.2f} ({row['ratio_min']:.2f}-{row['ratio_max']:.2f})"
        rates = f"{row['flops_rate'] / 1e9:>7.1f}  {row['of_peak']:>14.0%}"
        print(
            f"{shape:<7} {row['ours']:>10,.0f}  {other:>11}  {ratio:<18} {rates}"
            f"  {row['compile_s']:.1f} s" + (f" ({row['compile_before']:.1f})" if before else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
