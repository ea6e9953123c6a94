"""Conversion of spans counted in UTF-16, as JavaScript counts: each emoji before an entity moves the span by one."""

FIRST_OF_TWO = chr(0x10000)  # from this code point on, a character takes two units in UTF-16


def whole_in_utf16(text: str, span: tuple[int, int]) -> tuple[int, int] | None:
    """Return the span in code points if, counted in UTF-16, it lies in the text and cuts no word.

    Args:
        text: the text.
        span: start and end of an entity.
    """
    start, end = (from_utf16(text, edge) for edge in span)
    is_span = start is not None and end is not None and start < end
    return (start, end) if is_span and not cuts_word(text, start, end) else None


def counted_in_utf16(text: str, span: tuple[int, int]) -> tuple[int, int] | None:
    """Return the span in code points for one that cuts a word as it is, and cuts none if it was counted in UTF-16.

    Args:
        text: the text.
        span: start and end of an entity, within the text.

    Returns:
        The span that was meant; None if the span is good as it is, or is no better in UTF-16.
    """
    if max(text, default="") < FIRST_OF_TWO or not cuts_word(text, *span):
        return None
    return whole_in_utf16(text, span)


def from_utf16(text: str, position: int) -> int | None:
    """Turn a position counted in UTF-16 into one in code points; None within a character or past the end."""
    units = 0
    for index, character in enumerate(text):
        if units >= position:
            return index if units == position else None
        units += 2 if character >= FIRST_OF_TWO else 1
    return len(text) if units == position else None


def cuts_word(text: str, *edges: int) -> bool:
    """Tell whether letters or digits stand on both sides of one of these positions."""
    return any(0 < edge < len(text) and text[edge - 1].isalnum() and text[edge].isalnum() for edge in edges)
