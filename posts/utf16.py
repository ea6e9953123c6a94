"""Report of the spans of a data set that seem to be counted in UTF-16, see `mmre.processing.utf16_spans`."""

from collections.abc import Iterable

from transformers.utils import logging

from mmre.processing.utf16_spans import FIRST_OF_TWO, cuts_word, whole_in_utf16
from mmre.processing.words import Span

from .checks import Problems, show, some

logger = logging.get_logger(__name__)

MOST_KEPT = 1000


class Utf16Spans:
    """Collects the spans that cut words as they are, and cut none if they were counted in UTF-16.

    Such spans lie in the text, so that nothing else would say that a model trains on the wrong words.
    """

    def __init__(self):
        self.mended, self.num_spoiled = [], 0

    def look_at(self, file: str, where: str, text: str, spans: Iterable[Span]) -> None:
        """Note the spans of a post that cut words, and count those that are right as they are.

        Args:
            file: where the post is from.
            where: the place of the post.
            text: its text.
            spans: spans of entities in characters, as they are given.
        """
        if max(text, default="") < FIRST_OF_TWO:
            return
        for span in spans:
            meant, cuts = whole_in_utf16(text, span), cuts_word(text, *span)
            if cuts and meant is not None and len(self.mended) < MOST_KEPT:
                self.mended.append((file, where, list(span), list(meant), text[slice(*meant)]))
            self.num_spoiled += not cuts and meant is None

    def report(self, problems: Problems) -> None:
        """Report the spans as problems; warn of them where the file also has spans that are right as they are."""
        if not self.num_spoiled:
            for file, where, span, shifted, name in self.mended:
                expected = f"Unicode code points: counted in UTF-16, as JavaScript does, {shifted} is {show(name)}"
                problems.add(file, where, "entities", f"{span} cuts a word", expected)
        elif self.mended:
            places = some(dict.fromkeys(where for _, where, *_ in self.mended))
            logger.warning(
                f"{len(self.mended)} spans cut words where they would not if they were counted in UTF-16, as "
                f"JavaScript does; others do not: {places}. Expected are Unicode code points."
            )


__all__ = ["Utf16Spans"]
