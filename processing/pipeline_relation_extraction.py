"""The pipeline `multimodal-relation-extraction`: posts in, relations out."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from types import GeneratorType
from typing import Any

import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset
from transformers import Pipeline, PreTrainedConfig

from .entity_markers import character_span, check_span
from .picture_addresses import fetch_image, is_address
from .picture_files import load_image
from .spacy_entities import find_entities, load_spacy
from .suggestions import unknown
from .words import Span

TASK = "multimodal-relation-extraction"
# Fields of a post, and further fields of a row of a data set of posts, which are passed over.
POST_FIELDS = ("text", "tokens", "image", "head", "tail", "pairs", "grounded_regions", "detected_regions", "caption")
IGNORED_FIELDS = ("id", "relation", "length")
ARGUMENTS = (
    *("top_k", "spacy_model", "output_fusion", "return_errors", "fetch_images"),
    *("batch_size", "num_workers", "device", "dtype"),
)


class RelationExtractionPipeline(Pipeline):
    """Predicts the relations between entities of posts.

    Args:
        top_k (`int`): how many relations of a pair of entities are returned, the most probable first; 1 by default.
        spacy_model (`str`): name of the spaCy model that finds the entities of posts that come without any;
            `"en_core_web_sm"` by default.
        output_fusion (`bool`): whether each result also has `fusion`, how text and picture were fused; see below.
        return_errors (`bool`): whether a post that cannot be right, for example of an unreadable picture, has
            `[{"error": ...}]` as its result; by default such a post raises, which ends a stream.
        fetch_images (`bool`): whether `image` may be an address, which is then fetched; on by default. Switch it off in
            whatever serves others: their posts would have this machine ask servers, and read files by their paths, for
            them. Give the bytes of pictures there.
        batch_size (`int`): how many pairs of entities go through the model at once.

    Example:

    ```python
    >>> extract = pipeline("multimodal-relation-extraction", model="outputs/quickstart")
    >>> extract({"text": "Rafael Nadal weds Mery Perello", "image": "wedding.jpg", "head": (0, 12), "tail": (18, 30)})
    [{'label': '/per/per/couple', 'score': 0.97}]
    ```
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_video_processor = False

    def __call__(self, inputs: Any, **kwargs) -> list[dict] | list[list[dict]] | Iterator[list[dict]]:
        """Predict the relations of a post, of a list of posts, or of a stream of them.

        Args:
            inputs: a post, a list of posts, or anything that gives posts one by one (a generator, a `datasets.Dataset`
                or a column of one). A post is a dictionary of

                - `text`, a string, or `tokens`, a list of words;
                - `image` (optional): a PIL image, a path, a URL, the bytes of a file, or an array;
                - `head` and `tail`: spans (start, end), end exclusive, in characters of the text or in words; or
                - `pairs`: a list of such (head, tail), for several relations of one post; or neither: then spaCy finds
                  the entities, and each ordered pair of them is asked for;
                - `grounded_regions`, `detected_regions` (optional): boxes `[x_min, y_min, x_max, y_max]` in fractions
                  of the image;
                - `caption` (optional): a description of the image.

                `id` and `relation` are passed over, so that the rows of a data set of posts can be given as they are;
                so is what the model does not read.
            kwargs: `top_k`, `spacy_model`, `output_fusion`, `return_errors`, `fetch_images`, `batch_size`,
                `num_workers`.

        Returns:
            For a post with `head` and `tail` a list of `top_k` dictionaries with `label` and `score`. For another post
            such a list over all pairs, in which each dictionary also has `head` and `tail`: `start`, `end` and `text`,
            and the `type` of entities that spaCy found or that were given as dictionaries with a `type`.
            For a list of posts a list of these; for a stream an iterator over them.

            Of a post given as `tokens`, spans are in characters of the words joined by single spaces, and each
            dictionary has that `text`. With `output_fusion` each dictionary has `fusion`, a few numbers on how text and
            picture were fused: see the model's `fusion_summary`.

        Raises:
            ValueError: if a post cannot be right, with its number; or the model fuses nothing with `output_fusion`.
            ImportError, OSError: if spaCy or its model is needed and not installed.
        """
        if isinstance(inputs, Mapping):
            return next(super().__call__(_Stream([inputs]), **kwargs))
        if isinstance(inputs, (list, tuple)):
            return list(super().__call__(_Stream(inputs), **kwargs))
        if isinstance(inputs, (str, bytes)) or not isinstance(inputs, Iterable) and not hasattr(inputs, "__getitem__"):
            raise ValueError(f"A post is a dictionary with `text`, `image`, `head` and `tail`, got {inputs!r}.")
        return super().__call__(_Stream(inputs), **kwargs)

    def save_pretrained(self, save_directory: str, **kwargs) -> None:
        """Save the model, its processor and the code of both and of this pipeline, all that `pipeline` needs."""
        super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        spacy_model: str | None = None,
        output_fusion: bool | None = None,
        return_errors: bool | None = None,
        fetch_images: bool | None = None,
        **others,
    ) -> tuple[dict, dict, dict]:
        for name in others:
            raise TypeError(unknown("argument of the pipeline", name, ARGUMENTS))
        if output_fusion and not hasattr(self.model, "fusion_summary"):
            raise ValueError(
                f"{type(self.model).__name__} fuses no picture with its text, so that there is nothing to show: leave "
                "`output_fusion` out."
            )
        if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
            raise ValueError(f"`top_k` must be a number of relations, at least 1, got {top_k!r}.")
        reading = {"spacy_model": spacy_model, "return_errors": return_errors, "fetch_images": fetch_images}
        answering = {"top_k": top_k, "return_errors": return_errors}
        return (
            {name: value for name, value in reading.items() if value is not None},
            {} if output_fusion is None else {"output_fusion": output_fusion},
            {name: value for name, value in answering.items() if value is not None},
        )

    def get_iterator(
        self,
        inputs: Iterable[dict],
        num_workers: int,
        batch_size: int,
        preprocess_params: dict,
        forward_params: dict,
        postprocess_params: dict,
    ) -> Iterator[list[dict]]:
        is_forked = multiprocessing.get_start_method() == "fork"
        if num_workers and not is_forked and isinstance(inputs.posts, GeneratorType):
            raise ValueError(
                "`num_workers`: a generator cannot go to a worker process that is not forked: give a list or a data "
                "set, or leave `num_workers` out."
            )
        # transformers' own iterator for several model inputs per post ends at the first post that has none.
        pairs = _Pairs(inputs, self.preprocess, preprocess_params)
        loader = DataLoader(pairs, batch_size, num_workers=min(num_workers, 1), collate_fn=self._collate)
        results = []
        for batch, model_inputs in loader:
            outputs = {} if model_inputs is None else self.forward(model_inputs, **forward_params)
            rows = (dict(zip(outputs, values)) for values in zip(*outputs.values()))
            for pair in batch:
                if "inputs" in pair:
                    results += self.postprocess(pair | next(rows), **postprocess_params)
                elif "error" in pair:
                    results.append({"error": pair["error"]})
                if pair["is_last"]:
                    yield results
                    results = []

    def preprocess(
        self,
        post: dict,
        index: int,
        spacy_model: str = "en_core_web_sm",
        return_errors: bool = False,
        fetch_images: bool = True,
    ) -> list[dict]:
        """Return each pair of entities of a post with its model inputs; one without any for a post without pairs."""
        try:
            pairs = self._encode(post, spacy_model, fetch_images)
        except (ValueError, TypeError, FileNotFoundError) as error:
            name = f" ({post['id']!r})" if isinstance(post, Mapping) and "id" in post else ""
            message = f"Post {index}{name}: {error}"
            if not return_errors:
                raise ValueError(message) from error
            pairs = [{"error": message}]
        pairs = pairs or [{}]
        return [pair | {"is_last": number == len(pairs)} for number, pair in enumerate(pairs, start=1)]

    def _collate(self, pairs: list[dict]) -> tuple[list[dict], dict[str, torch.Tensor] | None]:
        rows = [pair["inputs"] for pair in pairs if "inputs" in pair]
        if not rows:
            return pairs, None
        padding = {"input_ids": self.processor.tokenizer.pad_token_id}
        return pairs, {
            name: pad_sequence([row[name] for row in rows], batch_first=True, padding_value=padding.get(name, 0))
            for name in rows[0]
        }

    def _forward(self, model_inputs: dict, output_fusion: bool = False) -> dict[str, Any]:
        if not output_fusion:
            return {"logits": self.model(**model_inputs).logits}
        outputs = self.model(**model_inputs, output_fusion=True)
        return {"logits": outputs.logits, "fusion": self.model.fusion_summary(outputs, model_inputs)}

    def postprocess(self, pair: dict, top_k: int = 1, return_errors: bool = False) -> list[dict]:
        """Return the most probable relations of one pair of entities."""
        if not pair["logits"].isfinite().all():
            # The largest of NaNs would be the first relation, which says that there is none.
            message = (
                f"The logits of a post are not finite ({type(self.model).__name__}, {self.model.dtype}): the weights "
                "are damaged, or the dtype is too narrow for them."
            )
            if not return_errors:
                raise ValueError(message)
            return [pair["entities"] | {"error": message}]
        scores = as_probabilities(pair["logits"].float(), self.model.config)
        best = scores.topk(min(top_k, len(scores)))
        fusion = {"fusion": pair["fusion"]} if "fusion" in pair else {}
        return [
            pair["entities"] | {"label": self.model.config.id2label[label], "score": score} | fusion
            for score, label in zip(best.values.tolist(), best.indices.tolist())
        ]

    def _encode(self, post: dict, spacy_model: str, fetch_images: bool) -> list[dict]:
        """Return each pair of entities of a post: the model's `inputs`, and `entities`, by which results name it."""
        text, pairs = read_pairs(post, lambda text: find_entities(self._spacy(spacy_model), text))
        picture_names = self.processor.picture_input_names
        image = post.get("image") if picture_names else None
        if is_address(image):
            if not fetch_images:
                raise ValueError(
                    f"`image` is the address {image!r}, and `fetch_images` is off: give the picture itself."
                )
            image = _fetch(image)
        regions = {name: post.get(name) for name in ("grounded_regions", "detected_regions")}
        encoded, shared = [], {}
        for number, (spans, entities) in enumerate(pairs):
            # The picture is the same for all pairs: it is read and scaled for the first.
            picture = {"images": image, **regions} if number == 0 else {}
            try:
                row = self.processor(text=text, caption=post.get("caption"), **spans, **picture)
            except ValueError as error:
                raise ValueError(f"pairs[{number}]: {error}" if "head" in entities else str(error)) from error
            if number == 0:
                shared = {name: row[name] for name in picture_names}
            inputs = {name: value[0] for name, value in {**row, **shared}.items()}
            encoded.append({"inputs": inputs, "entities": entities})
        return encoded

    def _spacy(self, name: str) -> Any:
        if getattr(self, "_spacy_model", ("",))[0] != name:
            self._spacy_model = name, load_spacy(name)
        return self._spacy_model[1]


def as_probabilities(logits: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """Turn logits (..., R) into probabilities, softmax(logits / T), T the temperature of the model's scores."""
    # A repository may have the code of an earlier version, whose configurations have no temperature.
    return (logits / getattr(config, "score_temperature", 1.0)).softmax(dim=-1)


class _Stream(IterableDataset):
    """Gives the posts of a list or of a stream one by one; a list can go to a worker that is not forked."""

    def __init__(self, posts: Iterable[dict]):
        self.posts = posts

    def __iter__(self) -> Iterator[dict]:
        # Not `iter`: what has no more than `__getitem__` will do.
        yield from (post for post in self.posts)


class _Pairs(IterableDataset):
    """Gives the pairs of entities of a stream of posts."""

    def __init__(self, posts: Iterable[dict], preprocess: Callable, params: dict):
        self.posts, self.preprocess, self.params = posts, preprocess, params

    def __iter__(self) -> Iterator[dict]:
        for index, post in enumerate(self.posts):
            yield from self.preprocess(post, index, **self.params)


def read_pairs(post: Any, find: Callable[[str], list[dict]]) -> tuple[str, list[tuple[dict[str, Span], dict]]]:
    """Check a post, and read its text and its pairs of entities.

    Args:
        post: a post as [`RelationExtractionPipeline`] takes it.
        find: finds the entities of a text, for a post that names none.

    Returns:
        The text; and of each pair the spans of its `head` and `tail` in characters, and what its results have beside
        their labels: the `text` of a post given as words, and the two entities where a post may have several pairs.

    Raises:
        ValueError: the post cannot be right.
    """
    _check_fields(post)
    is_one_pair = post.get("head") is not None
    pairs = [(post["head"], post["tail"])] if is_one_pair else post.get("pairs")
    # Words are joined at this door: results are about the joined text, and return it.
    words, text = post.get("tokens"), post.get("text")
    text, named = (text, {}) if words is None else (" ".join(words), {"text": " ".join(words)})
    if pairs is None:
        words, pairs = None, permutations(find(text), 2)
    read = []
    for number, pair in enumerate(pairs):
        given = dict(zip(("head", "tail"), pair))
        try:
            spans = {
                name: check_span(span, len(text), name, "characters", text)
                if words is None
                else character_span(words, span, name)
                for name, span in given.items()
            }
        except ValueError as error:
            raise ValueError(str(error) if is_one_pair else f"pairs[{number}]: {error}") from error
        entities = {} if is_one_pair else {name: _name(text, spans[name], given[name]) for name in spans}
        read.append((spans, named | entities))
    return text, read


def _check_fields(post: Any) -> None:
    if not isinstance(post, Mapping):
        raise ValueError(f"A post is a dictionary with `text`, `image`, `head` and `tail`, got {post!r}.")
    for name in post:
        if name not in POST_FIELDS + IGNORED_FIELDS:
            raise ValueError(unknown("field", name, POST_FIELDS))
    text, tokens, pairs = post.get("text"), post.get("tokens"), post.get("pairs")
    if (text is None) == (tokens is None):
        raise ValueError("A post needs its `text`, a string, or its `tokens`, a list of words; one of them.")
    if text is not None and not isinstance(text, str):
        raise ValueError(
            f"`text` must be a string, got {text!r}. Words go under `tokens`; of columns, give the rows one by one."
        )
    is_list = isinstance(tokens, Sequence) and not isinstance(tokens, (str, bytes))
    if tokens is not None and not (is_list and all(isinstance(word, str) for word in tokens)):
        raise ValueError(
            f"`tokens` must be a list of words, got {tokens!r}. A string goes under `text`; of columns, give the rows "
            "one by one."
        )
    if not isinstance(post.get("caption"), (str, type(None))):
        raise ValueError(f"`caption` must be a text or None, got {post['caption']!r}.")
    has_head, has_tail, has_pairs = (post.get(name) is not None for name in ("head", "tail", "pairs"))
    if has_head != has_tail or (has_head and has_pairs):
        raise ValueError("A post needs both `head` and `tail`, or `pairs` of them, or neither: then spaCy finds them.")
    if has_pairs and not (
        isinstance(pairs, (list, tuple)) and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs)
    ):
        raise ValueError(f"`pairs` must be a list of (head, tail), got {pairs!r}.")


def _fetch(url: str) -> Image.Image:
    content = fetch_image(url)
    try:
        return load_image(content)
    except ValueError as error:
        raise ValueError(f"The answer of {url!r} is no image: {error}") from error


def _name(text: str, span: Span, given: Any) -> dict:
    start, end = span
    kind = given.get("type") if isinstance(given, Mapping) else None
    return {"start": start, "end": end, "text": text[start:end]} | ({} if kind is None else {"type": kind})
