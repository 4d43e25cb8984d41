"""A config file becomes a ConfigDict; whatever it does wrong is one line with its place."""

import importlib.util
import inspect
import os
import pathlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

import ml_collections

from scaling.errors import UserError


def load_config_file(file: pathlib.Path, variant: str | None) -> ml_collections.ConfigDict:
    """What `get_config(variant)` of the file returns; without a variant `get_config()`.

    Raises UserError, naming file, line and message, when the file cannot be loaded or raises.
    """
    before = list(sys.path)
    # Configs import from where you stand.
    sys.path.insert(0, os.getcwd())
    try:
        return _checked(file, _call(file, lambda: _run(file, variant)))
    finally:
        sys.path[:] = before


def _run(file: pathlib.Path, variant: str | None) -> Any:
    spec = importlib.util.spec_from_file_location("scaling_config", file)
    if spec is None:
        raise UserError("it is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    # By name, as dataclasses and pickles in it need; one run sees one config.
    sys.modules["scaling_config"] = module
    spec.loader.exec_module(module)
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise UserError("it has no function get_config(); a config file needs one")
    if variant is None:
        return get_config()
    if not inspect.signature(get_config).parameters:
        raise UserError(f"get_config() takes no variant; leave out ':{variant}'")
    return get_config(variant)


def _call(file: pathlib.Path, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except UserError as error:
        raise UserError(f"{_place(file, error)}: {error}") from error
    except SyntaxError as error:
        place = f"{error.filename or file}:{error.lineno or 1}"
        raise UserError(f"--config: {place}: {type(error).__name__}: {error.msg}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a config does not end the program
        said = " ".join(str(error).split())
        name = type(error).__name__
        raise UserError(f"{_place(file, error)}: {name}{said and ': '}{said}") from error


def _place(file: pathlib.Path, error: BaseException) -> str:
    """`--config: FILE:LINE`, the line of the file itself that led to the error."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f.lineno for f in frames if os.path.realpath(f.filename) == os.path.realpath(file)]
    return f"--config: {file}:{mine[-1]}" if mine else f"--config: {file}"


def _checked(file: pathlib.Path, found: Any) -> ml_collections.ConfigDict:
    if not isinstance(found, ml_collections.ConfigDict):
        raise UserError(
            f"--config: {file}: get_config() returned {type(found).__name__}, not a ConfigDict; "
            "start from scaling.resolve.default_config() and return it"
        )
    return found
