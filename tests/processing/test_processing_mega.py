"""What MEGA's processor says of words and regions, by hand."""

import pytest
import torch
from model_helpers import tiny_model
from transformers import CLIPImageProcessorPil, pipeline

from mmre.posts.collator import PostCollator
from mmre.processing import MegaProcessor, dependency_trees

TEXT, HEAD, TAIL = "rafael nadal weds mery perello", (0, 12), (18, 30)
# weds is the root of nadal and perello; rafael and mery depend on these.
TREE = [[0, 6, 1], [7, 12, 2], [13, 17, 2], [18, 22, 4], [23, 30, 2]]
# Counts of degrees 1 and 2. rafael: itself; then nadal 1 away, and weds 2 away.
OUTER, MIDDLE, INNER = (1, 0.01 + 0.0001), (0.01, 1 + 0.01 + 0.0001), (2 * 0.0001, 1 + 2 * 0.01)
BOXES = [[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 1.0, 1.0], [0.6, 0.0, 1.0, 0.2]]


@pytest.fixture
def processor(make_tokenizer):
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return MegaProcessor(image_processor, make_tokenizer(), num_grounded_regions=3, num_detected_regions=2)


def row(degrees_1_and_2: tuple[float, float]) -> list[float]:
    return [0.0, *degrees_1_and_2, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_each_word_is_described_at_its_first_token(processor):
    inputs = processor(text=TEXT, head=TAIL, tail=HEAD, dependencies=TREE)
    # [CLS] [E2] rafael nadal [/E2] weds [E1] mery perello [/E1] [SEP]
    expected = {2: OUTER, 3: MIDDLE, 5: INNER, 7: OUTER, 8: MIDDLE}
    rows = [row(expected.get(token, (0.0, 0.0))) for token in range(11)]
    torch.testing.assert_close(inputs["word_structure"], torch.tensor([rows]))


def test_regions_are_described_by_their_overlaps_in_their_slots(processor, picture):
    inputs = processor(text=TEXT, head=HEAD, tail=TAIL, images=picture, grounded_regions=BOXES[:2], dependencies=TREE)
    neighbour, alone, absent = [0.0, 1.01, *[0.0] * 6], [1.0, *[0.0] * 7], [0.0] * 8
    expected = [neighbour, neighbour, absent, absent, absent]
    torch.testing.assert_close(inputs["region_structure"], torch.tensor([expected]))
    regions = {"grounded_regions": BOXES[2:], "detected_regions": BOXES[:2]}
    inputs = processor(text=TEXT, head=HEAD, tail=TAIL, images=picture, **regions, dependencies=TREE)
    torch.testing.assert_close(
        inputs["region_structure"], torch.tensor([[alone, absent, absent, neighbour, neighbour]])
    )


def test_a_tree_that_is_given_is_taken_and_one_that_is_not_is_found(processor, monkeypatch):
    found = dependency_trees.parse(processor.spacy_model, TEXT)
    spans = {"head": HEAD, "tail": TAIL}
    expected = processor(text=TEXT, **spans, dependencies=found)["word_structure"]
    assert torch.equal(processor(text=TEXT, **spans)["word_structure"], expected)
    words = processor(text=TEXT.split(), head=(0, 2), tail=(3, 5))
    assert torch.equal(words["word_structure"], expected)
    many = processor(text=[TEXT, "mery weds"], head=[HEAD, (0, 4)], tail=[TAIL, (5, 9)], dependencies=[found, None])
    assert torch.equal(many["word_structure"][0], expected[0])

    def refuse(*_):
        raise AssertionError("a text was parsed")

    monkeypatch.setattr("mmre.processing.processing_mega.parse", refuse)
    assert not torch.equal(processor(text=TEXT, **spans, dependencies=[])["word_structure"], expected)
    with pytest.raises(AssertionError, match="a text was parsed"):
        processor(text=TEXT, **spans)


def test_a_bad_tree_is_named_with_its_post(processor):
    with pytest.raises(ValueError, match="^Post 1 of the batch: `dependencies` must be the words"):
        processor(text=[TEXT] * 2, head=[HEAD] * 2, tail=[TAIL] * 2, dependencies=[TREE, [[0, 99, 0]]])


def test_structure_needs_regions(make_tokenizer):
    with pytest.raises(ValueError, match="'structure' is of words and 'regions', which is needed too"):
        MegaProcessor(CLIPImageProcessorPil(), make_tokenizer(), inputs=["text", "structure"])


def test_the_pipeline_and_a_cached_column_give_a_post_the_same_inputs(processor, picture):
    model = tiny_model("mega_mre", num_grounded_regions=3, num_detected_regions=2)
    model.resize_token_embeddings(len(processor.tokenizer))
    seen = []
    model.register_forward_pre_hook(lambda _, args, inputs: seen.append(inputs), with_kwargs=True)
    extract = pipeline("multimodal-relation-extraction", model=model, processor=processor, device="cpu")
    regions = {"grounded_regions": BOXES[:2], "detected_regions": BOXES[2:]}
    # The second pair gets its picture from the first.
    extract({"text": TEXT, "image": picture, "pairs": [(HEAD, TAIL), (TAIL, HEAD)], **regions}, batch_size=1)
    tree = [list(word) for word in dependency_trees.parse(processor.spacy_model, TEXT)]
    for inputs, (head, tail) in zip(seen, [(HEAD, TAIL), (TAIL, HEAD)], strict=True):
        row = {"text": TEXT, "head": head, "tail": tail, "image": picture, **regions}
        for expected in (PostCollator(processor)([row]), PostCollator(processor)([row | {"dependencies": tree}])):
            assert set(expected) == set(inputs)
            assert all(torch.equal(inputs[name], values) for name, values in expected.items())
