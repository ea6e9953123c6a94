"""Models, posts and pictures of which prediction is tested."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from mmre.inference.arguments import PredictionArguments
from mmre.modeling import MODELS, TGDIConfig, TGDIForRelationClassification
from mmre.processing import TextProcessor, TGDIProcessor

TEXT = "RT @user : Rafael Nadal weds Mery Perello in South Wales"
NADAL, PERELLO = (11, 23), (29, 41)


@pytest.fixture
def focalmre(tiny_model, make_processor, tmp_path) -> str:
    """The folder of a random FocalMRE."""
    tiny_model().save_pretrained(tmp_path / "focalmre")
    make_processor().save_pretrained(tmp_path / "focalmre")
    return str(tmp_path / "focalmre")


@pytest.fixture
def tgdi(tiny_config, make_processor, tmp_path) -> str:
    """The folder of a random TGDI."""
    torch.manual_seed(0)
    config = tiny_config()
    towers = {name: getattr(config, name).to_dict() for name in ("text_config", "vision_config")}
    labels = {"id2label": config.id2label, "label2id": config.label2id}
    TGDIForRelationClassification(TGDIConfig(**towers, **labels, initializer_range=0.3)).save_pretrained(
        tmp_path / "tgdi"
    )
    processor = make_processor()
    TGDIProcessor(processor.image_processor, processor.tokenizer).save_pretrained(tmp_path / "tgdi")
    return str(tmp_path / "tgdi")


@pytest.fixture
def mtb(tiny_config, make_processor, tmp_path) -> str:
    """The folder of a random MTB, which reads text alone."""
    torch.manual_seed(0)
    config = tiny_config()
    labels = {"id2label": config.id2label, "label2id": config.label2id}
    values = {"text_config": config.text_config.to_dict(), "initializer_range": 0.3, **labels}
    MODELS["mtb"](MODELS["mtb"].config_class(**values)).save_pretrained(tmp_path / "mtb")
    TextProcessor(make_processor().tokenizer).save_pretrained(tmp_path / "mtb")
    return str(tmp_path / "mtb")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with three pictures of noise and a file that is none."""
    folder = tmp_path / "posts"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((80, 60)).save(folder / name)
    (folder / "broken.png").write_bytes(b"<html>404</html>")
    return folder


@pytest.fixture
def prediction_arguments(picture_arguments, tmp_path):
    def make(name: str = "triples.jsonl", **changes) -> PredictionArguments:
        # Each pair alone, as the model says: what is decided over a post has tests of its own.
        return PredictionArguments(out=str(tmp_path / name), **{"decision": "pair"} | picture_arguments | changes)

    return make


def write(path: Path, rows: list) -> str:
    if path.suffix == ".csv":
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def read(args: PredictionArguments) -> list[dict]:
    return [json.loads(line) for line in Path(args.out).read_text("utf-8").splitlines()]


def expected_relations(model_folder: str, text: str, pairs: list, image: Path | None, **columns) -> list[tuple]:
    """Head, relation, tail and score of each pair that has a relation, by the model and the processor alone."""
    processor, model = AutoProcessor.from_pretrained(model_folder), AutoModel.from_pretrained(model_folder)
    expected = []
    for head, tail in pairs:
        inputs = processor(text=text, images=None if image is None else str(image), head=head, tail=tail, **columns)
        with torch.no_grad():
            scores = model(**inputs).logits.softmax(-1)[0]
        relation = model.config.id2label[scores.argmax().item()]
        if relation != "None":
            expected.append((text[slice(*head)], relation, text[slice(*tail)], scores.max().item()))
    return expected


def shown(rows: list[dict]) -> list[tuple]:
    return [(row["head"]["text"], row["relation"], row["tail"]["text"], row["score"]) for row in rows]


def approximately(expected: list[tuple]) -> list[tuple]:
    return [(*names, pytest.approx(score, abs=1e-4)) for *names, score in expected]


def long_posts(path: Path, number: int) -> str:
    """Posts of 20 kB each, of which the model reads little."""
    with open(path, "w") as file:
        for index in range(number):
            post = {"text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png", "caption": f"{index:020000}"}
            file.write(json.dumps(post) + "\n")
    return str(path)
