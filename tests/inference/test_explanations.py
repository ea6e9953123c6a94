"""Explanations of every system: places in the picture, scores against slow computations, honest faithfulness."""

import json

import numpy as np
import pytest
import torch
from model_helpers import SYSTEMS, tiny_model
from PIL import Image

from mmre.inference.cards import CardMaker
from mmre.inference.explanation_plot import in_two_places
from mmre.inference.explanations import explain
from mmre.inference.faithfulness import DRAWS, Faithfulness
from mmre.inference.picture_grid import on_picture
from mmre.inference.post_parts import PartScores, PostParts, Taken
from mmre.processing import PROCESSORS, WordProcessor

TEXT = "rt @ : rafael nadal weds mery perello in new york"
HEAD, TAIL = (7, 19), (25, 37)
GROUNDED, DETECTED = [[0.0, 0.0, 0.5, 0.5]], [[0.5, 0.25, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5]]
SPOT = (63, 37)  # a pixel of the picture of 80 x 60


@pytest.fixture
def make(make_processor, picture):
    """A function that makes model, processor and post of a case."""

    def make(case: str = "focalmre", **changes):
        model = tiny_model(case)
        config = model.config
        focalmre = make_processor()
        kind = PROCESSORS[config.processor_class]
        if kind is WordProcessor:
            processor = WordProcessor.from_words(TEXT.split(), inputs=config.reads())
        else:
            names = ("num_grounded_regions", "num_detected_regions", "num_object_images")
            numbers = {name: getattr(config, name) for name in names if hasattr(config, name)}
            reads_pictures = {"image", "regions"} & {*config.reads()}
            image = {"image_processor": focalmre.image_processor} if reads_pictures else {}
            numbers = numbers if reads_pictures else {}
            numbers |= {"resize": changes.pop("resize")} if "resize" in changes else {}
            processor = kind(tokenizer=focalmre.tokenizer, inputs=config.reads(), max_length=40, **image, **numbers)
        post = {"text": TEXT, "head": HEAD, "tail": TAIL, "image": picture, "caption": "a new york city"}
        return model, processor, post | {"grounded_regions": GROUNDED, "detected_regions": DETECTED} | changes

    return make


@torch.no_grad()
def probabilities(model, processor, post) -> np.ndarray:
    """By the model and the processor alone."""
    columns = {name: post.get(name) for name in ("grounded_regions", "detected_regions", "caption")}
    return model(**processor(post["text"], post["image"], post["head"], post["tail"], **columns)).logits.softmax(-1)[0]


def painted(image: Image.Image, box: tuple) -> Image.Image:
    pixels = np.asarray(image).copy()
    mean = pixels.reshape(-1, 3).mean(axis=0)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = np.round(mean)
    return Image.fromarray(pixels)


def test_the_weights_of_patches_lie_where_the_patches_lie_when_the_picture_is_squashed():
    weights = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert on_picture(weights, (0, 0, 1, 1), (2, 2)).tolist() == weights.tolist()
    # Each patch is four cells of a grid twice as fine.
    assert on_picture(weights, (0, 0, 1, 1), (4, 4))[:2].tolist() == [[0.25, 0.25, 0.5, 0.5]] * 2


def test_the_weights_of_patches_lie_in_the_middle_when_the_sides_are_cut_off():
    # Of a picture of 2 x 1, the middle square: from a quarter to three quarters of its width.
    weights = np.array([[1.0, 2.0], [3.0, 4.0]])
    laid = on_picture(weights, (0.25, 0.0, 0.75, 1.0), (2, 4))
    assert laid.tolist() == [[0.0, 1.0, 2.0, 0.0], [0.0, 3.0, 4.0, 0.0]]


def test_what_lies_outside_the_picture_is_lost():
    assert on_picture(np.array([[1.0, 1.0]]), (-1.0, 0.0, 1.0, 1.0), (1, 2)).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("resize", ["squash", "center_crop"])
@pytest.mark.parametrize("input_mode", ["augmented", "cropped", "original"])
@pytest.mark.parametrize("draw_at", ["model", "source"])
def test_a_hand_made_attention_to_a_spot_lies_on_the_spot(make_processor, resize, input_mode, draw_at):
    """The patch of what the model sees that has the one bright spot gets all the weight."""
    image = Image.new("RGB", (80, 60))
    image.paste((255, 255, 255), (SPOT[0] - 2, SPOT[1] - 2, SPOT[0] + 2, SPOT[1] + 2))
    processor = make_processor(resize=resize, input_mode=input_mode, draw_at=draw_at)
    seen = 0
    for slot in processor.view_slots(image, [[0.5, 0.25, 1.0, 1.0]], [[0.1, 0.0, 0.95, 0.9]]):
        if slot is None:
            continue
        view, _ = slot
        pixels = np.asarray(view.image).min(axis=2)  # white alone is bright in all channels
        patches = pixels.reshape(4, 8, 4, 8).max(axis=(1, 3))
        assert patches.max() > 60
        attention = (patches == patches.max()) / (patches == patches.max()).sum()
        laid = on_picture(attention, view.shown, (60, 80))  # a cell for each pixel
        assert laid.sum() == pytest.approx(1)
        rows, columns = np.nonzero(laid > 1e-9)
        assert rows.min() <= SPOT[1] <= rows.max() and columns.min() <= SPOT[0] <= columns.max()
        # Not merely somewhere near: as small as the patch is on the picture.
        x_min, y_min, x_max, y_max = view.shown
        count = attention.astype(bool).sum()
        assert len(rows) <= count * ((x_max - x_min) * 80 / 4 + 2) * ((y_max - y_min) * 60 / 4 + 2)
        seen += 1
    assert seen == 2


@pytest.mark.parametrize("case", SYSTEMS.values())
def test_each_part_scores_what_the_probability_loses_without_it(make, case):
    model, processor, post = make(case)
    found = explain(model, processor, post)
    whole = probabilities(model, processor, post)
    assert found.prediction == found.relation == model.config.id2label[int(whole.argmax())]
    assert [*found.probabilities.values()] == pytest.approx(sorted(whole.tolist(), reverse=True), abs=1e-6)
    label = int(whole.argmax())
    reads = {*processor.inputs}
    if {"image", "regions"} & reads:
        rows, columns = found.scores.cells.shape
        for row, column in ((0, 0), (rows - 1, columns - 1), (rows // 2, 0)):
            box = (
                *(round(80 * column / columns), round(60 * row / rows)),
                *(round(80 * (column + 1) / columns), round(60 * (row + 1) / rows)),
            )
            without = probabilities(model, processor, post | {"image": painted(post["image"], box)})
            assert found.scores.cells[row, column] == pytest.approx(float(whole[label] - without[label]), abs=1e-5)
        # Some part counts, unless nothing does to a random model that is so sure.
        assert np.abs(found.scores.cells).max() > 1e-4 or whole.max() > 0.9999
        inputs = processor(TEXT, post["image"], HEAD, TAIL, GROUNDED, DETECTED, post["caption"])
        for slot, score in zip(found.slots, found.scores.slots, strict=True):
            inputs["image_mask"][0, slot.number] = False
            with torch.no_grad():
                without = model(**inputs).logits.softmax(-1)[0, label]
            inputs["image_mask"][0, slot.number] = True
            assert score == pytest.approx(float(whole[label] - without), abs=1e-5)
    else:
        assert found.scores.cells is found.scores.slots is None and found.slots == []
    if "caption" in reads:
        without = probabilities(model, processor, post | {"caption": None})
        assert found.scores.caption == pytest.approx(float(whole[label] - without[label]), abs=1e-5)
    else:
        assert found.scores.caption is None
    # A word is its tokens, which become the tokenizer's mask: "weds" stands between the entities' markers.
    inputs = processor(TEXT, post["image"], HEAD, TAIL, GROUNDED, DETECTED, post["caption"])
    tokenizer = processor.tokenizer
    (weds,) = (inputs["input_ids"][0] == tokenizer.convert_tokens_to_ids("weds")).nonzero()
    mask = tokenizer.mask_token_id
    inputs["input_ids"][0, weds] = tokenizer.unk_token_id if mask is None else mask
    with torch.no_grad():
        without = model(**inputs).logits.softmax(-1)[0, label]
    assert TEXT[slice(*found.words[5])] == "weds"
    assert found.scores.words[5] == pytest.approx(float(whole[label] - without), abs=1e-5)


@pytest.mark.parametrize("case", SYSTEMS.values())
def test_integrated_gradients_sum_to_the_log_probability_less_that_of_the_baseline(make, case):
    pytest.importorskip("captum")
    model, processor, post = make(case)
    before = probabilities(model, processor, post)
    found = explain(model, processor, post, method="integrated_gradients")
    parts = PostParts(model, processor, post)
    inputs, tokenizer = dict(parts.inputs), processor.tokenizer
    special = [token for token in tokenizer.all_special_ids if token != tokenizer.unk_token_id]
    ids = inputs["input_ids"][0].tolist()
    inputs["input_ids"] = torch.tensor([[token if token in special else tokenizer.pad_token_id for token in ids]])
    if "pixel_values" in inputs:
        for picture in inputs["pixel_values"][0]:
            for channel in picture:
                channel[:] = channel.mean()
    with torch.no_grad():
        baseline = model(**inputs).logits.log_softmax(-1)[0, int(before.argmax())]
    scores = found.scores
    total = scores.words.sum() + (scores.caption or 0) + (0 if scores.slots is None else scores.slots.sum())
    expected = float(before.max().log() - baseline)
    assert total - scores.missing == pytest.approx(expected, abs=1e-3)
    assert abs(scores.missing) < 0.05 * max(1.0, abs(expected))
    if scores.cells is not None:
        assert scores.cells.sum() == pytest.approx(scores.patches.sum(), abs=1e-4)
    # Nothing of it stays in the model.
    assert torch.equal(probabilities(model, processor, post), before)


@torch.no_grad()
def test_focal_attention_is_that_of_both_opening_markers_without_the_class_token(make):
    for case in ("focalmre", "focalmre-official"):
        model, processor, post = make(case)
        found = explain(model, processor, post, method="attention")
        inputs = processor(TEXT, post["image"], HEAD, TAIL, GROUNDED, DETECTED)
        outputs = model(**inputs, output_fusion=True)
        head, tail = inputs["entity_positions"][0].tolist()
        for number, slot in enumerate(found.slots):
            attention = outputs.focal_attentions[0, slot.number]
            mean = (attention[head] + attention[tail]) / 2
            assert found.scores.patches[number].ravel() == pytest.approx(mean[-4:].tolist(), abs=1e-6)
            gate = (outputs.gates[0, slot.number, head].mean() + outputs.gates[0, slot.number, tail].mean()) / 2
            weight = float(outputs.region_weights[0, slot.number] * gate)
            assert found.scores.slots[number] == pytest.approx(weight, abs=1e-6)
        assert found.inner_values["gates"].shape == outputs.gates.shape[1:]
    ablated = make("focalmre-ablated")
    with pytest.raises(ValueError, match="as configured, has none from the entities to the picture; expected"):
        explain(*ablated, method="attention")


@torch.no_grad()
def test_matching_scores_are_what_the_patches_give_to_both_opening_markers(make):
    model, processor, post = make("tgdi")
    found = explain(model, processor, post, method="attention")
    inputs = processor(TEXT, post["image"], HEAD, TAIL, GROUNDED, DETECTED, post["caption"])
    outputs = model(**inputs, output_fusion=True)
    head, tail = inputs["entity_positions"][0].tolist()
    for number, slot in enumerate(found.slots):
        scores = outputs.matching_scores[0, slot.number]
        expected = [float(patch[head] + patch[tail]) for patch in scores]
        assert found.scores.patches[number].ravel() == pytest.approx(expected, abs=1e-6)
    assert {*found.inner_values} == {"hierarchy_gates", "matching_scores", "matching_gate"}
    assert found.scores.slots is None


def test_regions_have_the_names_of_their_slots(make):
    names = [slot.name for slot in explain(*make("focalmre")).slots]
    assert names == ["grounded region 1", "detected region 1", "detected region 2"]
    names = [slot.name for slot in explain(*make("tgdi")).slots]
    assert names == ["picture", "grounded region 1", "detected region 1", "detected region 2"]
    names = [slot.name for slot in explain(*make("focalmre", grounded_regions=None, detected_regions=[])).slots]
    assert names == ["picture", "picture"]


def test_faithfulness_takes_the_highest_scores_away(make):
    model, processor, post = make("tgdi")
    found = explain(model, processor, post, check=True, seed=3)
    lines = {(line.explanation, line.parts): line for line in found.faithfulness}
    assert {*lines} == {
        *(("occlusion", parts) for parts in ("patches", "regions", "words")),
        ("attention", "patches"),
    }
    line = lines["occlusion", "words"]
    assert (line.taken, line.of) == (2, 11)  # a fifth of eleven
    parts = PostParts(model, processor, post)
    label = int(probabilities(model, processor, post).argmax())

    def drop(words) -> float:
        whole, without = parts.probabilities([Taken(), Taken(words=tuple(words))])[:, label]
        return whole - without

    best = np.argsort(-found.scores.words, kind="stable")[:2]
    assert line.drop == pytest.approx(drop(best), abs=1e-6)
    assert lines["attention", "patches"].drop == pytest.approx(
        np.subtract(*parts.probabilities([Taken(), Taken(cells=(int(found.attention.cells.argmax()),))])[:, label]),
        abs=1e-6,
    )
    # With one cell of four, the mean over many draws is the mean over the cells, more or less.
    assert DRAWS >= 10
    again = explain(model, processor, post, check=True, seed=3).faithfulness
    assert again == found.faithfulness != explain(model, processor, post, check=True, seed=4).faithfulness


def test_words_of_a_text_that_was_cut_off_have_no_score_and_are_not_taken(make):
    model, processor, post = make("mtb")
    processor.max_length = 12
    found = explain(model, processor, post, check=True)
    assert found.scores.words[-1] == 0 and found.faithfulness[0].of < len(found.words)


def test_words_are_as_good_as_a_text(make):
    model, processor, post = make("mtb")
    words = {"text": None, "tokens": TEXT.split(), "head": (3, 5), "tail": (6, 8)}
    found, expected = (explain(model, processor, given) for given in (post | words, post))
    assert found.as_dict() == expected.as_dict()


def test_the_relation_may_be_another_one(make):
    model, processor, post = make("mtb")
    probable = explain(model, processor, post)
    other = list(probable.probabilities)[-1]
    found = explain(model, processor, post, relation=other)
    assert (found.prediction, found.relation) == (probable.prediction, other)
    assert found.scores.words.tolist() != probable.scores.words.tolist()


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"head": None}, {}, "an explanation is of one pair of entities: the post needs `head` and `tail`"),
        ({"text": None}, {}, "needs its `text`, a string, or its `tokens`"),
        ({"haed": (0, 1)}, {}, "did you mean"),
        ({"head": (5, 5)}, {}, "`head` must be a span"),
        ({"image": b"no picture"}, {}, "no"),
        ({"image": None}, {}, "no image that they are regions of"),
        ({}, {"relation": "/per/per/cuople"}, "did you mean"),
        ({}, {"method": "oclusion"}, "did you mean"),
    ],
)
def test_what_cannot_be_explained_is_refused(make, changes, options, message):
    with pytest.raises(ValueError, match=message):
        explain(*make("focalmre", **changes), **options)


@pytest.mark.parametrize("case", ["cnn", "mtb", "mega_mre", "bert_sg"])
def test_a_system_without_attention_to_the_picture_says_so(make, case):
    with pytest.raises(ValueError, match="ForRelationClassification, as configured, .* expected 'occlusion' or"):
        explain(*make(case), method="attention")


@pytest.mark.parametrize("case", ["focalmre", "tgdi", "umt", "hvpnet"])
def test_of_a_post_without_a_picture_nothing_has_a_score_by_attention(make, case, tmp_path):
    nothing = {"image": None, "grounded_regions": None, "detected_regions": None}
    model, processor, post = make(case, **nothing)
    found = explain(model, processor, post, method="attention", check=True)
    assert found.scores == PartScores() and found.faithfulness == []
    assert found.probabilities == explain(model, processor, post).probabilities
    found.save(tmp_path / "no_picture.png")
    card = CardMaker(model, processor, tmp_path, "attention")("1", post)
    assert (card["picture"], card["cells"], card["regions"], card["caption"]) == (None, None, [], None)
    assert {score for _, score, _ in card["pieces"]} == {None}


@pytest.mark.parametrize(
    ("case", "method"),
    [("mtb", "oclusion"), *((case, "attention") for case in ("mtb", "mega_mre", "bert_sg", "focalmre-ablated"))],
)
def test_cards_that_a_model_cannot_have_are_refused_at_once(make, case, method, tmp_path):
    model, processor, _ = make(case)
    with pytest.raises(ValueError, match="expected 'occlusion' or|did you mean 'occlusion'"):
        CardMaker(model, processor, tmp_path, method)


@pytest.mark.parametrize(
    ("drop", "random_drop", "words"),
    [
        (0.999, 0.304, "1.00 is lost, without as many at random 0.30 is lost"),
        (-0.004, 0.0, "nothing is lost, without as many at random nothing is lost"),
        (0.004, -0.126, "less than 0.01 is lost, without as many at random 0.13 is gained"),
    ],
)
def test_what_is_lost_is_said_in_words(drop, random_drop, words):
    line = Faithfulness("integrated_gradients", "patches", 3, 16, drop, random_drop)
    assert line.in_words() == f"integrated gradients: without 3 of 16 patches {words}"


WEIGH_REGIONS = ["bert_sg-attention", "hvpnet", "ifaformer", "mkgformer", "umgf", "vilbert", "visualbert_mre"]


@torch.no_grad()
@pytest.mark.parametrize("case", WEIGH_REGIONS)
def test_the_attention_of_a_system_without_weights_of_patches_is_of_its_regions(make, case, tmp_path):
    model, processor, post = make(case)
    found = explain(model, processor, post, method="attention", check=True)
    inputs = processor(TEXT, post["image"], HEAD, TAIL, GROUNDED, DETECTED, post["caption"])
    weights = model(**inputs, output_fusion=True).region_weights[0]
    assert found.scores.slots == pytest.approx([float(weights[slot.number]) for slot in found.slots], abs=1e-6)
    assert found.scores.cells is found.scores.patches is None
    names = [slot.name for slot in found.slots]
    assert {"grounded region 1", "detected region 1"} <= {*names}
    assert [(line.explanation, line.parts) for line in found.faithfulness] == [("attention", "regions")]
    found.save(tmp_path / "why.png")  # the picture with its regions, without an overlay


@torch.no_grad()
@pytest.mark.parametrize("case", ["umt", "umt-patches"])
def test_the_attention_of_umt_lies_on_the_cells_of_the_picture(make, case):
    model, processor, post = make(case)
    found = explain(model, processor, post, method="attention")
    attention = model(**dict(PostParts(model, processor, post).inputs), output_fusion=True).cell_attentions[0]
    expected = attention.mean(dim=0).reshape(2, 2)  # four cells, of a map or of patches
    assert found.scores.patches[0] == pytest.approx(expected.numpy(), abs=1e-6) and found.scores.slots is None
    # Over the rows of the finer grid, each row of cells is spread evenly.
    cells = found.scores.cells
    assert cells.shape == ((7, 7) if case == "umt" else (2, 2))
    assert cells[0].sum() == pytest.approx(float(expected[0].sum()) * 2 / len(cells), abs=1e-5)
    assert cells[:, -1].sum() == pytest.approx(float(expected[:, 1].sum()) * 2 / len(cells), abs=1e-5)


@pytest.mark.parametrize("case", ["focalmre", "mtb", "tgdi"])
@pytest.mark.parametrize("ending", ["png", "svg", "json"])
def test_an_explanation_is_saved(make, tmp_path, case, ending):
    text = "rafael nadal 😂 $\\alpha$ <script> &amp; mery " + "x" * 200 + " perello" * 300
    found = explain(*make(case, text=text, head=(0, 12), tail=(text.index("mery"), text.index("mery") + 4)))
    found.save(tmp_path / f"why.{ending}")
    data = (tmp_path / f"why.{ending}").read_bytes()
    if ending == "json":
        read = json.loads(data)
        assert read["text"] == text and read["probabilities"] == found.probabilities
        assert [text[word["start"] : word["end"]] for word in read["words"]] == text.split()
    elif ending == "png":
        with Image.open(tmp_path / "why.png") as image:
            assert image.width > 1000
    else:
        assert b"<svg" in data


def test_another_ending_is_refused_by_its_name(make, tmp_path):
    with pytest.raises(ValueError, match=r"why\.gif: an explanation is written as \.png, \.svg, \.pdf or \.json"):
        explain(*make("mtb")).save(tmp_path / "why.gif")


@pytest.mark.parametrize(("number", "text"), [(-0.004, "0.00"), (0.004, "0.00"), (-0.006, "-0.01"), (1.239, "1.24")])
def test_a_score_that_rounds_to_zero_has_no_sign(number, text):
    assert in_two_places(np.float32(number)) == text
