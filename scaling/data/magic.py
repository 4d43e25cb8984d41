"""Binary formats that are no text and no tokens, known by their first bytes, and what to do."""

_UNPACK = "unpack it first"
# Magics that are text themselves stand with enough of what follows them to be no accident.
_AT_START = (
    (b"PK\x03\x04", "a zip archive (.npz files and torch checkpoints are such)", _UNPACK),
    (b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (b"%PDF-", "a PDF", "export its text"),
    (b"PAR1", "a Parquet file", "read it with data.name='text', or export it"),
    (b"ARROW1\0\0", "an Arrow file", "write it as Parquet or JSONL"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "export the array with numpy.save, or text as JSONL"),
    (b"\x93NUMPY", "a NumPy array (.npy)", "read it with data.name='tokens'"),
    (b"MMIDIDX\0\0", "a Megatron index", "name the .bin file beside it"),
    (b"TNTIDX\0\0", "a Megatron index of the old kind", "convert it to the MMIDIDX format"),
    (b"LITPKDS", "a lit-gpt packed file", "read it with data.name='tokens'"),
    (b"Obj\x01", "an Avro file", "write it as JSONL"),
    (b"ORC\x0a\x03", "an ORC file", "write it as Parquet"),
    (b"SQLite format 3\0", "an SQLite database", "export it as JSONL"),
    (b"GGUF", "a GGUF model", "name a data file"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "decompress it first"),
    (b"\xfd7zXZ\0", "xz-compressed", "decompress it first"),
    (b"\x04\x22\x4d\x18", "lz4-compressed", "decompress it first"),
    (b"\xff\x06\0\0sNaPpY", "snappy-compressed", "decompress it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "name a data file"),
    (b"\xff\xd8\xff", "a JPEG image", "name a data file"),
    (b"\x7fELF", "a program", "name a data file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office file", "export its text"),
    (b"{\\rtf1", "a Rich Text file", "export its text"),
)
_PICKLE_OPCODES = {bytes([code]) for code in b"}](cXK\x8aMJN\x8c\x95"}


def binary_kind(head: bytes, last: bytes = b"") -> tuple[str, str] | None:
    """(what a file is, what to do) for the known binary formats, or None.

    head: the first 512 bytes or so; last: the final byte, where the caller has it.
    """
    for magic, name, remedy in _AT_START:
        if head.startswith(magic):
            return name, remedy
    if _is_gzip(head):
        return "gzip-compressed", "decompress it first"
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "bzip2-compressed", "decompress it first"
    if head[:4] == b"\xff\xff\xff\xff" and head[7:12] == b"\0\x10\0\0\0":
        return "an Arrow stream (a Hugging Face data set)", "write it as Parquet or JSONL"
    if head[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    if head[8:10] == b'{"' and 2 <= int.from_bytes(head[:8], "little") < 1 << 28:
        return "a safetensors file", "name a data file"
    if _is_pickle(head, last):
        return "a Python pickle (torch.save writes such)", (
            "pickles can run code and are never read; save ids with numpy.save, text as JSONL"
        )
    return None


def _is_pickle(head: bytes, last: bytes) -> bool:
    """Protocol 2 to 5, then an opcode; STOP at the end."""
    protocol = head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")
    return protocol and head[2:3] in _PICKLE_OPCODES and last in (b"", b".")


def _is_gzip(head: bytes) -> bool:
    """Method deflate, no reserved flag, known level and system: 40 bits, not only the first 16."""
    return (
        head.startswith(b"\x1f\x8b\x08")
        and len(head) >= 10
        and head[3] < 0x20
        and head[8] in (0, 2, 4)
        and (head[9] <= 13 or head[9] == 255)
    )


def looks_like_text(head: bytes) -> bool:
    """Whether 64 bytes or more are UTF-8 without control characters: ids are never so tidy."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False  # Not just a character cut at the end.
        text = head[: error.start].decode("utf-8")
    return len(head) >= 64 and all(c.isprintable() or c in "\t\n\r\f" for c in text)
