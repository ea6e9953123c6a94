"""Keywords of posts: what a zero-shot detector looks for in their pictures."""

from collections.abc import Iterable
from typing import Any

from mmre.processing.spacy_entities import clean_post, find_nouns


def find_keywords(nlp: Any, text: str, names: Iterable[str]) -> list[str]:
    """Find what to look for in the picture of a post: the names of its entities and its nouns (FocalMRE, section 3.3).

    Args:
        nlp: a spaCy model, from [`load_spacy`].
        text: the text of the post.
        names: the names of its entities.

    Returns:
        The keywords, each once whatever its case: the entities, then the nouns in the order of the text.
    """
    keywords = {}
    for keyword in [*(clean_post(name)[0] for name in names), *find_nouns(nlp, text)]:
        keyword = " ".join(keyword.split())
        if any(character.isalnum() for character in keyword):
            keywords.setdefault(keyword.casefold(), keyword)
    return list(keywords.values())


__all__ = ["find_keywords"]
