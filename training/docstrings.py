"""Arguments as the docstring of a class documents them: the help of a command without writing it twice."""

import inspect
import re

ARGUMENT = re.compile(r"^(\w+)(?: \([^)]*\)[^:]*)?: (.*)$")


def documented_arguments(cls: type) -> dict[str, str]:
    """Read the section `Args` of a class's docstring.

    Args:
        cls: a class; if its docstring has no such section, its nearest base with one is read.

    Returns:
        The text about each argument, in one line, in their order.
    """
    for base in cls.__mro__:
        lines = inspect.cleandoc(vars(base).get("__doc__") or "").splitlines()
        if "Args:" in lines:
            return _entries(lines[lines.index("Args:") + 1 :])
    return {}


def _entries(lines: list[str]) -> dict[str, str]:
    found, name = {}, None
    for line in lines:
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if text and not indent:
            break  # the next section
        entry = ARGUMENT.match(text) if indent == 4 else None
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif text and name:
            found[name] += f" {text}"
    return found


__all__ = ["documented_arguments"]
