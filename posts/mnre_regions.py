"""MNRE's released regions: boxes by name, and the names of the boxes of each post or image."""

import os
import re
from collections import defaultdict
from typing import Any

import torch

from mmre.processing.focal_augmentation import clip_box

from .checks import Problems, is_numbers, short, show

GROUNDED_NAME = re.compile(r"(\d+)_pred_yolo_crop_(\d+)\.\w+")  # the line of the post, a running number
DETECTED_NAME = re.compile(r"(.+)_crop_(\d+)\.\w+")  # the name of the image, a running number

LEAK = (
    "The released regions of MNRE give the label away: the grounding queries held the entity types of the gold "
    "relation, so the number of grounded regions is 2 + the number of types in the gold relation that are not 'misc'. "
    "Published figures above about 70 F1 rest on it, and a model trained on these regions is of no use on new posts, "
    "whose relation nobody knows. Report results with them as obtained with the released regions."
)


def add_grounded_boxes(posts: dict[int, dict], box_path: str, name_path: str | None, problems: Problems) -> None:
    """Give each post the boxes that were grounded for it, in the order of the file of names if there is one.

    Args:
        posts: by line number; they get `grounded_regions`.
        box_path: the file of boxes by name.
        name_path: the file of names by line number.
        problems: gets what is wrong with the files.
    """
    boxes = read_boxes(box_path, problems)
    if name_path:
        crops = read_torch(name_path, problems)
    elif boxes is not None:
        crops = {int(line): group for line, group in group_names(boxes, GROUNDED_NAME, box_path, problems).items()}
    if boxes is None or crops is None:
        return
    file = name_path or box_path
    for line in crops:
        if line in posts:
            posts[line]["grounded_regions"] = pick_boxes(crops, line, boxes, file, box_path, problems)
        else:
            problems.add(file, f"{file}:{line}", "line number", show(line), "that of a post, counted from 0")


def add_detected_boxes(posts: dict[int, dict], box_path: str, name_path: str | None, problems: Problems) -> None:
    """Give each post the boxes that were detected in its image.

    Args:
        posts: by line number, with `img_id`; they get `detected_regions`.
        box_path: the file of boxes by name.
        name_path: the file of names by image.
        problems: gets what is wrong with the files.
    """
    boxes = read_boxes(box_path, problems)
    if name_path:
        crops = read_torch(name_path, problems)
    elif boxes is not None:
        crops = group_names(boxes, DETECTED_NAME, box_path, problems)
    if boxes is None or crops is None:
        return
    file, picked = name_path or box_path, {}
    for post in posts.values():
        image = os.path.splitext(post["img_id"] or "")[0]
        if image in crops and image not in picked:
            picked[image] = pick_boxes(crops, image, boxes, file, box_path, problems)
        post["detected_regions"] = picked.get(image, [])


def read_torch(path: str, problems: Problems) -> dict | None:
    """Read the dictionary that `torch.save` wrote; None if there is none."""
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
    """Read boxes by name, None for a bad one, from a file of (centre x, centre y, width, height, area)."""
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
    """Group names of boxes by what stands before their running number, in the order of that number."""
    groups = defaultdict(list)
    for name in boxes:
        match = pattern.fullmatch(str(name))
        if match:
            groups[match[1]].append((int(match[2]), name))
        else:
            problems.add(path, f"{path}:{name}", "name", show(name), f"one like {pattern.pattern}")
    return {prefix: [name for _, name in sorted(group)] for prefix, group in groups.items()}


def pick_boxes(
    crops: dict, key: Any, boxes: dict, file: str, box_path: str, problems: Problems
) -> list[list[float] | None]:
    """Return the boxes of the crops that a file lists under a key, by name or by path."""
    picked, listed = [], crops[key]
    for crop in listed if isinstance(listed, (list, tuple)) else [listed]:
        name = os.path.basename(str(crop))
        if name not in boxes:
            problems.add(file, f"{file}:{key}", "crop", show(crop), f"one that has a box in {box_path}")
        picked.append(boxes.get(name))
    return picked


__all__ = ["LEAK", "add_detected_boxes", "add_grounded_boxes"]
