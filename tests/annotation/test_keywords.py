"""Keywords of posts."""

from picture_helpers import SPACY_MODEL, cached_load_spacy

from mmre.annotation.keywords import find_keywords


def test_keywords_are_entities_and_nouns_each_once():
    nlp = cached_load_spacy(SPACY_MODEL)
    text = "RT @user : Rafael Nadal &amp; his girlfriend walk a dog in # London 😍"
    assert find_keywords(nlp, text, ["@RafaelNadal", "# London", "rafael nadal"]) == [
        "RafaelNadal",
        "London",
        "rafael nadal",
        "girlfriend",
        "dog",
    ]
    assert find_keywords(nlp, "😂", ["😂", "@"]) == []
