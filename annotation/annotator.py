"""The annotator: all picture models together, over one batch of pictures at a time."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import datasets
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoConfig

from mmre.processing.picture_files import load_image

from .arguments import TASK_COLUMNS, PictureArguments
from .keywords import find_keywords
from .model_files import files_fingerprint
from .picture_models import Captioner, Detector, Grounder

REFUSED = "the models do not take it: "  # the reason of a picture that could be read


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Put the name of what is loaded before the message of an error; transformers gives none."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise ValueError(
                f"{what} is of code of its own, which is not run here; expected a model of a kind that transformers has"
            ) from error
        raise ValueError(f"{what}: {error}") from error
    except ImportError as error:
        raise ImportError(f"{what}: {' '.join(str(error).split())}") from error
    except (OSError, SafetensorError) as error:  # the latter for weights that are cut
        if "Repo id must" in str(error):
            raise OSError(f"{what}: there is no such folder, and the Hub has no such names") from error
        raise OSError(f"{what}: {error}") from error


def picture_settings(args: PictureArguments, nlp: Any) -> dict[str, dict]:
    """Describe what is looked for in pictures, and with which models.

    Args:
        args: the arguments.
        nlp: a spaCy model, if grounding is among the tasks.

    Returns:
        The settings of each task, with the commit of each model that comes from the Hub, and a hash of the files of
        each that is in a folder.

    Raises:
        OSError: a model is not there.
    """

    def model(task: str) -> dict:
        name, revision = getattr(args, f"{task}_model"), getattr(args, f"{task}_revision")
        with naming(f"--{task}_model {name}"):
            # Else a person at a terminal is asked whether the model's own code may run.
            config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        # The commit, where there is one: the name of a branch says little in a year.
        commit = getattr(config, "_commit_hash", None) or revision
        return {"model": name, "revision": commit, "files_sha256": files_fingerprint(name)}

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


def read_image(image: dict) -> tuple[Image.Image | None, str | None]:
    """Decode an image.

    Args:
        image: `{"bytes": ..., "path": ...}`, as a data set has it.

    Returns:
        The picture in RGB and None; or None and the reason why there is none, the same on each machine.
    """
    path = image["path"]
    try:
        return load_image(image), None
    except FileNotFoundError:
        return None, "not found"
    except (ValueError, OSError) as error:
        reason = str(error) if path is None else str(error).replace(path, os.path.basename(path))
        return None, re.sub(r" object at 0x[0-9a-f]+", "", reason)


class Annotator:
    """Finds what the tasks ask for, batch by batch.

    Args:
        args: the tasks and the arguments of their models.
        settings: from [`picture_settings`].
        nlp: a spaCy model, if grounding is among the tasks.
        device: where the models run.
    """

    def __init__(self, args: PictureArguments, settings: dict, nlp: Any, device: Any):
        self.args, self.nlp = args, nlp
        self.seconds, self.counts = Counter(), Counter()  # by stage; images, or posts
        common = {"dtype": args.dtype, "device": device}
        self.grounder = self.detector = self.captioner = None
        if "grounding" in args.tasks:
            with naming(f"--grounding_model {settings['grounding']['model']}"):
                self.grounder = Grounder(**_of_model(settings["grounding"]), **common)
        if "detection" in args.tasks:
            with naming(f"--detection_model {settings['detection']['model']}"):
                self.detector = Detector(**_of_model(settings["detection"]), **common)
        if "captions" in args.tasks:
            with naming(f"--caption_model {settings['captions']['model']}"):
                self.captioner = Captioner(**_of_model(settings["captions"]), **common)

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
        found = [{} if reason is None else {"error": reason} for _, reason in decoded]
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
                keywords = [
                    self._keywords(row) for row in posts.select_columns(["text", "head", "tail"]).select(numbers)
                ]
                grounded = dict(zip(numbers, self.grounder(shown, keywords, self.args.batch_size)))
        rows = []
        for index, numbers in enumerate(pictures):
            for number, key in zip(numbers, posts.select(numbers)["id"][:]):
                own = {"grounded_regions": grounded[number]} if number in grounded else {}
                rows.append(empty_row(key, self.args.tasks) | found[index] | own)
        return rows

    def _keywords(self, row: dict) -> list[str]:
        names = [row["text"][row[entity]["start"] : row[entity]["end"]] for entity in ("head", "tail")]
        return find_keywords(self.nlp, row["text"], names)

    @contextmanager
    def _timed(self, stage: str, count: int) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start
        self.counts[stage] += count

    def throughput(self) -> str:
        """Describe the speed of each stage, a line each."""
        return "\n".join(
            f"{stage}: {self.counts[stage]} {'posts' if stage == 'grounding' else 'images'} in {seconds:.1f} s, "
            f"{self.counts[stage] / seconds:.1f} a second"
            for stage, seconds in self.seconds.items()
        )


def _of_model(settings: dict) -> dict:
    """Return the settings that a model takes, without those of spaCy and of the files' content."""
    return {key: value for key, value in settings.items() if not key.startswith(("spacy_", "files_"))}


def empty_row(key: str, tasks: Sequence[str]) -> dict:
    """Make the row of a post without a picture."""
    columns = {column: None if column == "caption" else [] for task, column in TASK_COLUMNS.items() if task in tasks}
    return {"id": key, **columns}


__all__ = ["Annotator", "empty_row", "naming", "picture_settings", "read_image"]
