"""Text to tokens: bytes as they are, or a Hugging Face `tokenizers` JSON file."""

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scaling.errors import UserError, unknown

NEW, NONE = "new", "none"
"""Values of `data.text.separator` that are no token."""
Encoded = tuple[np.ndarray, np.ndarray | None]
"""(token ids, bytes of text behind each), both (n,); the second is None for bytes."""


class Encoder(Protocol):
    """separator: the token put before every document, or None. identity: what the tokens depend
    on."""

    vocab_size: int
    separator: int | None
    dtype: str
    has_widths: bool
    identity: str

    def fault(self, data: bytes) -> str | None:
        """Why this document cannot be encoded, or None."""
        ...

    def encode(self, texts: list[bytes]) -> list[Encoded]: ...

    def decode(self, ids: np.ndarray) -> str: ...


def utf8_fault(data: bytes) -> str | None:
    """Where `data` stops being UTF-8, or None."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"not UTF-8 at byte {error.start} (0x{data[error.start]:02x})"
    return None


class ByteEncoder:
    """A token is a byte; byte 0, which text does not contain, separates documents."""

    vocab_size = 256
    separator = 0
    dtype = "uint8"
    has_widths = False
    identity = "bytes"

    def fault(self, data: bytes) -> str | None:
        if (at := data.find(0)) >= 0:
            return f"NUL at byte {at}; that byte separates documents"
        return utf8_fault(data)

    def encode(self, texts: list[bytes]) -> list[Encoded]:
        return [(np.frombuffer(text, np.uint8), None) for text in texts]

    def decode(self, ids: np.ndarray) -> str:
        return ids.astype(np.uint8).tobytes().decode("utf-8", "replace")


class TokenizerEncoder:
    """The ids of a tokenizer file, and what stands before every document.

    separator: NEW for one id more than the tokenizer has, the largest; NONE; or one of the
    tokenizer's own tokens, which then means nothing else (text that spells it is encoded as text).
    """

    has_widths = True

    def __init__(self, path: Path, separator: str = NEW):
        """Raises UserError when the file is not a tokenizer, has no such token, or the library is
        missing."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise UserError(
                "data.text.tokenizer needs the tokenizers library: pip install 'scaling[data]'"
            ) from error
        text = path.read_bytes()
        try:
            self._tokenizer: Any = Tokenizer.from_str(text.decode())
        except Exception as error:  # The library raises bare Exception for any broken file.
            raise UserError(
                f"data.text.tokenizer={str(path)!r} is not a tokenizers JSON file: "
                f"{' '.join(str(error).split())}"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        self.identity = hashlib.sha256(text).hexdigest()
        if separator == NEW:
            self.separator = self.vocab_size
            self.vocab_size += 1
        else:
            self.identity += f" {separator}"
            self._tokenizer.encode_special_tokens = True
            if separator != NONE and separator not in vocabulary:
                raise unknown("data.text.separator", separator, [NEW, NONE, *vocabulary])
            self.separator = vocabulary.get(separator) if separator != NONE else None
        self.dtype = "uint16" if self.vocab_size <= 2**16 else "uint32"

    def fault(self, data: bytes) -> str | None:
        return utf8_fault(data)

    def encode(self, texts: list[bytes]) -> list[Encoded]:
        strings = [text.decode() for text in texts]
        encodings = self._tokenizer.encode_batch(strings, add_special_tokens=False)
        return [
            (np.array(encoding.ids, np.int64), _widths(string, encoding.offsets))
            for string, encoding in zip(strings, encodings, strict=True)
        ]

    def decode(self, ids: np.ndarray) -> str:
        if self.separator is None:
            return self._tokenizer.decode(ids.tolist(), skip_special_tokens=False)
        pieces = np.split(ids, np.flatnonzero(ids == self.separator))
        texts = [p[p != self.separator].tolist() for p in pieces]
        return "\0".join(self._tokenizer.decode(t, skip_special_tokens=False) for t in texts)


def _widths(text: str, offsets: list[tuple[int, int]]) -> np.ndarray:
    """Bytes from each token's first character to the next token's; together all of the text.

    Characters that no token covers (stripped spaces) count with the token before them, so the sum
    is exact even where the tokenizer drops text.
    """
    if not offsets:
        return np.zeros(0, np.int64)
    code = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    size = 1 + (code >= 0x80).astype(np.int64) + (code >= 0x800) + (code >= 0x10000)
    byte_of_character = np.concatenate([[0], np.cumsum(size)])
    begins = np.array([first for first, _ in offsets], np.int64)
    begins[0] = 0
    edges = np.append(np.maximum.accumulate(begins), len(text))
    return np.diff(byte_of_character[edges])
