"""The parser of all sub-commands: one line per error, nearest names, and arguments that a dataclass declares."""

import argparse
import dataclasses
import re
import runpy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
METAVARS = {int: "N", float: "NUMBER", str: "NAME", Path: "FILE"}
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


class UsageError(ValueError):
    """Raised by a sub-command whose arguments are wrong: exit status 2, where other errors end with 1."""


@contextmanager
def wrong_usage() -> Iterator[None]:
    """Turn a `ValueError` about the arguments of a sub-command into a [`UsageError`]."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Return what `mmre.processing.suggestions.unknown` says, read from its file.

    Importing the room would register its processors, which imports torch: seconds, to say that a word is misspelt.
    """
    file = Path(find_spec("mmre.processing").origin).with_name("suggestions.py")
    return runpy.run_path(str(file))["unknown"](kind, name, known)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of descriptions, and shows each default that says something."""

    def __init__(self, prog: str, **kwargs):
        super().__init__(prog, **{"max_help_position": 32} | kwargs)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if action.required or action.default is None or action.default is argparse.SUPPRESS:
            return text
        if action.const is not None and action.nargs == 0 or action.default in ([], (), "") or "efault" in text:
            return text
        return f"{text} (default: {show_default(action.default).replace('%', '%%')})"


def show_default(default: Any) -> str:
    """Return a default as it is typed."""
    if isinstance(default, bool):
        return str(default).lower()
    return " ".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)


class Parser(argparse.ArgumentParser):
    """argparse's parser with the manner of `mmre`: `--long_names` in full, and one line per error.

    `when_missing` holds, by the name of an argument that must be given, what to say beside where it is not.
    """

    def __init__(self, **kwargs):
        self.when_missing: dict[str, str] = {}
        super().__init__(**{"allow_abbrev": False, "formatter_class": HelpFormatter, "add_help": False} | kwargs)
        self.add_argument("-h", "--help", action="help", help="Show this help.")
        version = f"mmre {metadata.version('mmre')}"
        self.add_argument("--version", action="version", version=version, help="Show the version.")

    def error(self, message: str):
        """Print one line and exit with status 2."""
        what, _, names = message.partition(" are required: ")
        if what == "the following arguments":
            message = "; ".join(
                [message, *(self.when_missing[name] for name in names.split(", ") if name in self.when_missing)]
            )
        self.exit(2, f"{self.prog}: error: {message}\n")

    def parse(self, words: list[str], further_options: Callable[[], Iterable[str]] | None = None) -> argparse.Namespace:
        """Read a command line, and exit with status 2 if it is wrong.

        Unknown options are looked at first: a misspelt one may be the one that is then said to be missing.

        Args:
            words: the command line.
            further_options: of a command that takes options which its parser does not know, a function that lists
                them. These and their values are in `rest`.
        """
        own = [name for action in self._actions for name in action.option_strings]
        options = words[: words.index("--")] if "--" in words else words
        strange = [name for name in map(_option, options) if name and name not in own]
        if strange:
            known = [*own, *(further_options() if further_options else ())]
            for name in strange:
                if name not in known:
                    self.error(unknown("option", name, known))
        args, args.rest = self.parse_known_args(words)
        if args.rest and not further_options:
            self.error(f"unexpected {args.rest[0]!r}; see {self.prog} --help")
        return args

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[0] if action.option_strings else action.dest
            raise argparse.ArgumentError(None, unknown(name, value, map(str, action.choices)))


def _option(word: str) -> str | None:
    """Return the name of the option that a word of a command line is; none if it is a value."""
    found = re.fullmatch(r"(--?[A-Za-z][^\s=]*)(=.*)?", word, re.DOTALL)
    return found and found[1]


def add_dataclass(parser: argparse.ArgumentParser, cls: type, leave_out: Iterable[str] = ()) -> None:
    """Add one `--name` per field of a dataclass.

    Args:
        parser: the parser, or a group of it.
        cls: a dataclass whose fields are `bool`, `int`, `float`, `str`, `Path`, a `Literal`, or lists of them, or
            `None`, with `metadata={"help": ...}` and if need be `"choices"` and `"metavar"`.
        leave_out: names of fields to leave out.
    """
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if not field.init or field.name in leave_out:
            continue
        options = {"help": field.metadata.get("help", "").replace("%", "%%"), **_value(hints[field.name])}
        options |= {key: field.metadata[key] for key in ("choices", "metavar") if key in field.metadata}
        if field.default is not dataclasses.MISSING:
            options["default"] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            options["default"] = field.default_factory()
        else:
            options["required"] = True
        parser.add_argument(f"--{field.name}", **options)


def read_dataclass(cls: type[T], args: argparse.Namespace, **values: Any) -> T:
    """Return the dataclass of what was given on the command line.

    Args:
        cls: a dataclass that was given to [`add_dataclass`].
        args: the parsed command line.
        values: further values of fields, in place of the command line's.

    Raises:
        UsageError: if the dataclass refuses a value.
    """
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(cls) if f.init and hasattr(args, f.name)}
    with wrong_usage():
        return cls(**given | values)


def _value(hint: Any) -> dict[str, Any]:
    """Return the options of `add_argument` for a type."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = [kind for kind in get_args(hint) if kind is not type(None)]
    if get_origin(hint) in (list, tuple):
        return {"nargs": "+", **_value(get_args(hint)[0])}
    if get_origin(hint) is Literal:
        return {"type": str, "choices": get_args(hint)}
    if hint in METAVARS:
        return {"type": hint, "metavar": METAVARS[hint]}
    if hint is bool:
        return {"type": _read_bool, "nargs": "?", "const": True, "metavar": "true|false"}
    return {"type": hint}


def _read_bool(word: str) -> bool:
    if word.lower() not in TRUE + FALSE:
        raise argparse.ArgumentTypeError(f"{word!r}; expected true or false")
    return word.lower() in TRUE


__all__ = ["Parser", "UsageError", "add_dataclass", "read_dataclass", "unknown", "wrong_usage"]
