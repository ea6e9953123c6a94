"""The predictor: a model and the picture models before it, over one batch of raw posts at a time."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import compress, permutations, repeat
from typing import Any

from PIL import Image
from transformers.utils import logging

from mmre.annotation.annotator import Annotator, read_image
from mmre.annotation.keywords import find_keywords
from mmre.posts.lookalikes import escaped, path_on_disk
from mmre.posts.parquet_rows import InlinePicture
from mmre.posts.schema import NEGATIVE_RELATION
from mmre.processing import find_entities
from mmre.processing.words import Span

from .arguments import DecisionArguments
from .cards import CardMaker
from .decision import decide_post, is_loop
from .in_context import InContextRelationClassifier
from .relation_schema import RelationSchema

logger = logging.get_logger(__name__)

SCORE_DECIMALS = 6
SCORES = ("score", "ruled_out")
FUSION_DECIMALS = 4
# More relations than any model has.
ALL_RELATIONS = sys.maxsize


class Predictor:
    """Finds the relations of posts, batch by batch.

    Args:
        extract: the pipeline, or a chat model in its place.
        args: what to look for in pictures, and the size of a batch.
        settings: settings of the picture models, from [`~mmre.annotation.annotator.picture_settings`].
        nlp: a spaCy model, if posts come without entities or regions are grounded.
        folder: the folder that paths of images start from.
        schema: of the relations, for one decision for each post; None to take each pair as the model says.
        make_card: explains what the model says of a pair; None to explain nothing.
    """

    def __init__(
        self,
        extract: Callable,
        args: DecisionArguments,
        settings: dict,
        nlp: Any,
        folder: str,
        schema: RelationSchema | None = None,
        make_card: CardMaker | None = None,
    ):
        self.make_card = make_card
        self.extract, self.args, self.nlp, self.folder, self.schema = extract, args, nlp, folder, schema
        self.settings = settings
        self.annotator, self.keeps_pictures = Annotator(args, settings, nlp, extract.device), False
        if isinstance(extract, InContextRelationClassifier):
            shows_pictures = extract.show_images != "none"
        else:
            shows_pictures = bool(extract.processor.picture_input_names)
            self.keeps_pictures = getattr(extract.processor, "picture_cache", None) is not None
        self.reads_pictures = bool(shows_pictures or args.tasks)

    def __call__(self, posts: list[dict], pool: ThreadPoolExecutor) -> list[dict]:
        """Predict the relations of a batch of posts.

        Args:
            posts: posts from [`read_raw_posts`].
            pool: where images are decoded.

        Returns:
            For each post its `id`, its `text` if that was given as words, its further fields (`kept`), its `relations`
            (a list of `head`, `tail`, `label` and `score`) and how many pairs of entities have none, by the reason
            (`left_out`), its `cards` if they are explained; or the `error` for which there are none.
        """
        try:
            if self.keeps_pictures and self.make_card is None:
                # Unread: most are in the cache. What is wrong with a picture is said when it is read.
                with suppress(ValueError):
                    return self._predict(posts, pool, read=lambda file: (file, None))
            return self._predict(posts, pool)
        except ValueError as error:  # spaCy refuses huge texts, Grounding DINO pictures of hardly any height, ...
            if len(posts) > 1:
                return [row for post in posts for row in self([post], pool)]
            logger.warning(f"No relations of {posts[0]['id']!r}: {error}")
            return [{"id": posts[0]["id"], "error": f"the models do not take the post or its picture: {error}"}]

    def _predict(
        self,
        posts: list[dict],
        pool: ThreadPoolExecutor,
        read: Callable = read_image,
    ) -> list[dict]:
        errors, left_out, posts = {}, [Counter() for _ in posts], [dict(post) for post in posts]
        joined = {index for index, post in enumerate(posts) if post.pop("is_joined")}
        kept = [post.pop("kept", {}) for post in posts]
        for post in posts:
            post["are_given"] = post["pairs"] is not None
            if post["pairs"] is None:
                post["pairs"], post["types"] = find_pairs(self.nlp, post["text"])
            if not self.reads_pictures:
                post["image"] = None
        types = [post.pop("types", None) for post in posts]
        if self.schema is not None:
            for index, post in enumerate(posts):
                left_out[index] += self._take_out_loops(post, types, index)
        paths_of = [post["image"] for post in posts]
        # A post without a pair asks for nothing: what its picture shows does not matter.
        asked = [index for index, post in enumerate(posts) if post["pairs"]]
        paths = dict.fromkeys(posts[index]["image"] for index in asked if posts[index]["image"] is not None)
        images = dict(zip(paths, pool.map(read, map(self._file, paths))))
        for index in asked:
            image, reason = images.get(posts[index]["image"], (None, None))
            if reason is not None:
                errors[index] = f"image {escaped(posts[index]['image'])}: {reason}"
        asked = [index for index in asked if index not in errors]
        self._look_at_pictures([posts[index] for index in asked], {path: image for path, (image, _) in images.items()})
        for index in asked:
            posts[index]["image"] = images.get(posts[index]["image"], (None, None))[0]
        self.extract.call_count = 0  # it warns of being called post by post; this calls it batch by batch
        for index in asked:
            posts[index]["pairs"] = [
                tuple(map(_with_type, *both))
                for both in zip(posts[index]["pairs"], types[index] or repeat((None, None)))
            ]
        found = self.extract(
            [{name: value for name, value in posts[index].items() if name != "are_given"} for index in asked],
            batch_size=self.args.batch_size,
            top_k=1 if self.schema is None else ALL_RELATIONS,
        )
        results = {}
        for index, rows in zip(asked, found):
            results[index], counts = self._decide(rows)
            left_out[index] += counts
        rows = []
        for index, post in enumerate(posts):
            if index in errors:
                rows.append({"id": post["id"], "error": errors[index]})
                continue
            text = {"text": post["text"]} if index in joined else {}
            decided = {"kept": kept[index], "relations": tidy(results.get(index, [])), "left_out": left_out[index]}
            cards = (
                {} if self.make_card is None else {"cards": self._explain(post, paths_of[index], decided["relations"])}
            )
            rows.append({"id": post["id"]} | text | decided | cards)
        return rows

    def _file(self, image: str) -> dict:
        """Return a picture as a data set has it: a file on disk, or its bytes."""
        if isinstance(image, InlinePicture):
            return {"bytes": image.content, "path": None}
        return {"bytes": None, "path": path_on_disk(os.path.join(self.folder, image))}

    def _explain(self, post: dict, path: str | None, relations: list[dict]) -> list[dict]:
        """Return a card for each pair of entities: of entities that were found here, for each that has a relation."""
        stated = [{name: row[name] for name in ("head", "tail")} for row in relations if "head" in row]
        pairs = [dict(zip(("head", "tail"), pair)) for pair in post["pairs"]] if post["are_given"] else stated
        read = ("text", "image", "grounded_regions", "detected_regions", "caption")
        return [
            self.make_card(
                post["id"],
                {name: post[name] for name in read} | {name: pair[name] for name in ("head", "tail")},
                gold=post.get("relation"),
                picture_name=path,
            )
            for pair in pairs
        ]

    def _take_out_loops(self, post: dict, types: list, index: int) -> Counter:
        """Take the pairs of one name out of a post, and out of its types; return how many there are."""
        text = post["text"]
        good = [not is_loop(text[slice(*head)], text[slice(*tail)]) for head, tail in post["pairs"]]
        post["pairs"] = list(compress(post["pairs"], good))
        if types[index]:
            types[index] = list(compress(types[index], good))
        return Counter(loops=good.count(False))

    def _decide(self, rows: list[dict]) -> tuple[list[dict], Counter]:
        """Return the rows that state a relation, and the number of others, by the reason."""
        if self.schema is not None:
            return decide_post(rows, self.schema, self.args.both_directions)
        stated = [row for row in rows if row["label"] not in (None, NEGATIVE_RELATION)]
        return stated, Counter(none=len(rows) - len(stated))

    def _look_at_pictures(self, posts: list[dict], images: dict[str, Image.Image]) -> None:
        """Add the regions and captions that posts do not have; a picture of several posts is looked at once."""

        def without(column: str) -> list[dict]:
            return [post for post in posts if post["image"] is not None and post[column] is None]

        models = {"detected_regions": self.annotator.detector, "caption": self.annotator.captioner}
        for column, model in models.items():
            wanted = without(column) if model else []
            paths = list(dict.fromkeys(post["image"] for post in wanted))
            found = dict(zip(paths, model([images[path] for path in paths]) if paths else ()))
            for post in wanted:
                post[column] = found[post["image"]]
        if self.annotator.grounder:
            wanted = without("grounded_regions")
            keywords = [find_keywords(self.nlp, post["text"], _names(post)) for post in wanted]
            pictures = [images[post["image"]] for post in wanted]
            for post, boxes in zip(wanted, self.annotator.grounder(pictures, keywords, self.args.batch_size)):
                post["grounded_regions"] = boxes


def find_pairs(nlp: Any, text: str) -> tuple[list[tuple[Span, Span]], list[tuple[str, str]]]:
    """Find the entities of a text; return every two of them in both directions, as spans, and their types."""
    entities = find_entities(nlp, text)
    spans = [(entity["start"], entity["end"]) for entity in entities]
    return list(permutations(spans, 2)), list(permutations([entity["type"] for entity in entities], 2))


def _names(post: dict) -> list[str]:
    """Return the names of the entities of a post."""
    spans = dict.fromkeys(span for pair in post["pairs"] for span in pair)
    return [post["text"][start:end] for start, end in spans]


def _with_type(span: Span, kind: str | None) -> dict:
    """Return an entity as the pipeline takes it."""
    return {"start": span[0], "end": span[1]} | ({} if kind is None else {"type": kind})


def tidy(value: Any, decimals: int = FUSION_DECIMALS) -> Any:
    """Round the numbers of a result to what they are worth."""
    if isinstance(value, dict):
        return {name: tidy(inner, SCORE_DECIMALS if name in SCORES else decimals) for name, inner in value.items()}
    if isinstance(value, list):
        return [tidy(inner, decimals) for inner in value]
    return round(value, decimals) if isinstance(value, float) else value


__all__ = ["Predictor", "find_pairs"]
