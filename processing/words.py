"""Words to text: a post is a text with two character spans, whoever gives it."""

from collections.abc import Iterable, Sequence

Span = tuple[int, int]


def join_words(words: Sequence[str], spans: Iterable[Span]) -> tuple[str, list[Span]]:
    """Join words by single spaces, and turn spans of words into spans of characters.

    Args:
        words: the words of a post.
        spans: start and end in words, end exclusive.

    Returns:
        The text, and each span in characters of the text.
    """
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    return " ".join(words), [(starts[start], starts[end] - 1) for start, end in spans]


__all__ = ["Span", "join_words"]
