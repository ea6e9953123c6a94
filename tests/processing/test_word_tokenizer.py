"""Words of the word-level tokenizer: where a text is cut, what is unknown, and that they travel in its file."""

import pytest
from transformers import AutoProcessor

from mmre.processing import WordProcessor
from mmre.processing.word_tokenizer import make_word_tokenizer, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Rafael Nadal weds Mery, at last!!", "Rafael Nadal weds Mery , at last !!"),
        ("don't say he's O'Neal's co-star", "do n't say he 's O'Neal 's co-star"),
        ("The U.S. star (@ana_b, #Rio2016)", "The U.S. star ( @ana_b , #Rio2016 )"),
        ("see https://t.co/aB1: 3.5 million, 10:30", "see https://t.co/aB1 : 3.5 million , 10:30"),
        ("Zoë 北京 😀😀 e\u0301", "Zoë 北京 😀😀 e\u0301"),
        ("  \t\n ", ""),
    ],
)
def test_where_a_text_is_cut(text, words):
    assert split_words(text) == words.split()


def test_words_get_ids_in_their_order_and_others_are_unknown():
    tokenizer = make_word_tokenizer(["nadal", ",", "weds"])
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[UNK]", "nadal", ",", "weds"]) == [0, 1, 2, 3, 4]
    assert tokenizer("NADAL, weds Mery.")["input_ids"] == [2, 3, 4, 1, 1]
    # Capital letters count where the list has some, not for one odd word of it.
    assert make_word_tokenizer(["Nadal", "nadal"])("Nadal nadal NADAL")["input_ids"] == [2, 3, 1]
    small = [f"w{number}" for number in range(99)]
    assert make_word_tokenizer(["nadal", "IX", *small])("Nadal ix")["input_ids"] == [2, 1]
    assert make_word_tokenizer(["nadal", "IX", *small[:98]])("Nadal IX")["input_ids"] == [1, 3]


@pytest.mark.parametrize(
    ("words", "message"), [(["a", "b", "a"], "'a' stands twice"), (["[UNK]"], "stands twice"), ([], "there is no word")]
)
def test_a_list_that_cannot_be_right_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        make_word_tokenizer(words)


def test_entities_that_cut_a_word_are_marked_where_they_stand():
    processor = WordProcessor.from_words(["nadal", "'s", "new-york", "new"])
    inputs = processor(text="Nadal's New-York", head=(0, 5), tail=(8, 11))
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
    assert tokens[:4] == ["[E1]", "nadal", "[/E1]", "'s"]
    start, end = inputs["entity_spans"][0, 1].tolist()
    assert (tokens[start], tokens[end - 1]) == ("[E2]", "[/E2]") and end - start == 3


def test_the_words_travel_with_the_processor(tmp_path):
    processor = WordProcessor.from_words(["nadal", "weds", "mery"], max_length=16)
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    post = {"text": "Nadal weds Mery, twice", "head": (0, 5), "tail": (11, 15)}
    assert type(loaded) is WordProcessor and loaded.max_length == 16
    assert {name: value.tolist() for name, value in loaded(**post).items()} == {
        name: value.tolist() for name, value in processor(**post).items()
    }
