"""Spans counted in UTF-16, as JavaScript counts: each emoji before an entity moves the span by one."""

from collections.abc import Iterable

from transformers.utils import logging

from mmre.processing.utf16_spans import FIRST_OF_TWO, counted_in_utf16, cuts_word, from_utf16

from .checks import Problems, show, some
from .words import Span

logger = logging.get_logger(__name__)

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
            meant = counted_in_utf16(text, (start, end))
            if meant is not None and len(self.mended) < MOST_KEPT:
                self.mended.append((file, where, [start, end], list(meant), text[slice(*meant)]))
            shifted = from_utf16(text, start), from_utf16(text, end)
            is_whole = not (cuts_word(text, start) or cuts_word(text, end))
            would_be = None not in shifted and shifted[0] < shifted[1] and not any(cuts_word(text, s) for s in shifted)
            self.num_spoiled += shifted != (start, end) and is_whole and not would_be

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


__all__ = ["Utf16Spans"]
