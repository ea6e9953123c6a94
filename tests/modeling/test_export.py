"""Exported, compiled, quantized and dispatched models compute what the model itself computes.

The reference is always the model in eager mode, which `test_modeling_*.py` compares with the papers' equations.
"""

import io
import shutil

import pytest
import torch
from torch import nn
from torch.export import Dim
from transformers import AutoModel

from mmre.modeling import FocalMREConfig, FocalMREForRelationClassification, TGDIConfig, TGDIForRelationClassification

LAYERS = {"num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.3}
SIZES = {"hidden_size": 16, "intermediate_size": 20}
TEXT = {"vocab_size": 50, "max_position_embeddings": 40, **LAYERS, **SIZES}
TEXT_ENCODERS = {
    "bert": {**TEXT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "roberta": {**TEXT, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
}
VISION = {"model_type": "clip_vision_model", "image_size": 16, "patch_size": 8, "hidden_size": 24, **LAYERS}
LABELS = {"id2label": dict(enumerate("abc")), "label2id": {name: index for index, name in enumerate("abc")}}
PARITY = {"atol": 1e-4, "rtol": 0.0}
SHAPES = [(3, 9), (1, 6), (5, 14), (2, 33)]  # Posts and tokens; the first is what a program is exported with.
MODELS = ["focalmre", "tgdi"]


def make_model(name: str, text: str = "bert", attention: str = "sdpa", **arguments):
    """A model in evaluation mode, no weight of which is zero or one."""
    torch.manual_seed(0)
    towers = {"text_config": {"model_type": text, **TEXT_ENCODERS[text]}, "vision_config": VISION}
    arguments = {**towers, **LABELS, "initializer_range": 0.3, **arguments}
    if name == "focalmre":
        config = FocalMREConfig(num_grounded_regions=2, num_detected_regions=1, focal_dropout=0.0, **arguments)
        model = FocalMREForRelationClassification(config)
    else:
        config = TGDIConfig(num_object_images=2, visual_projection_size=11, dropout=0.0, **arguments)
        model = TGDIForRelationClassification(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight += 0.2 * torch.randn_like(weight)
    model.set_attn_implementation(attention)
    return model.eval()


def make_inputs(model, posts: int, tokens: int, images: str = "some") -> dict[str, torch.Tensor]:
    """Posts with padding and captions; "some" images leaves the last post without any, "none" leaves all of them."""
    generator = torch.Generator().manual_seed(posts)
    lengths = torch.randint(4, tokens + 1, (posts, 1), generator=generator)
    attention_mask = (torch.arange(tokens) < lengths).long()
    input_ids = torch.randint(5, 50, (posts, tokens), generator=generator)
    mask = torch.rand(posts, 3, generator=generator) < 0.5
    mask[0, 1] = True
    mask[-1] = False
    if images != "some":
        mask = torch.full_like(mask, images == "all")
    pixel_values = torch.randn(posts, 3, 3, 16, 16, generator=generator)
    pixel_values[~mask] = float("nan")  # What stands in absent slots must never be read.
    inputs = {
        "input_ids": input_ids.masked_fill(attention_mask == 0, model.config.text_config.pad_token_id),
        "attention_mask": attention_mask,
        "entity_positions": torch.randint(0, 3, (posts, 2), generator=generator),
        "pixel_values": pixel_values,
    }
    if model.config.model_type == "focalmre":
        return inputs | {"image_mask": mask}
    return inputs | {"image_mask": mask, "text_mask": torch.arange(tokens) < lengths - lengths // 4}


def cases(model):
    """Inputs of all shapes with some, no and all images."""
    for posts, tokens in SHAPES:
        for images in ("some", "none", "all"):
            yield make_inputs(model, posts, tokens, images)


def export(model, inputs: dict[str, torch.Tensor]) -> torch.export.ExportedProgram:
    """The README's way to export a model."""
    batch, length = Dim("batch"), Dim("length", max=model.config.text_config.max_position_embeddings)
    of_tokens = {"input_ids", "attention_mask", "text_mask"}
    shapes = {name: {0: batch, 1: length} if name in of_tokens else {0: batch} for name in inputs}
    return torch.export.export(model, (), dict(inputs), dynamic_shapes=shapes)


@pytest.fixture(scope="module", params=MODELS)
def exported(request):
    """A model and its exported program, after a save and a load."""
    model = make_model(request.param)
    file = io.BytesIO()
    torch.export.save(export(model, make_inputs(model, *SHAPES[0])), file)
    file.seek(0)
    return model, torch.export.load(file)


def check_program(model, program):
    """A program agrees with its model for all cases."""
    module = program.module()
    logits = []
    for inputs in cases(model):
        with torch.no_grad():
            logits.append(model(**inputs).logits)
            torch.testing.assert_close(module(**inputs).logits, logits[-1], **PARITY)
    # The cases differ, and not by their noise: else parity would say nothing.
    assert min((logits[i] - logits[j]).abs().max() for i, j in [(0, 1), (0, 2), (1, 2)]) > 0.01


def test_an_exported_program_agrees_for_other_batches_lengths_and_images(exported):
    check_program(*exported)


def test_an_onnx_model_agrees_for_other_batches_lengths_and_images(exported, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, program = exported
    path = tmp_path / "model.onnx"
    torch.onnx.export(program, f=path, output_names=["logits"], dynamo=True)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for inputs in cases(model):
        (logits,) = session.run(["logits"], {name: values.numpy() for name, values in inputs.items()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), model(**inputs).logits, **PARITY)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("focalmre", {"region_weighting": "raw", "attention": "eager"}),
        ("tgdi", {"text": "roberta", "attention": "eager"}),
    ],
)
def test_raw_weights_eager_attention_and_roberta_can_be_exported(name, arguments):
    model = make_model(name, **arguments)
    check_program(model, export(model, make_inputs(model, *SHAPES[0])))


def test_fused_features_of_an_exported_program_are_zero_where_a_slot_is_absent():
    model = make_model("focalmre")
    inputs = make_inputs(model, *SHAPES[0])
    program = torch.export.export(model, (), {**inputs, "output_fusion": True})
    with torch.no_grad():
        expected, actual = model(**inputs, output_fusion=True), program.module()(**inputs, output_fusion=True)
    assert (actual.gates[~inputs["image_mask"]] == 0).all()
    for field in ("gates", "focal_attentions", "region_weights"):
        torch.testing.assert_close(actual[field], expected[field], **PARITY)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_model_has_the_same_loss_and_gradients(name, backend):
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("inductor needs a C++ compiler")
    model = make_model(name).train()  # without dropout
    compiled = torch.compile(model, backend=backend)
    for inputs in (make_inputs(model, 3, 9), make_inputs(model, 4, 12), make_inputs(model, 4, 12, "none")):
        labels = torch.arange(len(inputs["input_ids"])) % 3
        results = []
        for network in (model, compiled):
            model.zero_grad()
            outputs = network(**inputs, labels=labels)
            outputs.loss.backward()
            # A weight that no result depends on may get a gradient of zeros, where the model alone gives it none.
            gradients = {path: w.grad for path, w in model.named_parameters() if w.grad is not None and w.grad.any()}
            results.append({"loss": outputs.loss, "logits": outputs.logits, **gradients})
        assert len(results[0]) > 20
        torch.testing.assert_close(results[1], results[0], atol=1e-4, rtol=1e-4)
    torch.compiler.reset()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}])
def test_a_device_map_loads_the_same_model(name, device_map, tmp_path):
    model = make_model(name)
    model.save_pretrained(tmp_path)
    inputs = make_inputs(model, 3, 9)
    loaded = AutoModel.from_pretrained(tmp_path, device_map=device_map)
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits)
    # So that no layer with a residual connection is cut in two.
    assert {"BertLayer", "CLIPEncoderLayer"} <= set(loaded._no_split_modules)


@pytest.mark.parametrize("name", MODELS)
def test_linear_layers_read_matrices_or_batches_of_them_as_8_bit_layers_must(name):
    model = make_model(name)
    dimensions = {}
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(lambda _, args, path=path: dimensions.update({path: args[0].dim()}))
    with torch.no_grad():
        model(**make_inputs(model, 3, 9))
    assert len(dimensions) > 15
    assert {path: number for path, number in dimensions.items() if number not in (2, 3)} == {}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_loads_in_8_bits_with_a_classifier_in_full(name, tmp_path):
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    model = make_model(name)
    model.save_pretrained(tmp_path)
    quantization = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["classifier"])
    loaded = AutoModel.from_pretrained(tmp_path, quantization_config=quantization)
    layers = {path: type(layer).__name__ for path, layer in loaded.named_modules() if isinstance(layer, nn.Linear)}
    assert {path.split(".")[0] for path, kind in layers.items() if kind == "Linear"} == {"classifier"}
    inputs = make_inputs(model, 3, 9)
    with torch.no_grad():
        expected = model(**inputs).logits
        difference = (loaded(**inputs).logits - expected).abs().max()
    assert 0 < difference < 0.1 * expected.abs().max()
