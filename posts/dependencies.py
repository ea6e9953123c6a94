"""Dependency trees as a column of a data set of posts: found once, and kept between runs."""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib import metadata

import datasets

from mmre.processing.dependency_trees import load_parser, parse

COLUMN = "dependencies"
FEATURES = datasets.Features({COLUMN: datasets.List(datasets.List(datasets.Value("int32"), length=3))})


def with_dependencies(posts: Mapping[str, datasets.Dataset], spacy_model: str) -> datasets.DatasetDict:
    """Add the dependency trees of the texts, for a processor that reads "structure".

    The trees are in a file of the cache of `datasets` that is named after the texts, the spaCy model and its version:
    a further epoch or run, and other pictures or regions of the same texts, find them there.

    Args:
        posts: the splits of a data set of posts.
        spacy_model: name of an installed spaCy model with a parser, or the folder of one.

    Returns:
        The posts with a column `dependencies`: for each word `[first character, end, number of the word it depends
        on]`. It is what the processor would find itself.

    Raises:
        ImportError, OSError, ValueError: if spaCy or its model is not installed, or the model has no parser.
    """
    parser = load_parser(spacy_model)
    finder = [spacy_model, parser.meta, metadata.version("spacy")]
    added = {}
    for split, rows in posts.items():
        texts = rows.select_columns(["text"])
        key = hashlib.sha256(json.dumps([finder, texts["text"][:]], sort_keys=True).encode()).hexdigest()
        path = os.path.join(datasets.config.HF_DATASETS_CACHE, "mmre", f"{COLUMN}-{key[:32]}.arrow")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        trees = texts.map(
            _find,
            input_columns=["text"],
            remove_columns=["text"],
            fn_kwargs={"spacy_model": spacy_model},
            features=FEATURES,
            cache_file_name=path,
            load_from_cache_file=True,
            new_fingerprint=key[:32],
            desc=f"dependency trees of {split}",
        )
        added[split] = datasets.concatenate_datasets([rows, trees], axis=1)
    return datasets.DatasetDict(added)


def _find(text: str, spacy_model: str) -> dict:
    return {COLUMN: [list(word) for word in parse(spacy_model, text)]}


__all__ = ["with_dependencies"]
