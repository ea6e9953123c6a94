"""Find regions and captions for a data set of posts, without a look at its labels: the command `mmre-annotate`.

The work is cut into batches of pictures before anything starts, each with all the posts that share its pictures. What
is found is appended batch by batch to `FILE.part-0` (one such file per process), so that a killed run goes on where it
was, with the same batches and therefore the same numbers. At the end the parts become FILE, in the order of the posts.
"""

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from filelock import FileLock, Timeout
from PIL import Image
from transformers import AutoConfig, HfArgumentParser
from transformers.utils import logging

from mmre.posts.annotation_file import (
    ANNOTATION_VERSION,
    HEADER_KEY,
    read_annotation_header,
    read_annotation_rows,
    write_annotation,
)
from mmre.posts.checks import Problems, show, some
from mmre.posts.files import load_posts as load_post_files
from mmre.posts.mnre import find_image, find_texts, index_files, is_mnre_folder, read_posts
from mmre.posts.schema import REGION_COLUMNS
from mmre.posts.synthetic import make_synthetic_posts
from mmre.processing.focal_augmentation import load_image
from mmre.processing.spacy_entities import load_spacy

from .picture_models import Captioner, Detector, Grounder, find_keywords

TASK_COLUMNS = {"grounding": "grounded_regions", "detection": "detected_regions", "captions": "caption"}
REFUSED = "the models do not take it: "  # the reason of a picture that could be read
# All that annotation may see of a post. Not its relation.
COLUMNS = ["id", "text", "head", "tail", "image"]


class AnnotationFileError(ValueError):
    """A file of an earlier run that cannot be gone on with."""


@dataclass(kw_only=True)
class PictureArguments:
    """What to look for in pictures, with which models."""

    tasks: list[str] = field(
        default_factory=lambda: list(TASK_COLUMNS), metadata={"help": f"What to find, of: {', '.join(TASK_COLUMNS)}."}
    )
    spacy_model: str = field(default="en_core_web_sm", metadata={"help": "spaCy model that finds nouns and entities."})
    grounding_model: str = field(
        default="IDEA-Research/grounding-dino-base",
        metadata={"help": "Zero-shot detector that looks for the nouns and the entities of a post."},
    )
    grounding_revision: str | None = field(default=None, metadata={"help": "Its revision on the Hub."})
    grounding_threshold: float = field(default=0.25, metadata={"help": "Score from which a grounded region counts."})
    num_grounded_regions: int = field(default=4, metadata={"help": "Grounded regions of a post, at most."})
    detection_model: str = field(default="PekingU/rtdetr_v2_r50vd", metadata={"help": "Object detector."})
    detection_revision: str | None = field(default=None, metadata={"help": "Its revision on the Hub."})
    detection_threshold: float = field(default=0.5, metadata={"help": "Score from which a detected region counts."})
    num_detected_regions: int = field(default=3, metadata={"help": "Detected regions of an image, at most."})
    max_iou: float = field(
        default=0.9,
        metadata={"help": "Of two regions of a kind that overlap more than this (intersection / union), one is kept."},
    )
    caption_model: str = field(
        default="Salesforce/blip2-opt-2.7b", metadata={"help": "Image-to-text model that writes the captions."}
    )
    caption_revision: str | None = field(default=None, metadata={"help": "Its revision on the Hub."})
    caption_prompt: str | None = field(
        default=None, metadata={"help": "Text for the caption model, with its marks for the image if it needs some."}
    )
    caption_max_new_tokens: int = field(default=40, metadata={"help": "Longest caption."})
    batch_size: int = field(default=8, metadata={"help": "Images, or posts with their image, in a batch."})
    dtype: str = field(default="auto", metadata={"help": "Of the models' weights: auto, float32, bfloat16, float16."})

    def __post_init__(self):
        if any(task not in TASK_COLUMNS for task in self.tasks):
            raise ValueError(f"--tasks {' '.join(self.tasks)}; expected one or more of {', '.join(TASK_COLUMNS)}")
        for name in ("grounding_threshold", "detection_threshold", "max_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--{name} {getattr(self, name)}; expected a number from 0 to 1")
        for name in ("num_grounded_regions", "num_detected_regions", "caption_max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}; expected at least 1")
        if self.dtype not in ("auto", "float32", "bfloat16", "float16"):
            raise ValueError(f"--dtype {self.dtype}; expected auto, float32, bfloat16 or float16")


@dataclass(kw_only=True)
class AnnotationArguments(PictureArguments):
    """What to look for, with which models, and where to write it."""

    out: str = field(metadata={"help": "The file to write: parquet if it ends in .parquet, else JSON lines."})
    image_dir: str | None = field(
        default=None,
        metadata={"help": "Where the images of MNRE, or of files, are, if not below that folder, or beside the files."},
    )
    train_file: str | None = field(default=None, metadata={"help": "With DATA `files`: CSV or JSON lines."})
    validation_file: str | None = field(default=None, metadata={"help": "The same."})
    test_file: str | None = field(default=None, metadata={"help": "The same."})

    def __post_init__(self):
        super().__post_init__()
        if not self.tasks:
            raise ValueError(f"--tasks: none; expected one or more of {', '.join(TASK_COLUMNS)}")


def load_posts(
    data: str, image_dir: str | None = None, files: Sequence[str | None] = (None, None, None)
) -> datasets.Dataset:
    """Load the posts of all splits, without their relations.

    Args:
        data: the folder of MNRE, a data set with the columns of [`post_features`] (a folder of `save_to_disk`, or what
            `load_dataset` takes: a folder or a name on the Hub), `"synthetic"`, or `"files"`.
        image_dir: where the images of MNRE or of files are; below `data`, or beside the files, if not given.
        files: with `"files"`, the files of the training, the validation and the test posts, as
            [`mmre.processing.load_posts`] reads them.

    Returns:
        `datasets.Dataset` with `id`, `text`, `head`, `tail` and `image`, which is not decoded.

    Raises:
        FileNotFoundError: there are no such data, or MNRE without any of its images.
        ValueError: the data is bad; one report names the bad places.
    """
    if any(files) and data != "files":
        raise ValueError(f"--train_file and the others belong to the data 'files', not to {data!r}")
    if data == "synthetic":
        posts = make_synthetic_posts()
    elif data == "files":
        posts = load_post_files(*files, image_dir=image_dir, on_missing_image="keep")
    elif data.lower().endswith((".csv", ".jsonl", ".json")):
        raise ValueError(f"{data}: of files say which split they are: files --train_file {data} --test_file ...")
    elif os.path.isdir(data) and any((Path(data) / name).is_file() for name in ("dataset_dict.json", "state.json")):
        posts = datasets.load_from_disk(data)
    elif os.path.isdir(data) and is_mnre_folder(data):
        return _load_mnre_posts(data, image_dir)
    else:
        try:
            posts = datasets.load_dataset(data)
        except (OSError, datasets.exceptions.DatasetsError) as error:
            found = f"the folder {data} cannot be loaded" if os.path.isdir(data) else f"there is no folder {data}"
            raise FileNotFoundError(f"{found}, nor a data set of that name on the Hub: {error}") from error
    splits = list(posts.values()) if isinstance(posts, dict) else [posts]
    for split in splits:
        missing = [column for column in COLUMNS if column not in split.column_names]
        if missing:
            raise ValueError(
                f"{data} has no column {', '.join(missing)}; expected {', '.join(COLUMNS)} (it has "
                f"{', '.join(split.column_names)})"
            )
        if not isinstance(split.features["image"], datasets.Image):
            raise ValueError(f"{data}: image: {split.features['image']}; expected a column of datasets.Image()")
    splits = [split.select_columns(COLUMNS).cast_column("image", datasets.Image(decode=False)) for split in splits]
    posts = datasets.concatenate_datasets(splits)
    _check_posts(posts, data)
    return posts


def _load_mnre_posts(data_dir: str, image_dir: str | None) -> datasets.Dataset:
    """Not by `load_mnre`: that drops unreadable images, or raises."""
    files, problems = index_files(data_dir), Problems()
    images = files if image_dir is None else index_files(image_dir)
    rows, num_found = [], 0
    for split, path in find_texts(files, data_dir).items():
        for post in read_posts(path, split, problems).values():
            image = find_image(images.get(post["img_id"], []), image_dir or data_dir, split)
            num_found += image is not None
            # A path at which nothing is, for an image that is not there: found out and recorded when it is read.
            post["image"] = image or os.path.join(image_dir or data_dir, str(post["img_id"]))
            rows.append(post)
    problems.raise_if_any()
    if not num_found:
        raise FileNotFoundError(
            f"None of MNRE's images is in {image_dir or data_dir} or below it; say where they are with --image_dir"
        )
    span = {"start": datasets.Value("int32"), "end": datasets.Value("int32")}
    types = [datasets.Value("string"), datasets.Value("string"), span, span]
    features = datasets.Features(dict(zip(COLUMNS, [*types, datasets.Image(decode=False)])))
    return datasets.Dataset.from_dict({column: [row[column] for row in rows] for column in COLUMNS}, features=features)


def _check_posts(posts: datasets.Dataset, data: str) -> None:
    problems, seen = Problems(), set()
    for number, row in enumerate(posts.remove_columns("image")):
        where = f"{data}: row {number} ({row['id']!r})"
        if not isinstance(row["id"], str) or row["id"] in seen:
            problems.add(data, where, "id", show(row["id"]), "a string that no other row of any split has")
        seen.add(row["id"])
        if not row["text"]:
            problems.add(data, where, "text", show(row["text"]), "a text")
            continue
        for name in ("head", "tail"):
            start, end = ((row[name] or {}).get(bound) for bound in ("start", "end"))
            if start is None or end is None or not 0 <= start < end <= len(row["text"]):
                expected = f"start and end, not empty, within its {len(row['text'])} characters"
                problems.add(data, where, name, show(row[name]), expected)
    if not seen:
        problems.add(data, data, "content", "no posts", "at least one")
    problems.raise_if_any()


@dataclass
class Plan:
    """Which posts share a picture, and what is done together."""

    posts: datasets.Dataset
    fingerprint: str
    batches: list[list[list[int]]]  # batches of pictures; a picture is the row numbers of its posts


def make_plan(posts: datasets.Dataset, batch_size: int) -> Plan:
    """Cut the work into batches of pictures, the same ones each time.

    Args:
        posts: from [`load_posts`].
        batch_size: number of pictures in a batch.

    Returns:
        The plan; its fingerprint is that of the posts and of which of them share a picture, wherever those lie.
    """
    pictures, fingerprint = {}, hashlib.sha256()
    for number, row in enumerate(posts):
        image, group = row.pop("image"), None
        if image is not None:
            key = hashlib.sha256(image["bytes"]).digest() if image["bytes"] is not None else image["path"]
            group = pictures.setdefault(key, [])
            group.append(number)
        shared = None if group is None else group[0]
        fingerprint.update(json.dumps([row, shared], sort_keys=True).encode())
    groups = list(pictures.values())
    batches = [groups[start : start + batch_size] for start in range(0, len(groups), batch_size)]
    return Plan(posts, fingerprint.hexdigest(), batches)


def make_header(args: AnnotationArguments, plan: Plan, nlp: Any) -> dict:
    """Say what an annotation is made with: everything that decides what is in it."""
    return {
        HEADER_KEY: ANNOTATION_VERSION,
        "posts": len(plan.posts),
        "posts_sha256": plan.fingerprint,
        "transformers": transformers.__version__,
        "batch_size": args.batch_size,
        "dtype": args.dtype,
        **picture_settings(args, nlp),
    }


def picture_settings(args: PictureArguments, nlp: Any) -> dict:
    """Say what is looked for in pictures, task by task, and with which models."""

    def model(task: str) -> dict:
        name, revision = getattr(args, f"{task}_model"), getattr(args, f"{task}_revision")
        with naming(f"--{task}_model {name}"):
            config = AutoConfig.from_pretrained(name, revision=revision)
        # The commit, where the model comes from the Hub: the name of a branch says little in a year.
        return {"model": name, "revision": getattr(config, "_commit_hash", None) or revision}

    settings = {}
    if "grounding" in args.tasks:
        settings["grounding"] = {
            **model("grounding"),
            "threshold": args.grounding_threshold,
            "num_regions": args.num_grounded_regions,
            "max_iou": args.max_iou,
            "spacy_model": args.spacy_model,
            "spacy_model_version": nlp.meta["version"],
        }
    if "detection" in args.tasks:
        settings["detection"] = {
            **model("detection"),
            "threshold": args.detection_threshold,
            "num_regions": args.num_detected_regions,
            "max_iou": args.max_iou,
        }
    if "captions" in args.tasks:
        settings["captions"] = {
            **model("caption"),
            "prompt": args.caption_prompt,
            "max_new_tokens": args.caption_max_new_tokens,
        }
    return settings


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Say what could not be loaded: transformers does not, where there are several."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{what}: {error}") from error
    except OSError as error:
        raise OSError(f"{what}: {error}") from error


def check_header(found: dict, header: dict, path: str | os.PathLike) -> None:
    """Refuse to go on with a file that was made with other settings."""
    found, expected = _flatten(found), _flatten(header)
    differences = [
        f"{key}: {found.get(key)!r} there, {expected.get(key)!r} now"
        for key in {**expected, **found}
        if found.get(key) != expected.get(key)
    ]
    if differences:
        raise AnnotationFileError(
            f"{path} was made with other settings or of other posts. Give the same ones to go on, another --out, or "
            "delete the file:\n  " + "\n  ".join(differences)
        )


def _flatten(header: dict) -> dict:
    flat = {}
    for key, value in header.items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def part_paths(out: str | os.PathLike) -> list[Path]:
    """The unfinished files of a run, of all its processes."""
    pattern = re.compile(re.escape(Path(out).name) + r"\.part-(\d+)")
    found = [path for path in Path(out).parent.glob("*") if pattern.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(pattern.fullmatch(path.name)[1]))


def read_part(path: Path, header: dict) -> tuple[dict[int, list[dict]], int]:
    """Read what a run has got done.

    Args:
        path: an unfinished file.
        header: the header that it must have.

    Returns:
        The rows by the number of their batch, and how many bytes of the file are good: a line that a kill tore off is
        not among them.

    Raises:
        AnnotationFileError: the file was made with other settings, or is damaged elsewhere than at its end.
    """
    batches, good = {}, 0
    for number, rows, end in read_batches(path, header):
        good = end
        if number is not None:
            batches[number] = rows
    return batches, good


def read_batches(path: Path, header: dict) -> Iterator[tuple[int | None, list[dict], int]]:
    """The number of each batch of an unfinished file, its rows, and where its line ends; first None for the header."""
    end = 0
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            end += len(raw)
            try:
                line = json.loads(raw)
                batch = (None, []) if number == 1 else (line["batch"], line["rows"])
            except (ValueError, KeyError, TypeError) as error:
                raise AnnotationFileError(
                    f"{path}:{number} is damaged ({error}); delete the file to start anew"
                ) from error
            if number == 1:
                check_header(line, header, path)
            yield *batch, end


def read_image(image: dict) -> tuple[Image.Image | None, str | None]:
    """Decode an image.

    Args:
        image: `{"bytes": ..., "path": ...}`, as a data set has it.

    Returns:
        The picture in RGB and None; or None and the reason why there is none, the same on each machine.
    """
    path = image["path"]
    try:
        return load_image(path if image["bytes"] is None else image["bytes"]), None
    except FileNotFoundError:
        return None, "not found"
    except (ValueError, OSError) as error:
        reason = str(error) if path is None else str(error).replace(path, os.path.basename(path))
        return None, re.sub(r" object at 0x[0-9a-f]+", "", reason)


class Annotator:
    """Finds what the tasks ask for, batch by batch.

    Args:
        args: the models and what they are asked.
        header: from [`make_header`] or [`picture_settings`]; has the revisions.
        nlp: a spaCy model, if grounding is among the tasks.
        device: where the models run.
    """

    def __init__(self, args: PictureArguments, header: dict, nlp: Any, device: Any):
        self.args, self.nlp = args, nlp
        self.seconds, self.counts = Counter(), Counter()  # by stage; images, or posts
        common = {"dtype": args.dtype, "device": device}
        self.grounder = self.detector = self.captioner = None
        if "grounding" in args.tasks:
            wanted = {key: value for key, value in header["grounding"].items() if not key.startswith("spacy")}
            with naming(f"--grounding_model {wanted['model']}"):
                self.grounder = Grounder(**wanted, **common)
        if "detection" in args.tasks:
            with naming(f"--detection_model {header['detection']['model']}"):
                self.detector = Detector(**header["detection"], **common)
        if "captions" in args.tasks:
            with naming(f"--caption_model {header['captions']['model']}"):
                self.captioner = Captioner(**header["captions"], **common)

    def __call__(self, posts: datasets.Dataset, pictures: list[list[int]], pool: ThreadPoolExecutor) -> list[dict]:
        """Annotate the posts of a batch of pictures.

        Args:
            posts: all posts.
            pictures: the row numbers of the posts of each picture.
            pool: where images are decoded.

        Returns:
            A row of the annotation for each of the posts.

        Raises:
            ValueError: the models take none of several pictures, so it is not the pictures.
        """
        try:
            return self._annotate(posts, pictures, pool)
        except ValueError as error:  # Grounding DINO refuses a picture of hardly any height, spaCy a huge text
            if len(pictures) == 1:
                reason = f"{REFUSED}{error}"
                return [empty_row(key, self.args.tasks) | {"error": reason} for key in posts.select(pictures[0])["id"]]
            rows = [self(posts, [picture], pool) for picture in pictures]
            # Those that cannot be read say nothing of the models.
            errors = [of_picture[0].get("error") for of_picture in rows]
            if None not in errors and sum(reason.startswith(REFUSED) for reason in errors) > 1:
                raise ValueError(f"none of {len(pictures)} pictures could be annotated: {error}") from error
            return [row for of_picture in rows for row in of_picture]

    def _annotate(self, posts: datasets.Dataset, pictures: list[list[int]], pool: ThreadPoolExecutor) -> list[dict]:
        firsts = posts.select([numbers[0] for numbers in pictures])
        with self._timed("decoding", len(pictures)):
            decoded = list(pool.map(read_image, firsts["image"][:]))
        good = [index for index, (image, _) in enumerate(decoded) if image is not None]
        images = [decoded[index][0] for index in good]
        found = [{} for _ in pictures]
        for index, (_, reason) in enumerate(decoded):
            if reason:
                found[index]["error"] = reason
        if self.detector:
            with self._timed("detection", len(images)):
                for index, boxes in zip(good, self.detector(images)):
                    found[index]["detected_regions"] = boxes
        if self.captioner:
            with self._timed("captions", len(images)):
                for index, caption in zip(good, self.captioner(images)):
                    found[index]["caption"] = caption
        grounded = {}
        if self.grounder:
            numbers = [number for index in good for number in pictures[index]]
            with self._timed("grounding", len(numbers)):
                shown = [image for index, image in zip(good, images) for _ in pictures[index]]
                keywords = [post_keywords(self.nlp, row) for row in posts.select_columns(COLUMNS[:-1]).select(numbers)]
                grounded = dict(zip(numbers, self.grounder(shown, keywords, self.args.batch_size)))
        rows = []
        for index, numbers in enumerate(pictures):
            for number, key in zip(numbers, posts.select(numbers)["id"][:]):
                own = {"grounded_regions": grounded[number]} if number in grounded else {}
                rows.append(empty_row(key, self.args.tasks) | found[index] | own)
        return rows

    @contextmanager
    def _timed(self, stage: str, count: int) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start
        self.counts[stage] += count

    def throughput(self) -> str:
        """How fast each stage was, a line each."""
        return "\n".join(
            f"{stage}: {self.counts[stage]} {'posts' if stage == 'grounding' else 'images'} in {seconds:.1f} s, "
            f"{self.counts[stage] / seconds:.1f} a second"
            for stage, seconds in self.seconds.items()
        )


def post_keywords(nlp: Any, row: dict) -> list[str]:
    """What to look for in the picture of a post: its nouns and the names of its entities."""
    entities = [row["text"][row[name]["start"] : row[name]["end"]] for name in ("head", "tail")]
    return find_keywords(nlp, row["text"], entities)


def empty_row(key: str, tasks: list[str]) -> dict:
    """The row of a post without a picture."""
    columns = {column: None if column == "caption" else [] for task, column in TASK_COLUMNS.items() if task in tasks}
    return {"id": key, **columns}


def check_out(out: Path, header: dict) -> bool:
    """Whether the file is finished already; an error if it is another one."""
    if not out.exists():
        return False
    found = read_annotation_header(out)
    if found is None:
        raise AnnotationFileError(f"{out} is there and is no annotation file; give another --out")
    check_header(found, header, out)
    return True


def annotate(posts: datasets.Dataset, args: AnnotationArguments) -> None:
    """Write the annotation file of a data set, or go on writing it.

    Every process of `accelerate launch` calls this; each does its share of the batches.

    Args:
        posts: from [`load_posts`].
        args: where to write, what to find, with which models.

    Raises:
        AnnotationFileError: the file, finished or not, is there and was made with other settings or of other posts.
        ImportError: spaCy is not installed.
        OSError: a model is not there.
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
    with only_run(args.out) if state.is_main_process else nullcontext():
        _annotate(posts, args, state)


@contextmanager
def only_run(out: str | os.PathLike) -> Iterator[None]:
    """Keep other runs away from an output while this one writes it.

    Raises:
        AnnotationFileError: another run is writing it.
    """
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{out}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise AnnotationFileError(f"another run is writing {out}: wait for it, or give another --out") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file
            os.unlink(lock.lock_file)
        lock.release()


def _annotate(posts: datasets.Dataset, args: AnnotationArguments, state: PartialState) -> None:
    out = Path(args.out)
    plan = make_plan(posts, args.batch_size)
    nlp = load_spacy(args.spacy_model) if "grounding" in args.tasks else None
    header = make_header(args, plan, nlp)
    finished = check_out(out, header)
    done, good = {}, 0
    own = Path(f"{out}.part-{state.process_index}")
    for path in part_paths(out):
        batches, size = read_part(path, header)
        done |= batches
        good = size if path == own else good
    throughput = ""
    state.wait_for_everyone()  # nobody writes before all have read
    if not finished:
        share = [number for number in range(len(plan.batches)) if number % state.num_processes == state.process_index]
        todo = [number for number in share if number not in done]
        annotator = Annotator(args, header, nlp, state.device) if todo else None
        with open(own, "ab") as file:
            file.truncate(good)
            if not good:
                append_line(file, header)
            if todo:
                for number, rows in annotate_batches(annotator, plan, share, todo, quiet=not state.is_main_process):
                    append_line(file, {"batch": number, "rows": rows})
                throughput = "This process, this time:\n" + annotator.throughput()
        state.wait_for_everyone()
    if not state.is_main_process:
        return
    if not finished:
        write_annotation(out, header, merge_parts(out, header, plan, args.tasks))
    for path in part_paths(out):
        path.unlink()
    print(summarize(out, plan, args.tasks))
    if throughput:
        print(throughput)


def annotate_batches(
    annotator: Annotator, plan: Plan, share: list[int], todo: list[int], quiet: bool
) -> Iterator[tuple[int, list[dict]]]:
    """The number and the rows of each batch that is still to do, under a progress bar that counts images."""
    sizes = [len(pictures) for pictures in plan.batches]
    total, initial = sum(sizes[number] for number in share), sum(sizes[number] for number in set(share) - set(todo))
    bar = logging.tqdm(total=total, initial=initial, desc="Annotating", unit="image", disable=quiet)
    with ThreadPoolExecutor() as pool, bar:
        for number in todo:
            yield number, annotator(plan.posts, plan.batches[number], pool)
            bar.update(sizes[number])


def append_line(file: Any, line: dict) -> None:
    """Write a line, and see to it that it is on the disk."""
    file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def merge_parts(out: Path, header: dict, plan: Plan, tasks: list[str]) -> list[dict]:
    """The rows of all parts in the order of the posts."""
    rows = {}
    for path in part_paths(out):
        for batch in read_part(path, header)[0].values():
            rows |= {row["id"]: row for row in batch}
    shown = {number for pictures in plan.batches for numbers in pictures for number in numbers}
    merged = []
    for number, key in enumerate(plan.posts["id"][:]):
        if number in shown and key not in rows:
            raise AnnotationFileError(f"{out}.part-*: no row of {key!r}; run the same command again")
        merged.append(rows.get(key) or empty_row(key, tasks))
    return merged


def summarize(out: Path, plan: Plan, tasks: list[str]) -> str:
    """What an annotation file holds, in a few lines."""
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


def main() -> None:
    """The command `mmre-annotate`."""
    parser = HfArgumentParser(
        AnnotationArguments, prog="mmre-annotate", description=__doc__.split("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument(
        "data",
        help="folder of MNRE, a data set in this project's schema (folder or name on the Hub), files, or synthetic",
    )
    try:
        args, positional = parser.parse_args_into_dataclasses()
        posts = load_posts(positional.data, args.image_dir, (args.train_file, args.validation_file, args.test_file))
        annotate(posts, args)
    except (ValueError, ImportError, OSError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
