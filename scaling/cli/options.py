"""Parts that the command lines of the analysis verbs share."""

import argparse
import pathlib
from collections.abc import Sequence

from scaling.errors import UserError


def verb_parser(verb: str, description: str, examples: str) -> argparse.ArgumentParser:
    """The parser of `scaling VERB`, with `examples` below its options."""
    return argparse.ArgumentParser(
        prog=f"scaling {verb}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def named_path(text: str) -> pathlib.Path:
    """A path of the command line, for argparse; empty it would be the directory one stands in."""
    # An unset variable of a script (--workdir=$DIR) must not mean that.
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a file or directory")
    if "\0" in text:
        raise argparse.ArgumentTypeError("it holds a NUL byte; choose another name")
    return pathlib.Path(text)


def name_values(texts: Sequence[str], flag: str) -> dict[str, str]:
    """["a=1,b=2"] -> {"a": "1", "b": "2"}. Raises UserError naming `flag`."""
    out = {}
    for part in (p for text in texts for p in text.split(",")):
        name, sep, value = part.partition("=")
        if not (sep and name.strip() and value.strip()):
            raise UserError(f"{flag} {part!r}: write NAME=VALUE")
        out[name.strip()] = value.strip()
    return out
