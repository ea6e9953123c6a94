"""Data sets of posts that the code makes, one by one."""

import functools
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence

import datasets
from datasets.arrow_writer import ArrowWriter

from .full_disk import naming_full_disk
from .schema import ROWS_AT_ONCE, post_features

NO_ROOM = "made posts lie in temporary files; TMPDIR names another folder for them, fewer posts need less room"


def make_splits(
    relations: Sequence[str], sizes: Mapping[str, int], seed: int, make_post: Callable[[random.Random, str], dict]
) -> datasets.DatasetDict:
    """Make the splits of a data set, in temporary files that last as long as the process.

    Args:
        relations: names of the relations, in the order of their ids.
        sizes: number of posts of each split.
        seed: posts of the same seed, split and index are the same, whatever the sizes.
        make_post: makes a row without its id, from a stream of random numbers of its own and the name of its split.

    Raises:
        OSError: there is no room for the files.
    """
    features = post_features(relations)
    splits = {}
    for split, size in sizes.items():
        with tempfile.NamedTemporaryFile(dir=_folder().name, suffix=".arrow", delete=False) as file:
            path = file.name
        with (
            naming_full_disk(_folder().name, NO_ROOM),
            ArrowWriter(path=path, features=features, writer_batch_size=ROWS_AT_ONCE) as writer,
        ):
            for index in range(size):
                rng = random.Random(f"{seed}-{split}-{index}")  # noqa: S311 (not for secrets)
                writer.write(features.encode_example({"id": f"{split}-{index}", **make_post(rng, split)}))
            writer.finalize()
        splits[split] = datasets.Dataset.from_file(path)
    return datasets.DatasetDict(splits)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Return the folder of this process, which is removed at its end."""
    return tempfile.TemporaryDirectory(prefix="mmre-posts-")


__all__ = ["make_splits"]
