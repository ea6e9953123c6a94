"""The words of a prompt: what a chat model is asked about a post, and what it is shown before. Free of torch."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mmre.processing.words import Span

ANSWERS = ("letters", "likelihood", "generate")
# How chat templates say who speaks, where a tokenizer does not say it as a token of its own: ChatML, Llama 2 and 3,
# Gemma, Mistral, DeepSeek, GLM; and the places of pictures.
CONTROL = re.compile(
    r"<\|[^|<>\s]{1,60}\|?>|<[^|<>\s]{1,60}\|>|<｜[^｜<>]{1,60}｜>|</?s>|<(?:start|end)_of_(?:turn|image|audio)>"
    r"|\[/?INST\]|<</?SYS>>|\[/?(?:gMASK|IMG|IMG_BREAK|IMG_END|(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_[A-Z]+))\]"
    r"|</?(?:bos|eos|pad|unk|image|img|video|think|IMG_CONTEXT|image_soft_token|unused\d+)>"
)


class PromptPost(NamedTuple):
    """A post as a prompt shows it.

    Args:
        id: of the post.
        text: of the post.
        head, tail: spans in characters of the text.
        caption: of the picture; `None` if it has none.
        image: whatever [`~mmre.processing.picture_files.load_image`] reads; `None` for no picture.
        relation: id of the true relation; `None` if it is not known.
    """

    id: str
    text: str
    head: Span
    tail: Span
    caption: str | None = None
    image: Any = None
    relation: int | None = None


class Turn(NamedTuple):
    """Turn of one side, `"user"` or `"assistant"`: a text, with a picture before the text, or none."""

    role: str
    text: str
    image: Any = None


class Options(NamedTuple):
    """The relations that a model chooses from.

    Args:
        relations: their names, in the order of their ids.
        order: ids in the order in which they are listed.
        codes: the letters of the relations by id, if the answer is a letter.
        descriptions: a line about relations, by name.
    """

    relations: Sequence[str]
    order: Sequence[int]
    codes: Sequence[str] | None = None
    descriptions: Mapping[str, str] = {}  # noqa: RUF012, never changed

    def answer(self, relation: int) -> str:
        """Return how an assistant says a relation."""
        return self.relations[relation] if self.codes is None else self.codes[relation]

    def instruction(self) -> str:
        """Return what comes before the first post."""
        lines = [
            "Each message shows a post from social media and names two entities in it, the head and the tail. Which "
            "relation does the head have to the tail, by what the post says and shows? Choose one of these:"
        ]
        for relation in self.order:
            name = self.relations[relation]
            about = f": {one_line(self.descriptions[name])}" if self.descriptions.get(name) else ""
            lines.append(f"{'-' if self.codes is None else self.codes[relation] + '.'} {name}{about}")
        what = "the name of the relation, as it stands in the list," if self.codes is None else "the letter"
        return "\n".join([*lines, f"Answer with {what} and nothing else."])


def show_post(post: PromptPost, with_caption: bool) -> str:
    """Return what is said of a post; what it says itself stays on one line, so that it opens no line of its own."""
    lines = [f"Post: {one_line(post.text)}"]
    if with_caption and post.caption:
        lines.append(f"The picture shows: {one_line(post.caption)}")
    lines += [f"Head: {mention(post.text, post.head)}", f"Tail: {mention(post.text, post.tail)}"]
    return "\n".join(lines)


def mention(text: str, span: Span) -> str:
    """Return the name of an entity, and which mention it is where the text has several."""
    start, end = span
    name = text[start:end]
    starts = [place for place in range(len(text)) if text.startswith(name, place)]
    which = f" (mention {starts.index(start) + 1} of {len(starts)})" if len(starts) > 1 else ""
    return f'"{one_line(name)}"{which}'


def one_line(text: str) -> str:
    """Return a text with each run of white space and of control characters as one space."""
    return " ".join("".join(" " if has_control_characters(c) else c for c in text).split())


def has_control_characters(text: str) -> bool:
    """Return whether a text has a control character, or one that ends a line."""
    return any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text)


def make_turns(
    options: Options, demonstrations: Iterable[PromptPost], post: PromptPost, show_images: str = "none"
) -> list[Turn]:
    """Make the conversation that ends with the question about a post.

    Args:
        options: the relations to choose from, which the first message lists.
        demonstrations: posts with their relations: a question and an answer each.
        post: the post to ask about.
        show_images: `"all"` pictures, those of the `"post"` alone, or `"none"`. A caption stands where its picture is
            not shown.
    """
    turns = []
    for shown in (*demonstrations, post):
        has_image = shown.image is not None and (show_images == "all" or (show_images == "post" and shown is post))
        text = show_post(shown, with_caption=not has_image)
        text = text if turns else f"{options.instruction()}\n\n{text}"
        turns.append(Turn("user", text, shown.image if has_image else None))
        if shown is not post:
            turns.append(Turn("assistant", options.answer(shown.relation)))
    return turns


def disarm(text: str, tokens: re.Pattern | None = None) -> str:
    """Break each control token in a text by a space after its first character, so that it ends no turn.

    Args:
        text: what somebody else wrote.
        tokens: matches further control tokens, see [`control_tokens`].
    """
    for pattern in (CONTROL, tokens):
        while pattern is not None and pattern.search(text):
            text = pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
    return text


def control_tokens(tokens: Iterable[str]) -> re.Pattern | None:
    """Return what matches any of these tokens; `None` for none. A character alone is no control token."""
    tokens = sorted({token for token in tokens if len(token.strip()) > 1}, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, tokens))) if tokens else None


def parse_answer(text: str, relations: Sequence[str]) -> int | None:
    """Read a relation out of an answer.

    Args:
        text: what a model wrote.
        relations: the names of the relations, in the order of their ids.

    Returns:
        The id of the one relation that the answer is, or names, in upper or lower case; `None` if it names none, or
        several. What a model thinks aloud before, up to `</think>`, is no part of the answer.
    """
    plain = text.rpartition("</think>")[2].strip().strip("\"'`*.").strip().casefold()
    names = [name.casefold() for name in relations]
    if plain in names:
        return names.index(plain)
    # The longest first: a name may begin with another.
    found = set()
    for name in sorted(names, key=len, reverse=True):
        word = re.compile(rf"(?<![\w/]){re.escape(name)}(?![\w/])")
        if word.search(plain):
            found.add(names.index(name))
            plain = word.sub(" ", plain)
    return found.pop() if len(found) == 1 else None


__all__ = [
    "ANSWERS",
    "Options",
    "PromptPost",
    "Turn",
    "control_tokens",
    "disarm",
    "make_turns",
    "parse_answer",
]
