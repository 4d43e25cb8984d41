"""llm.c shards (also those of modded-nanogpt): 256 int32 of header, then uint16 or uint32 ids.

The header, little-endian: magic, version, number of tokens, zeros. Magic 20240520 with version 1 is
GPT-2's uint16, magic 20240801 with version 7 Llama 3's uint32.
"""

from pathlib import Path

import numpy as np

from scaling.data.containers.layout import Layout, check_size
from scaling.errors import UserError

_KINDS = {20240520: (1, "uint16"), 20240801: (7, "uint32")}
_OTHERS = {
    20240522: "an evaluation file (HellaSwag)",
    20240326: "a GPT-2 model",
    20240327: "a debug state",
    20240328: "a tokenizer",
}
_HEADER = 256 * 4


def layout(path: Path, head: bytes) -> Layout | None:
    """None without a magic (which as ids of GPT-2's vocabulary is impossible). Raises UserError for
    llm.c's other files, an unknown version, and a wrong count."""
    if len(head) < 12:
        return None
    magic, version, count = (int(x) for x in np.frombuffer(head, "<i4", 3))
    if magic not in _KINDS | _OTHERS:
        return None
    if magic in _OTHERS:
        raise UserError(f"{str(path)!r} is {_OTHERS[magic]} of llm.c, not a file of tokens")
    known, dtype = _KINDS[magic]
    if version != known:
        raise UserError(
            f"{str(path)!r}: an llm.c header of magic {magic} and version {version}; this reader "
            f"knows version {known} of it"
        )
    if path.stat().st_size < _HEADER or count < 0:
        raise UserError(f"{str(path)!r}: the llm.c header is broken (count {count})")
    out = Layout("llm.c", dtype, count, _HEADER)
    check_size(path, out, "its llm.c header")
    return out
