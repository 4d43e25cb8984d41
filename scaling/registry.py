"""One small registry for everything that comes in kinds.

An entry is a name and where its implementation lives, as the string "module:attribute". Strings
keep start-up light (nothing is imported until it is asked for) and keep imports pointing
downwards: a table may name what lives above it, without importing it.
"""

import importlib
from collections.abc import Iterator
from typing import Any

from scaling.errors import unknown


class Registry:
    """Names -> lazily imported implementations. Duplicate and unknown names raise."""

    def __init__(self, kind: str, entries: dict[str, str] | None = None):
        self.kind = kind
        self._paths: dict[str, str] = {}
        for name, path in (entries or {}).items():
            self.add(name, path)

    def add(self, name: str, path: str) -> None:
        """Registers `name` at "module:attribute". Raises ValueError if the name is taken."""
        if name in self._paths:
            raise ValueError(f"{self.kind} {name!r} is already registered as {self._paths[name]}")
        module, sep, attribute = path.partition(":")
        if not (module and sep and attribute):
            raise ValueError(f"{self.kind} {name!r}: {path!r} is not of the form module:attribute")
        self._paths[name] = path

    def load(self, name: str) -> Any:
        """The implementation. Raises UserError naming the nearest known name."""
        if not isinstance(name, str) or name not in self._paths:
            raise unknown(self.kind, name, self._paths)
        module, _, attribute = self._paths[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def names(self) -> tuple[str, ...]:
        return tuple(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __contains__(self, name: str) -> bool:
        return name in self._paths
