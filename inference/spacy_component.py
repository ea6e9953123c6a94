"""The spaCy component `mmre_relations`: the relations of a text, between the entities that a spaCy pipeline found."""

from collections.abc import Callable, Iterable, Iterator
from itertools import permutations
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.util import minibatch

from mmre.evaluation.thresholds import Thresholds, read_thresholds_of
from mmre.processing.spacy_entities import ENTITY_TYPES

from .decision import decide_post, is_loop
from .loading import load_pipeline
from .predictor import SCORE_DECIMALS
from .relation_schema import RelationSchema, read_schema

# Where a document keeps what was found, as plain numbers and names: `Doc.to_bytes` and `DocBin` write it.
STORED = "mmre_relations"
ALL_OF_A_PAIR = 1_000_000


class DocRelation(NamedTuple):
    """Relation of two entities of a document.

    Args:
        head, tail: the entities.
        relation: name of the relation.
        score: probability of the relation.
        ruled_out: probability of relations that do not fit the types of the entities.
    """

    head: Span
    relation: str
    tail: Span
    score: float
    ruled_out: float


def relations_of(doc: Doc) -> list[DocRelation]:
    """Return the relations that were found in a document, as `doc._.relations` does."""
    found = doc.user_data.get(STORED, [])
    return [
        DocRelation(_span(doc, head), name, _span(doc, tail), score, ruled_out)
        for head, name, tail, score, ruled_out in found
    ]


def _span(doc: Doc, stored: list) -> Span:
    return Span(doc, *stored)


Doc.set_extension("relations", getter=relations_of, force=True)
Doc.set_extension("image", default=None, force=True)


@Language.factory(
    "mmre_relations",
    requires=["doc.ents"],
    assigns=["doc._.relations"],
    default_config={
        "revision": None,
        "schema": None,
        "both_directions": False,
        "min_score": 0.0,
        "thresholds": None,
        "batch_size": 8,
    },
)
def make_relations_component(
    nlp: Language,
    name: str,
    model: str,
    revision: str | None,
    schema: str | None,
    both_directions: bool,
    min_score: float,
    thresholds: str | None,
    batch_size: int,
) -> "RelationsComponent":
    """Make the component of its configuration.

    Args:
        nlp: the pipeline that the component is added to.
        name: of the component.
        model: folder of a model or of a LoRA adapter, or its name on the Hub.
        revision: of the model on the Hub.
        schema: file with the types and the symmetry of relations; the types in their names by default.
        both_directions: keep a relation of A to B and of B to A, unless it is symmetric.
        min_score: lowest score of a relation.
        thresholds: file of `mmre thresholds` with the lowest score of each relation.
        batch_size: how many pairs of entities go through the model at once.

    Raises:
        OSError: the model, the schema or the thresholds are not there.
        ValueError: a value is out of range, the schema or the thresholds are bad or of another model, or the model
            extracts no relations.
    """
    if not 0 <= min_score <= 1:
        raise ValueError(f"{name}: min_score {min_score}; expected a number from 0 to 1")
    if batch_size < 1:
        raise ValueError(f"{name}: batch_size {batch_size}; expected at least 1")
    extract = load_pipeline(model, revision)
    relations = list(extract.model.config.id2label.values())
    rules = RelationSchema.from_names(relations) if schema is None else read_schema(schema, relations)
    lowest = None if thresholds is None else read_thresholds_of(thresholds, extract.model.config)
    return RelationsComponent(name, extract, rules, both_directions, min_score, batch_size, lowest)


class RelationsComponent(Pipe):
    """Sets `doc._.relations`, by one decision for each document; its picture is `doc._.image`.

    Entities are those of `doc.ents` that are persons, organisations, places and others (no dates, no numbers).

    Args:
        name: of the component.
        extract: the pipeline `multimodal-relation-extraction`.
        schema: types and directions of relations.
        both_directions, min_score, batch_size: as of [`make_relations_component`].
        thresholds: the lowest score of each relation; None to keep all.
    """

    def __init__(
        self,
        name: str,
        extract: Callable,
        schema: RelationSchema,
        both_directions: bool = False,
        min_score: float = 0.0,
        batch_size: int = 8,
        thresholds: Thresholds | None = None,
    ):
        self.name, self.extract, self.schema = name, extract, schema
        self.both_directions, self.min_score, self.batch_size = both_directions, min_score, batch_size
        self.thresholds = thresholds

    def __call__(self, doc: Doc) -> Doc:
        """Find the relations of a document."""
        error_handler = self.get_error_handler()
        try:
            self.annotate([doc])
        except Exception as error:
            error_handler(self.name, self, [doc], error)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Find the relations of a stream of documents, some at once; those that fail go to the error handler."""
        error_handler = self.get_error_handler()
        for docs in minibatch(stream, batch_size):
            try:
                self.annotate(docs)
                failed = []
            except Exception:
                failed = docs
            if not failed:
                yield from docs
            for doc in failed:  # each alone: one bad picture costs no other document its relations
                try:
                    self.annotate([doc])
                except Exception as error:
                    error_handler(self.name, self, [doc], error)
                else:
                    yield doc

    def annotate(self, docs: list[Doc]) -> None:
        """Find the relations of some documents, and keep them with these.

        Raises:
            ValueError: a picture cannot be read, or is the address of one: only files, bytes and images are.
        """
        posts, entities = [], []
        for doc in docs:
            spans = [span for span in doc.ents if span.label_ in ENTITY_TYPES]
            entities.append({(span.start_char, span.end_char): span for span in spans})
            given = [
                {"start": span.start_char, "end": span.end_char, "type": ENTITY_TYPES[span.label_]} for span in spans
            ]
            pairs = [
                (head, tail)
                for head, tail in permutations(given, 2)
                if not is_loop(doc.text[head["start"] : head["end"]], doc.text[tail["start"] : tail["end"]])
            ]
            posts.append({"text": doc.text, "image": doc._.image, "pairs": pairs})
        asked = [number for number, post in enumerate(posts) if post["pairs"]]
        self.extract.call_count = 0  # it warns of being called again and again
        found = self.extract(
            [posts[number] for number in asked], top_k=ALL_OF_A_PAIR, batch_size=self.batch_size, fetch_images=False
        )
        results = dict(zip(asked, found))
        for number, doc in enumerate(docs):
            rows, _ = decide_post(results.get(number, []), self.schema, self.both_directions)
            doc.user_data[STORED] = [self._stored(row, entities[number]) for row in rows if self._keeps(row)]

    def _keeps(self, row: dict) -> bool:
        """Tell whether the score of a relation is high enough, rounded as `mmre predict` writes it."""
        score = round(row["score"], SCORE_DECIMALS)
        return row["score"] >= self.min_score and (
            self.thresholds is None or self.thresholds.keeps(row["label"], score)
        )

    @staticmethod
    def _stored(row: dict, entities: dict[tuple[int, int], Span]) -> list[Any]:
        """Return a relation as numbers and names."""
        head, tail = (entities[row[end]["start"], row[end]["end"]] for end in ("head", "tail"))
        ends = [[span.start, span.end, span.label_] for span in (head, tail)]
        return [ends[0], row["label"], ends[1], row["score"], row["ruled_out"]]


__all__ = ["DocRelation", "RelationsComponent", "make_relations_component", "relations_of"]
