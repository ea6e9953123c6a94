"""Names that look the same and are not: composed and decomposed letters, what nobody sees, letters of two alphabets."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from transformers.utils import logging

from mmre.processing.suggestions import looks, mixes_alphabets

logger = logging.get_logger(__name__)

# Marks and letters that are drawn as nothing: joiners, fillers, selectors of a variant.
DRAWN_AS_NOTHING = {
    0x034F,
    0x115F,
    0x1160,
    0x17B4,
    0x17B5,
    0x3164,
    0xFFA0,
    *range(0x180B, 0x1810),
    *range(0xFE00, 0xFE10),
}
DRAWN_AS_NOTHING |= {*range(0xE0100, 0xE01F0)}
# Format, control, line and paragraph separators, private and unassigned: nothing of them is seen in a name.
INVISIBLE = ("Cf", "Cc", "Zl", "Zp", "Co", "Cn")


def composed(name: str) -> str:
    """Return a name in the form in which each letter with its accents is one character where there is such (NFC)."""
    return unicodedata.normalize("NFC", name)


def one_form(relation: str) -> str:
    """Return the name of a relation as it is known behind the door: composed, with single spaces."""
    return re.sub(" +", " ", composed(relation))


def warn_of_alike(relations: Iterable[str]) -> None:
    """Warn of relations that may be one: names that look the same, and words with letters of two alphabets.

    Names of one other alphabet each, as a Cyrillic "сор" beside "cop", are not found: only a table of all letters that
    look the same would tell.

    Args:
        relations: different names.
    """
    groups = defaultdict(list)
    for name in relations:
        groups[looks(name)].append(name)
    clauses = [f"{' and '.join(map(ascii, names))} look the same" for names in groups.values() if len(names) > 1]
    mixed = (name for names in groups.values() for name in names if mixes_alphabets(name))
    clauses += [f"{ascii(name)} has letters of two alphabets in one word" for name in mixed]
    if clauses:
        logger.warning(f"Of the relations, {'; '.join(clauses)}. If one is meant, call it by one name.")


def has_invisible(name: str) -> bool:
    """Tell whether a name has characters that are not seen, or a space that is not the usual one."""
    return any(map(_is_invisible, name))


def _is_invisible(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in INVISIBLE or (kind == "Zs" and character != " ") or ord(character) in DRAWN_AS_NOTHING


def escaped(text: str) -> str:
    """Return a text on one line, with the code points of what is not seen of it."""
    return "".join(ascii(character)[1:-1] if _is_invisible(character) else character for character in text)


def path_on_disk(path: str) -> str:
    """Return the path of a file whose name is written with composed or decomposed letters, whichever is there.

    macOS and archives from there decompose what others compose.
    """
    if os.path.lexists(path):
        return path
    forms = (unicodedata.normalize(form, path) for form in ("NFC", "NFD"))
    return next((form for form in forms if os.path.lexists(form)), path)


__all__ = ["composed", "escaped", "has_invisible", "one_form", "path_on_disk", "warn_of_alike"]
