"""Plain text: a file is a document, or several with a delimiter between them."""

import json
from collections.abc import Iterator

from scaling.data.documents import Document
from scaling.data.formats.detect import TextFile
from scaling.data.formats.field import find
from scaling.errors import UserError

_LONG = 1 << 20  # Bytes; a file this long with a delimiter asked for should have one.


def read(file: TextFile) -> Iterator[Document]:
    """Documents NAME, or NAME#0, NAME#1, ... Raises UserError when the file holds the JSON lines
    with the wanted field, which would be trained on as braces and quotes."""
    with file.text() as (head, stream):
        if file.options.format == "auto":
            _check_not_json(file, head)
        content = stream.read()
    delimiter = file.options.delimiter.encode()
    parts = content.split(delimiter) if delimiter else [content]
    if delimiter and len(parts) == 1 and len(content) > _LONG:
        file.tally.note = f"data.text.delimiter={file.options.delimiter!r} is nowhere in it"
    for i, part in enumerate(parts):
        yield Document(file.name if len(parts) == 1 else f"{file.name}#{i}", part, file=file.tally)


def _check_not_json(file: TextFile, head: bytes) -> None:
    if not head.lstrip().startswith(b"{"):
        return
    lines = [line for line in head.lstrip().split(b"\n", 2)[:2] if line.strip()]
    try:
        records = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return
    if not all(isinstance(record, dict) for record in records):
        return
    field = file.options.field
    if all(find(record, field)[0] for record in records):
        raise UserError(
            f"{str(file.path)!r} holds JSON lines with a field {field!r}, and its name does not "
            "say so; set data.text.format='json', or 'plain' to take it as text as it stands"
        )
    file.tally.note = "looks like JSON lines, read as plain text (data.text.format)"
