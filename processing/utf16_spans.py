"""Spans counted in UTF-16, as JavaScript counts: each emoji before an entity moves the span by one."""

FIRST_OF_TWO = 0x10000  # from this code point on, a character takes two units in UTF-16


def counted_in_utf16(text: str, span: tuple[int, int]) -> tuple[int, int] | None:
    """Return the span in code points that was meant, if it cuts a word as it is, and none counted in UTF-16.

    Args:
        text: the text.
        span: start and end of an entity, within the text.

    Returns:
        The span that was meant; None if the span is good as it is, or is no better in UTF-16.
    """
    if not text or max(text) < chr(FIRST_OF_TWO):
        return None
    shifted = from_utf16(text, span[0]), from_utf16(text, span[1])
    if shifted == tuple(span) or None in shifted or shifted[0] >= shifted[1]:
        return None
    cuts = any(cuts_word(text, edge) for edge in span)
    return shifted if cuts and not any(cuts_word(text, edge) for edge in shifted) else None


def from_utf16(text: str, position: int) -> int | None:
    """Turn a position counted in UTF-16 into one in code points; None within a character or past the end."""
    units = 0
    for index, character in enumerate(text):
        if units >= position:
            return index if units == position else None
        units += 2 if ord(character) >= FIRST_OF_TWO else 1
    return len(text) if units == position else None


def cuts_word(text: str, position: int) -> bool:
    """Tell whether letters or digits stand on both sides of a position."""
    return 0 < position < len(text) and text[position - 1].isalnum() and text[position].isalnum()
