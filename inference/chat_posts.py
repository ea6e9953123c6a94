"""Posts as the pipeline takes them, read for a chat model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmre.posts.schema import NEGATIVE_RELATION
from mmre.processing.picture_addresses import is_address
from mmre.processing.pipeline_relation_extraction import read_pairs
from mmre.processing.suggestions import unknown

from .prompts import PromptPost, has_control_characters


def read_post(
    post: Any, where: str, find: Callable[[str], list[dict]], reads_pictures: bool = True
) -> list[tuple[dict, PromptPost]]:
    """Read a post, once for each of its pairs of entities.

    Args:
        post: as [`~mmre.processing.pipeline_relation_extraction.RelationExtractionPipeline`] takes it, but that its
            picture is no address.
        where: names the post in messages.
        find: finds the entities of a text, for a post that names none.
        reads_pictures: whether the picture is looked at.

    Returns:
        Of each pair what its results have beside their labels, and the post as a prompt shows it.

    Raises:
        ValueError: the post cannot be right.
    """
    try:
        text, pairs = read_pairs(post, find)
        image = post.get("image")
        if reads_pictures and is_address(image):
            raise ValueError(f"`image` is the address {image!r}: fetch it, and give the picture itself")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    about = str(post.get("id", where)), text
    return [
        (entities, PromptPost(*about, spans["head"], spans["tail"], post.get("caption"), image))
        for spans, entities in pairs
    ]


def read_example(example: Any, where: str, relations: Sequence[str]) -> PromptPost:
    """Read a post with its relation.

    Raises:
        ValueError: the post cannot be right, has not one pair of entities, or another relation.
    """
    pairs = read_post(example, where, lambda _: [])
    if len(pairs) != 1:
        raise ValueError(f"{where} has {len(pairs)} pairs of entities; expected `head` and `tail`")
    relation = example.get("relation")
    if relation is None:
        raise ValueError(f"{where} has no `relation`; expected the name of one")
    if relation not in relations:
        raise ValueError(f"{where}: {unknown('relation', relation, relations)}")
    return pairs[0][1]._replace(relation=relations.index(relation))


def check_named_relations(relations: Sequence[str], descriptions: Mapping[str, str]) -> None:
    """Refuse relations that an answer cannot tell apart, and descriptions of others.

    Raises:
        ValueError: for such relations.
    """
    if isinstance(relations, str):
        raise ValueError(f"relations: the text {relations!r}; expected a list of names")
    for name in (*relations, *descriptions, *descriptions.values()):
        if not isinstance(name, str):
            raise ValueError(f"relations: {name!r} is no text")
    if len(relations) < 2 or NEGATIVE_RELATION not in relations:
        raise ValueError(f"relations: {', '.join(relations) or 'none'}; expected {NEGATIVE_RELATION!r} and others")
    known = {}
    for name in relations:
        key = " ".join(name.casefold().split())
        if not key or key in known:
            raise ValueError(
                f"relations: {name!r} beside {known.get(key)!r}; expected names that differ in their letters"
            )
        if has_control_characters(name):
            raise ValueError(f"relations: {name!r}; expected a name in one line, without control characters")
        known[key] = name
    for name in descriptions:
        if name not in relations:
            raise ValueError(f"descriptions: {unknown('relation', name, relations)}")


__all__ = ["check_named_relations", "read_example", "read_post"]
