"""The picture models against their own outputs: random weights, loaded by the real Auto classes."""

import numpy as np
import torch
from picture_helpers import noise

from mmre.annotation.picture_models import Captioner, Detector, Grounder, best_boxes


def test_best_boxes_are_chosen_and_near_identical_ones_once():
    best, same, half, other = [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.49], [0, 0, 0.5, 0.25], [0.5, 0.5, 1.2, 0.9]
    scored = [(0.1, other), (0.8, same), (0.9, best), (0.5, half), (0.7, [0.3, 0.3, 0.3, 0.5])]
    assert best_boxes(scored, 4, 0.9) == [best, half, [0.5, 0.5, 1.0, 0.9]]
    assert best_boxes(scored, 2, 0.9) == [best, half]
    assert best_boxes(scored, 4, 0.99) == [best, same, half, [0.5, 0.5, 1.0, 0.9]]
    assert best_boxes(scored, 4, 0.4) == [best, [0.5, 0.5, 1.0, 0.9]]


def test_the_best_box_of_a_keyword_is_that_of_its_best_token(picture_models):
    """Computed anew from the logits: tokens of "[CLS] rafael nadal . u s . york . [SEP]"."""
    grounder = Grounder(picture_models["grounding"], threshold=0, max_iou=1)
    image = noise(0)
    inputs = grounder.processor(images=[image], text=["rafael nadal. u s. york."], return_tensors="pt")
    tokens = grounder.processor.tokenizer.convert_ids_to_tokens(inputs.input_ids[0])
    assert tokens == ["[CLS]", "rafael", "nadal", ".", "u", "s", ".", "york", ".", "[SEP]"]
    with torch.no_grad():
        outputs = grounder.model(**inputs)
    expected = []
    for columns in ([1, 2], [4, 5], [7]):
        scores = outputs.logits[0][:, columns].max(dim=1).values
        x, y, width, height = outputs.pred_boxes[0, scores.argmax()].tolist()
        box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        expected.append((scores.max().item(), [min(max(value, 0), 1) for value in box]))
    expected = [box for _, box in sorted(expected, reverse=True)]
    (found,) = grounder([image], [["Rafael Nadal", "U.S.", "York"]])
    unique = [box for index, box in enumerate(expected) if box not in expected[:index]]
    assert len(found) == len(unique)
    assert np.allclose(found, unique, atol=1e-5)


def test_more_keywords_than_the_model_can_read_are_asked_in_turn(picture_models, monkeypatch):
    grounder = Grounder(picture_models["grounding"], threshold=0, num_regions=99, max_iou=1)
    words = [letter * 20 for letter in "abcdefg"]  # 21 tokens each with the full stop; the model reads 64
    asked = []
    ground = Grounder._ground_tokens
    monkeypatch.setattr(
        Grounder,
        "_ground_tokens",
        lambda self, images, keywords: asked.extend(keywords) or ground(self, images, keywords),
    )
    (together,) = grounder([noise(0)], [words])
    assert [len(part) for part in asked] == [2, 2, 2, 1]
    alone = [box for part in list(asked) for box in grounder([noise(0)], [part])[0]]
    assert {tuple(box) for box in together} == {tuple(box) for box in alone}
    assert grounder([noise(0)], [["x" * 500]])[0]  # longer than all that the model reads
    assert grounder([noise(0), noise(1)], [[], ["york"]])[0] == []


def test_a_model_that_scores_keywords_grounds_as_well(picture_models):
    grounder = Grounder(picture_models["owl"], threshold=0, max_iou=1)
    images, keywords = [noise(0), noise(1, 90, 40)], [["York", "Rafael Nadal", "dog"], ["city"]]
    found = grounder(images, keywords)
    for image, words, boxes in zip(images, keywords, found):
        inputs = grounder.processor(images=[image], text=[words], return_tensors="pt")
        with torch.no_grad():
            outputs = grounder.model(**inputs)
        longer, expected = max(image.size), []
        for column, _ in enumerate(words):
            scores = outputs.logits[0, :, column]
            x, y, width, height = outputs.pred_boxes[0, scores.argmax()].tolist()
            corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            sides = [image.width, image.height] * 2  # it sees the image on a square, at the top left
            box = [min(max(v * longer / side, 0), 1) for v, side in zip(corners, sides)]
            expected.append((scores.max().item(), box))
        expected = [box for _, box in sorted(expected, reverse=True) if min(box[2] - box[0], box[3] - box[1]) > 1e-5]
        assert expected and np.allclose(boxes, expected, atol=1e-4)


def test_a_threshold_that_nothing_reaches_leaves_no_region(picture_models):
    for name in ("grounding", "owl"):
        assert Grounder(picture_models[name], threshold=1.0)([noise(0)], [["york"]]) == [[]]
    assert Detector(picture_models["detection"], threshold=1.0)([noise(0)]) == [[]]


def test_detected_regions_are_the_models_best(picture_models):
    detector = Detector(picture_models["detection"], threshold=0, num_regions=2, max_iou=1)
    image = noise(3, 120, 40)
    with torch.no_grad():
        outputs = detector.model(**detector.processor(images=[image], return_tensors="pt"))
    flat = outputs.logits[0].flatten()
    order = flat.argsort(descending=True) // outputs.logits.shape[-1]
    expected = []
    for query in order.tolist():
        x, y, width, height = outputs.pred_boxes[0, query].tolist()
        expected.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    (found,) = detector([image])
    assert np.allclose(found[0], expected[0], atol=1e-5)
    assert any(np.allclose(found[1], box, atol=1e-5) for box in expected[1:])


def test_the_prompt_is_no_part_of_the_caption(picture_models):
    captioner = Captioner(picture_models["captions"], max_new_tokens=3, prompt="new york")
    inputs = captioner.processor(images=[noise(0)], text=["new york"], return_tensors="pt")
    with torch.no_grad():
        token = captioner.model(**inputs).logits[0, -1].argmax().item()
    (caption,) = captioner([noise(0)])
    first = captioner.processor.tokenizer.decode([token]).strip()
    assert caption.startswith(first) and "new york" not in caption
    assert captioner([]) == []
