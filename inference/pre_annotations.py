"""Triples as pre-annotations: what a model says of posts, to be mended in Label Studio or doccano."""

import json
import os
from collections.abc import Iterator
from typing import Any

from mmre.posts.checks import Problems, read_json, show
from mmre.posts.parquet_rows import InlinePicture
from mmre.posts.whole_file import whole_file

from .arguments import PredictionArguments
from .raw_posts import read_raw_posts

TOOLS = ("label_studio", "doccano")
# Names of the tags in Label Studio's labelling configuration.
LABELS_TAG, TEXT_TAG = "label", "text"
UNTYPED = "Entity"


def write_pre_annotations(tool: str, posts: str, triples: str, out: str | os.PathLike, model: str = "mmre") -> str:
    """Write posts with what was predicted of them, as a tool imports it.

    Args:
        tool: `"label_studio"` (JSON: a list of tasks with predictions) or `"doccano"` (JSON lines).
        posts: the posts that were predicted, as [`~mmre.inference.run.predict`] reads them.
        triples: the JSON lines that came out.
        out: the file to write.
        model: `model_version` in Label Studio.

    Returns:
        What was written, in a line.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is bad, or the triples are not of these posts.
    """
    for path in (posts, triples):
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path}: there is no such file")
    if os.path.isdir(triples):
        raise ValueError(f"{triples} is a folder; expected one file of JSON lines: join those in it, in order, by cat")
    problems, counts = Problems(), [0, 0]
    rows = _by_post(triples)
    post_id, of_post = next(rows, (None, []))
    args = PredictionArguments(out="triples.jsonl", ignore_unknown=True)
    with whole_file(out) as file:
        for post in read_raw_posts(posts, args, problems):
            found = []
            if post_id == post["id"]:
                found = of_post
                post_id, of_post = next(rows, (None, []))
            entities, relations = _gathered(post, found)
            is_first = counts[0] == 0
            counts = [counts[0] + 1, counts[1] + len(relations)]
            if tool == "doccano":
                file.write(_json(_for_doccano(post, entities, relations)) + "\n")
            else:
                task = _json(_for_label_studio(post, entities, relations, model))
                file.write(f"{'[' if is_first else ','}\n{task}")
        problems.raise_if_any()
        if post_id is not None:
            raise ValueError(f"{triples}: {show(post_id)} is no post of {posts}, or stands there before the last one")
        if tool == "label_studio":
            file.write("\n]\n" if counts[0] else "[]\n")
    return f"{out}: {counts[0]} posts with {counts[1]} relations"


def _by_post(triples: str) -> Iterator[tuple[str, list[dict]]]:
    """Yield the id of each post that has triples, and these; they stand in the order of the posts."""
    current, of_post = None, []
    with open(triples, "rb") as file:
        for number, raw in enumerate(file, start=1):
            row = read_json(raw)
            good = isinstance(row, dict) and isinstance(row.get("id"), str) and isinstance(row.get("relation"), str)
            if not good or not all(_is_entity(row.get(end)) for end in ("head", "tail")):
                raise ValueError(f"{triples}:{number}: {show(row)}; expected a line of mmre predict's triples.jsonl")
            if row["id"] != current and of_post:
                yield current, of_post
                of_post = []
            current = row["id"]
            of_post.append(row)
    if of_post:
        yield current, of_post


def _is_entity(value: Any) -> bool:
    return isinstance(value, dict) and all(type(value.get(edge)) is int for edge in ("start", "end"))


def _gathered(post: dict, found: list[dict]) -> tuple[dict, list[tuple]]:
    """Return the type of each entity by its span, of triples and of the post; and relations with their scores."""
    entities = {}
    for row in found:
        for end in ("head", "tail"):
            entities.setdefault((row[end]["start"], row[end]["end"]), row[end].get("type"))
    for pair, kinds in zip(post["pairs"] or (), post.get("types") or ((None, None) for _ in post["pairs"] or ())):
        for span, kind in zip(pair, kinds):
            entities[span] = entities.get(span) or kind
    spans = [tuple((row[end]["start"], row[end]["end"]) for end in ("head", "tail")) for row in found]
    relations = [(*pair, row["relation"], row.get("score")) for pair, row in zip(spans, found)]
    return dict(sorted(entities.items())), relations


def _for_label_studio(post: dict, entities: dict, relations: list[tuple], model: str) -> dict:
    """Return a task. Offsets are Unicode code points, as Label Studio counts since version 1.5."""
    names = {span: f"e{number}" for number, span in enumerate(entities)}
    tags = {"from_name": LABELS_TAG, "to_name": TEXT_TAG, "type": "labels"}
    result = [
        {"id": names[span], **tags, "value": {"start": span[0], "end": span[1], "text": post["text"][slice(*span)]}}
        for span in entities
    ]
    for region, kind in zip(result, entities.values()):
        region["value"]["labels"] = [kind or UNTYPED]
    for head, tail, name, _ in relations:
        ends = {"from_id": names[head], "to_id": names[tail]}
        result.append({"type": "relation", **ends, "direction": "right", "labels": [name]})
    scores = [score for *_, score in relations if score is not None]
    # By the lowest score Label Studio shows first what most needs a look.
    prediction = {"model_version": model, "result": result} | ({"score": min(scores)} if scores else {})
    data = {"id": post["id"], "text": post["text"]} | _picture(post["image"])
    return {"data": data, "predictions": [prediction] if result else []}


def _for_doccano(post: dict, entities: dict, relations: list[tuple]) -> dict:
    numbers = {span: number for number, span in enumerate(entities)}
    line = {"post_id": post["id"], "text": post["text"]}
    line["entities"] = [
        {"id": numbers[span], "start_offset": span[0], "end_offset": span[1], "label": kind or UNTYPED}
        for span, kind in entities.items()
    ]
    line["relations"] = [
        {"id": number, "from_id": numbers[head], "to_id": numbers[tail], "type": name}
        for number, (head, tail, name, _) in enumerate(relations)
    ]
    return line | _picture(post["image"])


def _picture(image: str | None) -> dict:
    """Return the path of a picture as a field; the tools cannot show one that lies inside parquet."""
    return {} if image is None or isinstance(image, InlinePicture) else {"image": image}


def _json(value: dict) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


__all__ = ["TOOLS", "write_pre_annotations"]
