"""The protocol of a result: on which regions, pictures and posts it was obtained, in the one wording of all reports."""

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import datasets

from mmre.posts.mnre_regions import LEAK
from mmre.posts.schema import REGION_COLUMNS
from mmre.posts.sources import MADE_DATA, REGION_SOURCES, kind_of_data

# The caption of a baseline that reads no picture and no box.
REGION_COUNT = "number of grounded regions"


class RegionProtocol(NamedTuple):
    """Origin of the regions behind a result, in words for reports.

    Args:
        name: `"released"`, `"detected"`, `"label_free"`, `"annotated"`, `"none"`, `"drawn"` or `"given"`.
        title: for a heading, a line or a plot.
        note: one or more sentences for a reader of the result.
    """

    name: str
    title: str
    note: str

    @property
    def leaks(self) -> bool:
        """Return `True` if the regions are known to give the label away."""
        return self.name == "released"


REGION_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        RegionProtocol("released", "released regions, which give the label away", LEAK),
        RegionProtocol(
            "detected",
            "released detected regions alone",
            "The regions are the detected boxes released with MNRE, without the grounded ones: an object detector "
            "found them in each picture, without a query, so that they know nothing of text and label.",
        ),
        RegionProtocol(
            "label_free",
            "regions found without a look at the label",
            "The regions were found without a look at the label.",
        ),
        RegionProtocol(
            "annotated",
            "regions of an annotation file",
            "The regions are of an annotation file; `mmre annotate` finds them without a look at the label.",
        ),
        RegionProtocol("none", "no regions", "No regions were used."),
        RegionProtocol(
            "drawn",
            "regions drawn with the posts",
            "The regions were drawn with the posts, and do not tell the relation.",
        ),
        RegionProtocol(
            "given",
            "regions of unknown origin",
            "Whether the regions were found without a look at the label, the data does not say.",
        ),
    )
}


def region_protocol(regions: str | os.PathLike) -> RegionProtocol:
    """Return the protocol of the regions of a run.

    Args:
        regions: `"released"`, `"detected"`, `"none"`, `"drawn"`, `"as given"`, or the path of an annotation file.
    """
    regions = str(regions)
    name = "given" if regions == "as given" else regions
    if name in REGION_PROTOCOLS:
        return REGION_PROTOCOLS[name]
    # A file of another program may have been made with a look at the label: only its name is known.
    return REGION_PROTOCOLS["annotated"]._replace(title=f"regions of {file_names(regions)}")


def describe_posts(
    posts: datasets.DatasetDict,
    *,
    dataset: str,
    inputs: Sequence[str],
    regions: str | None = None,
    captions: Sequence[str] | None = None,
    use_images: bool = True,
    region_count_as_caption: bool = False,
    align_noise: float = 0.0,
    aug_noise: float = 0.0,
    train_share: float = 1.0,
    samples_per_relation: int | None = None,
    markers_in_text_order: bool = False,
) -> dict[str, Any]:
    """Describe the regions, pictures, markers and noise behind a result.

    Args:
        posts: the posts of the run, as the model is given them.
        dataset: the run's argument `dataset`: a kind of data, a folder, or a name on the Hub.
        inputs: what the model as configured reads of a post, of "text", "caption", "image", "regions" and others.
        regions: the run's argument; the default of the kind of data if not given.
        captions: caption files, or an annotation file.
        use_images: whether the posts keep their pictures.
        region_count_as_caption: whether the number of grounded regions takes the place of pictures and regions.
        align_noise: share of the posts with another post's picture.
        aug_noise: share of the regions that are replaced or deleted.
        train_share: share of the training posts that were drawn.
        samples_per_relation: training posts that were drawn of each relation; `None` for all.
        markers_in_text_order: whether the model is not told which entity is the head.

    Returns:
        The facts that stand under `posts` in `metrics.json`.
    """
    kind = kind_of_data(dataset)
    regions = REGION_SOURCES[kind][0] if regions is None else regions
    if kind in MADE_DATA:
        regions, captions = "none" if regions == "none" else "drawn", "drawn"
    elif kind != "mnre":
        if regions in ("as given", "none"):
            regions = "as given" if _has(posts, *REGION_COLUMNS) else "none"
        captions = captions or ("as given" if _has(posts, "caption") else None)
    if region_count_as_caption:
        captions = REGION_COUNT
    elif "regions" not in inputs:
        regions = "none"
    uses_images = use_images and not {"image", "regions"}.isdisjoint(inputs)
    return {
        "dataset": dataset,
        "regions": regions,
        "captions": captions if "caption" in inputs else None,
        "images": "used" if uses_images else "unused",
        "align_noise": align_noise,
        "aug_noise": aug_noise,
        "train_share": train_share,
        "samples_per_relation": samples_per_relation,
        "markers_in_text_order": markers_in_text_order,
        "samples": {split: len(rows) for split, rows in posts.items()},
        "samples_without_image": {
            split: sum(image is None for image in rows.cast_column("image", datasets.Image(decode=False))["image"])
            for split, rows in posts.items()
        },
    }


def _has(posts: datasets.DatasetDict, *columns: str) -> bool:
    return any(any(rows[name]) for rows in posts.values() for name in columns)


def protocol_title(facts: dict[str, Any]) -> str:
    """Name the protocol of a result in a line.

    Args:
        facts: what [`describe_posts`] returns.

    Returns:
        For example `"no regions, 50 % of the pictures swapped"`.
    """
    title = region_protocol(facts["regions"]).title
    parts = [f"number of {title}" if facts["captions"] == REGION_COUNT else title]
    # Records of earlier versions lack some facts.
    parts += ["no pictures"] if facts.get("images") == "unused" else []
    parts += ["markers in text order"] if facts.get("markers_in_text_order") else []
    parts += [f"{100 * facts['align_noise']:g} % of the pictures swapped"] if facts["align_noise"] else []
    parts += [f"{100 * facts['aug_noise']:g} % of the regions replaced or deleted"] if facts.get("aug_noise") else []
    parts += [f"{100 * facts['train_share']:g} % of the training posts"] if facts.get("train_share", 1) != 1 else []
    number = facts.get("samples_per_relation")
    parts += [f"at most {number} training posts of each relation"] if number is not None else []
    return ", ".join(parts)


def file_names(paths: str | Sequence[str] | None) -> str | None:
    """Return the names of files without their folders, which are the author's."""
    paths = [paths] if isinstance(paths, str) else paths
    return ", ".join(PurePath(path).name for path in paths) if paths else None


__all__ = [
    "REGION_COUNT",
    "REGION_PROTOCOLS",
    "RegionProtocol",
    "describe_posts",
    "file_names",
    "protocol_title",
    "region_protocol",
]
