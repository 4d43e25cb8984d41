"""The little grammar of the options that name columns: NAME=COLUMN, COLUMN<NUMBER, lists of both.

Names may hold commas, blanks, quotes and operators. They are written in quotes ("..." or '...',
doubled inside), or plainly where the columns that there are leave one reading: the longest known
name wins. No numpy here: command lines are read by it.
"""

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence

from scaling.errors import UserError

OPERATORS = ("<=", ">=", "==", "!=", "<", ">", "=")
_UNSEEN = re.compile("[\ufeff\u200b-\u200f\u2060\u00ad]")  # marks without width
_SIGN = "|".join(map(re.escape, OPERATORS))
_PLAIN = re.compile(rf"\s*([^<>=!,\"']+?)\s*({_SIGN})")
_QUOTED = re.compile(r"""\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)')\s*""")


def tidy(name: object) -> object:
    """A name as tables have it: blanks of any kind and line ends inside become one space each,
    those around it go."""
    return " ".join(_UNSEEN.sub("", name).split()) if isinstance(name, str) else name


def quoted(name: str) -> str:
    """The spelling of a name that is read back whatever is in it; plain where that is enough."""
    return name if re.fullmatch(r"[\w./:#%@+-]+", name) else '"' + name.replace('"', '""') + '"'


def listed(text: str, columns: Iterable[str]) -> list[str]:
    """ "a,b" -> [a, b], where a name among `columns` may hold commas itself."""
    found, rest, known = [], text, list(columns)
    while rest:
        name, rest = _column(rest, known) or _up_to(rest, rest.find(","))
        found.append(name)
    return found


def assignments(
    texts: Sequence[str], flag: str, columns: Iterable[str] = (), names: Iterable[str] = ()
) -> dict[str, str]:
    """["a=1,b=2"] -> {"a": "1", "b": "2"}; `columns` may stand right of "=", `names` left.

    Raises UserError, naming `flag`, for another form and for a name that is given twice."""
    out: dict[str, str] = {}
    for text in texts:
        rest = text
        while rest or rest == text:
            name, rest = _assigned(rest, flag, list(names))
            value, rest = _column(rest, list(columns)) or _up_to(rest, _next_name(rest))
            if not value:
                raise UserError(f"{flag} {text!r}: nothing stands after {name}=; write NAME=VALUE")
            if name in out:
                raise UserError(
                    f"{flag}: {name!r} is given twice, as {out[name]!r} and as {value!r}"
                )
            out[name] = value
    return out


def conditions(text: str, columns: Iterable[str] = ()) -> list[tuple[str, str, str]]:
    """ "flops<=1e21,task=mmlu" -> [("flops", "<=", "1e21"), ("task", "=", "mmlu")].

    A comma parts two conditions only where another one begins behind it, so values may hold
    commas. Raises UserError; nothing is ever evaluated."""
    found, rest, known = [], text, list(columns)
    while rest or not found:
        start = _compared(rest, known)
        if start is None:
            raise UserError(
                f"condition {rest.strip()!r} is not of the form COLUMN OPERATOR VALUE, as in "
                'flops<=1e21; a column with odd letters is written "in quotes"'
            )
        name, sign, rest = start
        commas = (m.start() for m in re.finditer(",", rest))
        end = next((i for i in commas if _compared(rest[i + 1 :], known)), -1)
        value, rest = _quoted(rest) or _up_to(rest, end)
        if not value:
            raise UserError(f"condition {text.strip()!r}: nothing stands after {name}{sign}")
        found.append((name, sign, value))
    return found


def _quoted(text: str) -> tuple[str, str] | None:
    """(what the quotes at the beginning hold, what follows the comma behind them)."""
    match = _QUOTED.match(text)
    if match is None or text[match.end() : match.end() + 1] not in ("", ","):
        return None
    return _inside(match), text[match.end() + 1 :]


def _inside(match: re.Match) -> str:
    if match[1] is not None:
        return str(tidy(match[1].replace('""', '"')))
    return str(tidy(match[2].replace("''", "'")))


def _column(text: str, columns: list[str]) -> tuple[str, str] | None:
    """(a quoted name or the longest of `columns` with which the text begins, what follows)."""
    found = _quoted(text)
    if found:
        return found
    ends = [m.start() for m in re.finditer(",", text)] + [len(text)]
    for end in reversed(ends):
        if tidy(text[:end]) in columns:
            return _up_to(text, end)
    return None


def _up_to(text: str, end: int) -> tuple[str, str]:
    """(the text before the comma at `end`, what follows it); -1: no comma."""
    end = len(text) if end < 0 else end
    return str(tidy(text[:end])), text[end + 1 :]


def _next_name(text: str) -> int:
    """The comma behind which another NAME= begins, or -1."""
    match = re.search(r",(?=\s*[^\s,=]+\s*=|\s*[\"']|\s*$)", text)
    return match.start() if match else -1


def _assigned(text: str, flag: str, names: list[str]) -> tuple[str, str]:
    """(name, what follows its "=")."""
    match = _QUOTED.match(text)
    if match and text[match.end() :].startswith("="):
        return _inside(match), text[match.end() + 1 :]
    known = _prefix(text, names, "=")
    name, sep, rest = known or text.partition("=")
    if not (sep and name.strip()):
        raise UserError(f"{flag} {text.strip()!r}: write NAME=VALUE, odd names in quotes")
    return str(tidy(name)), rest


def _compared(text: str, known: list[str]) -> tuple[str, str, str] | None:
    """(column, operator, the rest), or None when the text does not begin like a condition."""
    match = _QUOTED.match(text)
    if match and (sign := re.match(_SIGN, text[match.end() :])):
        return _inside(match), sign[0], text[match.end() + sign.end() :]
    found = _prefix(text, known, _SIGN)
    if found:
        return found
    match = _PLAIN.match(text)
    return (str(tidy(match[1])), match[2], text[match.end() :]) if match else None


def _prefix(text: str, names: Iterable[str], sign: str) -> tuple[str, str, str] | None:
    """(the longest of `names` with which the text begins, the sign behind it, the rest)."""
    for name in sorted(names, key=len, reverse=True):
        words = r"\s+".join(map(re.escape, name.split()))
        match = re.match(rf"\s*{words}\s*({sign})", text) if words else None
        if match:
            return name, match[1], text[match.end() :]
    return None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that may have been meant: letters' case, marks and units in brackets put aside."""
    plain = {_plain(other): other for other in known}
    if _plain(name) in plain:
        return plain[_plain(name)]
    near = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.5)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", re.sub(r"[(\[].*?[)\]]", "", name).lower()).strip("_")


def for_shell(text: str) -> str:
    """As one word of a shell."""
    return shlex.quote(text)
