"""`--config=path.py[:variant]` and `--config.section.field=value`, through ml_collections."""

import argparse
import copy
import pathlib

import ml_collections
from absl import flags
from ml_collections import config_flags

from scaling.cli.config_file import load_config_file
from scaling.cli.parser import Parser
from scaling.config import RunConfig
from scaling.errors import UserError, unknown
from scaling.resolve import resolve

EXAMPLES = """\
  --config=configs/tiny.py            a file with get_config()
  --config=configs/tiny.py:small      its small variant
  --config.model.depth=4              any field, after --config
  --config.train.duration='2M tokens' units: steps tokens epochs tokens_per_param flops"""


def open_config(
    parser: Parser, argv: list[str]
) -> tuple[ml_collections.ConfigDict, argparse.Namespace]:
    """(the config, unchecked; the other arguments) of a command line. Prints --help and exits."""
    mine, rest = _split(argv)
    if {"-h", "--help"} & set(rest):
        parser.print_help()
        parser.exit()
    # The config first: a command line without one is told so before anything else.
    return _load(mine), parser.parse_args(rest)


def load_run_config(argv: list[str]) -> tuple[RunConfig, list[str]]:
    """Takes --config and its overrides out of `argv`.

    Returns the frozen config and the remaining arguments. Raises UserError when the file is
    missing or broken, a field is unknown (the nearest name is given) or a value has the wrong type.
    """
    loose, rest = load_config_dict(argv)
    return resolve(loose), rest


def load_config_dict(argv: list[str]):
    """Like `load_run_config`, before the config is checked: (ConfigDict, remaining arguments)."""
    mine, rest = _split(argv)
    return _load(mine), rest


def _load(mine: list[str]) -> ml_collections.ConfigDict:
    """The config of --config with its overrides. Raises UserError."""
    path = next((a.split("=", 1)[1] for a in mine if a.startswith("--config=")), None)
    if path is None:
        raise UserError("--config=FILE is missing; for example --config=configs/tiny.py")
    file = pathlib.Path(path.partition(":")[0])
    if not file.is_file():
        near = [str(p) for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise unknown("config file", str(file), near)
    errors = (flags.Error, AttributeError, KeyError, TypeError, ValueError)
    plain = load_config_file(file, path.partition(":")[2] if ":" in path else None)
    try:
        return _override(plain, mine)
    except errors as error:
        # What ml_collections says of a key that is not there may be no more than its name.
        for word in mine:
            _refuse_unknown_key(plain, word.split("=", 1)[0].split(".")[1:])
        raise UserError(f"--config={path}: {_words(error)}") from error


def _override(plain: ml_collections.ConfigDict, mine: list[str]) -> ml_collections.ConfigDict:
    """A copy of `plain` with the fields that the command line sets."""
    # absl registers the config under a flag name; a private FlagValues keeps calls independent.
    values, argv = flags.FlagValues(), ["scaling", *(a for a in mine if a[:9] != "--config=")]
    # Resolving references would lose the type of a field that is None, which a flag could then
    # not set.
    config_flags.DEFINE_config_dict(
        "config", copy.deepcopy(plain), flag_values=values, sys_argv=argv
    )
    values(argv)
    return values.config


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Arguments that belong to --config (joined with '='), and the others."""
    mine, rest = [], []
    words = iter(argv)
    for word in words:
        name = word.split("=", 1)[0]
        if name.startswith("-") and name.lstrip("-").split(".")[0] == "config":
            value = word.split("=", 1)[1] if "=" in word else next(words, "")
            mine.append(f"--{name.lstrip('-')}={value}")
        else:
            rest.append(word)
    return mine, rest


def _refuse_unknown_key(section: ml_collections.ConfigDict | None, keys: list[str]) -> None:
    for i, key in enumerate(keys):
        if not isinstance(section, ml_collections.ConfigDict):
            return
        if key not in section:
            raise unknown(
                "config key", ".".join(keys[: i + 1]), [".".join([*keys[:i], k]) for k in section]
            )
        section = section[key]


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
