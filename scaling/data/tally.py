"""What became of every file of a text corpus: kept, skipped, empty and repeated documents."""

import dataclasses
from collections.abc import Sequence

MOST_FILES = 50
"""Files that are listed one by one; all of them count in `by_format`."""
_MOST_NOTES = 5
_MANY = 0.05


@dataclasses.dataclass
class FileTally:
    """Counts of one file; `bytes` are those of the documents that are kept."""

    name: str
    format: str = ""
    documents: int = 0
    bytes: int = 0
    skipped: int = 0
    duplicates: int = 0
    empty: int = 0
    note: str = ""


def by_format(files: Sequence[FileTally]) -> dict[str, dict[str, int]]:
    """Sums over the files of each format."""
    out: dict[str, dict[str, int]] = {}
    for file in files:
        sums = out.setdefault(file.format, {"files": 0})
        sums["files"] += 1
        for name in ("documents", "bytes", "skipped", "duplicates", "empty"):
            sums[name] = sums.get(name, 0) + getattr(file, name)
    return out


def warnings_of(files: Sequence[FileTally]) -> list[str]:
    """Sentences for the record: files that gave nothing, many skipped documents, doubtful ones."""
    out = [f"{file.name}: {file.note}" for file in files if file.note]
    out += [
        f"{file.name}: all of its {file.skipped} documents were skipped"
        for file in files
        if file.skipped and not file.documents and not file.duplicates
    ]
    skipped, kept = (sum(getattr(f, name) for f in files) for name in ("skipped", "documents"))
    if skipped > _MANY * (skipped + kept):
        out.append(f"{skipped} of {skipped + kept} documents were skipped (data.text.on_bad)")
    more = len(out) - _MOST_NOTES
    return [*out[:_MOST_NOTES], *([f"and {more} more such notes"] if more > 0 else [])]
