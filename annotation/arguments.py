"""Arguments of the work on pictures: what to find, with which models. Free of torch, so that help is quick."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

TASK_COLUMNS = {"grounding": "grounded_regions", "detection": "detected_regions", "captions": "caption"}
TASKS = ", ".join(TASK_COLUMNS)
LOCAL = "local"
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(kw_only=True)
class PictureArguments:
    """Arguments of a look at pictures: what to find, with which models."""

    tasks: list[Literal["grounding", "detection", "captions"]] = field(
        default_factory=lambda: list(TASK_COLUMNS), metadata={"help": "What to find in the pictures."}
    )
    spacy_model: str = field(
        default="en_core_web_sm", metadata={"metavar": "MODEL", "help": "Model of spaCy that finds nouns and entities."}
    )
    grounding_model: str = field(
        default="IDEA-Research/grounding-dino-base",
        metadata={
            "metavar": "MODEL",
            "help": "Zero-shot detector that looks for the nouns and the entities of a post.",
        },
    )
    grounding_revision: str | None = field(
        default=None, metadata={"help": "Revision of the zero-shot detector on the Hub."}
    )
    grounding_threshold: float = field(default=0.25, metadata={"help": "Lowest score of a grounded region."})
    num_grounded_regions: int = field(default=4, metadata={"help": "Most grounded regions of a post."})
    detection_model: str = field(
        default="PekingU/rtdetr_v2_r50vd", metadata={"metavar": "MODEL", "help": "Object detector."}
    )
    detection_revision: str | None = field(
        default=None, metadata={"help": "Revision of the object detector on the Hub."}
    )
    detection_threshold: float = field(default=0.5, metadata={"help": "Lowest score of a detected region."})
    num_detected_regions: int = field(default=3, metadata={"help": "Most detected regions of an image."})
    max_iou: float = field(
        default=0.9,
        metadata={"help": "Of two regions of a kind with a larger intersection over union, the better one is kept."},
    )
    caption_model: str = field(
        default="Salesforce/blip2-opt-2.7b",
        metadata={"metavar": "MODEL", "help": "Image-to-text model that writes the captions."},
    )
    caption_revision: str | None = field(
        default=None, metadata={"help": "Revision of the image-to-text model on the Hub."}
    )
    caption_prompt: str | None = field(
        default=None,
        metadata={
            "metavar": "TEXT",
            "help": "Prompt of the image-to-text model, with its image tokens if it needs some.",
        },
    )
    caption_max_new_tokens: int = field(default=40, metadata={"help": "Most tokens of a caption."})
    batch_size: int = field(default=8, metadata={"help": "Images, or posts with their image, in a batch."})
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = field(
        default="auto", metadata={"help": "Type of the models' weights; auto is that of the checkpoint."}
    )

    def __post_init__(self):
        for task in self.tasks:
            check_option("--tasks", task, TASK_COLUMNS)
        for name in ("grounding_threshold", "detection_threshold", "max_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--{name} {getattr(self, name)}; expected a number from 0 to 1")
        for name in ("num_grounded_regions", "num_detected_regions", "caption_max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}; expected at least 1")
        check_option("--dtype", self.dtype, DTYPES)


@dataclass(kw_only=True)
class RayArguments:
    """Arguments of workers of Ray."""

    ray: str | None = field(
        default=None,
        metadata={
            "metavar": "ADDRESS",
            "help": "Share the work among workers of Ray: the address of a cluster, or local, this machine (needs "
            "mmre[ray]).",
        },
    )
    workers: int | None = field(
        default=None, metadata={"help": "Of --ray: how many workers; one for each GPU, or one, by default."}
    )

    def check_workers(self) -> None:
        """Raise a `ValueError` for a number of workers that cannot be."""
        if self.workers is not None and (self.ray is None or self.workers < 1):
            wrong = "--ray is not given, expected it too" if self.ray is None else "expected at least 1"
            raise ValueError(f"--workers {self.workers}; {wrong}")


@dataclass(kw_only=True)
class AnnotationArguments(RayArguments, PictureArguments):
    """Arguments of an annotation: those of the look at pictures, of workers, and the file to write."""

    out: str = field(
        metadata={"metavar": "FILE", "help": "The file to write: parquet if it ends in .parquet, else JSON lines."}
    )
    image_dir: str | None = field(
        default=None,
        metadata={
            "metavar": "FOLDER",
            "help": "Folder of the images, if not the one of MNRE, or the one that the files of DATA are in.",
        },
    )
    train_file: str | None = field(
        default=None, metadata={"metavar": "FILE", "help": "Training posts, with DATA `files`: CSV or JSON lines."}
    )
    validation_file: str | None = field(
        default=None, metadata={"metavar": "FILE", "help": "Validation posts, likewise."}
    )
    test_file: str | None = field(default=None, metadata={"metavar": "FILE", "help": "Test posts, likewise."})

    def __post_init__(self):
        super().__post_init__()
        self.check_workers()
        if not self.tasks:
            raise ValueError(f"--tasks: none; expected one or more of {TASKS}")


def check_option(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise a `ValueError` with the nearest choice unless the value is one of them."""
    if value not in choices:
        from mmre.processing.suggestions import unknown  # its room imports torch

        raise ValueError(unknown(name, value, choices))


__all__ = ["LOCAL", "TASK_COLUMNS", "AnnotationArguments", "PictureArguments", "RayArguments", "check_option"]
