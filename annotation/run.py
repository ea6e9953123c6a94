"""One run of an annotation: its posts, batch by batch, to an annotation file.

The work is cut into batches of pictures before anything starts, each with all the posts that share its pictures. What
is found, here or by workers of Ray, is appended batch by batch to `OUT.part`, so that a killed run goes on where it
was, with the same batches and therefore the same numbers. At the end the part becomes OUT, in the order of the posts.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from transformers.utils import logging

from mmre.evaluation.output_lock import only_writer
from mmre.posts.annotation_file import (
    ANNOTATION_VERSION,
    HEADER_KEY,
    read_annotation_header,
    read_annotation_rows,
    write_annotation,
)
from mmre.posts.checks import some
from mmre.posts.schema import REGION_COLUMNS
from mmre.processing.spacy_entities import load_spacy

from .annotator import Annotator, empty_row, picture_settings
from .arguments import TASK_COLUMNS, AnnotationArguments
from .plan import Plan, make_plan
from .ray_workers import check_cluster, work_on_ray
from .unfinished import OutputFileError, append_line, check_same_header, read_batches


def annotate(posts: datasets.Dataset, args: AnnotationArguments) -> str:
    """Write the annotation file of a data set, or go on writing it.

    Args:
        posts: from [`open_unlabelled_posts`].
        args: where to write, what to find, with which models, and with which workers.

    Returns:
        A few lines on what the file holds and how fast this run was.

    Raises:
        OutputFileError: the file, finished or not, is there and was made with other settings or of other posts.
        ValueError: another run is writing the file.
        ImportError: spaCy, or Ray, is not installed.
        OSError: a model, or a cluster, is not there.
    """
    with only_writer(args.out):
        return _annotate(posts, args)


def _annotate(posts: datasets.Dataset, args: AnnotationArguments) -> str:
    out, part = Path(args.out), Path(f"{args.out}.part")
    plan = make_plan(posts, args.batch_size)
    nlp = load_spacy(args.spacy_model) if "grounding" in args.tasks else None
    header = annotation_header(args, plan, nlp)
    finished = is_finished(out, header)
    if args.ray is not None:
        check_cluster(args.ray)
    done, end = set(), 0
    if part.exists():
        for number, _, end in read_batches(part, header):  # noqa: B007, the last end counts
            done.add(number)
    throughput = []
    if not finished:
        todo = [number for number in range(len(plan.batches)) if number not in done]
        annotator = Annotator(args, header, nlp, default_device()) if todo and args.ray is None else None
        start = time.perf_counter()
        with open(part, "ab", buffering=0) as file:
            file.truncate(end)
            if not end:
                append_line(file, header)
            for number, rows in annotate_batches(annotator, plan, todo, args, header):
                append_line(file, {"batch": number, "rows": rows})
        if annotator is not None:
            throughput = ["This time:", annotator.throughput()]
        elif todo:
            count, seconds = sum(len(plan.batches[number]) for number in todo), time.perf_counter() - start
            throughput = [f"This time: {count} images in {seconds:.1f} s, {count / seconds:.1f} a second"]
        write_annotation(out, header, rows_in_order(part, header, plan, args.tasks))
    part.unlink(missing_ok=True)
    return "\n".join([summarize(out, plan, args.tasks), *throughput])


def default_device() -> torch.device:
    """Return the accelerator of this machine, or else the CPU."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def annotation_header(args: AnnotationArguments, plan: Plan, nlp: Any) -> dict:
    """Describe what an annotation is made with: everything that decides what is in it."""
    return {
        HEADER_KEY: ANNOTATION_VERSION,
        "posts": len(plan.posts),
        "posts_sha256": plan.fingerprint,
        "transformers": transformers.__version__,
        "batch_size": args.batch_size,
        "dtype": args.dtype,
        **picture_settings(args, nlp),
    }


def is_finished(out: Path, header: dict) -> bool:
    """Tell whether the annotation file is there, with this header.

    Raises:
        OutputFileError: another file is there.
    """
    if not out.exists():
        return False
    found = read_annotation_header(out)
    if found is None:
        raise OutputFileError(f"{out} is there and is no annotation file; give another --out")
    check_same_header(found, header, out)
    return True


def annotate_batches(
    annotator: Annotator | None, plan: Plan, todo: Sequence[int], args: AnnotationArguments, settings: dict
) -> Iterator[tuple[int, list[dict]]]:
    """Annotate batch by batch, under a progress bar that counts images.

    Args:
        annotator: the annotator; None where workers of Ray have theirs.
        plan: the plan.
        todo: numbers of the batches that are still to do.
        args: the arguments.
        settings: of the models, from [`picture_settings`].

    Yields:
        The number of a batch, and its rows.
    """
    sizes = [len(pictures) for pictures in plan.batches]
    bar = logging.tqdm(
        total=sum(sizes), initial=sum(sizes) - sum(sizes[n] for n in todo), desc="Annotating", unit="image"
    )
    with ThreadPoolExecutor() as pool, bar:
        if annotator is not None:
            found = ((number, annotator(plan.posts, plan.batches[number], pool)) for number in todo)
        elif todo:
            batches = ((number, _as_data_set(plan, number)) for number in todo)
            found = work_on_ray(partial(make_worker, args, settings), batches, args.ray, args.workers)
        else:
            found = ()
        for number, rows in found:
            yield number, rows
            bar.update(sizes[number])


def _as_data_set(plan: Plan, number: int) -> tuple[dict, datasets.Features, list[list[int]]]:
    """Return a batch for another machine: the rows of its posts, their columns, and which of them share a picture."""
    rows, numbers = [], []
    for of_picture in plan.batches[number]:
        numbers.append(list(range(len(rows), len(rows) + len(of_picture))))
        rows += of_picture
    return plan.posts[rows], plan.posts.features, numbers


def make_worker(args: AnnotationArguments, settings: dict) -> Callable[[tuple, ThreadPoolExecutor], list[dict]]:
    """Return what annotates batches in the process of a worker."""
    nlp = load_spacy(args.spacy_model) if "grounding" in args.tasks else None
    annotator = Annotator(args, settings, nlp, default_device())

    def work(batch: tuple[dict, datasets.Features, list[list[int]]], pool: ThreadPoolExecutor) -> list[dict]:
        columns, features, pictures = batch
        return annotator(datasets.Dataset.from_dict(columns, features=features), pictures, pool)

    return work


def rows_in_order(part: Path, header: dict, plan: Plan, tasks: Sequence[str]) -> list[dict]:
    """Collect the rows of all batches, in the order of the posts.

    Raises:
        OutputFileError: a post with a picture has no row.
    """
    rows = {row["id"]: row for _, batch, _ in read_batches(part, header) for row in batch}
    shown = {number for pictures in plan.batches for numbers in pictures for number in numbers}
    ordered = []
    for number, key in enumerate(plan.posts["id"][:]):
        if number in shown and key not in rows:
            raise OutputFileError(f"{part}: no row of {key!r}; run the same command again")
        ordered.append(rows.get(key) or empty_row(key, tasks))
    return ordered


def summarize(out: Path, plan: Plan, tasks: Sequence[str]) -> str:
    """Describe the content of an annotation file in a few lines."""
    rows = [row for _, row in read_annotation_rows(out)]
    pictures = [numbers for batch in plan.batches for numbers in batch]
    without = len(rows) - sum(map(len, pictures))
    failed = [numbers[0] for numbers in pictures if rows[numbers[0]].get("error")]
    lines = [f"{out}: {len(rows)} posts, {len(pictures)} images; {without} posts have none"]
    if failed:
        reasons = some(f"{rows[number]['id']} ({rows[number]['error']})" for number in failed)
        lines.append(f"unreadable: {len(failed)} images: {reasons}")
    for task, column in TASK_COLUMNS.items():
        if task in tasks and column in REGION_COLUMNS:
            counts = [len(row[column]) for row in rows]
            empty = counts.count(0)
            lines.append(f"{column}: {sum(counts)} ({sum(counts) / len(rows):.2f} a post; {empty} posts without)")
    if "captions" in tasks:
        captions = sum(rows[numbers[0]]["caption"] is not None for numbers in pictures)
        lines.append(f"caption: {captions} images, {sum(row['caption'] is not None for row in rows)} posts")
    return "\n".join(lines)


__all__ = ["annotate"]
