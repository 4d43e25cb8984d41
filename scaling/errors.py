"""The one exception type for bad input, and the sentence that helps.

A `UserError` is a mistake that the person at the keyboard can mend: the command line prints its
one line and exits with status 2. Everything else is our bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input. The message names the offending value and the fix, on one line."""


def unknown(kind: str, value: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not one of `known`: nearest match first, then the whole list."""
    names = sorted(known)
    folded = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    loose = difflib.get_close_matches(str(value).casefold(), folded, n=1, cutoff=0.5)
    near = near or [folded[name] for name in loose]
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {kind} {shown(str(value))}; {hint}known: {', '.join(names)}")


def shown(value: object) -> str:
    """A value as a message shows it: on one line, and not longer than a line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
