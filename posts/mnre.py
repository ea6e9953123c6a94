"""MNRE (version 2), read from the folders in which people have it."""

import ast
import filecmp
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers.utils import logging

from mmre.processing.focal_augmentation import clip_box

from .annotation_file import add_annotation, read_annotation_header
from .checks import Problems, check_images, is_numbers, short, show, some
from .schema import NEGATIVE_RELATION, REGION_COLUMNS, post_features
from .words import join_words

logger = logging.get_logger(__name__)

MNRE_RELATIONS = [
    NEGATIVE_RELATION,
    "/per/per/parent",
    "/per/per/siblings",
    "/per/per/couple",
    "/per/per/neighbor",
    "/per/per/peer",
    "/per/per/charges",
    "/per/per/alumi",  # spelt so in the data
    "/per/per/alternate_names",
    "/per/org/member_of",
    "/per/loc/place_of_residence",
    "/per/loc/place_of_birth",
    "/org/org/alternate_names",
    "/org/org/subsidiary",
    "/org/loc/locate_at",
    "/loc/loc/contain",
    "/per/misc/present_in",
    "/per/misc/awarded",
    "/per/misc/race",
    "/per/misc/religion",
    "/per/misc/nationality",
    "/misc/misc/part_of",
    "/misc/loc/held_on",
]
VERSION_1_RELATIONS = ("none", "/per/misc/creat", "/loc/loc/administration_divisions")

# Names that people have for each split, and of the files; {} stands for the split.
SPLITS = {"train": ("train",), "validation": ("val", "dev", "validation"), "test": ("test",)}
TEXT_FILES = ("mnre_{}.txt", "mnre_{} .txt", "ours_{}.txt")  # the space is the authors', in the name of the dev file
VERSION_1_TEXT_FILES = ("mnre_org_{}.txt",)
RELATION_FILES = ("ours_rel2id.json", "mnre_rel2id.json")
GROUNDED_BOX_FILES = ("{}_vg_box_dict.pth",)
DETECTED_BOX_FILES = ("{}_detect_box_dict.pth",)
GROUNDED_NAME_FILES = ("mre_{}_dict.pth",)
DETECTED_NAME_FILES = ("{}_img2crop.pth",)
GROUNDED_NAME = re.compile(r"(\d+)_pred_yolo_crop_(\d+)\.\w+")  # the line of the post, a running number
DETECTED_NAME = re.compile(r"(.+)_crop_(\d+)\.\w+")  # the name of the image, a running number
IMAGE_FOLDER = "img_org"

LEAK = (
    "The released regions of MNRE give the label away: the grounding queries held the entity types of the gold "
    "relation, so the number of grounded regions is 2 + the number of types in the gold relation that are not 'misc'. "
    "Published figures above about 70 F1 rest on it, and a model trained on these regions is of no use on new posts, "
    "whose relation nobody knows. Report results with them as obtained with the released regions."
)


def load_mnre(
    data_dir: str | os.PathLike,
    regions: str | os.PathLike = "none",
    captions: str | os.PathLike | Iterable[str | os.PathLike] | None = None,
    on_missing_image: str = "error",
    image_dir: str | os.PathLike | None = None,
    use_images: bool = True,
) -> datasets.DatasetDict:
    """Load MNRE, version 2, from the authors' repository, the HVPNeT / MKGformer archive, or a mix of both.

    The files are found by their names, wherever below `data_dir` they lie: `mnre_{train,val,test}.txt` or
    `ours_{train,val,test}.txt` ("dev" and "validation" do for "val"), and the images that the text names. A split
    without a text file is left out. Everything is checked before anything is returned: each row, each box, and each
    image, which has to exist and to decode.

    Args:
        data_dir: folder of the data set.
        regions: `"none"`; `"released"`, the boxes of FocalMRE's `{train,dev,test}_{vg,detect}_box_dict.pth`, **which
            give the gold relation away**; or the path of an annotation file, as `mmre-annotate` writes them.
        captions: an annotation file, or one or several files of MNRE captions (a line is a Python literal
            `{'img_id': ..., 'text': ...}`). Without them the column is null.
        on_missing_image: what happens if images are missing or unreadable. `"error"` raises; `"text_only"` logs the
            same report as a warning and leaves their posts without image and regions; `"keep"` does not look at images,
            and gives those that are not there a path at which nothing is.
        image_dir: where the images are, in one folder or in one per split; below `data_dir` if not given.
        use_images: `False` looks for no image at all: the column is null, and regions stay. For what counts regions.

    Returns:
        `datasets.DatasetDict` with those of `train`, `validation` and `test` that are there, and the columns of
        [`post_features`]. `id` is `"{split}-{line}"` with the line of the text file counted from 0, as the released
        region files count it. The images stay on disk until a row is read.

    Raises:
        FileNotFoundError: a folder, all text files, a box file that `regions="released"` needs, or an image is not
            there.
        ValueError: an argument is unknown, the data is version 1 of MNRE, two files that differ could both be meant,
            an image is unreadable, or the data is bad; then one report names all bad places of all splits.
    """
    if on_missing_image not in ("error", "text_only", "keep"):
        raise ValueError(f"on_missing_image={on_missing_image!r}; expected 'error', 'text_only' or 'keep'")
    if regions not in ("none", "released") and not os.path.isfile(str(regions)):
        raise ValueError(f"regions={str(regions)!r}; expected 'none', 'released' or the path of an annotation file")
    if captions is None or isinstance(captions, (str, os.PathLike)):
        captions = [] if captions is None else [captions]
    captions = list(captions)
    annotations = [path for path in captions if read_annotation_header(path)]
    if annotations and len(captions) > 1:
        raise ValueError(f"captions: {annotations[0]} is an annotation file, which holds all captions: give it alone")

    files = index_files(data_dir)
    texts = find_texts(files, data_dir)
    box_files = find_box_files(files, texts, data_dir) if regions == "released" else {}

    problems = Problems()
    check_relation_ids(find_file(files, RELATION_FILES), problems)
    posts = {split: read_posts(path, split, problems) for split, path in texts.items()}
    for split, (grounded, detected) in box_files.items():
        add_grounded_boxes(posts[split], grounded, find_file(files, names(GROUNDED_NAME_FILES, split)), problems)
        add_detected_boxes(posts[split], detected, find_file(files, names(DETECTED_NAME_FILES, split)), problems)
    columns_of = defaultdict(list)  # annotation file -> what is taken from it
    if regions not in ("none", "released"):
        columns_of[Path(regions)] += REGION_COLUMNS
    if annotations:
        columns_of[Path(captions[0])] += ["caption"]
    elif captions:
        add_captions(posts, captions, problems)
    every = [post for rows in posts.values() for post in rows.values()]
    for path, columns in columns_of.items():
        add_annotation(every, path, columns, problems)
    problems.raise_if_any()

    if not use_images:
        for post in (post for rows in posts.values() for post in rows.values()):
            post["image"] = None
    elif image_dir is None:
        add_images(posts, files, data_dir, on_missing_image)
    else:
        add_images(posts, index_files(image_dir), image_dir, on_missing_image)
    if regions == "released":
        logger.warning_once(LEAK)
    features = post_features(MNRE_RELATIONS)
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {column: [post[column] for post in rows.values()] for column in features}, features=features
            )
            for split, rows in posts.items()
        }
    )


def is_mnre_folder(folder: str | os.PathLike) -> bool:
    """Whether a text file of MNRE is somewhere below a folder."""
    files = index_files(folder)
    return any(name in files for split in SPLITS for name in names(TEXT_FILES, split))


def index_files(folder: str | os.PathLike) -> dict[str, list[str]]:
    """All files below a folder by name: one walk, where a look for each image would be thousands."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is not a folder")
    files, seen = defaultdict(list), set()
    for parent, folders, file_names in os.walk(os.path.abspath(folder), followlinks=True):
        if os.path.realpath(parent) in seen:  # a link back up would never end
            folders.clear()
            continue
        seen.add(os.path.realpath(parent))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in file_names:
            files[name].append(os.path.join(parent, name))
    return files


def names(templates: Iterable[str], split: str) -> list[str]:
    """The names that a split's file may have."""
    return [template.format(alias) for template in templates for alias in SPLITS[split]]


def only_file(paths: list[str]) -> str | None:
    """The file at all of the paths. Copies will do; which of several different files is read is not left to chance."""
    for other in paths[1:]:
        if not filecmp.cmp(paths[0], other, shallow=False):
            raise ValueError(f"{paths[0]} and {other} differ, and either could be meant; give a folder with only one")
    return paths[0] if paths else None


def find_file(files: dict[str, list[str]], wanted: Iterable[str]) -> str | None:
    return only_file([path for name in wanted for path in files.get(name, [])])


def find_texts(files: dict[str, list[str]], data_dir: str | os.PathLike) -> dict[str, str]:
    """The text file of each split that has one."""
    texts = {split: find_file(files, names(TEXT_FILES, split)) for split in SPLITS}
    texts = {split: path for split, path in texts.items() if path}
    if texts:
        return texts
    for split in SPLITS:
        for name in names(VERSION_1_TEXT_FILES, split):
            if name in files:
                raise version_1(files[name][0])
    wanted = ", ".join(repr(name) for split in SPLITS for name in names(TEXT_FILES, split))
    raise FileNotFoundError(f"No text file of MNRE in {data_dir} or below it; looked for {wanted}")


def find_box_files(
    files: dict[str, list[str]], splits: Iterable[str], data_dir: str | os.PathLike
) -> dict[str, list[str]]:
    """The file of grounded boxes and the file of detected boxes of each split."""
    box_files, missing = {}, []
    for split in splits:
        wanted = [names(templates, split) for templates in (GROUNDED_BOX_FILES, DETECTED_BOX_FILES)]
        box_files[split] = [find_file(files, candidates) for candidates in wanted]
        missing += [" or ".join(candidates) for candidates, path in zip(wanted, box_files[split]) if not path]
    if missing:
        raise FileNotFoundError(
            f"regions='released' needs, in {data_dir} or below it, {'; '.join(missing)}. They come with the "
            "repository of FocalMRE's authors. Crops (img_vg, img_detect, lists of their names) hold no coordinates."
        )
    return box_files


def version_1(where: str) -> ValueError:
    return ValueError(
        f"{where}: this is version 1 of MNRE. It has another set of labels (30, and 'none' for the negative one), so "
        "results on it cannot be compared with those on version 2, which is what can be loaded here. Get version 2: "
        "the folder mnre_txt of https://github.com/thecharm/MNRE"
    )


def check_relation_ids(path: str | None, problems: Problems) -> None:
    """The ids that come with the data must be the usual ones, or other people's predictions mean something else."""
    if path is None:
        return
    try:
        ids = dict(json.loads(Path(path).read_bytes()))
    except (ValueError, TypeError) as error:
        problems.add(path, path, "content", str(error), "a JSON object from relations to ids")
        return
    if any(relation in ids for relation in VERSION_1_RELATIONS):
        raise version_1(path)
    usual = {relation: index for index, relation in enumerate(MNRE_RELATIONS)}
    for relation in {**usual, **ids}:
        found, expected = ids.get(relation), usual.get(relation)
        if found != expected:
            problems.add(path, path, relation, show(found), show(expected))


def read_literals(path: str | os.PathLike, problems: Problems) -> Iterator[tuple[int, dict | None]]:
    """The lines that are not blank, each with its number from 0, and None for one that is malformed."""
    # Not splitlines: to it, characters that may stand in a post end a line too.
    for line, raw in enumerate(Path(path).read_bytes().split(b"\n")):
        if not raw.strip():
            continue
        try:
            row = ast.literal_eval(raw.decode("utf-8-sig").strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            row = None
        if not isinstance(row, dict):
            found = short.repr(raw.decode(errors="replace"))
            problems.add(path, f"{path}:{line + 1}", "line", found, "a dictionary as a Python literal")
            row = None
        yield line, row


def read_posts(path: str, split: str, problems: Problems) -> dict[int, dict]:
    """The posts by line number. A bad one is there too, so that what refers to its line is not called bad as well."""
    posts = {}
    for line, row in read_literals(path, problems):
        if row and row.get("relation") in VERSION_1_RELATIONS:
            raise version_1(f"{path}:{line + 1}")
        posts[line] = {"id": f"{split}-{line}", "grounded_regions": [], "detected_regions": [], "caption": None}
        posts[line] |= read_post(row, path, f"{path}:{line + 1}", problems) if row is not None else {"img_id": None}
    if not posts:
        problems.add(path, path, "content", "no line", "posts")
    return posts


def read_post(row: dict, path: str, where: str, problems: Problems) -> dict:
    """The columns of a post that its line gives."""

    def check(good: bool, field: str, found: Any, expected: str) -> None:
        if not good:
            problems.add(path, where, field, show(found), expected)

    tokens, img_id, relation = row.get("token"), row.get("img_id"), row.get("relation")
    has_words = isinstance(tokens, list) and tokens and all(isinstance(word, str) and word.strip() for word in tokens)
    check(has_words, "token", tokens, "a list of words, at least one, none of them blank")
    check(isinstance(img_id, str) and img_id, "img_id", img_id, "the name of an image")
    check(relation in MNRE_RELATIONS, "relation", relation, f"one of {', '.join(MNRE_RELATIONS)}")
    post = {"text": None, "img_id": img_id if isinstance(img_id, str) else None, "relation": relation}
    spans = {}
    for column, field in (("head", "h"), ("tail", "t")):
        entity = row.get(field)
        span = entity.get("pos") if isinstance(entity, dict) else None
        ints = isinstance(span, (list, tuple)) and len(span) == 2 and all(type(bound) is int for bound in span)
        length = len(tokens) if has_words else math.inf
        inside = ints and 0 <= span[0] < span[1] <= length
        check(inside, f"{field}.pos", span, f"[start, end), not empty, within {length if has_words else 'its'} tokens")
        spans[column] = tuple(span) if inside else None
        if inside and has_words and "name" in entity:
            words = " ".join(tokens[span[0] : span[1]])
            check(entity["name"] == words, f"{field}.name", entity["name"], f"{words!r}, the words at {field}.pos")
    if has_words and None not in spans.values():
        # Lossless: no word of MNRE holds a space.
        post["text"], joined = join_words(tokens, spans.values())
        post |= {column: {"start": start, "end": end} for column, (start, end) in zip(spans, joined)}
    return post


def read_torch(path: str, problems: Problems) -> dict | None:
    """The dictionary in a file of torch, None if there is none."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(content, dict):
            return content
        found = short.repr(content)
    except Exception as error:  # whatever a broken archive or a pickle with more than plain values gives rise to
        found = f"{type(error).__name__}: {error}".split("\n")[0]
    problems.add(path, path, "content", found, "a dictionary of plain values, written by torch.save")
    return None


def read_boxes(path: str, problems: Problems) -> dict[str, list[float] | None] | None:
    """The boxes by name, None for a bad one. The file has centre, size and area."""
    content, boxes = read_torch(path, problems), {}
    if content is None:
        return None
    for name, value in content.items():
        boxes[name] = None
        if is_numbers(value, 5):
            x, y, width, height, _ = value
            boxes[name] = clip_box([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        if boxes[name] is None:
            expected = "(x, y, width, height, area), centred at x, y, inside the image and in fractions of it"
            problems.add(path, f"{path}:{name}", "box", show(value), expected)
    return boxes


def group_names(boxes: dict, pattern: re.Pattern, path: str, problems: Problems) -> dict[str, list[str]]:
    """The names of boxes by what stands before their running number, in the order of that number."""
    groups = defaultdict(list)
    for name in boxes:
        match = pattern.fullmatch(str(name))
        if match:
            groups[match[1]].append((int(match[2]), name))
        else:
            problems.add(path, f"{path}:{name}", "name", show(name), f"one like {pattern.pattern}")
    return {prefix: [name for _, name in sorted(group)] for prefix, group in groups.items()}


def pick_boxes(
    crops: Any, boxes: dict, file: str, post: Any, path: str, problems: Problems
) -> list[list[float] | None]:
    """The boxes of crops, of which names or paths are given."""
    picked = []
    for crop in crops if isinstance(crops, (list, tuple)) else [crops]:
        name = os.path.basename(str(crop))
        if name not in boxes:
            problems.add(file, f"{file}:{post}", "crop", show(crop), f"one that has a box in {path}")
        picked.append(boxes.get(name))
    return picked


def add_grounded_boxes(posts: dict[int, dict], path: str, name_path: str | None, problems: Problems) -> None:
    """Give each post the boxes that were found for it, in the order of the file of names if there is one."""
    boxes = read_boxes(path, problems)
    if name_path:
        crops = read_torch(name_path, problems)
    elif boxes is not None:
        crops = {int(line): group for line, group in group_names(boxes, GROUNDED_NAME, path, problems).items()}
    if boxes is None or crops is None:
        return
    where = name_path or path
    for line in crops:
        if line in posts:
            posts[line]["grounded_regions"] = pick_boxes(crops[line], boxes, where, line, path, problems)
        else:
            problems.add(where, f"{where}:{line}", "line number", show(line), "that of a post, counted from 0")


def add_detected_boxes(posts: dict[int, dict], path: str, name_path: str | None, problems: Problems) -> None:
    """Give each post the boxes that were found in its image."""
    boxes = read_boxes(path, problems)
    if name_path:
        crops = read_torch(name_path, problems)
    elif boxes is not None:
        crops = group_names(boxes, DETECTED_NAME, path, problems)
    if boxes is None or crops is None:
        return
    where = name_path or path
    picked = {}
    for post in posts.values():
        image = os.path.splitext(post["img_id"] or "")[0]
        if image in crops and image not in picked:
            picked[image] = pick_boxes(crops[image], boxes, where, image, path, problems)
        post["detected_regions"] = picked.get(image, [])


def add_captions(posts: dict[str, dict[int, dict]], paths: list[str | os.PathLike], problems: Problems) -> None:
    """Give each post the caption of its image."""
    captions = {}
    for path in paths:
        for line, row in read_literals(path, problems):
            if row is None:
                continue
            img_id, text = row.get("img_id"), row.get("text")
            if not isinstance(img_id, str) or not isinstance(text, str):
                found = f"{show(img_id)}, {show(text)}"
                problems.add(path, f"{path}:{line + 1}", "img_id, text", found, "two strings")
            elif captions.setdefault(img_id, text.strip()) != text.strip():
                problems.add(path, f"{path}:{line + 1}", "text", show(text), f"no second caption of {img_id}")
    missing = {}
    for post in (post for rows in posts.values() for post in rows.values()):
        post["caption"] = captions.get(post["img_id"])
        if post["caption"] is None and post["img_id"] is not None:
            missing[post["img_id"]] = None
    if missing:
        problems.add(
            "captions", "captions", "img_id", f"{len(missing)} image(s) without one: {some(missing)}", "one for each"
        )


def add_images(
    posts: dict[str, dict[int, dict]], files: dict[str, list[str]], folder: str | os.PathLike, on_missing_image: str
) -> None:
    """Give each post the path of its image, after a look at all of them."""
    images = {}
    for split, rows in posts.items():
        wanted = dict.fromkeys(post["img_id"] for post in rows.values())
        images[split] = {name: find_image(files.get(name, []), folder, split) for name in wanted}
    if on_missing_image == "keep":
        for split, rows in posts.items():
            for post in rows.values():
                post["image"] = images[split][post["img_id"]] or os.path.join(folder, post["img_id"])
        return
    paths = list(dict.fromkeys(path for found in images.values() for path in found.values() if path))
    reasons = {None: "not found", **dict(zip(paths, check_images(paths)))}

    report = []
    for split, found in images.items():
        failed = [f"{name} ({reasons[path]})" for name, path in found.items() if reasons[path]]
        if failed:
            report.append(f"{split}: {len(failed)} of {len(found)} images: {some(failed)}")
    if report:
        message = "\n  ".join([f"Images missing or unreadable ({os.path.abspath(folder)} was searched):", *report])
        if on_missing_image == "error":
            error = FileNotFoundError if any(None in found.values() for found in images.values()) else ValueError
            raise error(f"{message}\non_missing_image='text_only' loads their posts without image and regions")
        logger.warning(message)

    for split, rows in posts.items():
        for post in rows.values():
            path = images[split][post["img_id"]]
            post["image"] = None if reasons[path] else path
            if reasons[path]:  # boxes mean nothing without their image
                post |= {column: [] for column in REGION_COLUMNS}


def find_image(paths: list[str], folder: str | os.PathLike, split: str) -> str | None:
    """The most likely of the files that have the image's name: the original, in the folder of the split."""
    if len(paths) < 2:
        return only_file(paths)

    def rank(path: str) -> tuple[bool, bool]:
        parents = Path(os.path.relpath(path, folder)).parts[:-1]
        return IMAGE_FOLDER in parents, any(alias in parents for alias in SPLITS[split])

    best = max(map(rank, paths))
    return only_file([path for path in paths if rank(path) == best])


__all__ = ["MNRE_RELATIONS", "load_mnre"]
