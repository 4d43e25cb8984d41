"""A checkpoint of ours as a model of EleutherAI's lm-eval (extra `eval`).

    import lm_eval
    from scaling.interop.lm_eval import open_model

    lm_eval.simple_evaluate(model=open_model("runs/tiny"), tasks=[...])

For models that read bytes (sources stdlib and text without a tokenizer). Contexts that are too long
lose their beginning, long texts are scored in windows, and generation ends at 256 bytes, as with
lm-eval's own models.
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from scaling.data.encoders import ByteEncoder
from scaling.errors import UserError
from scaling.probes.generate import generate_until
from scaling.probes.requests import loglikelihood, rolling_loglikelihood
from scaling.probes.sampling import Sampling
from scaling.probes.scorer import ScoredModel
from scaling.sharding import use_mesh
from scaling.training.reprobe import load_model

try:
    from lm_eval.api.model import LM
    from lm_eval.models.utils import normalize_gen_kwargs
except ImportError as error:
    raise UserError("lm-eval is not installed; pip install 'scaling[eval]'") from error

# Settings that some of lm-eval's tasks spell out at the value that changes nothing.
_WITHOUT_EFFECT = {"num_beams": 1, "repetition_penalty": 1.0}


def open_model(workdir: str | pathlib.Path, step: int | str = "last", mesh: str | None = None):
    """The model of a run directory's checkpoint. Raises UserError."""
    model = load_model(pathlib.Path(workdir), step, mesh)
    if model.target.vocab_size != ByteEncoder.vocab_size:
        raise UserError(
            f"{workdir} has a vocabulary of {model.target.vocab_size}; lm-eval tasks are text, "
            f"which needs a model of {ByteEncoder.vocab_size} bytes"
        )
    return ByteLM(model)


class ByteLM(LM):
    """lm-eval's three request types over a byte model; byte 0 begins every text."""

    def __init__(self, model: ScoredModel):
        super().__init__()
        self._model = model

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """(log-probability in nats, whether greedy decoding gives it) of each continuation."""
        most = self._model.target.seq_len
        pairs = []
        for request in requests:
            context, continuation = ([*text.encode()] for text in request.args)
            before = [ByteEncoder.separator, *context]
            room = max(1, most + 1 - len(continuation))
            pairs.append((before[-room:], continuation))
        with use_mesh(self._model.mesh):
            return [(s.logp, s.is_greedy) for s in loglikelihood(self._model, pairs)]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Log-probability of whole texts, in nats; of an empty one 0, as lm-eval has it."""
        texts = [[*request.args[0].encode()] for request in requests]
        with use_mesh(self._model.mesh):
            scores = rolling_loglikelihood(
                self._model, [text for text in texts if text], ByteEncoder.separator
            )
        found = iter(scores)
        return [next(found).logp if text else 0.0 for text in texts]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Continuations up to the first of "until" or the end of the text.

        "max_gen_toks" or one of its other names (256 bytes where none is given), "do_sample",
        "temperature", "top_k" and "top_p" as lm-eval's own models read them; other settings are
        refused. What is asked twice is drawn twice.
        """
        out: list[str] = [""] * len(requests)
        kinds: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            kinds.setdefault(json.dumps(request.args[1], sort_keys=True, default=str), []).append(
                number
            )
        for seed, numbers in enumerate(kinds.values()):
            how = _Generation.of(requests[numbers[0]].args[1])
            contexts = [requests[number].args[0] for number in numbers]
            for number, text in zip(numbers, self._generate(contexts, how, seed), strict=True):
                out[number] = text
        return out

    def _generate(self, contexts: list[str], how: "_Generation", seed: int) -> list[str]:
        room = self._model.target.seq_len - how.max_tokens
        if room < 1:
            raise UserError(
                f"max_gen_toks={how.max_tokens} leaves no room for a context in the "
                f"{self._model.target.seq_len} bytes that the model was trained on; ask for fewer, "
                "such as gen_kwargs='max_gen_toks=32'"
            )
        prompts = [[ByteEncoder.separator, *text.encode()][-room:] for text in contexts]
        with use_mesh(self._model.mesh):
            grown = generate_until(
                self._model,
                prompts,
                until=[[ByteEncoder.separator], *([*stop.encode()] for stop in how.until)],
                max_tokens=how.max_tokens,
                sampling=how.sampling,
                seed=seed,
            )
        return [bytes(tokens).decode("utf-8", "replace") for tokens in grown]


@dataclasses.dataclass(frozen=True)
class _Generation:
    """The settings of a `generate_until` request."""

    until: tuple[str, ...]
    max_tokens: int
    sampling: Sampling

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "_Generation":
        """Raises UserError for a setting that this model cannot follow."""
        try:
            read = dict(normalize_gen_kwargs(settings))
            n = read.pop("max_gen_toks")
            sampling = Sampling(
                float(read.pop("temperature", 1.0)) if read.pop("do_sample") else 0.0,
                int(read.pop("top_k", 0)),
                float(read.pop("top_p", 1.0)),
            )
        except UserError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"generation settings {settings!r}: {error}") from error
        until = tuple(read.pop("until"))
        read.pop("temperature", None)
        for name, value in read.items():
            if _WITHOUT_EFFECT.get(name) != value:
                raise UserError(
                    f"generation setting {name}={value!r} is not known here; known are until, "
                    "max_gen_toks, do_sample, temperature, top_k, top_p"
                )
        return cls(until, n, sampling)
