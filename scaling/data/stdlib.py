"""The source text of the Python standard library that runs this program: a corpus for everyone."""

import dataclasses
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from scaling.config import DataConfig
from scaling.data.cache import key_of_files
from scaling.data.documents import Document, build_corpus, open_documents
from scaling.data.encoders import ByteEncoder
from scaling.data.source import OpenSource
from scaling.errors import UserError


def library_files(root: Path) -> list[Path]:
    """Every *.py file below `root` that came with Python, tests included, in a fixed order.

    Left out: installed packages, links, and the `_sysconfigdata` files, which hold paths of the
    machine that built this Python and would make the corpus differ from one to the next.
    """
    found = []
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name not in ("site-packages", "dist-packages")]
        found += [
            Path(folder, name)
            for name in names
            if name.endswith(".py") and not name.startswith("_sysconfigdata")
        ]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


@dataclasses.dataclass(frozen=True)
class Stdlib:
    """Bytes of about 1,800 files and 30 MB (fewer where tests are packaged apart). No options.

    A file's path decides its split, so that it stays on its side from one Python to the next.
    Files that are not UTF-8 (a handful of encoding tests) are skipped with a warning.
    """

    def encoder(self) -> ByteEncoder:
        """What makes tokens of text."""
        return ByteEncoder()

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError where Python was installed without the source of its library."""
        root = Path(sysconfig.get_path("stdlib"))
        files = library_files(root)
        if not files:
            raise UserError(
                f"no *.py file in the standard library directory {str(root)!r}; "
                "use another Python, or data.name='text' with files of your own"
            )

        def documents() -> Iterator[Document]:
            for path in files:
                name = path.relative_to(root).as_posix()
                yield Document(name, path.read_bytes(), key=name)

        encoder = self.encoder()
        key = key_of_files(files, "stdlib", encoder.identity)
        return open_documents(
            data, encoder, lambda: build_corpus(cache, key, documents, encoder, skip=True)
        )
