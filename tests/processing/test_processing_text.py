"""The special of the processor of text alone: a post's picture is not opened."""

import pytest

from mmre.processing import TextProcessor

POST = {"text": "rt @ rafael nadal weds mery", "head": (5, 17), "tail": (23, 27)}


@pytest.mark.parametrize("inputs", [None, ["text"], ["text", "caption"]])
def test_it_returns_no_input_of_a_picture(make_tokenizer, inputs):
    processor = TextProcessor(make_tokenizer(), inputs=inputs)
    result = processor(**POST, images="no such file.png", grounded_regions="no boxes", caption="a city")
    has_caption = inputs is None or "caption" in inputs
    assert list(result) == ["input_ids", "attention_mask", *["text_mask"] * has_caption, "entity_positions"]
    assert ("city" in processor.tokenizer.convert_ids_to_tokens(result["input_ids"][0])) == has_caption


def test_it_has_no_image_processor(make_tokenizer):
    assert TextProcessor.get_attributes() == ["tokenizer"]
    with pytest.raises(TypeError, match="image_processor"):
        TextProcessor(tokenizer=make_tokenizer(), image_processor=None)
