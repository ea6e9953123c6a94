"""One decision for a post, over all its pairs of entities: which relations it states.

A model is asked about each pair alone, in both directions, and often says the same of both. What is decided here:

1. A pair of one name ("Paris" and "#paris") is not asked about: nothing is related to itself.
2. Relations that do not fit the types of a pair lose their probability to `None`: a city is nobody's spouse. The
   probability that was taken away is `ruled_out` of the triple. `score` is the probability of the relation as the model
   gave it.
3. Each pair has its most probable relation; the candidates of the post are taken in the order of their scores. One that
   says what a better one says already is left out: the same of two other mentions of the same names; a symmetric
   relation the other way round; and, unless both directions are wanted, any relation the other way round.

Example: "Ann Lee weds Bob Ray in Rome", three entities, six pairs. The model says

    Ann Lee -> Bob Ray   couple 0.9            Bob Ray -> Ann Lee   couple 0.8
    Ann Lee -> Rome      couple 0.6, lives in 0.3, None 0.1
    Rome -> Ann Lee      lives in 0.7          the others None

where `couple` is a symmetric relation between persons, and `lives in` one of a person and a place. `couple` comes out
once, with 0.9. Of Ann Lee and Rome 0.6 is ruled out and goes to `None`, which is then the most probable with 0.7; and
so with Rome and Ann Lee, 0.7 of which is ruled out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mmre.posts.schema import NEGATIVE_RELATION

from .entity_names import node_name
from .relation_schema import RelationSchema


def node_of(entity: dict) -> tuple[str, str | None]:
    """Return what tells an entity from others: its name and its type."""
    return node_name(entity["text"]), entity.get("type")


def is_loop(head: str, tail: str) -> bool:
    """Tell whether two texts are one name, so that a relation between them would lead back to itself."""
    return node_name(head) == node_name(tail)


def decide_post(
    found: Iterable[dict], schema: RelationSchema, both_directions: bool = False
) -> tuple[list[dict], Counter]:
    """Decide which relations a post states.

    Args:
        found: of each pair of entities all relations: `head` and `tail` (`text`, and `type` if it is known), `label`
            and `score`; those of a pair follow each other.
        schema: types and directions of the relations.
        both_directions: keep a relation of A to B and of B to A, if it is not symmetric.

    Returns:
        A row for each pair that has a relation, in the order of the pairs, with `ruled_out`; and how many pairs have
        none (`"none"`), and would have one if their types were not known (`"types"`), say the same of other mentions
        (`"repeated"`), or the same the other way round (`"symmetric"`, `"reversed"`).
    """
    counts, candidates, kept = Counter(), [], {}
    for pair in _pairs(found):
        best = decide_pair(pair, schema)
        if best["label"] is None or best["label"] == NEGATIVE_RELATION:
            counts["types" if pair[0]["label"] not in (None, NEGATIVE_RELATION) else "none"] += 1
        else:
            candidates.append(best)
    # Of equal scores the first in the text: the sort is stable.
    for row in sorted(candidates, key=lambda row: -row["score"]):
        head, tail, relation = node_of(row["head"]), node_of(row["tail"]), row["label"]
        if (head, relation, tail) in kept:
            counts["repeated"] += 1
        elif (tail, relation, head) in kept and schema.is_symmetric(relation):
            counts["symmetric"] += 1
        elif (tail, relation, head) in kept and not both_directions:
            counts["reversed"] += 1
        else:
            kept[head, relation, tail] = row
    chosen = set(map(id, kept.values()))
    return [row for row in candidates if id(row) in chosen], counts


def decide_pair(pair: Sequence[dict], schema: RelationSchema) -> dict:
    """Choose the relation of a pair, after the probability of what does not fit its types went to `None`.

    Args:
        pair: all relations of the pair, the most probable first.
        schema: types of the relations.

    Returns:
        The row of the chosen relation, with `ruled_out`, the probability that was taken away.
    """
    types = [pair[0][entity].get("type") for entity in ("head", "tail")]
    fitting, ruled_out = [], 0.0
    for row in pair:
        if row["label"] in (None, NEGATIVE_RELATION) or schema.fits(row["label"], *types):
            fitting.append(row)
        else:
            ruled_out += row["score"]

    def probability(row: dict) -> float:
        return row["score"] + (ruled_out if row["label"] == NEGATIVE_RELATION else 0)

    if not fitting:  # a chat model wrote the name of one relation, and it does not fit
        return pair[0] | {"label": NEGATIVE_RELATION, "score": ruled_out, "ruled_out": ruled_out}
    best = max(fitting, key=probability)
    return best | {"score": probability(best), "ruled_out": ruled_out}


def _pairs(found: Iterable[dict]) -> Iterator[list[dict]]:
    """Yield the rows of each pair, the most probable first."""
    pairs = {}
    for row in found:
        spans = tuple((row[entity]["start"], row[entity]["end"]) for entity in ("head", "tail"))
        pairs.setdefault(spans, []).append(row)
    for rows in pairs.values():
        yield sorted(rows, key=lambda row: -row["score"])


__all__ = ["decide_post", "is_loop", "node_of"]
