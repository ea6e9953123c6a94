"""One wording for names that are not known: the nearest known name, or what is accepted."""

import difflib
import unicodedata
from collections.abc import Iterable

MOST_NAMES = 10


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Describe a name that is not known, and suggest the nearest known one.

    Args:
        kind: the kind of thing that has the name: "field", "argument", "model_type".
        name: the name that was found.
        known: the names that are accepted, in the order in which they are to be shown.

    Returns:
        One clause without a full stop: "unknown field 'x'; did you mean 'y'?" if a known name is like `name`, else
        "unknown field 'x'; expected 'a', 'b' or 'c'", with the first ten of a long list. Names that look the same are
        shown by their code points.
    """
    known = list(known)
    # The dashes of options make no two of them alike.
    folded = {_looks(str(candidate)).casefold().lstrip("-"): candidate for candidate in known}
    nearest = difflib.get_close_matches(_looks(str(name)).casefold().lstrip("-"), folded, n=1)
    if nearest:
        found = folded[nearest[0]]
        show = ascii if _looks(str(name)) == _looks(str(found)) else repr
        return f"unknown {kind} {show(name)}; did you mean {show(found)}?"
    names = [repr(candidate) for candidate in known[:MOST_NAMES]]
    if len(known) > MOST_NAMES:
        return f"unknown {kind} {name!r}; expected {', '.join(names)} or one of {len(known) - MOST_NAMES} more"
    if not known:
        return f"unknown {kind} {name!r}; none is accepted"
    return f"unknown {kind} {name!r}; expected {' or '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}"


def _looks(name: str) -> str:
    """Return a name as people see it: compatible letters as one, no invisible characters."""
    name = unicodedata.normalize("NFKC", name)
    return "".join(character for character in name if unicodedata.category(character) != "Cf").strip()


__all__ = ["unknown"]
