"""Every command that the README, the docs, the pages and `--help` print."""

import ast
import contextlib
import io
import pathlib
import re
import shlex
from dataclasses import dataclass

from scaling.cli import VERBS, main

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "experiments/**/*.md", "configs/*.py")

IN_HELP = r"(?:^|(?<=\S)) {2,}(?=[^-\s])"  # a remark follows after blanks


@dataclass(frozen=True)
class Printed:
    """A command and the page that prints it."""

    where: str
    argv: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.argv)}"


def printed() -> list[Printed]:
    """All of them in the order of the pages, without repetitions."""
    found = [command for page in _pages() for command in _of_page(page)]
    for verb in VERBS:
        for line in _commands(_help([verb, "--help"]), IN_HELP):
            found.append(Printed(f"{verb} --help", line))
    found += [Printed("--help", line) for line in _commands(_help(["--help"]), IN_HELP)]
    return list(dict.fromkeys(found))


def _pages() -> list[pathlib.Path]:
    pages = [page for pattern in PAGES for page in sorted(ROOT.glob(pattern))]
    # The log is a diary: what it quotes was true on its day.
    return [page for page in pages if page.name != "LOG.md"]


def _of_page(page: pathlib.Path) -> list[Printed]:
    text = page.read_text()
    name = str(page.relative_to(ROOT))
    if page.suffix == ".py":
        doc = ast.get_docstring(ast.parse(text)) or ""
        return [Printed(name, argv) for argv in _commands(doc)]
    blocks = re.findall(r"^```(?:bash|sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^ {4,}\S.*\n?)+", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return [Printed(name, argv) for block in (*blocks, *indented) for argv in _commands(block)]


def _help(argv: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main(argv)
    # "usage:" describes a command; "example: scaling ..." is one.
    lines = re.sub(r"^examples?: ", "  ", out.getvalue(), flags=re.MULTILINE).splitlines()
    return "\n".join(line for line in lines if not re.match(r"usage:|       scaling", line))


def _commands(text: str, remark: str = r"(?:^|\s+)#") -> list[tuple[str, ...]]:
    """The lines that begin with `scaling`, continuation lines joined, without the remark that
    follows a command: after "#" on a page."""
    joined = re.sub(r"\\\n\s*", "", text)
    found = []
    for line in joined.splitlines():
        match = re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?scaling ([a-z]+)\b(.*)$", line)
        if match is None or match[1] not in VERBS:
            continue
        found.append((match[1], *shlex.split(re.split(remark, match[2].rstrip())[0])))
    return found
