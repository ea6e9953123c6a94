"""One command, `mmre`: it finds the sub-command, and keeps the manner of all of them.

A sub-command is a file of this folder with

- a docstring: the text of `mmre NAME --help`;
- `HELP`: its line in `mmre --help`;
- `add_arguments(parser)`: its arguments, with `--long_names`, on a [`Parser`];
- `run(args) -> int`: do the work, print what is to be said, and return the exit status;
- if need be `STOPPED`: how to go on after Ctrl-C; and `further_options()`: names of options that its parser does not
  know and that are its business, in `args.rest`.

The exit status is 0 if all went well, 1 if the work failed or found what it looks for, 2 if the command line is wrong
(argparse's errors and [`UsageError`]): an unknown name, a value that cannot be right, a configuration that is not
there. It is 130 after Ctrl-C. `OSError`, `ValueError` and `ImportError` are shown as one line; any other exception is
a bug, with its traceback. A file imports what does its work inside `run`: help is shown without torch. Help is in
sentences, and an option says what it takes: FILE, FOLDER, N.
"""

import os
import pkgutil
import signal
import sys
from importlib import import_module

from .parser import Parser, UsageError, unknown

# Files of this folder that are no sub-commands.
SHARED = ("main", "parser")
COMMANDS = sorted(
    file.name for file in pkgutil.iter_modules(sys.modules[__package__].__path__) if file.name not in SHARED
)
STOPPED = "the same command starts over"


def main(words: list[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        words: the command line; that of this process by default.

    Returns:
        The exit status.
    """
    words = sys.argv[1:] if words is None else words
    if not words or words[0].startswith("-"):
        return _answer(words)
    name, *words = words
    if name not in COMMANDS:
        print(f"mmre: error: {unknown('command', name, COMMANDS)}", file=sys.stderr)
        return 2
    prog, stopped = f"mmre {name}", STOPPED
    try:
        command = import_module(f".{name}", __package__)
        stopped = getattr(command, "STOPPED", STOPPED)
        parser = Parser(prog=prog, description=command.__doc__)
        command.add_arguments(parser)
        status = command.run(parser.parse(words, getattr(command, "further_options", None)))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(f"\n{prog}: stopped; {stopped}", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # `mmre ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, ImportError) as error:
        is_of_the_system = isinstance(error, OSError) and error.filename is not None and error.strerror is not None
        text = f"{error.filename}: {error.strerror}" if is_of_the_system else error
        print(f"{prog}: error: {text}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _answer(words: list[str]) -> int:
    """Answer `mmre`, `mmre --help` and `mmre --version`."""
    width = max(map(len, COMMANDS), default=0)
    lines = [f"  {name:{width}}  {import_module(f'.{name}', __package__).HELP}" for name in COMMANDS]
    parser = Parser(
        prog="mmre",
        usage="mmre COMMAND ...",
        description="Multimodal relation extraction: the relation between two entities of a post with a picture.",
        epilog="\n".join(["commands:", *lines, "", "mmre COMMAND --help says what a command takes."]),
    )
    parser.parse(words)
    parser.print_help(sys.stderr)
    return 2


__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
