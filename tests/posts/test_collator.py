"""The collator: a batch holds what the processor makes of the columns that it reads, and nothing else is read."""

import pickle

import pytest
import torch
from post_file_helpers import BOX, TEXT
from torch.utils.data import DataLoader
from transformers import AutoProcessor

from mmre.posts.collator import PostCollator
from mmre.processing import MultimodalProcessor, TextProcessor


class Unreadable(dict):
    """A row that must not be asked for some columns."""

    def __init__(self, row, hidden):
        super().__init__(row)
        self.hidden = hidden

    def __getitem__(self, name):
        assert name not in self.hidden, name
        return super().__getitem__(name)

    def get(self, name, default=None):
        assert name not in self.hidden, name
        return super().get(name, default)


def rows(picture) -> list[dict]:
    entities = {"head": {"start": 10, "end": 17}, "tail": {"start": 33, "end": 35}}
    regions = {"grounded_regions": [BOX], "detected_regions": []}
    first = {"id": "x", "text": TEXT, **entities, "image": picture, "relation": 3, **regions, "caption": "two people"}
    return [first, first | {"text": f"{TEXT} and Cy", "image": None, "relation": 0, "grounded_regions": []}]


def processors(make_processor) -> list:
    parts = make_processor()
    pictures = {"num_grounded_regions": 2, "num_detected_regions": 1}
    image, tokenizer = parts.image_processor, parts.tokenizer
    return [
        (parts, ["caption"]),
        (TextProcessor(tokenizer), ["image", "grounded_regions", "detected_regions"]),
        (TextProcessor(tokenizer, inputs=["text"]), ["image", "grounded_regions", "detected_regions", "caption"]),
        (MultimodalProcessor(image, tokenizer, **pictures), []),
        (
            MultimodalProcessor(image, tokenizer, **pictures, inputs=["text", "image"]),
            ["grounded_regions", "detected_regions", "caption"],
        ),
    ]


def test_a_batch_is_what_the_processor_makes_of_the_columns_that_it_reads(make_processor, picture):
    for processor, hidden in processors(make_processor):
        posts = rows(picture)
        batch = PostCollator(processor)([Unreadable(row, ["id", *hidden]) for row in posts])
        expected = processor(
            text=[row["text"] for row in posts],
            images=[row["image"] for row in posts],
            head=[(10, 17)] * 2,
            tail=[(33, 35)] * 2,
            grounded_regions=[row["grounded_regions"] for row in posts],
            detected_regions=[row["detected_regions"] for row in posts],
            caption=[row["caption"] for row in posts],
        )
        assert batch.pop("labels").tolist() == [3, 0]
        assert batch.keys() == expected.keys() == set(processor.model_input_names)
        for name, values in expected.items():
            torch.testing.assert_close(batch[name], values, rtol=0, atol=0, msg=name)


def test_a_saved_processor_makes_the_same_batch(make_processor, picture, tmp_path):
    for number, (processor, _) in enumerate(processors(make_processor)):
        processor.save_pretrained(tmp_path / str(number))
        loaded = AutoProcessor.from_pretrained(tmp_path / str(number))
        assert type(loaded) is type(processor) and list(loaded.inputs) == list(processor.inputs)
        one, other = (PostCollator(each)(rows(picture)) for each in (processor, loaded))
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_columns_that_are_not_read_may_hold_anything(make_processor, picture):
    for processor, hidden in processors(make_processor):
        posts = rows(picture)
        garbage = [row | dict.fromkeys(["id", *hidden], object()) for row in posts]
        one, other = PostCollator(processor)(posts), PostCollator(processor)(garbage)
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_posts_without_a_label_give_a_batch_without_labels(make_processor, picture):
    for processor, _ in processors(make_processor):
        unlabelled = [{name: value for name, value in row.items() if name != "relation"} for row in rows(picture)]
        assert PostCollator(processor)(unlabelled).keys() == set(processor.model_input_names)
    for relation in ("/per/per/peer", 1.5, True, -1, -100):
        with pytest.raises(ValueError, match=f"post 0 of a batch: `relation` is {relation!r}; expected the id"):
            PostCollator(processor)([row | {"relation": relation} for row in rows(picture)])
    # Not a batch in which one label is another post's.
    with pytest.raises(ValueError, match="1 of 2 posts of a batch have no `relation`: all, or none"):
        PostCollator(processor)([rows(picture)[0], unlabelled[1]])


def test_columns_beside_text_and_entities_are_optional_and_spans_may_be_pairs(make_processor, picture):
    for processor, _ in processors(make_processor):
        bare = [{name: row[name] for name in ("text", "head", "tail")} for row in rows(picture)]
        nothing = {"image": None, "grounded_regions": [], "detected_regions": [], "caption": None}
        pairs = [row | {name: tuple(row[name].values()) for name in ("head", "tail")} for row in bare]
        expected = PostCollator(processor)([row | nothing for row in bare])
        for given in (bare, pairs):
            batch = PostCollator(processor)(given)
            assert batch.keys() == expected.keys()
            assert all(torch.equal(batch[name], expected[name]) for name in batch)


def test_a_row_that_the_trainer_took_apart_says_which_argument_keeps_it(make_processor):
    with pytest.raises(ValueError, match="no text, head, tail, only relation: .* has remove_unused_columns=False"):
        PostCollator(make_processor())([{"relation": 1}])


def test_words_are_not_blamed_on_the_trainer(make_processor):
    words = {"tokens": ["Ann", "weds", "Bo"], "head": [0, 1], "tail": [2, 3]}
    with pytest.raises(ValueError, match="no text, only tokens, head, tail: a post is its `text`, with spans in ch"):
        PostCollator(make_processor())([words])
    with pytest.raises(ValueError, match="no tail, only text, head: a post needs text, head, tail$"):
        PostCollator(make_processor())([{"text": "Ann weds Bo", "head": [0, 3]}])


def test_a_field_that_is_nearly_one_that_is_read_is_refused(make_processor, picture):
    (with_caption, _), (without, *_) = processors(make_processor)[1], processors(make_processor)[2]
    mistaken = [row | {"captoin": row["caption"]} for row in rows(picture)]
    for row in mistaken:
        del row["caption"]
    with pytest.raises(ValueError, match="^a row has the unknown field 'captoin'; did you mean 'caption'?"):
        PostCollator(with_caption)(mistaken)
    PostCollator(without)(mistaken)  # it reads no captions
    # Other fields are the data set's own, also beside the field that they are like.
    PostCollator(with_caption)([row | {"author": "Bo", "text_id": 3, "captions": []} for row in rows(picture)])


def test_a_copy_makes_the_same_batch(make_processor, picture):
    for processor, _ in processors(make_processor):
        copy = pickle.loads(pickle.dumps(PostCollator(processor)))  # noqa: S301, it is our own
        one, other = PostCollator(processor)(rows(picture)), copy(rows(picture))
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_worker_that_is_started_anew_makes_the_same_batch(make_processor, picture):
    for processor, _ in processors(make_processor):
        collator = PostCollator(processor)
        (batch,) = DataLoader(rows(picture), 2, collate_fn=collator, num_workers=1, multiprocessing_context="spawn")
        expected = collator(rows(picture))
        assert batch.keys() == expected.keys() and all(torch.equal(batch[name], expected[name]) for name in expected)
