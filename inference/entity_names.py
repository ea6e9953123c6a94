"""Names of entities: as they are shown, and as they are compared, so that "#Paris" and "paris" are one node."""

import html
import re
import unicodedata

# Before a word: "C#" keeps its mark.
MARK = re.compile(r"(?<!\w)[@#]\s?(?=\w)")


def graph_name(text: str) -> str:
    """Return the name of an entity as it is shown: without line breaks and HTML's `&amp;`."""
    return " ".join(html.unescape(text).split())


def node_name(text: str) -> str:
    """Return the name by which an entity is one node, whatever its case, white space, `@` and `#`.

    Letters are in their compatibility form (NFKC), so that "ﬁ" is "fi" and a full-width letter the usual one; what
    joins letters and is not seen goes.

    Args:
        text: what stands in the post.

    Returns:
        The name in small letters; never empty where `text` is not blank.
    """
    shown = unicodedata.normalize("NFKC", graph_name(text))
    seen = "".join(character for character in shown if unicodedata.category(character) != "Cf")
    # Twice: folding can leave what is composed otherwise ("İ").
    folded = unicodedata.normalize("NFKC", seen.casefold())
    return " ".join(MARK.sub("", folded).split()) or folded or graph_name(text)


__all__ = ["graph_name", "node_name"]
