"""What a column measures, in which unit, and what turns other people's units into ours.

A header says its unit ("Params (M)", "tokens_B", "val_ppl"), a cell does ("1.4B tokens"), or
`--unit n_params=M`. Ours are parameters, tokens, FLOPs, nats per token and fractions.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from scaling.errors import UserError, unknown

NATS_PER_BIT = math.log(2.0)
PF_DAY = 8.64e19  # FLOPs
_PREFIXES = MappingProxyType(
    {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21, "Y": 1e24}
)
_NUMBER_WORDS = MappingProxyType(
    dict.fromkeys(("k", "thousand", "thousands", "tsd"), 1e3)
    | dict.fromkeys(("m", "million", "millions", "mio", "mn", "mln", "mil"), 1e6)
    | dict.fromkeys(("b", "g", "billion", "billions", "bn", "bln", "mrd", "md"), 1e9)
    | dict.fromkeys(("t", "trillion", "trillions", "tn", "trn"), 1e12)
)
# Words that name the thing counted, not how it is counted.
_NOISE = re.compile(
    r"\b(?:tokens?|toks?|params?|parameters?|weights?|steps?|updates?|examples?|words?|of|in|train"
    r"(?:ing|ed)?|total|count|non-?emb\w*)\b",
    re.IGNORECASE,
)
_POWER = re.compile(
    r"(?:[x×*·/]\s*)?(?:10\s*(?:\^|\*\*)\s*\{?\+?(\d+)\}?|1(?:\.0*)?e\+?(\d+))", re.IGNORECASE
)
_SIZES = "kilo|mega|giga|tera|peta|exa|zetta|yotta|[kmgtpezy]"
_FLOPS = re.compile(rf"(?<![a-z])({_SIZES}|)[ -]?flops?(?![a-z])", re.IGNORECASE)
_PF_DAYS = re.compile(
    rf"(?:.*[\s_])?({_SIZES}|)[ -]?f(?:lops?)?(?:/s|ps| s)?[\s_*·-]*days?", re.IGNORECASE
)
_RATE = re.compile(r"flops?\s*(?:/|per)\s*(?:s\b|sec)", re.IGNORECASE)
_LOG = re.compile(r"\s*(log_?10|log_?2|lg|ln|log)(?![a-z])[\s_(\[]", re.IGNORECASE)
_RAISED = re.compile("10([⁰¹²³⁴⁵⁶⁷⁸⁹]+)")


@dataclass(frozen=True)
class Unit:
    """How values in another unit become ours: `convert`, and the sentence that tells of it.

    kept: another quantity (bits per byte for nats per token): nothing is converted."""

    label: str
    convert: Callable[[np.ndarray], np.ndarray]
    kept: str = ""

    @property
    def plain(self) -> bool:
        """Whether it is ours already."""
        return self.label == "1"


@dataclass(frozen=True)
class Quantity:
    """What is measured: count (of params, tokens, ...), compute, loss, fraction or other.

    group: which counts are the same thing; base: FLOPs of one of ours, for compute."""

    kind: str
    group: str = ""
    base: float = 1.0

    def unit(self, text: str) -> Unit | None:
        """The unit that `text` names for this quantity, or None."""
        words = plain_powers(text).strip()
        if self.kind == "loss":
            return _of_loss(words)
        if self.kind == "fraction":
            return _of_fraction(words)
        if self.kind in ("compute", "any") and (found := _of_compute(words, self.base)):
            return found
        return _of_count(words) if self.kind in ("count", "compute", "any") else None

    def demand(self, name: str, text: str) -> Unit:
        """Like `unit`, or a plain factor; raises UserError for what `--unit` cannot mean."""
        found = self.unit(text)
        if found is None:
            try:
                factor = float(text)
            except ValueError:
                raise unknown(f"unit of {name}", text, _KNOWN[self.kind]) from None
            found = _factor(text, factor)
            if not (math.isfinite(factor) and factor > 0):
                raise UserError(f"--unit {name}={text}: the factor must be positive and finite")
        return found


_COUNT_UNITS = ("K", "M", "B", "T", "P", "E", "log10", "log2", "ln", "a number")
_KNOWN = MappingProxyType(
    {
        "count": _COUNT_UNITS,
        "compute": ("FLOPs", "GFLOPs", "PFLOPs", "EFLOPs", "ZFLOPs", "PF-days", *_COUNT_UNITS),
        "any": ("FLOPs", "PFLOPs", "PF-days", *_COUNT_UNITS),
        "loss": ("nats", "bits", "perplexity", "bits_per_byte", "a number"),
        "fraction": ("fraction", "percent", "a number"),
        "other": ("a number",),
    }
)

PARAMS, TOKENS = Quantity("count", "parameters"), Quantity("count", "tokens")
FLOPS, PF_DAYS = Quantity("compute", "FLOPs"), Quantity("compute", "PF-days", PF_DAY)
LOSS, TASK_LOSS = Quantity("loss", "nats/token"), Quantity("loss", "bits or nats")
SCORE = Quantity("loss", "any")
FRACTION, COUNT = Quantity("fraction"), Quantity("count", "count")
ANY, OTHER = Quantity("any"), Quantity("other")
_DECLARED = MappingProxyType(
    {
        "parameters": PARAMS,
        "tokens": TOKENS,
        "FLOPs": FLOPS,
        "PF-days": PF_DAYS,
        "nats/token": LOSS,
        "bits/byte or nats": TASK_LOSS,
        "nats/token or any": SCORE,
        "fraction": FRACTION,
        "updates": COUNT,
        "any": ANY,
    }
)
_NAMED = (
    (r"n_params.*|params\..+", PARAMS),
    (r"n_tokens.*|n_unique_tokens|batch_tokens", TOKENS),
    (r"flops.*", FLOPS),
    (r"pf_days", PF_DAYS),
    (r"loss|evals\..+", LOSS),
    (r"accuracy|error", FRACTION),
    (r"n?_?steps?", COUNT),
    (r"x", ANY),
)


def plain_powers(text: str) -> str:
    """ "10⁹" -> "10^9"."""
    return _RAISED.sub(lambda m: "10^" + "".join(str(unicodedata.digit(c)) for c in m[1]), text)


def declared(unit: str) -> Quantity:
    """The quantity behind the unit that a law declares for a column."""
    return _DECLARED.get(unit, OTHER)


def named(name: str) -> Quantity | None:
    """The quantity of a column that bears one of our names; None for any other name."""
    return next((q for pattern, q in _NAMED if re.fullmatch(pattern, str(name))), None)


def meant(unit: str) -> Quantity:
    """The quantity of a column of any name that is stated to be in `unit`: "percent" is said of
    shares, all else of anything."""
    share = FRACTION.unit(unit)
    return ANY if share is None or share.convert(np.float64(1.0)) == 1 else FRACTION


def of_header(header: str, quantity: Quantity) -> Unit | None:
    """The unit that a header states for a quantity, or None when it states none or ours.

    Raises UserError for a logarithm whose base it does not say."""
    if quantity.kind == "loss":
        found = _of_loss(_words(header), within=True)
        return None if found is None or found.plain else found
    if quantity.kind in ("count", "compute", "any") and (log := _LOG.match(header)):
        word = log[1].lower().replace("_", "")
        if word == "log":
            raise UserError(
                f"column {header!r} may hold log10 or ln: say which, as in --unit NAME=log10"
            )
        return _of_count({"lg": "log10"}.get(word, word))
    for text in _stated(header, quantity.kind):
        found = quantity.unit(text)
        if found and not found.plain:
            return found
    return None


def _stated(header: str, kind: str) -> list[str]:
    """Places of a header where a unit may stand: brackets, "in X", "/ X", single words."""
    found, header = [], plain_powers(header)
    for inside in re.findall(r"[(\[{<]([^()\[\]{}<>]*)[)\]}>]", header):
        found += [inside, *inside.split(",")]
    found += re.findall(r"(?:\bin\b|_in_)[\s_]*(.+)$", header)
    if kind == "compute":
        found += [header, _words(header)]
    if kind in ("compute", "fraction"):
        found += re.split(r"[\s_./,:()\[\]-]+", header)
    if kind in ("count", "compute", "any"):
        found += re.findall(r"[x×*/]\s*((?:10\s*(?:\^|\*\*)|1e|[KMBGT]\b).*)$", header)
        found += re.findall(r"[\s_.,:-]([A-Za-z]+)$", header)
        # Single letters mean a thousand things in the middle of a name; "millions" does not.
        found += [word for word in re.findall(r"[a-z]{2,}", _words(header).lower())]
    return found


def _words(text: str) -> str:
    """Words with one blank between them: "valPPL", "val_ppl" -> "val PPL", "val ppl"."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)).strip()


def _factor(label: str, factor: float) -> Unit:
    return Unit("1" if factor == 1 else label, lambda values: values * factor)


def _of_count(words: str) -> Unit | None:
    logs = {"log10": 10.0, "log2": 2.0, "ln": math.e}
    if words.lower() in logs:
        base = logs[words.lower()]
        return Unit(words.lower(), lambda values: np.power(base, values))
    rest = _NOISE.sub(" ", words).strip(" ./-#")
    if not rest:
        return Unit("1", lambda values: values) if words else None
    power = _POWER.fullmatch(rest)
    if power:
        return _factor(rest, 10.0 ** int(power[1] or power[2]))
    factor = _PREFIXES.get(rest) or _NUMBER_WORDS.get(rest.lower())
    return _factor(rest, factor) if factor else None


def _of_compute(words: str, base: float) -> Unit | None:
    if days := _PF_DAYS.fullmatch(words):
        scale = _PREFIXES.get((days[1] or "p")[0].upper(), 1.0) / 1e15
        return _factor("PF-days", scale * PF_DAY / base)
    if _RATE.search(words):
        raise UserError(f"{words!r} is a rate; compute is a number of FLOPs in all")
    flops = _FLOPS.search(words)
    if flops is None:
        return None
    rest = (words[: flops.start()] + words[flops.end() :]).strip()
    more = _of_count(rest) if rest else None
    if rest and more is None:
        return None
    factor = _PREFIXES.get(flops[1][:1].upper(), 1.0) / base
    return _factor(words, factor * float(more.convert(1.0) if more else 1))


_PER_LOSS = (
    (r"(?:log|ln) (?:ppl|perplexity)|nats?(?: tok(?:en)?s?)?", lambda: _factor("nats", 1.0)),
    (r"bpb|bits? bytes?", lambda: _kept("bits per byte")),
    (r"bpc|bits? char(?:acter)?s?", lambda: _kept("bits per character")),
    (r"ppl|pplx|perplexity", lambda: Unit("perplexity", np.log)),
    (r"bpt|bits?(?: tok(?:en)?s?)?", lambda: _factor("bits", NATS_PER_BIT)),
)


def _of_loss(words: str, within: bool = False) -> Unit | None:
    """within: the unit may stand anywhere in a header."""
    words = re.sub(r"\b(?:per|a|each) ", "", _words(words).lower())
    if re.search(r"\bnats? (?:byte|char)", words):
        return _kept("nats per byte or character")
    for pattern, unit in _PER_LOSS:
        if re.search(rf"\b(?:{pattern})\b", words) if within else re.fullmatch(pattern, words):
            return unit()
    return None


def _kept(label: str) -> Unit:
    return Unit(label, lambda values: values, kept=label)


def _of_fraction(words: str) -> Unit | None:
    if words.lower() in ("%", "percent", "pct", "per cent", "percentage", "%s"):
        return _factor("percent", 0.01)
    return _factor("fraction", 1.0) if words.lower() in ("fraction", "1") else None
