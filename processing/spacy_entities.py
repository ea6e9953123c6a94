"""Entities and nouns of posts, found by a spaCy model that is shown the post without Twitter's oddities."""

import html
import importlib
import os
import re
import unicodedata
from typing import Any

# The four types of MNRE's entities, by spaCy's labels (OntoNotes, and WikiNER's of the multilingual models). Labels
# that are not here are no entities: dates, times, amounts, numbers.
ENTITY_TYPES = {
    **dict.fromkeys(["PERSON", "PER"], "PER"),
    **dict.fromkeys(["ORG"], "ORG"),
    **dict.fromkeys(["GPE", "LOC", "FAC"], "LOC"),
    **dict.fromkeys(["NORP", "EVENT", "PRODUCT", "WORK_OF_ART", "LAW", "LANGUAGE", "MISC"], "MISC"),
}

# What may be needed of a spaCy model, by spaCy's name for it: what it is, and the part of a model that finds it.
NEEDS = {
    "POS": ("parts of speech", "a tagger"),
    "ENT_IOB": ("entities", "an entity recogniser"),
    "DEP": ("dependencies", "a parser"),
}

# Data sets come tokenised too: "RT @user _ :", "& amp ;" and "# New". A retweet is not a part of the sentence.
RETWEET = re.compile(r"(?:\s*(?:RT\s+)*RT\s*@\s?\w+(?: _)*\s*:?)+", re.ASCII | re.IGNORECASE)
ODDITY = re.compile(
    r"""(?P<link>(?:https?://|www\.|pic\.twitter\.com/|\bt\.co/)\S*)
    | (?P<entity>&\s?(?:amp\s?;)*(?:\#\d+|\#[xX][0-9a-fA-F]+|(?:amp|lt|gt|quot|apos|nbsp)|[A-Za-z]\w*(?=;))\s?;)
    | (?P<mark>(?<!\w)[@\#]\s?(?=\w))""",
    re.VERBOSE,
)
# What spaCy's entities and nouns have around them that does not belong to the name. A full stop does: "U.S."
TRIMMED = " \t\r\n\"'“”‘’,:;!?-–|/\\()[]<>*_~&"
NAME = re.compile(rf"[{re.escape(TRIMMED)}]*(?:(?:the|an?)\s+)?(.*?)(?:\s?['’]s)?[{re.escape(TRIMMED)}]*", re.I | re.S)


def load_spacy(name: str = "en_core_web_sm", needs: tuple[str, ...] = ("POS", "ENT_IOB")) -> Any:
    """Load a spaCy model that finds parts of speech and entities, or what else is needed.

    Args:
        name: an installed spaCy model, or the folder of one.
        needs: what it has to find, of `NEEDS`.

    Returns:
        The `spacy.Language`.

    Raises:
        ImportError: spaCy is not installed; the message has the command that installs it.
        OSError: the model is not installed, or cannot be read; the message has the command that installs it.
        ValueError: the model does not find what is needed.
    """
    try:
        # Not an import statement: transformers looks for those in files that come with a model, inside functions too,
        # and would refuse to load any model of this project where spaCy is not installed.
        spacy = importlib.import_module("spacy")
    except ModuleNotFoundError as error:
        if error.name != "spacy":
            raise
        what = " and ".join(NEEDS[need][0] for need in needs)
        raise ImportError(f'Finding {what} needs spaCy: pip install "mmre[spacy]"') from error
    try:
        nlp = spacy.load(name)
    except OSError as error:
        if os.path.isdir(name):
            raise OSError(f"The folder {name} holds no spaCy model that can be read: {error}") from error
        installed = ", ".join(spacy.util.get_installed_models()) or "none"
        raise OSError(
            f"The spaCy model {name!r} is not installed: python -m spacy download {name} "
            f"(or give `spacy_model`, the name of another one, installed are: {installed}; or the folder of one)"
        ) from error
    probe = nlp("Ann lives in Rome.")
    lacking = [need for need in needs if not probe.has_annotation(need)]
    if lacking:
        what, parts = (" and ".join(NEEDS[need][part] for need in lacking) for part in (0, 1))
        raise ValueError(
            f"The spaCy model {name!r} does not find {what}; use one with {parts}, as en_core_web_sm "
            f"(this one has: {', '.join(nlp.pipe_names) or 'nothing'})"
        )
    return nlp


def clean_post(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Take out of a post what a model for newspaper text stumbles over.

    `RT @user :` at the start, links and emoji go; `@` and `#` go, the words after them stay; HTML entities
    (`&amp;`, and `& amp ;` of tokenised text) become their characters.

    Args:
        text: the post.

    Returns:
        The cleaned text, and for each of its characters the start and end of what it stands for in `text`.
    """
    cleaned, spans = [], []

    def add(characters: str, start: int, end: int) -> None:
        cleaned.extend(characters)
        spans.extend([(start, end)] * len(characters))

    retweet = RETWEET.match(text)
    position = retweet.end() if retweet else 0
    while position < len(text):
        match = ODDITY.match(text, position)
        if match is None:
            character, end = text[position], position + 1
            category = unicodedata.category(character)
            if category in ("So", "Sk", "Cn", "Co", "Cs", "Cc") and character not in "^`":
                character = " "  # emoji, and what is no text at all
            elif category in ("Cf", "Me") or character == "\ufe0f":
                character = ""  # what joins and varies emoji
            add(character, position, end)
        else:
            end = match.end()
            if match.lastgroup == "link":
                add(" ", position, end)
            elif match.lastgroup == "entity":
                # Twice: posts that went through two programs say "&amp;amp;".
                add(html.unescape(html.unescape(match[0].replace(" ", ""))), position, end)
        position = end
    return "".join(cleaned), spans


def find_entities(nlp: Any, text: str) -> list[dict]:
    """Find the named entities of a post.

    Args:
        nlp: a spaCy model, from [`load_spacy`].
        text: the post as it is, Twitter's oddities included.

    Returns:
        A dictionary for each entity, in the order of the text: `start` and `end` (characters of `text`, end exclusive),
        `text` (what stands there) and `type` (`"PER"`, `"ORG"`, `"LOC"` or `"MISC"`). The `@` of a user's name belongs
        to it, the `#` of a hashtag does not, as in MNRE.
    """
    cleaned, spans = clean_post(text)
    entities = []
    for entity in nlp(cleaned).ents:
        if entity.label_ not in ENTITY_TYPES:
            continue
        name = NAME.fullmatch(entity.text)
        if not name[1]:
            continue
        first, last = entity.start_char + name.start(1), entity.start_char + name.end(1) - 1
        start, end = spans[first][0], spans[last][1]
        handle = re.search(r"@\s?$", text[:start])
        if handle:
            start = handle.start()
        entities.append({"start": start, "end": end, "text": text[start:end], "type": ENTITY_TYPES[entity.label_]})
    return entities


def find_nouns(nlp: Any, text: str) -> list[str]:
    """Find the nouns of a post, to look for them in its picture.

    Args:
        nlp: a spaCy model, from [`load_spacy`].
        text: the post as it is, Twitter's oddities included.

    Returns:
        The nouns in the order of the text, each once whatever its case. Proper nouns that follow each other directly
        are one: `"Rafael Nadal"`.
    """
    cleaned, spans = clean_post(text)
    runs, last_proper = [], None  # where the last word ends in the post, if it is a proper noun
    for token in nlp(cleaned):
        if token.is_space:
            continue
        start, end = spans[token.idx][0], spans[token.idx + len(token) - 1][1]
        if token.pos_ == "PROPN":
            # Not over an emoji, a link or the mark of a hashtag.
            if last_proper is not None and not text[last_proper:start].strip():
                runs[-1] += " " + token.text
            else:
                runs.append(token.text)
        elif token.pos_ == "NOUN":
            runs.append(token.text)
        last_proper = end if token.pos_ == "PROPN" else None
    nouns = {}
    for run in runs:
        noun = run.strip(TRIMMED)
        if sum(character.isalpha() for character in noun) > 1:
            nouns.setdefault(noun.casefold(), noun)
    return list(nouns.values())


__all__ = ["clean_post", "find_entities", "find_nouns", "load_spacy"]
