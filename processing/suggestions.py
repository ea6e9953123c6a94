"""One wording for names that are not known: the nearest known name, or what is accepted."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

MOST_NAMES = 10
# Alphabets that share letters to the eye, by the first word of their letters' names in Unicode.
ALPHABETS = {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN"}


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
    folded = {looks(str(candidate)).casefold().lstrip("-"): candidate for candidate in known}
    nearest = difflib.get_close_matches(looks(str(name)).casefold().lstrip("-"), folded, n=1)
    if nearest:
        found = folded[nearest[0]]
        is_alike = looks(str(name)) == looks(str(found)) or len(alphabets(f"{name} {found}")) > 1
        show = ascii if is_alike else repr
        return f"unknown {kind} {show(name)}; did you mean {show(found)}?"
    names = [repr(candidate) for candidate in known[:MOST_NAMES]]
    if len(known) > MOST_NAMES:
        return f"unknown {kind} {name!r}; expected {', '.join(names)} or one of {len(known) - MOST_NAMES} more"
    if not known:
        return f"unknown {kind} {name!r}; none is accepted"
    return f"unknown {kind} {name!r}; expected {' or '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}"


def looks(name: str) -> str:
    """Return what is seen of a name: its compatibility form, with one kind of hyphen and single spaces."""
    characters = ((character, unicodedata.category(character)) for character in unicodedata.normalize("NFKC", name))
    return " ".join("".join("-" if kind == "Pd" else seen for seen, kind in characters if kind != "Cf").split())


def alphabets(name: str) -> set[str]:
    """Return which of the alphabets that share letters to the eye a name has letters of."""
    return ALPHABETS & {unicodedata.name(letter, "").split(" ")[0] for letter in name if letter.isalpha()}


def mixes_alphabets(name: str) -> bool:
    """Tell whether a word of a name has letters of two alphabets that share letters to the eye."""
    return any(len(alphabets(word)) > 1 for word in re.findall(r"[^\W\d_]+", name))


__all__ = ["alphabets", "looks", "mixes_alphabets", "unknown"]
