"""The posts of a run: the splits that it uses, under the protocol that its arguments name."""

from collections.abc import Sequence

import datasets
from transformers import ProcessorMixin

from mmre.posts.column_changes import drop_pictures, region_count_as_caption
from mmre.posts.noise import align_noise, aug_noise
from mmre.posts.sampling import sample_per_relation, sample_share
from mmre.posts.schema import ROWS_AT_ONCE
from mmre.posts.sources import check_places, open_posts
from mmre.processing.entity_markers import NUM_MARKERS
from mmre.processing.picture_files import MAX_PIXELS

from .arguments import DataArguments, RelationTrainingArguments


def open_splits(
    data: DataArguments,
    training: RelationTrainingArguments,
    relations: Sequence[str] | None = None,
    max_image_pixels: int = MAX_PIXELS,
) -> datasets.DatasetDict:
    """Open the posts of a run.

    Args:
        data: which posts, and under which protocol.
        training: what is done with them: `do_train`, `do_eval`, `do_predict`; and `seed`.
        max_image_pixels: most pixels of an image, as the processor takes them.
        relations: the relations of the checkpoint, in the order of their ids; those of the posts if not given.

    Returns:
        The splits that the run uses, with a column `length`, of the text in words; see [`with_lengths`].

    Raises:
        OSError: if files, a split or images are missing.
        ValueError: if the data is bad.
    """
    check_data(data, relations is not None)
    try:
        posts = open_posts(
            **data.places,
            use_images=data.use_images,
            relations=relations,
            max_image_pixels=max_image_pixels,
            num_synthetic_posts=data.num_synthetic_posts,
        )
    except ValueError as error:
        if relations is None or "unknown relation " not in str(error):
            raise
        raise ValueError(
            f"{error}\nThe checkpoint knows {len(relations)} relations; --new_classifier true trains a new classifier "
            "for those of the posts."
        ) from error
    used = {
        "train": training.do_train,
        "validation": training.do_eval,
        "test": training.do_predict,
    }
    _check_splits([split for split in used if used[split] and split not in posts], data, training.do_train)
    for split, rows in posts.items():
        if used[split] and not len(rows):
            raise ValueError(f"`dataset` {data.dataset!r}: {split} has no posts")
    return datasets.DatasetDict(
        {split: _under_protocol(rows, split, data, training.seed) for split, rows in posts.items() if used[split]}
    )


def with_lengths(posts: datasets.DatasetDict, processor: ProcessorMixin) -> datasets.DatasetDict:
    """Put the number of tokens that the model reads of each post into `length`, by which the Trainer groups posts.

    By words, of which some are one token and others many, batches of MNRE are padded by a fifth and more.

    Args:
        posts: from [`open_splits`].
        processor: its tokenizer, whether it reads captions, and its `max_length`.
    """
    columns = ("text", "caption") if "caption" in processor.inputs else ("text",)

    def count(rows: dict[str, list]) -> list[int]:
        lengths = [NUM_MARKERS] * len(rows["text"])
        for column in columns:
            ids = processor.tokenizer([text or "" for text in rows[column]], verbose=False)["input_ids"]
            lengths = [length + len(tokens) for length, tokens in zip(lengths, ids)]
        return [min(length, processor.max_length) for length in lengths]

    counted = {}
    for split, rows in posts.items():
        lengths = [number for part in rows.select_columns([*columns]).iter(ROWS_AT_ONCE) for number in count(part)]
        counted[split] = rows.remove_columns("length").add_column("length", lengths)
    return datasets.DatasetDict(counted)


def check_data(data: DataArguments, knows_relations: bool) -> None:
    """Check what a run is told of its posts, before any is read.

    Args:
        data: which posts.
        knows_relations: whether the relations are those of a checkpoint.

    Raises:
        FileNotFoundError: caption files are not there.
        ValueError: a name is unknown, or arguments do not fit each other.
    """
    if data.dataset == "files" and data.train_file is None and not knows_relations:
        raise ValueError(
            "`dataset` 'files' needs `train_file`, whose relations are the ones to know; or `model_name_or_path`, a "
            "checkpoint that knows them."
        )
    check_places(**data.places)


def _under_protocol(rows: datasets.Dataset, split: str, data: DataArguments, seed: int) -> datasets.Dataset:
    limits = {
        "train": data.max_train_samples,
        "validation": data.max_eval_samples,
        "test": data.max_predict_samples,
    }
    if limits[split] is not None:
        rows = rows.select(range(min(limits[split], len(rows))))
    if split == "train" and data.train_share != 1:
        rows = sample_share(rows, data.train_share, seed)
    if split == "train" and data.samples_per_relation is not None:
        rows = sample_per_relation(rows, data.samples_per_relation, seed)
    if data.align_noise:
        rows = align_noise(rows, data.align_noise, seed)
    if data.aug_noise:
        rows = aug_noise(rows, data.aug_noise, seed)
    if data.region_count_as_caption:
        rows = region_count_as_caption(rows)
    elif not data.use_images:
        rows = drop_pictures(rows)
    # Undecoded: the processor opens pictures within its limits.
    rows = rows.cast_column("image", datasets.Image(decode=False))
    return rows.add_column("length", [len(text.split()) for text in rows["text"]])


def _check_splits(missing: list[str], data: DataArguments, do_train: bool) -> None:
    if missing and not data.is_own:
        raise FileNotFoundError(f"{data.data_dir or data.dataset} has no text file for: {', '.join(missing)}.")
    without = {
        "train": "--do_train false trains nothing",
        "validation": "--do_eval false "
        + ("keeps the last checkpoint, for validation posts choose the best one" if do_train else "leaves it out"),
        "test": "--do_predict false leaves it out",
    }
    if missing:
        raise FileNotFoundError(
            f"`dataset` {data.dataset!r} has no posts for: {', '.join(missing)}. With 'files', give "
            f"{', '.join(f'--{split}_file' for split in missing)}; in a folder of files, {missing[0]}.jsonl and so on. "
            "Without them: "
            f"{'; '.join(without[split] for split in missing)}."
        )


__all__ = ["check_data", "open_splits", "with_lengths"]
