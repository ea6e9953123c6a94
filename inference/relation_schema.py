"""The schema of relations: which types of entities each can hold between, and which mean the same in both directions.

A schema comes from the names of the relations (`/per/loc/place_of_birth`), from a file, or from labelled posts. The
file is JSON lines, a relation on each:

    {"relation": "/per/per/couple", "types": [["PER", "PER"]], "symmetric": true}
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mmre.posts.checks import Problems, is_text, show
from mmre.posts.row_readers import read_json_lines
from mmre.posts.schema import NEGATIVE_RELATION
from mmre.posts.whole_file import whole_file
from mmre.processing.spacy_entities import ENTITY_TYPES
from mmre.processing.suggestions import unknown

ANY_TYPE = "*"
FIELDS = ("relation", "types", "symmetric")
# The types that names of relations speak of; other words in this place are no types.
TYPES_IN_NAMES = ("PER", "ORG", "LOC", "MISC")
NAME_WITH_TYPES = re.compile(rf"/({'|'.join(TYPES_IN_NAMES)})/({'|'.join(TYPES_IN_NAMES)})/.+", re.IGNORECASE)

TypePair = tuple[str, str]


class RelationRule(NamedTuple):
    """Rule of a relation.

    Args:
        types: the types of head and tail that go together, `"*"` for any; None if all do.
        symmetric: whether the relation from A to B is also one from B to A.
    """

    types: tuple[TypePair, ...] | None = None
    symmetric: bool = False


class RelationSchema:
    """Rules of relations, by name; a relation without one holds between any two entities, in one direction.

    Args:
        rules: the rules.
    """

    def __init__(self, rules: Mapping[str, RelationRule]):
        self.rules = dict(rules)

    @classmethod
    def from_names(cls, relations: Iterable[str]) -> "RelationSchema":
        """Read the types out of names such as `/per/loc/place_of_birth`; other names give no rule."""
        found = {name: NAME_WITH_TYPES.fullmatch(name) for name in relations}
        return cls({name: RelationRule(((m[1].upper(), m[2].upper()),)) for name, m in found.items() if m})

    def fits(self, relation: str, head: str | None, tail: str | None) -> bool:
        """Tell whether a relation can hold between two types; a type that is not known fits."""
        types = self.rules.get(relation, RelationRule()).types
        if types is None:
            return True
        return any(all(_matches(*both) for both in zip(pair, (head, tail))) for pair in types)

    def is_symmetric(self, relation: str) -> bool:
        """Tell whether a relation means the same in both directions."""
        return self.rules.get(relation, RelationRule()).symmetric

    def as_rows(self) -> list[dict]:
        """Return the rules as the rows of a file."""
        rows = []
        for name, rule in self.rules.items():
            types = {} if rule.types is None else {"types": list(map(list, rule.types))}
            rows.append({"relation": name} | types | {"symmetric": rule.symmetric})
        return rows


def _matches(allowed: str, found: str | None) -> bool:
    """Tell whether a type is one that is allowed, whether spaCy's name stands for it (`"PERSON"`) or that of names."""
    if found is None or allowed == ANY_TYPE:
        return True
    allowed, found = allowed.upper(), found.upper()
    return found in (allowed, ENTITY_TYPES.get(allowed)) or allowed == ENTITY_TYPES.get(found)


def read_schema(path: str | os.PathLike, relations: Iterable[str]) -> RelationSchema:
    """Read a schema; a relation that its file does not name, or gives no types, has those of its name.

    Args:
        path: of the file.
        relations: the relations of the model.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is bad; one report names the bad places.
    """
    path, relations = os.fspath(path), [name for name in relations if name != NEGATIVE_RELATION]
    if not os.path.isfile(path):
        raise FileNotFoundError(f"--schema {path}: there is no such file")
    problems, rules = Problems(), {}
    for where, row in read_json_lines(path, problems, FIELDS):
        if row is None:
            continue
        name, types, symmetric = (row.get(field) for field in FIELDS)
        if name not in relations:
            problems.note(path, where, "relation", f"{unknown('relation', name, relations)} (known are the model's)")
        elif name in rules:
            problems.add(path, where, "relation", f"{show(name)} twice", "one line for each")
        if types is not None and not _are_types(types):
            problems.add(path, where, "types", show(types), 'a list of pairs, as [["PER", "LOC"], ["PER", "*"]]')
            types = None
        if symmetric is not None and not isinstance(symmetric, bool):
            problems.add(path, where, "symmetric", show(symmetric), "true or false")
        elif isinstance(name, str):
            rules[name] = RelationRule(types and tuple(map(tuple, types)), bool(symmetric))
    problems.raise_if_any()
    named = RelationSchema.from_names(relations).rules
    rules = {name: rule._replace(types=rule.types or named.get(name, rule).types) for name, rule in rules.items()}
    return RelationSchema(named | rules)


def write_schema(path: str | os.PathLike, schema: RelationSchema) -> None:
    """Write a schema as a file that [`read_schema`] reads."""
    with whole_file(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in schema.as_rows())


def _are_types(value: Any) -> bool:
    """Tell whether a value is a list of pairs of types, at least one."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(pair, list) and len(pair) == 2 and all(is_text(name) and name.strip() for name in pair)
            for pair in value
        )
    )


def schema_of_posts(
    posts: Iterable[dict],
    find_types: Callable[[str], list[dict]],
    min_share: float = 0.05,
    symmetric: Iterable[str] = (),
) -> RelationSchema:
    """Learn a schema of labelled posts: the types that a recogniser gives to the heads and tails of each relation.

    Args:
        posts: with `text`, `head` and `tail` (`start` and `end`) and the name of their `relation`.
        find_types: gives the entities of a text, as `find_entities` does.
        min_share: smallest share of a relation's pairs, of those that the recogniser knows both types of, that two
            types need to be among its types.
        symmetric: relations that are symmetric. So are those of which the posts have most pairs in both directions.

    Returns:
        A rule for each relation, in the order of the alphabet.
    """
    counts, directions, symmetric = defaultdict(Counter), defaultdict(set), {*symmetric}
    known = (None, [])
    for post in posts:
        name, text = post["relation"], post["text"]
        if name == NEGATIVE_RELATION:
            continue
        spans = [(post[entity]["start"], post[entity]["end"]) for entity in ("head", "tail")]
        if known[0] != text:  # the pairs of a post follow each other
            known = text, find_types(text)
        counts[name][tuple(type_of(span, known[1]) for span in spans)] += 1
        directions[name].add((text, *spans))
    rules = {}
    for name in sorted(counts):
        typed = Counter({pair: count for pair, count in counts[name].items() if None not in pair})
        enough = [pair for pair, count in typed.most_common() if count >= min_share * typed.total()]
        reversed_ones = sum((text, tail, head) in directions[name] for text, head, tail in directions[name])
        is_symmetric = name in symmetric or 2 * reversed_ones > len(directions[name])
        rules[name] = RelationRule(tuple(enough) or None, is_symmetric)
    return RelationSchema(rules)


def type_of(span: tuple[int, int], entities: Iterable[dict]) -> str | None:
    """Return the type of the entity that shares most characters with a span; None if none shares any."""
    shared = [(min(span[1], each["end"]) - max(span[0], each["start"]), each["type"]) for each in entities]
    most, name = max(shared, default=(0, None), key=lambda pair: pair[0])
    return name if most > 0 else None


__all__ = ["RelationRule", "RelationSchema", "read_schema", "schema_of_posts", "type_of", "write_schema"]
