"""Word vectors in GloVe's text format."""

import re
from pathlib import Path

import numpy as np
import torch
from transformers.utils import logging

from mmre.processing.word_tokenizer import SPECIAL_TOKENS

logger = logging.get_logger("mmre.train")


def read_word_vectors(path: str | Path, max_words: int | None = None) -> tuple[list[str], torch.Tensor]:
    """Read word vectors: a word and its numbers on each line, separated by single spaces.

    A first line of two numbers, the count and the size (word2vec's text format), gives the size alone. Of a word that
    stands twice the first vector counts; words with white space in them, and those called as special tokens, are left
    out. A warning gives the number of both.

    Args:
        path: the file, in UTF-8.
        max_words: read the first so many words; all if not given.

    Returns:
        The V words, and their vectors of shape (V, size), in float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a word with as many finite numbers as the first one has or says; or there is no line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}; expected word vectors in GloVe's text format")
    vectors, size = {}, None
    left_out = 0
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if len(vectors) == max_words:
                    break
                line = line.rstrip("\r\n").rstrip(" ")
                if number == 1 and re.fullmatch("[0-9]+ [0-9]+", line):
                    size = int(line.split(" ")[1])
                    continue
                size = size or line.count(" ")
                word, *values = line.rsplit(" ", size) if size else [line]
                vector = _numbers(values)
                # A word with white space may stand in GloVe's files; one that ends with a number is a number too many.
                too_many = " " in word and _numbers(word.rsplit(" ", 1)[1:]) is not None
                if size == 0 or len(values) != size or vector is None or too_many:
                    expected = f"expected a word and {size or 'its'} numbers, separated by single spaces"
                    raise ValueError(f"{path}:{number}: {line[:60]!r}; {expected}")
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
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite
            vector = np.array(values, dtype=np.float32)
    except ValueError:
        return None
    return vector if np.isfinite(vector).all() else None


__all__ = ["read_word_vectors"]
