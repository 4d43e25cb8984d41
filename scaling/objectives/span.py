"""Spans that were cut out, at the end of the row (T5: Raffel et al. 2020, arXiv 1910.10683, 3.1.4).

Written as one causal stream: the row with a sentinel in place of every span, then each sentinel
again with what stood there. A decoder learns to fill in what is missing from both sides of it.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from scaling.config import DataConfig, ModelConfig, option
from scaling.errors import UserError
from scaling.objectives.base import Objective


@dataclasses.dataclass(frozen=True)
class Span(Objective):
    """Sentinel i of a row is token V + i. Every row has the same number of spans and of tokens in
    them, spread as T5 spreads them: both the cut and the kept tokens are divided evenly at random
    into that many parts, none of them empty, and the row begins with a kept one. Sentinels and
    tokens of the second half are predicted, nothing else.
    """

    next_token: ClassVar[bool] = False

    rate: float = option(0.15, "share of a row's tokens that are cut out", low=1e-6, high=0.9)
    mean_length: float = option(3.0, "mean length of a span, in tokens", low=1.0, high=1e6)

    def check(self, model: ModelConfig, data: DataConfig) -> None:
        super().check(model, data)
        if data.documents == "masked":
            raise UserError(
                "objective.name='span' moves tokens within a row, so it cannot keep documents "
                "apart in it; set data.documents='stream'"
            )
        if data.seq_len < 4:
            raise UserError(
                f"data.seq_len={data.seq_len} leaves no room for a span; take 4 or more"
            )

    def _counts(self, seq_len: int) -> tuple[int, int, int]:
        """(tokens of the source in a row, tokens cut out, spans). A row of T predictions holds
        T + 1 tokens, two for every span of which are sentinels: of all numbers of spans that leave
        room for as many, the largest."""

        def sizes(spans):
            length = seq_len + 1 - 2 * spans
            cut = min(max(round(self.rate * length), 1), length - 1)
            return length, cut, min(max(round(cut / self.mean_length), 1), cut, length - cut)

        spans = 1
        while sizes(spans + 1)[2] > spans:
            spans += 1
        return *sizes(spans)[:2], spans

    def extra_ids(self, data: DataConfig) -> int:
        return self._counts(data.seq_len)[2]

    def predictions(self, data: DataConfig) -> int:
        _, cut, spans = self._counts(data.seq_len)
        return cut + spans

    def make(self, rows, bits, vocab_size):
        B, T = rows["tokens"].shape
        length, cut, spans = self._counts(T)
        draws = bits(length).T
        lengths = np.empty((B, 2 * spans), np.int64)  # kept, cut, kept, cut, ...
        lengths[:, 0::2] = _parts(draws[:, : length - cut - 1], length - cut, spans)
        lengths[:, 1::2] = _parts(draws[:, length - cut :][:, : cut - 1], cut, spans)
        ends = np.cumsum(lengths, axis=1)
        stretch = (np.arange(length) >= ends[:, :, None]).sum(axis=1)  # (B, length)
        is_cut, span = stretch % 2 == 1, stretch // 2
        # Where each token goes: kept ones shift by the sentinels before them and over what was cut.
        kept_before = np.cumsum(~is_cut, axis=1) - ~is_cut
        cut_before = np.cumsum(is_cut, axis=1) - is_cut
        second = length - cut + spans
        place = np.where(is_cut, second + cut_before + span + 1, kept_before + span)
        whole = np.concatenate([rows["tokens"], rows["targets"][:, -1:]], axis=1)[:, :length]
        counts = np.concatenate([np.ones((B, 1), np.float32), rows["weights"]], axis=1)[:, :length]
        stream, weight = np.empty((B, T + 1), np.int32), np.ones((B, T + 1), np.float32)
        np.put_along_axis(stream, place, whole, axis=1)
        np.put_along_axis(weight, place, counts, axis=1)
        sentinels = np.broadcast_to(vocab_size + np.arange(spans, dtype=np.int32), (B, spans))
        kept = np.cumsum(lengths[:, 0::2], axis=1) + np.arange(spans)
        gone = second + np.cumsum(lengths[:, 1::2], axis=1) - lengths[:, 1::2] + np.arange(spans)
        np.put_along_axis(stream, kept, sentinels, axis=1)
        np.put_along_axis(stream, gone, sentinels, axis=1)
        weight[:, :second] = 0.0
        return {"tokens": stream[:, :-1], "targets": stream[:, 1:], "weights": weight[:, 1:]}


def _parts(draws_BN: np.ndarray, total: int, n: int) -> np.ndarray:
    """(B, n) lengths of at least one that sum to `total`, every division as likely as another:
    n - 1 of the total - 1 places between two tokens, those with the smallest draws."""
    cuts = np.sort(np.argsort(draws_BN[:, : total - 1], axis=1)[:, : n - 1], axis=1) + 1
    edge = np.zeros((len(draws_BN), 1), cuts.dtype)
    return np.diff(np.concatenate([edge, cuts, edge + total], axis=1), axis=1)
