"""Spans counted in UTF-16, as JavaScript counts: each emoji before an entity moves the span by one."""

from collections.abc import Iterable

from transformers.utils import logging

from .checks import Problems, show, some
from .words import Span

logger = logging.get_logger(__name__)

FIRST_OF_TWO = 0x10000  # from this code point on, a character takes two units in UTF-16
MOST_KEPT = 1000


class Utf16Spans:
    """Finds the spans that cut words where they would not if they were counted in UTF-16.

    Such spans lie in the text, so that nothing else would say that a model trains on the wrong words.
    """

    def __init__(self):
        self.mended, self.num_spoiled = [], 0

    def look_at(self, file: str, where: str, text: str, spans: Iterable[Span]) -> None:
        """Look at the spans of a post.

        Args:
            file: where the post is from.
            where: the place of the post.
            text: its text.
            spans: spans of entities in characters, as they are given.
        """
        if not text or max(text) < chr(FIRST_OF_TWO):
            return
        for start, end in spans:
            shifted = from_utf16(text, start), from_utf16(text, end)
            if shifted == (start, end):
                continue
            cuts = cuts_word(text, start) or cuts_word(text, end)
            is_good = None not in shifted and shifted[0] < shifted[1] and not any(cuts_word(text, s) for s in shifted)
            if cuts and is_good and len(self.mended) < MOST_KEPT:
                self.mended.append((file, where, [start, end], list(shifted), text[slice(*shifted)]))
            self.num_spoiled += not cuts and not is_good

    def report(self, problems: Problems) -> None:
        """Report the spans as problems; warn of them where the file also has spans that are right as they are."""
        if not self.num_spoiled:
            for file, where, span, shifted, name in self.mended:
                expected = f"Unicode code points: counted in UTF-16, as JavaScript does, {shifted} is {show(name)}"
                problems.add(file, where, "entities", f"{span} cuts a word", expected)
        elif self.mended:
            places = some(where for _, where, *_ in self.mended)
            logger.warning(
                f"{len(self.mended)} spans cut words where they would not if they were counted in UTF-16, as "
                f"JavaScript does; others do not: {places}. Expected are Unicode code points."
            )


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


__all__ = ["Utf16Spans"]
