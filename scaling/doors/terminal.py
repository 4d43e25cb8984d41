"""Text for a terminal: what other people's names and errors hold cannot act on it."""

import unicodedata
from typing import Any


def printable(value: Any) -> str:
    """`value` as text on one line: control, format and bidi characters are spelt out."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if unicodedata.category(c)[0] not in "CZ" or c == " " else _spelt(c) for c in text
    )


def marked(value: Any) -> str:
    """`printable`, for where rich reads markup: [bold] is text too."""
    from rich.markup import escape

    return escape(printable(value))


def say(text: Any) -> None:
    """Prints lines; what other people's names and errors hold in them cannot act."""
    print("\n".join(map(printable, str(text).split("\n"))))


def _spelt(c: str) -> str:
    # Other blanks are only wide or narrow; the separators of lines and paragraphs break a line.
    harmless = unicodedata.category(c) == "Zs"
    return c if harmless else c.encode("unicode_escape").decode()
