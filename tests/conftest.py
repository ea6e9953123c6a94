"""Tiny tokenizer, towers, processors and models, made in memory: no test needs a model hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from transformers import BertTokenizer, CLIPImageProcessor

from hub_server import HubServer
from mmre.modeling import FocalMREConfig, FocalMREForRelationClassification
from mmre.processing import FocalMREProcessor

TINY_TRAINING = Path(__file__).with_name("tiny_training.yaml")
SHARED_MNRE = Path(__file__).resolve().parents[2] / "shared" / "mnre"
RELATIONS = ["None", "/per/per/couple", "/per/misc/awarded", "/per/org/member_of"]
WORDS = "rt @ : # rafael nadal weds mery perello in south wales the a of and new york city"
IMAGE_SIZE = 32


@pytest.fixture(scope="session")
def shared_mnre() -> Path:
    """The real MNRE files, where they are."""
    if not SHARED_MNRE.is_dir():
        pytest.skip("the MNRE files are not there")
    return SHARED_MNRE


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """The output folder of one tiny training. Tests read it; what changes it needs a copy."""
    import train

    folder = tmp_path_factory.mktemp("train")
    config = yaml.safe_load(TINY_TRAINING.read_text("utf-8"))
    config["training"]["output_dir"] = str(folder / "run")
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    train.main([str(folder / "config.yaml")])
    return folder / "run"


@pytest.fixture
def make_tokenizer():
    """A BERT tokenizer that knows a few words and all ASCII characters."""

    def make() -> BertTokenizer:
        characters = [chr(code) for code in range(33, 127)]
        tokens = [
            "[PAD]",
            "[UNK]",
            "[CLS]",
            "[SEP]",
            "[MASK]",
            *WORDS.split(),
            *characters,
            *("##" + c for c in characters),
        ]
        return BertTokenizer(vocab={token: index for index, token in enumerate(dict.fromkeys(tokens))})

    return make


@pytest.fixture
def make_processor(make_tokenizer):
    """A processor for 32 x 32 pictures; arguments are those of `FocalMREProcessor`."""

    def make(size: int = IMAGE_SIZE, **arguments) -> FocalMREProcessor:
        image_processor = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
        return FocalMREProcessor(image_processor, make_tokenizer(), **arguments)

    return make


@pytest.fixture
def tiny_config():
    """A configuration with two-layer towers of different widths; arguments are those of `FocalMREConfig`."""

    def make(**arguments) -> FocalMREConfig:
        arguments.setdefault("text_config", {"model_type": "bert", "vocab_size": 250, **_layers(16)})
        arguments.setdefault(
            "vision_config",
            {"model_type": "clip_vision_model", "image_size": IMAGE_SIZE, "patch_size": 8, **_layers(24)},
        )
        arguments.setdefault("id2label", dict(enumerate(RELATIONS)))
        arguments.setdefault("label2id", {name: index for index, name in enumerate(RELATIONS)})
        return FocalMREConfig(**arguments)

    return make


def _layers(size: int) -> dict:
    return {
        "hidden_size": size,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 2 * size,
        # Large initial weights, so that a mistake shows in the logits.
        "initializer_range": 0.3,
    }


@pytest.fixture
def tiny_model(tiny_config):
    """A model in evaluation mode, the same for the same arguments; arguments are those of `FocalMREConfig`."""

    def make(**arguments) -> FocalMREForRelationClassification:
        torch.manual_seed(0)
        arguments.setdefault("initializer_range", 0.3)
        model = FocalMREForRelationClassification(tiny_config(**arguments)).eval()
        with torch.no_grad():
            for fusion in (model.grounded_fusion, model.detected_fusion):
                fusion.weights += torch.randn_like(fusion.weights)
        return model

    return make


@pytest.fixture
def picture() -> Image.Image:
    """A picture without a symmetry: each pixel tells where it is."""
    width, height = 80, 60
    pixels = bytes(
        value
        for y in range(height)
        for x in range(width)
        for value in (x * 255 // width, y * 255 // height, x * y % 256)
    )
    return Image.frombytes("RGB", (width, height), pixels)


@pytest.fixture(scope="session")
def hub():
    """A Hub on loopback; tests share it, each with repositories of its own."""
    with HubServer() as server:
        yield server


@pytest.fixture
def run_client(hub, tmp_path_factory):
    """Run Python code in a fresh process, a client of `hub` with an empty cache, and return what it prints."""

    def run(code: str, *arguments, token: str | None = None) -> str:
        home = tmp_path_factory.mktemp("hf_home")
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=hub.client_environment(home, token),
            capture_output=True,
            text=True,
            cwd=home,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
