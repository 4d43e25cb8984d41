"""Masked tokens from both sides (BERT: Devlin et al. 2019, arXiv 1810.04805, section 3.1)."""

import dataclasses
from typing import ClassVar

import numpy as np

from scaling.config import DataConfig, ModelConfig, option
from scaling.errors import UserError
from scaling.objectives.base import Objective

_UNIT = 2.0**-64


@dataclasses.dataclass(frozen=True)
class Masked(Objective):
    """A share of every row's tokens is to be told from the others, which see each other.

    The mask is token V. Every row has the same number of targets, the nearest to the share and at
    least one, so that a run of so many steps has so many predictions. Of the chosen places
    `as_mask` hold the mask, `as_random` a token drawn evenly, the others what they held.
    """

    visibility: ClassVar[str] = "full"
    next_token: ClassVar[bool] = False

    rate: float = option(0.15, "share of places to be told", low=1e-6, high=1.0)
    as_mask: float = option(0.8, "share of these that hold the mask", low=0.0, high=1.0)
    as_random: float = option(0.1, "share of these that hold a random token", low=0.0, high=1.0)

    def check(self, model: ModelConfig, data: DataConfig) -> None:
        super().check(model, data)
        if self.as_mask + self.as_random > 1:
            raise UserError(
                f"objective.masked.as_mask={self.as_mask:g} and "
                f"objective.masked.as_random={self.as_random:g} are shares of the same places: "
                "their sum must not be above 1"
            )

    def extra_ids(self, data: DataConfig) -> int:
        return 1

    def predictions(self, data: DataConfig) -> int:
        return self._n_chosen(data.seq_len)

    def _n_chosen(self, n_places: int) -> int:
        return max(1, round(self.rate * n_places))

    def make(self, rows, bits, vocab_size):
        clean = rows["tokens"]
        B, T = clean.shape
        draws = bits(2 * T).T
        # A place counts where its token is one that the source would have predicted.
        counts = np.concatenate([np.ones((B, 1), np.float32), rows["weights"][:, :-1]], axis=1)
        order = np.argsort(
            np.where(counts > 0, draws[:, :T] >> np.uint64(1), ~np.uint64(0)), axis=1
        )
        chosen = np.zeros((B, T), bool)
        np.put_along_axis(chosen, order[:, : self._n_chosen(T)], True, axis=1)
        u = draws[:, T : 2 * T] * _UNIT
        # Which random token: the low bits of the draw by which the place was chosen.
        other = (draws[:, :T] % np.uint64(vocab_size)).astype(np.int32)
        held = np.where(u < self.as_mask, np.int32(vocab_size), clean)
        held = np.where((u >= self.as_mask) & (u < self.as_mask + self.as_random), other, held)
        tokens = np.where(chosen, held, clean).astype(np.int32)
        return {**rows, "tokens": tokens, "targets": clean, "weights": chosen * counts}
