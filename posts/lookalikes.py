"""Names that look the same and are not: composed and decomposed letters, characters that nobody sees."""

import os
import unicodedata

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


def has_invisible(name: str) -> bool:
    """Tell whether a name has characters that are not seen, or a space that is not the usual one."""
    categories = ((character, unicodedata.category(character)) for character in name)
    return any(
        kind in INVISIBLE or (kind == "Zs" and character != " ") or ord(character) in DRAWN_AS_NOTHING
        for character, kind in categories
    )


def path_on_disk(path: str) -> str:
    """Return the path of a file whose name is written with composed or decomposed letters, whichever is there.

    macOS and archives from there decompose what others compose.
    """
    if os.path.lexists(path):
        return path
    forms = (unicodedata.normalize(form, path) for form in ("NFC", "NFD"))
    return next((form for form in forms if os.path.lexists(form)), path)


__all__ = ["composed", "has_invisible", "path_on_disk"]
