"""A chat model as a classifier of relations: asked in words, with few examples or none, and never trained."""

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from transformers.utils import logging

from mmre.posts.schema import NEGATIVE_RELATION
from mmre.processing import find_entities, load_spacy
from mmre.processing.picture_files import load_image
from mmre.processing.suggestions import unknown

from .chat_models import ChatModel
from .chat_posts import check_named_relations, read_example, read_post
from .chat_servers import ChatServer, PromptTooLongError
from .demonstrations import Demonstrations
from .prompts import ANSWERS, Options, PromptPost, Turn, make_turns, parse_answer
from .shared_prefixes import EncodedPrompts

logger = logging.get_logger(__name__)

# Beyond the longest name of a relation: quotes, a full stop, the end of the turn.
FURTHER_TOKENS = 8
# Of a server the tokenizer is not known: at least so many, and no token is shorter than a byte.
SERVER_ANSWER_TOKENS = 32
SHOW_IMAGES = ("all", "post", "none")
CHARACTERS_AT_ONCE = 0.9


class Answer(NamedTuple):
    """Answer about a post.

    Args:
        probabilities: of each relation, (R,); 1 for the one that the answer names where the way gives none, all 0 if it
            names none.
        text: what the model wrote, or the letter or the name of the most probable relation.
        demonstrations: ids of the posts that it was shown before, in their order.
        left_out: how many demonstrations did not fit.
        is_cut: whether the post itself did not fit.
        prompt_tokens, answer_tokens: their numbers.
    """

    probabilities: list[float]
    text: str
    demonstrations: list[str]
    left_out: int
    is_cut: bool
    prompt_tokens: int
    answer_tokens: int


class InContextRelationClassifier:
    """Asks a chat model for the relations of posts.

    Args:
        chat: the model, here or behind a server.
        relations: names, in the order of their ids. One is `"None"`, no relation.
        demonstrations: draws the posts that are shown before; none by default.
        answer: `"letters"`: the options are lettered, and one forward pass reads the letters' probabilities;
            `"likelihood"`: of each relation's name as the answer; `"generate"`: the model writes, and what it writes is
            read. The first of a model here by default; a server only writes.
        seed: of the order in which the relations are listed: models prefer some letters.
        descriptions: a line about relations, by name.
        show_images: `"all"` pictures, those of the `"post"` asked about, or `"none"`.
        max_tokens: most tokens of a prompt; what the model reads by default.
        spacy_model: finds the entities of posts that name none.

    Raises:
        ValueError: an argument is unknown, or the model cannot do what is asked of it.

    Example:

    ```python
    >>> extract = InContextRelationClassifier.from_pretrained("chat-model", relations=["None", "couple", "lives in"])
    >>> extract({"text": "Rafael Nadal weds Mery Perello", "head": (0, 12), "tail": (18, 30)})
    [{'label': 'couple', 'score': 0.97}]
    ```
    """

    def __init__(
        self,
        chat: ChatModel | ChatServer,
        relations: Sequence[str],
        demonstrations: Demonstrations | None = None,
        answer: str | None = None,
        seed: int = 42,
        descriptions: Mapping[str, str] | None = None,
        show_images: str = "none",
        max_tokens: int | None = None,
        spacy_model: str = "en_core_web_sm",
    ):
        is_server = isinstance(chat, ChatServer)
        answer = answer or ("generate" if is_server else "letters")
        if answer not in ANSWERS:
            raise ValueError(unknown("answer", answer, ANSWERS))
        if is_server and answer != "generate":
            raise ValueError(f"answer {answer!r}: servers do not tell probabilities alike; expected 'generate'")
        if show_images not in SHOW_IMAGES:
            raise ValueError(unknown("show_images", show_images, SHOW_IMAGES))
        if show_images != "none" and not chat.reads_pictures:
            raise ValueError(f"{chat.name} reads no pictures: give captions in their place, or a model that does")
        check_named_relations(relations, descriptions or {})
        self.chat, self.answer_by, self.demonstrations = chat, answer, demonstrations
        self.show_images, self.spacy_model, self._nlp = show_images, spacy_model, None
        order = random.Random(seed).sample(range(len(relations)), len(relations))
        codes, self.letters = None, {}
        if answer == "letters":
            self.letters = chat.choose_letters(len(relations))
            codes = [code for _, code in sorted(zip(order, self.letters))]
        self.options = Options(list(relations), order, codes, dict(descriptions or {}))
        if is_server:
            longest = max(len(name.encode()) for name in relations)
            self.answer_tokens = max(SERVER_ANSWER_TOKENS, longest + FURTHER_TOKENS)
        else:
            longest = max(len(chat.continuation(self.options.answer(id))) for id in order)
            self.answer_tokens = 1 if answer == "letters" else longest + FURTHER_TOKENS
        limits = [limit for limit in (chat.max_tokens, max_tokens) if limit is not None]
        self.max_tokens = min(limits) - self.answer_tokens if limits else None

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        relations: Sequence[str],
        examples: Iterable[Mapping[str, Any]] = (),
        *,
        shots: int | None = None,
        stratified: bool = False,
        answer: str | None = None,
        seed: int = 42,
        descriptions: Mapping[str, str] | None = None,
        show_images: str | None = None,
        revision: str | None = None,
        dtype: str = "auto",
        base_url: str | None = None,
        spacy_model: str = "en_core_web_sm",
    ) -> "InContextRelationClassifier":
        """Make a classifier of a chat model.

        Args:
            name: folder of a chat model, or its name on the Hub or on the server.
            relations: names; `"None"` is put first if it is not among them.
            examples: posts as [`__call__`] takes them, each with one pair and the name of its `relation`.
            shots: how many examples are shown before a post, drawn once; by default all that have another text and
                another picture than the post.
            stratified: show each relation equally often.
            show_images: as of the class; `"all"` of a model here that reads pictures by default.
            answer, seed, descriptions, spacy_model: as of the class.
            revision, dtype: as of [`ChatModel.from_pretrained`].
            base_url: of a server of OpenAI's protocol that has the model, in place of this machine.

        Raises:
            OSError: the model is not there.
            ValueError: it is no chat model, or a relation or an example is wrong.
        """
        if not isinstance(relations, str):
            relations = [*([] if NEGATIVE_RELATION in relations else [NEGATIVE_RELATION]), *relations]
        check_named_relations(relations, descriptions or {})
        if isinstance(examples, Mapping):
            raise ValueError("examples: one post; expected a list of posts")
        posts = [read_example(example, f"examples[{number}]", relations) for number, example in enumerate(examples)]
        keys = [post.image if isinstance(post.image, str) else None for post in posts]
        demonstrations = Demonstrations(posts, keys, shots, seed, stratified)
        if base_url is None:
            chat = ChatModel.from_pretrained(name, revision, dtype)
            show_images = show_images or ("all" if chat.reads_pictures else "none")
        else:
            chat, show_images = ChatServer(str(name), base_url, seed=seed), show_images or "none"
        return cls(chat, relations, demonstrations, answer, seed, descriptions, show_images, spacy_model=spacy_model)

    @property
    def device(self) -> Any:
        """Return the device of a model here."""
        return self.chat.device

    def __call__(
        self, posts: Mapping[str, Any] | Iterable[Mapping[str, Any]], batch_size: int = 8, top_k: int = 1
    ) -> list[dict] | list[list[dict]] | Iterator[list[dict]]:
        """Predict the relations of a post, of a list of posts, or of a stream of them.

        Args:
            posts: as the pipeline takes them: `text` or `tokens`; `head` and `tail`, or `pairs` of them, or neither:
                then spaCy finds the entities; `image`, which is no address, and `caption` if there are any.
            batch_size: how many posts are read, and pairs of entities asked about, at once.
            top_k: how many relations of a pair are returned, the most probable first; of a generated answer only one.

        Returns:
            As the pipeline: for a post with `head` and `tail` a list of dictionaries with `label` and `score`; for
            another these of each pair, with `head` and `tail` too; for a stream an iterator. The score of a generated
            answer is 1; `label` is `None` and the score 0 where it names no relation.

        Raises:
            ValueError: a post is wrong.
            ImportError, OSError: spaCy or its model is needed and not installed.
        """
        for name, value in (("batch_size", batch_size), ("top_k", top_k)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` is {value!r}; expected a number, at least 1")
        if isinstance(posts, Mapping):
            return self._predict([posts], 0, batch_size, top_k)[0]
        if isinstance(posts, (str, bytes)) or not isinstance(posts, Iterable):
            raise ValueError(f"a post is a dictionary with `text`, `head` and `tail`, got {posts!r}")
        found = self._stream(iter(posts), batch_size, top_k)
        return list(found) if isinstance(posts, (list, tuple)) else found

    def _stream(self, posts: Iterator[Mapping], batch_size: int, top_k: int) -> Iterator[list[dict]]:
        first = 0
        while batch := list(islice(posts, batch_size)):
            yield from self._predict(batch, first, batch_size, top_k)
            first += len(batch)

    def _find_entities(self, text: str) -> list[dict]:
        if self._nlp is None:
            self._nlp = load_spacy(self.spacy_model)
        return find_entities(self._nlp, text)

    def _predict(self, posts: Sequence[Mapping], first: int, batch_size: int, top_k: int) -> list[list[dict]]:
        """Predict the relations of posts, of which the first has this number in its stream."""
        asked, results = [], [[] for _ in posts]
        for index, post in enumerate(posts):
            pairs = read_post(post, f"post {first + index}", self._find_entities, self.show_images != "none")
            asked += [(index, *pair) for pair in pairs]
        for start in range(0, len(asked), batch_size):
            batch = asked[start : start + batch_size]
            answers = self.answer([post for *_, post in batch])
            for (index, entities, _), answer in zip(batch, answers):
                order = np.argsort(-np.array(answer.probabilities), kind="stable")[:top_k].tolist()
                found = [(self.options.relations[id], answer.probabilities[id]) for id in order]
                found = [(label, score) for label, score in found if score] or [(None, 0.0)]
                results[index] += [entities | {"label": label, "score": score} for label, score in found]
        return results

    def answer(self, posts: Sequence[PromptPost], picture_keys: Sequence[str | None] | None = None) -> list[Answer]:
        """Ask about a batch of posts.

        Args:
            posts: the posts.
            picture_keys: what their pictures are known by, so that no demonstration has one of them.

        Raises:
            OSError: a picture, or the server, is not there.
            ValueError: a picture cannot be read, or a post is too long without its demonstrations.
        """
        keys = picture_keys or [post.image if isinstance(post.image, str) else None for post in posts]
        pool = self.demonstrations
        drawn = [pool.draw(post, key) if pool else [] for post, key in zip(posts, keys)]
        prompts = [self.fit(post, shown) for post, shown in zip(posts, drawn)]
        if isinstance(self.chat, ChatServer):
            return self._ask_server(posts, prompts, drawn)
        answers = [None] * len(posts)
        groups = {}  # of the same demonstrations; and processors take no batch in which only some have pictures
        for index, (_, shown, turns) in enumerate(prompts):
            pictures = sum(turn.image is not None for turn in turns)
            groups.setdefault((pictures, *map(id, shown)), []).append(index)
        for group in groups.values():
            _, shown, turns = prompts[group[0]]
            probes = tuple(self._probe(shown, text, image) for text, image in (("0", None), ("x", turns[-1].image)))
            batch = self.chat.encode([prompts[index][2] for index in group], probes)
            for index, length, found in zip(group, batch.lengths(), self._ask(batch)):
                post, shown, _ = prompts[index]
                probabilities, text, written = found
                answers[index] = Answer(
                    probabilities,
                    text,
                    [demonstration.id for demonstration in shown],
                    len(drawn[index]) - len(shown),
                    is_shorter(post, posts[index]),
                    length,
                    written,
                )
        return answers

    def _probe(self, shown: Sequence[PromptPost], text: str, image: Any) -> list[Turn]:
        """Make a conversation that differs from those about posts after their demonstrations alone."""
        return make_turns(self.options, shown, PromptPost("", text, (0, 1), (0, 1), None, image), self.show_images)

    def _ask(self, batch: EncodedPrompts) -> list[tuple[list[float], str, int]]:
        """Return the probabilities, the answer and its number of tokens of each prompt of a batch."""
        relations, options = self.options.relations, self.options
        if self.answer_by == "generate":
            written = self.chat.generate(batch, self.answer_tokens)
            return [(_one_hot(parse_answer(text, relations), len(relations)), text, count) for text, count in written]
        names = [options.answer(relation) for relation in range(len(relations))]
        if self.answer_by == "letters":
            scores = self.chat.first_tokens(batch, [self.letters[name] for name in names])
        else:
            scores = self.chat.label_likelihood(batch, names)
        if not scores.isfinite().all():
            raise ValueError(f"the scores of {self.chat.name} are not finite: the weights are damaged, or the dtype")
        rows = scores.softmax(-1).tolist()
        return [(row, names[int(np.argmax(row))], 1 if self.answer_by == "letters" else 0) for row in rows]

    def _ask_server(self, posts: Sequence[PromptPost], prompts: list, drawn: list) -> list[Answer]:
        """Ask a server; what it finds too long is asked again, a step shorter."""
        relations, prompts = self.options.relations, list(prompts)
        answers, open_ones = [None] * len(prompts), list(range(len(prompts)))
        while open_ones:
            found = self.chat.complete([prompts[index][2] for index in open_ones], relations, self.answer_tokens)
            again = []
            for index, completion in zip(open_ones, found):
                post, shown, turns = prompts[index]
                if isinstance(completion, PromptTooLongError):
                    post, shown = self._shorter(post, shown, str(completion))
                    prompts[index] = post, shown, self.turns(post, shown)
                    again.append(index)
                    continue
                left_out, ids = len(drawn[index]) - len(shown), [demonstration.id for demonstration in shown]
                probabilities = _one_hot(parse_answer(completion.text, relations), len(relations))
                is_cut = is_shorter(post, posts[index])
                answers[index] = Answer(probabilities, completion.text, ids, left_out, is_cut, *completion[1:])
            open_ones = again
        return answers

    def turns(self, post: PromptPost, shown: Sequence[PromptPost]) -> list:
        """Make the conversation about a post, with its pictures read."""
        if self.show_images != "none" and post.image is not None:
            post = post._replace(image=load_image(post.image))
        if self.show_images == "all":
            shown = [each if each.image is None else each._replace(image=load_image(each.image)) for each in shown]
        return make_turns(self.options, shown, post, self.show_images)

    def fit(self, post: PromptPost, shown: Sequence[PromptPost]) -> tuple[PromptPost, list[PromptPost], list]:
        """Make the prompt of a post, as long as the model reads.

        The oldest demonstrations go first; then the caption, and the ends of the text that are far from the entities.

        Returns:
            The post, its demonstrations, and the conversation.

        Raises:
            ValueError: what is left is still too long.
        """
        shown, turns = list(shown), self.turns(post, shown)
        while self.max_tokens is not None and self.chat.count_tokens(turns) > self.max_tokens:
            post, shown = self._shorter(post, shown, f"which reads {self.max_tokens} tokens")
            turns = self.turns(post, shown)
        return post, shown, turns

    def _shorter(
        self, post: PromptPost, shown: Sequence[PromptPost], why: str
    ) -> tuple[PromptPost, Sequence[PromptPost]]:
        """Leave out the oldest demonstration, else the caption, else an end of the text.

        Raises:
            ValueError: nothing can be left out.
        """
        if shown:
            return post, shown[1:]
        shorter = post._replace(caption=None) if post.caption else shorten(post)
        if shorter == post:
            raise ValueError(
                f"post {post.id!r} is too long for {self.chat.name} ({why}): its entities are too far apart, or the "
                "relations too many"
            )
        return shorter, shown


def is_shorter(post: PromptPost, original: PromptPost) -> bool:
    """Return whether the caption or a part of the text was left out."""
    return (post.text, post.caption) != (original.text, original.caption)


def shorten(post: PromptPost) -> PromptPost:
    """Cut a tenth of a text away, at the end that is farther from the entities; the entities stay whole."""
    first, last = min(post.head[0], post.tail[0]), max(post.head[1], post.tail[1])
    before, after = first, len(post.text) - last
    cut = max(1, int((1 - CHARACTERS_AT_ONCE) * len(post.text)))
    if after >= before:
        return post._replace(text=post.text[: len(post.text) - min(cut, after)])
    cut = min(cut, before)
    head, tail = ((start - cut, end - cut) for start, end in (post.head, post.tail))
    return post._replace(text=post.text[cut:], head=head, tail=tail)


def _one_hot(relation: int | None, number: int) -> list[float]:
    return [float(relation == other) for other in range(number)]


__all__ = ["Answer", "InContextRelationClassifier"]
