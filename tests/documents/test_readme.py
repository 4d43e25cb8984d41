"""The README keeps up with the code."""

import pathlib
import re
import subprocess
import sys

from scaling.cli import VERBS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_tree_is_the_one_of_the_docstrings():
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "tree.py"], capture_output=True, text=True, check=True
    ).stdout
    assert made.strip() in (ROOT / "README.md").read_text(), "run python docs/tree.py --write"


def test_every_link_and_every_verb_of_the_documents_exists():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        text = page.read_text()
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
        for verb in re.findall(r"^(?:\.venv/bin/)?scaling ([a-z]+)", text, re.MULTILINE):
            assert verb in VERBS, f"{page.name}: scaling {verb}"
