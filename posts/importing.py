"""Import of labelled posts: from the export of a tool to JSON lines of pairs, a file for each split."""

import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from mmre.processing.suggestions import unknown

from .checks import some
from .label_tools import read_doccano, read_label_studio, read_prodigy
from .labelled_files import read_brat, read_docbin, read_opennre, read_tacred
from .labelled_posts import Gathering, LabelledPost
from .lookalikes import warn_of_alike
from .schema import NEGATIVE_RELATION, SPLITS
from .splits_apart import split_apart
from .whole_file import whole_file

# The reader of each format, and what it reads.
READERS = {
    "doccano": read_doccano,
    "label_studio": read_label_studio,
    "prodigy": read_prodigy,
    "brat": read_brat,
    "opennre": read_opennre,
    "tacred": read_tacred,
    "docbin": read_docbin,
}


class ImportReport(NamedTuple):
    """Report of an import: a few lines, the files that were written, by split, and the names of all pictures."""

    text: str
    files: dict[str, Path]
    pictures: list[str]


def import_posts(
    kind: str,
    path: str | os.PathLike,
    out: str | os.PathLike,
    none: int | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> ImportReport:
    """Write the labelled pairs of entities of an export as JSON lines, a file for each split.

    Args:
        kind: of `READERS`.
        path: a file; of brat a folder.
        out: a new folder.
        none: how many pairs without a relation are drawn of each post; None for all of them. Pairs of which a relation
            is labelled in the other direction are left out: the other way round it may hold as well. So are those of
            data that lists pairs (OpenNRE, TACRED), whose own pairs without a relation are kept.
        validation: share of the posts for validation.
        test: share of the posts for test.
        seed: of the draws and splits.

    Returns:
        What there was.

    Raises:
        FileExistsError: the folder is there already.
        FileNotFoundError: there is no such file or folder.
        ImportError: spaCy is needed and not installed.
        ValueError: a value is out of range, the data is bad (one report names the bad places), or a split is empty.
    """
    path, out = Path(path), Path(out)
    if kind not in READERS:
        raise ValueError(unknown("format", kind, READERS))
    if validation < 0 or test < 0 or not validation + test < 1:
        raise ValueError(f"validation {validation:g} and test {test:g}; expected shares from 0, together below 1")
    if kind == "brat" and not path.is_dir():
        raise FileNotFoundError(f"{path}: there is no such folder; of brat, give the folder of its .ann files")
    if kind != "brat" and not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if out.exists():
        raise FileExistsError(f"{out} is there already; give another --out, or delete it")
    gathering = Gathering(path)
    posts = list(READERS[kind](gathering))
    gathering.problems.raise_if_any()
    rows = [_rows(post, none, random.Random(f"{seed}/{post.id}"), gathering.passed_over) for post in posts]
    rows = _once(posts, rows, gathering.passed_over)
    without = sum(not of_post for of_post in rows)
    gathering.passed_over["posts without a pair of entities"] += without
    posts, rows = zip(*((post, of_post) for post, of_post in zip(posts, rows) if of_post)) if any(rows) else ((), ())
    names = sorted({row["relation"] for of_post in rows for row in of_post} - {NEGATIVE_RELATION})
    if not names:
        raise ValueError(f"{path}: no relation in {len(posts) + without} posts; expected at least one")
    warn_of_alike(names)
    relations = [{row["relation"] for row in of_post} - {NEGATIVE_RELATION} for of_post in rows]
    splits = split_apart([(post.text, post.image) for post in posts], relations, validation, test, seed)
    for split, share in (("validation", validation), ("test", test)):
        if share and not splits[split]:
            raise ValueError(
                f"{path}: {split} would be empty: {len(posts)} posts are too few, or hang together by pictures and "
                f"texts, or have relations that no other has; give more, or --{split} 0"
            )
    return _write(out, splits, rows, posts, gathering.passed_over)


def _rows(post: LabelledPost, none: int | None, generator: random.Random, counts: Counter) -> list[dict]:
    """Return the rows of a post: a row for each relation, then the pairs without one."""
    labelled = {frozenset(pair) for *pair, _ in post.relations}
    said = Counter(tuple(pair) for *pair, _ in post.relations)
    counts["pairs that have several relations, a row for each"] += sum(count > 1 for count in said.values())
    pairs = [] if post.lists_pairs else list(permutations(range(len(post.entities)), 2))
    free = [pair for pair in pairs if frozenset(pair) not in labelled]
    if none is not None and none < len(free):
        free = sorted(generator.sample(free, none))
    found = [*post.relations, *((*pair, NEGATIVE_RELATION) for pair in free)]
    rows = []
    for number, (head, tail, name) in enumerate(found):
        spans = {end: _span(post, entity) for end, entity in (("head", head), ("tail", tail))}
        image = {} if post.image is None else {"image": post.image}
        rows.append({"id": f"{post.id}-{number}", "text": post.text, **spans, **image, "relation": name})
    return rows


def _span(post: LabelledPost, number: int) -> dict:
    entity = post.entities[number]
    return {"start": entity.start, "end": entity.end} | ({} if entity.type is None else {"type": entity.type})


def _once(posts: Sequence[LabelledPost], rows: list[list[dict]], counts: Counter) -> list[list[dict]]:
    """Return the rows without those that an earlier post of the same text and picture has as well."""
    seen, kept = set(), []
    for post, of_post in zip(posts, rows):
        keys = [
            (post.text, post.image, *(row[end][edge] for end in ("head", "tail") for edge in ("start", "end")))
            + (row["relation"],)
            for row in of_post
        ]
        new = [row for key, row in zip(keys, of_post) if key not in seen]
        counts["rows that an earlier post has, too"] += len(of_post) - len(new)
        seen.update(keys)
        kept.append(new)
    return kept


def _write(
    out: Path,
    splits: dict[str, list[int]],
    rows: Sequence[list[dict]],
    posts: Sequence[LabelledPost],
    counts: Counter,
) -> ImportReport:
    """Write the rows of each split that has posts, and report them."""
    out.mkdir(parents=True)
    files, lines = {}, []
    for split in SPLITS:
        if not splits[split]:
            continue
        files[split] = out / f"{split}.jsonl"
        of_split = [row for number in splits[split] for row in rows[number]]
        with whole_file(files[split]) as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in of_split)
        number = sum(row["relation"] == NEGATIVE_RELATION for row in of_split)
        pictures = {posts[number].image for number in splits[split]} - {None}
        lines.append(
            f"{files[split]}: {len(splits[split])} posts with {len(pictures)} pictures, {len(of_split)} pairs of "
            f"entities, {number} of them without a relation"
        )
    names = sorted({row["relation"] for of_post in rows for row in of_post} - {NEGATIVE_RELATION})
    lines.append(f"{len(names)} relations: {some(names)}")
    passed_over = [f"{count} {what}" for what, count in counts.items() if count]
    if passed_over:
        lines.append(f"passed over: {', '.join(passed_over)}")
    return ImportReport("\n".join(lines), files, sorted({post.image for post in posts} - {None}))


__all__ = ["READERS", "ImportReport", "import_posts"]
