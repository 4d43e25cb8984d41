"""Keeps passwords, keys and tokens out of everything that is written or sent."""

import functools
import itertools
import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = {"secret", "password", "passwd", "passphrase", "passcode", "credential"}
_SECRET_WORDS |= {"credentials", "apikey"}
_SECRET_PAIRS = {"api key", "access key", "private key", "secret key", "account key"}
_HASH_WORDS = {"hash", "sha", "sha1", "commit", "digest", "fingerprint", "revision", "id", "git"}
_SECRET_VALUE = re.compile(
    r"""\b(?:
        sk-\w{16,} | sk-(?:proj|ant|or|svcacct|admin)-[\w-]{16,} | [srp]k_(?:live|test)_\w{16,}
        | hf_\w{20,} | gh[pousr]_\w{20,} | github_pat_\w{20,} | glpat-[\w-]{16,}
        | xox[abeprs]-[\w-]{10,} | hooks\.slack\.com/services/[\w/]+ | wandb_v1_\w{16,}
        | A[KS]IA[A-Z0-9]{16} | AIza[\w-]{30,} | ya29\.[\w-]{20,} | npm_\w{20,} | pypi-[\w-]{30,}
        | r8_\w{20,} | gsk_\w{20,} | xai-\w{20,} | dop_v1_\w{20,} | ATATT3[\w=-]{20,}
        | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+
    )
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----(?:[\s\S]*?-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|[\s\S]*)
    """,
    re.VERBOSE,
)
# Also how W&B keys looked for years; in a path it is a revision (of the Hugging Face cache).
_BARE_KEY = re.compile(r"(?<![\w/])[0-9a-f]{40}(?![\w/])")
_URL_LOGIN = re.compile(r"(\w+://)(?:[^/\s:@]*:[^/\s@]+|(?<=p://|s://)[^/\s:@]+)@")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.+/=-]{16,}")
# A name that may be a secret's, so that nothing else swallows what follows it.
_NAME = r"([\w.-]*(?:secret|passw|passphrase|passcode|credential|token|key)[\w.-]*)"
_SAID = re.compile(rf"""(?i){_NAME}(["']?\s*[=:]\s*)(?:(["'])([^"'\n]+)|([^\s"'&,;)\]}}]+))""")
_FLAG = re.compile(rf"""(?i)(--{_NAME[1:-1]})(\s+)(?:(["'])([^"'\n]+)|([^\s"'-][^\s"']*))""")
_SIGNED = re.compile(r"(?i)([?&](?:[\w-]*signature|sig|key|auth)=)[^&\s\"']+")
_CODE = re.compile(r"(?:str|int|bytes|bool|None|True|False|object|Any|\[redacted|.*[\[(])$")
_MAYBE = re.compile(r"[=:@]|\w{16}|xox|eyJ|-----|[\w-]{20}|--\w")


def redact(value: Any, key: str = "") -> Any:
    """A copy of JSON-like `value` with secrets replaced by REDACTED, in keys as well.

    A value is secret when its key says so (`api_key`, `hf_token`, `password`) or when it looks
    like one (known key formats, a login inside a URL, 40 hex digits under a key that is no hash);
    inside a text, what follows such a key does (`password=...`). Doing it twice changes nothing.
    """
    if isinstance(value, dict | Mapping):
        return _redact_mapping(value)
    if isinstance(value, list | tuple):
        return [redact(v, key) for v in value]
    return _redact_text(value, key) if isinstance(value, str) and value else value


@functools.lru_cache(maxsize=4096)  # the runs of a sweep say the same things
def _redact_text(value: str, key: str) -> str:
    words = _words(key)
    if _key_is_secret(words, value):
        return REDACTED
    if not _MAYBE.search(value):
        return value
    value = _SECRET_VALUE.sub(REDACTED, value)
    if not _HASH_WORDS & set(words):
        value = _BARE_KEY.sub(REDACTED, value)
    value = _BEARER.sub(rf"\1 {REDACTED}", value)
    value = _SIGNED.sub(rf"\1{REDACTED}", value)
    value = _FLAG.sub(_without_value, _SAID.sub(_without_value, value))
    return _URL_LOGIN.sub(rf"\1{REDACTED}@", value)


def _redact_mapping(value: Mapping[Any, Any]) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for key, inner in value.items():
        name = _redact_text(key, "id") if isinstance(key, str) and key else key
        while name in out:  # two secrets must not become one entry
            name = f"{name}'"
        out[name] = redact(inner, str(key))
    return out


def _without_value(match: re.Match) -> str:
    """`password=hunter2` without its end; code that only speaks of a password stays."""
    name, sign, quote = match[1], match[2], match[3] or ""
    said = match[4] or match[5]
    if not _key_is_secret(_words(name), said) or (not quote and _CODE.match(said)):
        return match[0]
    return f"{name}{sign}{quote}{REDACTED}"


def _words(key: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(key)]


def _key_is_secret(words: list[str], value: str) -> bool:
    if _SECRET_WORDS & set(words):
        return True
    if _SECRET_PAIRS & {" ".join(pair) for pair in itertools.pairwise(words)}:
        return True
    # "eos_token": "</s>" is a token of the other kind; those are short.
    return "token" in words and len(value) >= 12 and not any(c.isspace() for c in value)
