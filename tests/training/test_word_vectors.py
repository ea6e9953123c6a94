"""Files of word vectors: GloVe's text format, and what is no such file."""

import logging

import pytest
import torch

from mmre.training.word_vectors import read_word_vectors


@pytest.fixture
def write(tmp_path):
    def file(content: str | bytes):
        path = tmp_path / "vectors.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return file


def test_words_and_their_numbers(write):
    words, vectors = read_word_vectors(write("the 0.5 -1 2e-3\n, 1 2 3\n\u00a0x 0 0 0\n北京 4 5 6\n"))
    assert words == ["the", ",", "北京"]  # white space in a word is no word
    torch.testing.assert_close(vectors, torch.tensor([[0.5, -1, 0.002], [1, 2, 3], [4, 5, 6]]))


def test_the_first_words_are_the_most_usual(write):
    path = write("a 1 1\nb 2 2\nc no numbers\n")
    assert read_word_vectors(path, 2)[0] == ["a", "b"]
    with pytest.raises(ValueError, match=r"vectors.txt:3: 'c no numbers'; expected a word and 2 numbers"):
        read_word_vectors(path)


def test_a_header_is_passed_over_and_what_is_left_out_is_said(write, caplog):
    with caplog.at_level(logging.WARNING, "mmre.train"):
        words, vectors = read_word_vectors(write("4 2\r\na 1 1 \r\na 9 9\r\n[UNK] 3 3\r\n. . 4 4\r\nb 2 2\r\n"))
    assert words == ["a", "b"] and vectors.tolist() == [[1, 1], [2, 2]]
    assert "3 lines are left out" in caplog.text


def test_a_byte_order_mark_is_no_letter_of_the_first_word(write):
    assert read_word_vectors(write("\ufeffthe 1 2\na 3 4\n"))[0] == ["the", "a"]
    words, vectors = read_word_vectors(write("\ufeff1 2\nthe 1 2\n"))
    assert words == ["the"] and vectors.tolist() == [[1, 2]]


def test_large_numbers_are_numbers(write):
    # Each of them is one in float32, their sum is none.
    assert read_word_vectors(write("a 3e38 3e38\n"))[1].isfinite().all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a 1 2\nb 1\n", ":2: 'b 1'; expected a word and 2 numbers, separated by single spaces"),
        ("a 1 2\nb 1 2 3\n", ":2: 'b 1 2 3'; expected a word and 2 numbers"),  # no word `b 1`
        ("2 300\na 1 2\nb 3 4\n", ":2: 'a 1 2'; expected a word and 300 numbers"),
        ("a  1 2\n", ":1: 'a  1 2'; expected a word and 3 numbers, separated by single spaces"),
        ("a 1e39 2\n", ":1: 'a 1e39 2'"),
        ("a 1 2\nb 1 nan\n", ":2: 'b 1 nan'"),
        ("a 1 inf\n", ":1: 'a 1 inf'"),
        ("alone\n", ":1: 'alone'; expected a word and its numbers"),
        ("", "has no word vector"),
        (b"\xff\xfe\x00", "is not in UTF-8"),
    ],
)
def test_what_is_no_file_of_word_vectors_is_refused(write, content, message):
    with pytest.raises(ValueError, match=message):
        read_word_vectors(write(content))


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"there is no file {path}; expected word vectors"):
            read_word_vectors(path)
