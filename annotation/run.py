"""One run of an annotation: its posts, batch by batch, to an annotation file.

The work is cut into batches of pictures before anything starts, each with all the posts that share its pictures. What
is found is appended batch by batch to `OUT.part-0` (one such file per process), so that a killed run goes on where it
was, with the same batches and therefore the same numbers. At the end the parts become OUT, in the order of the posts.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
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
from .unfinished import OutputFileError, append_line, check_same_header, part_paths, read_batches


def annotate(posts: datasets.Dataset, args: AnnotationArguments) -> str:
    """Write the annotation file of a data set, or go on writing it.

    Every process of `accelerate launch` calls this; each does its share of the batches.

    Args:
        posts: from [`open_unlabelled_posts`].
        args: where to write, what to find, with which models.

    Returns:
        A few lines on what the file holds and how fast this process was; nothing in processes but the main one.

    Raises:
        OutputFileError: the file, finished or not, is there and was made with other settings or of other posts.
        ValueError: another run is writing the file.
        ImportError: spaCy is not installed.
        OSError: a model is not there.
        RuntimeError: accelerate sees fewer processes than were started.
    """
    # Without `cpu`, processes on a machine without an accelerator would not know of each other.
    use_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    # Far above the default of minutes: processes wait for each other only at the end, for as long as the slowest takes.
    state = PartialState(cpu=use_cpu, timeout=timedelta(days=30))
    if state.num_processes != int(os.environ.get("WORLD_SIZE", 1)):
        raise RuntimeError(
            f"{os.environ['WORLD_SIZE']} processes were started, but accelerate knows of {state.num_processes}: they "
            "would all do the same. Is there an accelerator for each?"
        )
    with only_writer(args.out) if state.is_main_process else nullcontext():
        return _annotate(posts, args, state)


def _annotate(posts: datasets.Dataset, args: AnnotationArguments, state: PartialState) -> str:
    out = Path(args.out)
    plan = make_plan(posts, args.batch_size)
    nlp = load_spacy(args.spacy_model) if "grounding" in args.tasks else None
    header = annotation_header(args, plan, nlp)
    finished = is_finished(out, header)
    done, good = {}, 0
    own = Path(f"{out}.part-{state.process_index}")
    for path in part_paths(out):
        batches, size = read_part(path, header)
        done |= batches
        good = size if path == own else good
    throughput = []
    state.wait_for_everyone()  # nobody writes before all have read
    if not finished:
        share = [number for number in range(len(plan.batches)) if number % state.num_processes == state.process_index]
        todo = [number for number in share if number not in done]
        annotator = Annotator(args, header, nlp, state.device) if todo else None
        with open(own, "ab", buffering=0) as file:
            file.truncate(good)
            if not good:
                append_line(file, header)
            if todo:
                for number, rows in annotate_batches(annotator, plan, share, todo, quiet=not state.is_main_process):
                    append_line(file, {"batch": number, "rows": rows})
                throughput = ["This process, this time:", annotator.throughput()]
        state.wait_for_everyone()
    if not state.is_main_process:
        return ""
    if not finished:
        write_annotation(out, header, merge_parts(out, header, plan, args.tasks))
    for path in part_paths(out):
        path.unlink()
    return "\n".join([summarize(out, plan, args.tasks), *throughput])


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
    annotator: Annotator, plan: Plan, share: Sequence[int], todo: Sequence[int], quiet: bool
) -> Iterator[tuple[int, list[dict]]]:
    """Annotate batch by batch, under a progress bar that counts images.

    Args:
        annotator: the annotator.
        plan: the plan.
        share: numbers of all batches of this process.
        todo: numbers of those that are still to do.
        quiet: show no progress bar.

    Yields:
        The number of a batch, and its rows.
    """
    sizes = [len(pictures) for pictures in plan.batches]
    total, initial = sum(sizes[number] for number in share), sum(sizes[number] for number in set(share) - set(todo))
    bar = logging.tqdm(total=total, initial=initial, desc="Annotating", unit="image", disable=quiet)
    with ThreadPoolExecutor() as pool, bar:
        for number in todo:
            yield number, annotator(plan.posts, plan.batches[number], pool)
            bar.update(sizes[number])


def read_part(path: Path, header: dict) -> tuple[dict[int, list[dict]], int]:
    """Read the batches that a process has done.

    Args:
        path: path of its unfinished file.
        header: header that the file must have.

    Returns:
        The rows by the number of their batch, and how many bytes of the file are good: a line that a kill tore off is
        not among them.

    Raises:
        OutputFileError: the file has another header, or is damaged elsewhere than at its end.
    """
    batches, good = {}, 0
    for number, rows, end in read_batches(path, header):
        good = end
        if number is not None:
            batches[number] = rows
    return batches, good


def merge_parts(out: Path, header: dict, plan: Plan, tasks: Sequence[str]) -> list[dict]:
    """Collect the rows of all parts, in the order of the posts.

    Raises:
        OutputFileError: a post with a picture has no row.
    """
    rows = {}
    for path in part_paths(out):
        for batch in read_part(path, header)[0].values():
            rows |= {row["id"]: row for row in batch}
    shown = {number for pictures in plan.batches for numbers in pictures for number in numbers}
    merged = []
    for number, key in enumerate(plan.posts["id"][:]):
        if number in shown and key not in rows:
            raise OutputFileError(f"{out}.part-*: no row of {key!r}; run the same command again")
        merged.append(rows.get(key) or empty_row(key, tasks))
    return merged


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
