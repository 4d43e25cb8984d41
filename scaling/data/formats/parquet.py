"""Parquet: a row is a document, its text a column (or a field of one)."""

from collections.abc import Iterator
from typing import Any

from scaling.data.compression import check_expansion
from scaling.data.documents import Document
from scaling.data.formats.detect import TextFile
from scaling.data.formats.field import document_of
from scaling.errors import UserError, unknown

_ROWS = 1024


def read(file: TextFile) -> Iterator[Document]:
    """Documents NAME:ROW, rows from 1. Raises UserError without pyarrow, for a file that it cannot
    read, and for a column that is not there."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(
            f"{str(file.path)!r} is a Parquet file: pip install 'scaling[data]' to read it, or "
            "export it to JSONL"
        ) from error
    field = file.options.field
    try:
        with pq.ParquetFile(file.path) as table:
            column = _column(field, table.schema_arrow.names, file)
            check_expansion(file.path, _n_bytes(table, column))
            n = 0
            for batch in table.iter_batches(_ROWS, columns=[column]):
                for value in batch.column(0).to_pylist():
                    n += 1
                    yield document_of({column: value}, f"{file.name}:{n}", field, file.tally)
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"cannot read {str(file.path)!r} as Parquet: {text}") from error


def _column(field: str, names: list[str], file: TextFile) -> str:
    """A column of this very name comes before the path into one."""
    for name in (field, field.split(".")[0]):
        if name in names:
            if names.count(name) > 1:
                raise UserError(f"{str(file.path)!r} has {names.count(name)} columns {name!r}")
            return name
    raise unknown(f"data.text.field in {file.name}:", field, names)


def _n_bytes(table: Any, column: str) -> int:
    """What the column takes in memory, by the file's own account."""
    groups = [table.metadata.row_group(i) for i in range(table.num_row_groups)]
    chunks = (group.column(i) for group in groups for i in range(group.num_columns))
    return sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.startswith(column))
