"""The parser of every verb: one line for a complaint, whole and finite numbers, nothing twice."""

import argparse
import math
import os

from scaling.errors import UserError, shown, unknown

_MOST = 2**63 - 1


class Parser(argparse.ArgumentParser):
    """argparse as our verbs want it: epilogs as written, no abbreviations, the nearest name for an
    unknown option, and every complaint a UserError."""

    def __init__(self, prog: str, **settings):
        settings = {"formatter_class": argparse.RawDescriptionHelpFormatter} | settings
        super().__init__(prog=prog, **(settings | {"allow_abbrev": False}))
        for action in (None, "store"):
            self.register("action", action, _Once)
        self.register("type", int, _whole)
        self.register("type", float, _finite)

    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            known = [name for action in self._actions for name in action.option_strings]
            raise unknown("argument", rest[0].split("=")[0], known)
        return found

    def error(self, message: str):
        raise UserError(f"{message}; see `{self.prog} --help`")


class _Once(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        given = vars(namespace).setdefault("_given", {})
        if option_string and given.get(self.dest, values) != values:
            raise UserError(
                f"{option_string} is given twice, as {given[self.dest]} and as {values}"
            )
        given[self.dest] = values
        setattr(namespace, self.dest, values)


def _whole(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number") from None
    if abs(value) > _MOST:
        raise argparse.ArgumentTypeError(f"{shown(text)} is larger than any number here may be")
    return value


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a finite number")
    return value


def natural(text: str) -> int:
    """For `type=`: a whole number of 0 or more."""
    if (value := _whole(text)) < 0:
        raise argparse.ArgumentTypeError(f"{shown(text)} must not be negative")
    return value


def cores(text: str) -> set[int]:
    """For `type=`: numbers of CPU cores that this process may use, "0,1"."""
    here = os.sched_getaffinity(0)
    found = {natural(part) for part in text.split(",")}
    if not found <= here:
        there = ",".join(map(str, sorted(here)))
        raise argparse.ArgumentTypeError(f"{shown(text)}: the cores here are {there}")
    return found
