"""HTML from sections: one file that needs no network and no directory around it.

Everything from a run passes Jinja's escaping, or, inside the JSON of the figures, `_inert`. A
content security policy allows the page's own two scripts by their hashes and no address at all,
so even text that slipped through could neither run nor call home.
"""

import base64
import functools
import hashlib
import importlib.resources
import json
import re
from collections.abc import Sequence
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup, escape

from scaling.doors.terminal import printable
from scaling.report.content import Block, Figure, Section
from scaling.report.text import greek
from scaling.report.theme import palette

_POWER = re.compile(r"\^([−-]?\w+|\([^)]*\))")
_LONGEST_NUMBER = 28  # characters: "1.2×10¹² to 3.4×10¹³"
_SUBSCRIPT = re.compile(r"\b([A-Z])_(\w+)")


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page as HTML text."""
    figures = [block for section in sections for block in section.kind(Figure)]
    specs = {f.key: {"spec": f.spec, "switches": list(f.switches)} for f in figures}
    scripts = [bundle(), _asset("page.js")]
    return _template().render(
        title=title,
        subtitle=subtitle,
        abstract=[_raised(section.summary) for section in sections if section.summary],
        sections=sections,
        style=Markup(_asset("page.css")),
        scripts=[Markup(text) for text in scripts],
        policy=" ".join(f"'sha256-{_sha256(text)}'" for text in scripts),
        data=Markup(_inert({"palette": palette(), "figures": specs})),
    )


def formula(text: str) -> Markup:
    """`L = E + A N^-alpha` with raised exponents and Greek letters. Escaped first."""
    return Markup(_SUBSCRIPT.sub(r"\1<sub>\2</sub>", str(_raised(greek(text)))))


def _raised(text: str) -> Markup:
    """Words, with the exponents of formulas among them raised. Escaped first."""
    plain = str(escape(_visible(text)))
    return Markup(_POWER.sub(lambda m: f"<sup>{m[1].strip('()')}</sup>", plain))


def _visible(value: Any) -> Any:
    """Text, also inside lists and dicts, whose characters all show: none turns the line around."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return "\n".join(map(printable, value.split("\n")))
    if isinstance(value, dict):
        return {_visible(key): _visible(inner) for key, inner in value.items()}
    return [_visible(inner) for inner in value] if isinstance(value, list | tuple) else value


def _kind(block: Block) -> str:
    return type(block).__name__.lower()


def _numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether a column is set flush right: not the first one, most of its cells begin with a digit
    or a sign, and none is a sentence or the hash of something."""
    cells = [row[column] for row in rows if row[column] != "–"]
    if not cells or column == 0 or any(_wordy(cell) for cell in cells):
        return False
    return sum(c[:1].isdigit() or c[:1] in "−+" for c in cells) > len(cells) / 2


def _wordy(cell: str) -> bool:
    return len(cell) > _LONGEST_NUMBER or (len(cell) > 12 and " " not in cell)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters |= {"formula": formula, "kind": _kind}
    environment.globals["numeric"] = _numeric
    return environment.from_string(_asset("page.html"))


def _asset(name: str) -> str:
    return importlib.resources.files("scaling.report").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that assigns `window.vegaEmbed`."""
    return vl_convert.javascript_bundle().replace("</script", "<\\/script")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _inert(value: Any) -> str:
    """JSON that cannot end the script element it stands in. Raises on NaN."""
    text = json.dumps(_visible(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
