"""Spans counted in UTF-16 are told from spans in code points."""

import pytest
from post_file_helpers import post, write

from mmre.posts import load_files, load_saved_posts
from mmre.posts.checks import Problems
from mmre.posts.utf16 import Utf16Spans
from mmre.processing import TextProcessor
from mmre.processing.utf16_spans import from_utf16

TEXT = "😂 Anna Lee 🎾 weds Bob today"
RIGHT = {"head": [2, 10], "tail": [18, 21]}


def in_utf16(text: str, span: list[int]) -> list[int]:
    return [len(text[:edge].encode("utf-16-le")) // 2 for edge in span]


WRONG = {name: in_utf16(TEXT, span) for name, span in RIGHT.items()}


@pytest.mark.parametrize("text", [TEXT, "plain", "😂", "a😂b🎾", ""])
def test_positions_are_turned_into_code_points(text):
    units = len(text.encode("utf-16-le")) // 2
    for index in range(len(text) + 1):
        assert from_utf16(text, in_utf16(text, [index])[0]) == index
    within = set(range(units + 3)) - {in_utf16(text, [index])[0] for index in range(len(text) + 1)}
    assert all(from_utf16(text, position) is None for position in within)


def test_spans_that_cut_words_because_they_are_counted_in_utf16_are_named_with_what_was_meant(folder):
    assert (TEXT[slice(*RIGHT["head"])], TEXT[slice(*RIGHT["tail"])]) == ("Anna Lee", "Bob")
    assert (TEXT[slice(*WRONG["head"])], TEXT[slice(*WRONG["tail"])]) == ("nna Lee ", "b t")
    rows = [post(), post(text=TEXT, image=None, **WRONG)]
    with pytest.raises(ValueError) as error:
        load_files(write(folder / "train.jsonl", rows))
    report = str(error.value).replace(f"{folder}/", "")
    assert "2 problem(s)" in report
    assert (
        "train.jsonl:2: entities: [3, 11] cuts a word; expected Unicode code points: counted in UTF-16, as JavaScript "
        "does, [2, 10] is 'Anna Lee'" in report
    )
    assert "[20, 23] cuts a word" in report and "[18, 21] is 'Bob'" in report
    right = load_files(write(folder / "train.jsonl", [post(), post(text=TEXT, image=None, **RIGHT)]))
    assert right["train"][1]["head"] == {"start": 2, "end": 10}


def test_a_file_with_spans_that_are_right_as_they_are_is_warned_of_only(folder, caplog):
    hashtag = post(text=TEXT, image=None, head=[3, 6], tail=[18, 21])  # an entity within a word, as in #AnnaLee
    posts = load_files(write(folder / "train.jsonl", [post(), post(text=TEXT, image=None, **RIGHT), hashtag]))
    assert len(posts["train"]) == 3
    assert not [record for record in caplog.records if "UTF-16" in record.getMessage()]
    mixed = [post(), post(text=TEXT, image=None, **RIGHT), post(text=TEXT, image=None, **WRONG)]
    assert len(load_files(write(folder / "train.jsonl", mixed))["train"]) == 3
    assert "2 spans cut words where they would not if they were counted in UTF-16" in caplog.text


def test_a_stored_data_set_is_asked_the_same(folder, caplog):
    right = load_files(write(folder / "train.jsonl", [post(), post(text=TEXT, image=None, **RIGHT)]))

    def save(name: str, **spans) -> str:
        def put(row: dict) -> dict:
            return row if row["text"] != TEXT else row | {e: dict(zip(("start", "end"), s)) for e, s in spans.items()}

        right.map(put, features=right["train"].features).save_to_disk(folder / name)
        return str(folder / name)

    assert load_saved_posts(save("right"))["train"][1]["head"] == {"start": 2, "end": 10}
    with pytest.raises(ValueError, match=r"train\[1\]: entities: \[3, 11\] cuts a word; .* \[2, 10\] is 'Anna Lee'"):
        load_saved_posts(save("wrong", **WRONG))
    assert len(load_saved_posts(save("mixed", head=WRONG["head"], tail=[0, 1]))["train"]) == 2
    assert "spans cut words where they would not if they were counted in UTF-16" in caplog.text


def test_a_processor_says_it_of_a_post(make_tokenizer, caplog):
    processor = TextProcessor(make_tokenizer())
    processor(text=TEXT, head=RIGHT["head"], tail=RIGHT["tail"])
    assert not caplog.records
    processor(text=TEXT, head=WRONG["head"], tail=RIGHT["tail"])
    assert "`head` [3, 11] cuts a word of" in caplog.text and "[2, 10] is 'Anna Lee'" in caplog.text


def test_characters_of_the_basic_plane_move_nothing():
    spans = Utf16Spans()
    spans.look_at("f", "f:1", "東京 Anna Lee weds", [(4, 8)])
    assert spans.mended == [] and spans.num_spoiled == 0


def test_a_place_is_named_once_in_a_warning(caplog):
    spans = Utf16Spans()
    spans.look_at("f", "f:1", TEXT, [WRONG["head"], WRONG["tail"]])
    spans.look_at("f", "f:2", TEXT, [RIGHT["head"], RIGHT["tail"]])
    spans.report(Problems())
    assert "2 spans cut words" in caplog.text and caplog.text.count("f:1") == 1
