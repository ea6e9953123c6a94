"""Content of the posts that runs are made of as a hash, and their numbers."""

from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple

import datasets

from mmre.posts.digits import DIGIT_RELATIONS
from mmre.posts.fingerprint import picture_keys, posts_fingerprint
from mmre.posts.sources import MADE_DATA, open_posts
from mmre.posts.synthetic import SYNTHETIC_RELATIONS

RELATIONS = {"synthetic": SYNTHETIC_RELATIONS, "digits": DIGIT_RELATIONS}


class Content(NamedTuple):
    """Facts of the posts of a run, wherever they lie.

    Args:
        fingerprint: hash of the content of all splits; empty for posts that the code makes.
        training: number of training posts of each relation.
    """

    fingerprint: str
    training: Counter


def read_content(data: dict[str, Any]) -> Content:
    """Read what the posts of a run are.

    Args:
        data: the section `data` of the run's settings.

    Raises:
        OSError: files or the training split are missing.
        ValueError: the data is bad.
    """
    if data["dataset"] in MADE_DATA:
        # As many as are made, of each relation: more than any limit that is asked for.
        return Content("", Counter(dict.fromkeys(RELATIONS[data["dataset"]], data["num_synthetic_posts"])))
    captions = tuple(data["captions"]) if data["captions"] else None
    return _read(data["data_dir"], data["image_dir"], data["regions"], captions, data["use_images"])


@lru_cache
def _read(
    data_dir: str, image_dir: str | None, regions: str, captions: tuple[str, ...] | None, use_images: bool
) -> Content:
    posts = open_posts(
        "mnre",
        data_dir=data_dir,
        image_dir=image_dir,
        regions=regions,
        captions=captions,
        on_missing_image="keep",
        use_images=use_images,
    )
    if "train" not in posts:
        raise FileNotFoundError(f"{data_dir} has no text file for: train.")
    return Content(posts_fingerprint(posts), Counter(posts["train"]["relation"]))


def number_of_training_posts(data: dict[str, Any], content: Content) -> int:
    """Count the posts that a run trains on; with `samples_per_relation` and `max_train_samples` both, at most.

    Args:
        data: the section `data` of the run's settings.
        content: of its posts.
    """
    number = data["num_synthetic_posts"] if data["dataset"] in MADE_DATA else content.training.total()
    number = min(number, data["max_train_samples"] or number)
    if data["samples_per_relation"] is not None:
        return min(number, sum(min(count, data["samples_per_relation"]) for count in content.training.values()))
    return round(data["train_share"] * number)


def count_posts(data: str) -> dict[str, int]:
    """Count pictures, sentences, posts, entities and relations of all splits, as TGDI's Table 1 does.

    Args:
        data: a folder of MNRE's files, or one of `MADE_DATA`.
    """
    splits = (
        open_posts(data)
        if data in MADE_DATA
        else open_posts("mnre", data_dir=data, regions="none", on_missing_image="keep")
    )
    rows = datasets.concatenate_datasets([*splits.values()])
    return {
        "Image": len({*picture_keys(rows)}),
        "Sentence": len({*rows["text"]}),
        "Instance": len(rows),
        "Entity": 2 * len(rows),
        "Relation": len({*rows["relation"]}),
    }


__all__ = ["Content", "count_posts", "number_of_training_posts", "read_content"]
