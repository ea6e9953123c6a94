"""Repositories and data sets that version 0.1.0 wrote: they load, and say the same."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
from PIL import Image
from run_helpers import metrics, predictions, train
from transformers import AutoModel, AutoProcessor, pipeline

import mmre.modeling
import mmre.processing  # noqa: F401, both register their classes
from mmre.posts import make_synthetic_posts, open_posts

PUBLISHED = Path(__file__).parent / "data" / "published_0.1.0"
# What 0.1.0 put beside the weights for model and processor, of both systems.
CODE = Path(__file__).parent / "data" / "code_0.1.0"
REMOTE = """
import json, sys
sys.modules["mmre"] = None
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor
folder = sys.argv[1]
expected = json.load(open(f"{folder}/expected.json", encoding="utf-8"))
post, picture = expected["post"], expected["picture"]
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
inputs = processor(images=Image.new("RGB", picture["size"], tuple(picture["color"])), **post)
with torch.no_grad():
    logits = model(**inputs).logits[0].tolist()
modules = [type(model).__module__, type(processor).__module__]
print(json.dumps({"input_ids": inputs["input_ids"][0].tolist(), "logits": logits, "modules": modules}))
"""


@pytest.fixture(params=sorted(folder.name for folder in PUBLISHED.iterdir()))
def published(request) -> tuple[str, dict, dict]:
    """A folder that 0.1.0 assembled of a tiny model; a post; and what 0.1.0 made of that post."""
    folder = PUBLISHED / request.param
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    post, picture = expected.pop("post"), expected.pop("picture")
    return str(folder), post | {"image": Image.new("RGB", picture["size"], tuple(picture["color"]))}, expected


def test_the_tensors_and_the_logits_are_those_of_then(published):
    folder, post, expected = published
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    inputs = processor(images=post.pop("image"), **post)
    assert inputs["input_ids"][0].tolist() == expected["input_ids"]
    assert set(inputs) == set(processor.model_input_names)
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    torch.testing.assert_close(logits, torch.tensor(expected["logits"]), rtol=0, atol=1e-5)


def test_a_process_without_this_package_computes_the_same_from_the_code_of_then(published, tmp_path):
    folder, _, expected = published
    shutil.copytree(folder, tmp_path / "model")
    shutil.copytree(CODE, tmp_path / "model", dirs_exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", REMOTE, str(tmp_path / "model")],
        env=environment | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(module.startswith("transformers_modules.") for module in found["modules"])
    assert found["input_ids"] == expected["input_ids"]
    torch.testing.assert_close(torch.tensor(found["logits"]), torch.tensor(expected["logits"]), rtol=0, atol=1e-5)


def test_the_pipeline_answers_as_then(published):
    folder, post, expected = published
    found = pipeline("multimodal-relation-extraction", model=folder)(post, top_k=3, output_fusion=True)
    assert _rounded(found) == _rounded(expected["pipeline"])


def _rounded(value):
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


def test_a_data_set_of_words_is_read_as_text(tmp_path):
    posts = make_synthetic_posts(num_train=5, num_validation=3, num_test=3)
    _of_an_earlier_version(posts).save_to_disk(tmp_path / "old")
    loaded = open_posts(tmp_path / "old")
    for split, rows in posts.items():
        assert loaded[split].features == rows.features
        for column in ("id", "text", "head", "tail", "relation", "grounded_regions", "caption"):
            assert loaded[split][column][:] == rows[column][:], column


def test_a_data_set_of_words_is_trained_on_as_the_same_text(config_file, tmp_path):
    posts = make_synthetic_posts(num_train=16, num_validation=6, num_test=5)
    _of_an_earlier_version(posts).save_to_disk(tmp_path / "old")
    posts.save_to_disk(tmp_path / "new")
    results = []
    for name in ("old", "new"):
        arguments = ["--dataset", str(tmp_path / name), "--output_dir", str(tmp_path / f"run_{name}")]
        train([config_file(num_train_epochs=1), *arguments])
        results.append([metrics(tmp_path / f"run_{name}")["test"], predictions(tmp_path / f"run_{name}")])
    (old, answers), (new, expected) = results
    assert answers == expected and len(answers) == 5
    assert (old["loss"], old["samples"]) == (new["loss"], 5)


def _of_an_earlier_version(posts: datasets.DatasetDict) -> datasets.DatasetDict:
    """Turn posts into a data set as 0.1.0 stored it."""
    old = {}
    for split, rows in posts.items():
        images = rows.cast_column("image", datasets.Image(decode=False))
        old[split] = images.map(_in_words, remove_columns=["text"]).cast_column("image", datasets.Image())
    return datasets.DatasetDict(old)


def _in_words(row: dict) -> dict:
    """Turn a row into one of 0.1.0: the words of the post, and spans of words."""
    spans = {}
    for name in ("head", "tail"):
        start = len(row["text"][: row[name]["start"]].split())
        length = len(row["text"][row[name]["start"] : row[name]["end"]].split())
        spans[name] = {"start": start, "end": start + length}
    return {"tokens": row["text"].split(" "), **spans}
