"""Exports of doccano, Label Studio and Prodigy, as labelled posts."""

from collections.abc import Iterator
from typing import Any

from mmre.processing.utf16_spans import from_utf16

from .checks import is_text, show
from .labelled_posts import Gathering, LabelledPost, read_lines
from .utf16 import Utf16Spans


def read_doccano(gathering: Gathering) -> Iterator[LabelledPost]:
    """Read JSON lines that doccano exports as "JSONL (relation)"; `image` is a field of the metadata.

    Offsets are Unicode code points. Those of a project that counts grapheme clusters are not told apart.
    """
    spans = Utf16Spans()
    for where, row in read_lines(gathering):
        entities, relations = row.get("entities"), row.get("relations")
        if not _are_objects(entities) or not _are_objects(relations):
            found = ", ".join(sorted(map(show, row)))
            gathering.add(
                where, "line", f"the fields {found}", "`entities` and `relations`: export as JSONL (relation)"
            )
            continue
        post = gathering.post(
            where,
            row.get("id"),
            row.get("text"),
            row.get("image"),
            {show(e.get("id")): (e.get("start_offset"), e.get("end_offset"), e.get("label")) for e in entities},
            [(show(r.get("from_id")), show(r.get("to_id")), r.get("type")) for r in relations],
        )
        if post is not None:
            spans.look_at(gathering.path, where, post.text, [entity[:2] for entity in post.entities])
            yield post
    spans.report(gathering.problems)


def read_label_studio(gathering: Gathering) -> Iterator[LabelledPost]:
    """Read the list of tasks that Label Studio exports as JSON.

    Of several annotations of a task the one that is marked as the truth counts, or else the first that was not
    cancelled. Earlier versions of Label Studio count offsets in UTF-16, as JavaScript does, later ones in Unicode code
    points: the text that stands with each region tells which.
    """
    for where, row in read_lines(gathering):
        data, annotations = row.get("data"), row.get("annotations")
        if not isinstance(data, dict) or not _are_objects(annotations):
            found = f"the fields {', '.join(sorted(map(show, row)))}"
            gathering.add(where, "item", found, "`data` and `annotations`: export as JSON, not as JSON-MIN")
            continue
        good = [each for each in annotations if not each.get("was_cancelled")]
        chosen = next((each for each in good if each.get("ground_truth")), good[0] if good else None)
        if chosen is None:
            gathering.passed_over["tasks without an annotation"] += 1
            continue
        gathering.passed_over["further annotations of a task"] += len(good) - 1
        results = chosen.get("result")
        if not _are_objects(results):
            gathering.add(where, "result", results, "a list of regions and relations")
            continue
        regions = [each for each in results if _is_span(each)]
        links = [each for each in results if each.get("type") == "relation"]
        gathering.passed_over["results that are neither spans of the text nor relations"] += (
            len(results) - len(regions) - len(links)
        )
        text, entities = _text_and_entities(data, regions)
        if text is None:
            gathering.add(where, "data", data, "a field with the text that the regions are of")
            continue
        wrong = [each for each in regions if each.get("id") not in entities]
        for each in wrong:
            gathering.add(where, "region", each["value"], "offsets at which its text stands")
        if not wrong:
            post = gathering.post(where, row.get("id"), text, data.get("image"), entities, _links(links))
            if post is not None:
                yield post


def _is_span(result: dict) -> bool:
    value = result.get("value")
    return isinstance(value, dict) and type(value.get("start")) is int and type(value.get("end")) is int


def _text_and_entities(data: dict, regions: list[dict]) -> tuple[str | None, dict[Any, tuple]]:
    """Return the text of a task, whatever its field is called, and the regions at whose offsets their text stands."""
    texts = [data["text"]] if is_text(data.get("text")) else [value for value in data.values() if is_text(value)]
    found = [(text, {region.get("id"): _located(text, region["value"]) for region in regions}) for text in texts]
    found = [(text, {key: entity for key, entity in entities.items() if entity}) for text, entities in found]
    # Of several texts the one that the most regions are of: an address is none of them.
    return max(found, key=lambda pair: (len(pair[1]), " " in pair[0]), default=(None, {}))


def _located(text: str, value: dict) -> tuple[int, int, str | None] | None:
    """Return start, end and type of a region in code points; None if its text does not stand there."""
    span, name = (value["start"], value["end"]), value.get("text")
    labels = value.get("labels")
    kind = labels[0] if isinstance(labels, list) and labels else None
    in_utf16 = tuple(from_utf16(text, edge) for edge in span)
    if name is None or 0 <= span[0] < span[1] and text[slice(*span)] == name:
        return *span, kind
    return (*in_utf16, kind) if None not in in_utf16 and text[slice(*in_utf16)] == name else None


def _links(links: list[dict]) -> Iterator[tuple[Any, Any, Any]]:
    """Yield head, tail and name of each relation, in its direction."""
    for link in links:
        ends, direction = (link.get("from_id"), link.get("to_id")), link.get("direction")
        labels = link.get("labels")
        for name in labels if isinstance(labels, list) and labels else [None]:
            if direction != "left":
                yield *ends, name
            if direction in ("left", "bi"):
                yield *ends[::-1], name


def read_prodigy(gathering: Gathering) -> Iterator[LabelledPost]:
    """Read JSON lines that `prodigy db-out` writes of the relations interface; only accepted answers count."""
    for where, row in read_lines(gathering):
        if row.get("answer", "accept") != "accept":
            gathering.passed_over["answers that were not accepted"] += 1
            continue
        spans, relations = row.get("spans") or [], row.get("relations")
        if not _are_objects(spans) or not _are_objects(relations):
            found = f"the fields {', '.join(sorted(map(show, row)))}"
            gathering.add(where, "line", found, "`spans` and `relations`, as of rel.manual")
            continue
        meta = row.get("meta") if isinstance(row.get("meta"), dict) else {}
        entities = {_key(span): (span.get("start"), span.get("end"), span.get("label")) for span in spans}
        found = []
        for relation in relations:
            ends = [relation.get(f"{end}_span") or _span_at(spans, relation.get(end)) for end in ("head", "child")]
            if not _are_objects(ends):
                gathering.add(where, "relation", relation, "`head_span` and `child_span`, or spans at its tokens")
                continue
            for end in ends:  # a relation may hold between words that are no entities
                entities.setdefault(_key(end), (end.get("start"), end.get("end"), end.get("label")))
            found.append((*map(_key, ends), relation.get("label")))
        image = row.get("image") or meta.get("image")
        post = gathering.post(where, row.get("id", meta.get("id")), row.get("text"), image, entities, found)
        if post is not None:
            yield post


def _key(span: dict) -> tuple[str, str]:
    return show(span.get("start")), show(span.get("end"))


def _span_at(spans: list[dict], token: Any) -> dict | None:
    """Return the span that ends at a token, as earlier versions of Prodigy name it."""
    return next((span for span in spans if token is not None and span.get("token_end") == token), None)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


__all__ = ["read_doccano", "read_label_studio", "read_prodigy"]
