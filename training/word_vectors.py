"""Word vectors in GloVe's text format."""

import math
from pathlib import Path

import numpy as np
import torch
from transformers.utils import logging

from mmre.processing.word_tokenizer import SPECIAL_TOKENS

logger = logging.get_logger("mmre.train")


def read_word_vectors(path: str | Path, max_words: int | None = None) -> tuple[list[str], torch.Tensor]:
    """Read word vectors: a word and its numbers on each line, separated by single spaces.

    A first line of two numbers, the count and the size (word2vec's text format), is passed over. Of a word that stands
    twice the first vector counts; words with white space in them, and those called as special tokens, are left out. A
    warning gives the number of both.

    Args:
        path: the file, in UTF-8.
        max_words: read the first so many words; all if not given.

    Returns:
        The V words, and their vectors of shape (V, size), in float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a word with as many finite numbers as the first one has; or there is no line.
    """
    vectors, size = {}, None
    left_out = 0
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if len(vectors) == max_words:
                    break
                line = line.rstrip("\r\n").rstrip(" ")
                if number == 1 and line.count(" ") == 1 and line.replace(" ", "").isdigit():
                    continue
                size = size or line.count(" ")
                word, *values = line.rsplit(" ", size) if size else [line]
                vector = _numbers(values)
                if size == 0 or len(values) != size or vector is None:
                    raise ValueError(f"{path}:{number}: {line[:60]!r}; expected a word and {size or 'its'} numbers")
                if not word or word in vectors or word in SPECIAL_TOKENS or word.split() != [word]:
                    left_out += 1
                else:
                    vectors[word] = vector
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: {error}; expected a text file of word vectors") from error
    if not vectors:
        raise ValueError(f"{path} has no word vector; expected a word and its numbers on each line")
    if left_out:
        logger.warning(f"{path}: {left_out} lines are left out: the word stands twice, or is no single word.")
    return list(vectors), torch.from_numpy(np.stack(list(vectors.values())))


def _numbers(values: list[str]) -> np.ndarray | None:
    try:
        vector = np.array(values, dtype=np.float32)
    except ValueError:
        return None
    return vector if math.isfinite(float(vector.sum())) else None


__all__ = ["read_word_vectors"]
