"""Exported, compiled, quantized and dispatched models compute what the model itself computes.

The reference is always the model in eager mode, which `test_modeling_*.py` compares with the papers' equations.
"""

import io
import shutil
from types import SimpleNamespace

import pytest
import torch
from model_helpers import CASES, ENCODERS, IMAGE_SIZE, OF_TOKENS, SYSTEMS, tiny_model, tiny_structure
from torch import nn
from torch.export import Dim
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel

from mmre.inference import exporting
from mmre.modeling.coupled_encoders import CoupledRelationExtractionPreTrainedModel

PARITY = {"atol": 1e-4, "rtol": 0.0}
SHAPES = [(3, 9), (1, 6), (5, 14), (2, 33)]  # Posts and tokens; the first is what a program is exported with.
LAYER = {"num_hidden_layers": 1, "num_attention_heads": 2}
ROBERTA = {
    **{"model_type": "roberta", "vocab_size": 250, "hidden_size": 16, "intermediate_size": 20},
    **{"max_position_embeddings": 40, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, **LAYER},
}


def make_model(case: str, attention: str = "sdpa", **values):
    """Make a model in evaluation mode, whose encoders have one layer."""
    config_class = type(tiny_model(case).config)
    for name in config_class.sub_configs:
        kind = "text" if name == "text_config" else config_class.vision_features
        layer = {} if kind == "maps" else LAYER
        values.setdefault(name, {**ENCODERS[kind], **layer})
    model = tiny_model(case, **values)
    if model._supports_sdpa:  # its encoders attend
        model.set_attn_implementation(attention)
    model.case = case
    return model


def make_inputs(model, posts: int, tokens: int, images: str = "some") -> dict[str, torch.Tensor]:
    """Make posts with padding and captions; "some" images leaves the last post without any, "none" leaves all of them.

    A system without pictures gets the same texts for each.
    """
    generator = torch.Generator().manual_seed(posts)
    slots, reads = CASES[model.case][2], model.config.reads()
    lengths = torch.randint(4, tokens + 1, (posts, 1), generator=generator)
    attention_mask = (torch.arange(tokens) < lengths).long()
    input_ids = torch.randint(5, 250, (posts, tokens), generator=generator)
    inputs = {
        "input_ids": input_ids.masked_fill(attention_mask == 0, model.config.get_text_config().pad_token_id),
        "attention_mask": attention_mask,
        "entity_positions": torch.randint(0, 3, (posts, 2), generator=generator),
    }
    if "caption" in reads:
        inputs["text_mask"] = torch.arange(tokens) < lengths - lengths // 4
    if "entity_spans" in reads:
        inputs["entity_spans"] = torch.stack([inputs["entity_positions"], inputs["entity_positions"] + 2], dim=-1)
    if not slots:
        return inputs
    mask = torch.rand(posts, slots, generator=generator) < 0.5
    mask[0, -1] = True
    mask[-1] = False
    if images != "some":
        mask = torch.full_like(mask, images == "all")
    pixel_values = torch.randn(posts, slots, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    pixel_values[~mask] = float("nan")  # What stands in absent slots must never be read.
    inputs |= {"pixel_values": pixel_values, "image_mask": mask}
    if "boxes" in reads:
        inputs["boxes"] = torch.rand(posts, slots, 2, 2, generator=generator).sort(dim=2).values.flatten(2)
        inputs["boxes"][~mask] = float("nan")
    if "structure" in reads:
        inputs |= tiny_structure(attention_mask, mask, generator)
    return inputs


def cases(model):
    """Yield inputs of all shapes with some, no and all images."""
    for posts, tokens in SHAPES:
        for images in ("some", "none", "all") if CASES[model.case][2] else ("some",):
            yield make_inputs(model, posts, tokens, images)


def export(model, inputs: dict[str, torch.Tensor]) -> torch.export.ExportedProgram:
    """Export a model as the README does."""
    batch, length = (
        Dim("batch"),
        Dim("length", max=getattr(model.config.get_text_config(), "max_position_embeddings", 40)),
    )
    shapes = {name: {0: batch, 1: length} if name in OF_TOKENS else {0: batch} for name in inputs}
    return torch.export.export(model, (), dict(inputs), dynamic_shapes=shapes)


# Quick: one of words, one of text, one whose pictures come after the text, one whose pictures come before.
QUICK = ("cnn", "mtb", "focalmre", "tgdi")
EXPORTED = [
    pytest.param(case, id=name, marks=[] if name in QUICK else pytest.mark.slow) for name, case in SYSTEMS.items()
]


@pytest.fixture(scope="module", params=EXPORTED)
def exported(request):
    """Give a model and its exported program, after a save and a load."""
    model = make_model(request.param)
    file = io.BytesIO()
    torch.export.save(export(model, make_inputs(model, *SHAPES[0])), file)
    file.seek(0)
    return model, torch.export.load(file)


def check_program(model, program):
    """Check that a program agrees with its model for all cases."""
    module = program.module()
    logits = []
    for inputs in cases(model):
        with torch.no_grad():
            logits.append(model(**inputs).logits)
            torch.testing.assert_close(module(**inputs).logits, logits[-1], **PARITY)
    # The cases differ, and not by their noise: else parity would say nothing.
    first = [each for each in logits if len(each) == len(logits[0])] + [logits[0].flip(0)]
    assert all((one - other).abs().max() > 0.01 for i, one in enumerate(first) for other in first[:i])


def test_an_exported_program_agrees_for_other_batches_lengths_and_images(exported):
    check_program(*exported)


class ConvolvedImages(TorchDispatchMode):
    """Counts the images that go through the first convolution."""

    def __init__(self):
        super().__init__()
        self.number = None

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if "conv" in str(function) and arguments[0].dim() == 4 and self.number is None:
            self.number = len(arguments[0])
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=[] if name in ("focalmre", "tgdi") else pytest.mark.slow)
        for name, case in (SYSTEMS | {"focalmre": "focalmre-official"}).items()
    ],
)
def test_a_program_that_is_given_each_picture_once_agrees_and_encodes_no_other(case, monkeypatch):
    model = make_model(case)
    monkeypatch.setattr(exporting, "made_inputs", lambda processor, number: make_inputs(model, *SHAPES[0]))
    module = exporting.export_program(model, SimpleNamespace(max_length=40)).module()
    for inputs in cases(model):
        if "image_mask" in inputs and len(inputs["image_mask"]) > 1:
            # A picture of two posts, and of two slots of one post.
            inputs["pixel_values"][1] = inputs["pixel_values"][0]
            inputs["pixel_values"][0, 0] = inputs["pixel_values"][0, -1]
        given = exporting.program_inputs(inputs)
        with torch.no_grad(), ConvolvedImages() as convolved:
            logits = module(**given)
        with torch.no_grad():
            torch.testing.assert_close(logits, model(**inputs).logits, **PARITY)
        if "image_mask" in inputs and not isinstance(model, CoupledRelationExtractionPreTrainedModel):
            pictures = inputs["pixel_values"][inputs["image_mask"]]
            different = max(len({picture.numpy().tobytes() for picture in pictures}), 1)
            assert len(given["pixel_values"]) == different
            # The official code's zero image, of absent slots, is one more.
            assert convolved.number == different + (case == "focalmre-official")


@pytest.mark.slow
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
    ("case", "values"), [("focalmre-official", {}), ("tgdi", {"text_config": ROBERTA})], ids=["raw", "roberta"]
)
def test_raw_weights_eager_attention_and_roberta_can_be_exported(case, values):
    model = make_model(case, "eager", **values)
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


@pytest.mark.slow
@pytest.mark.parametrize("case", SYSTEMS.values(), ids=SYSTEMS)
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_compiled_model_has_the_same_loss_and_gradients(case, backend):
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("inductor needs a C++ compiler")
    model = make_model(case).train()  # without dropout
    compiled = torch.compile(model, backend=backend)
    for inputs in (make_inputs(model, 3, 9), make_inputs(model, 4, 12), make_inputs(model, 4, 12, "none")):
        labels = torch.arange(len(inputs["input_ids"])) % 4
        results = []
        for network in (model, compiled):
            model.zero_grad()
            outputs = network(**inputs, labels=labels)
            outputs.loss.backward()
            # A weight that no result depends on may get a gradient of zeros, where the model alone gives it none.
            gradients = {path: w.grad for path, w in model.named_parameters() if w.grad is not None and w.grad.any()}
            results.append({"loss": outputs.loss, "logits": outputs.logits, **gradients})
        assert len(results[0]) > (8 if case == "cnn" else 20)  # gradients are compared, not two numbers alone
        torch.testing.assert_close(results[1], results[0], atol=1e-4, rtol=1e-4)
    torch.compiler.reset()


@pytest.mark.parametrize("case", SYSTEMS.values(), ids=SYSTEMS)
@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}])
def test_a_device_map_loads_the_same_model(case, device_map, tmp_path):
    model = make_model(case)
    model.save_pretrained(tmp_path)
    inputs = make_inputs(model, 3, 9)
    loaded = AutoModel.from_pretrained(tmp_path, device_map=device_map)
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits)
    if isinstance(loaded, CoupledRelationExtractionPreTrainedModel):
        assert loaded._no_split_modules == {type(loaded).__name__}
        return
    # So that no layer with a residual connection is cut in two.
    for encoder in loaded.encoders():
        assert set(encoder._no_split_modules) <= set(loaded._no_split_modules)
    assert loaded._no_split_modules or not loaded.encoders()


@pytest.mark.parametrize("case", SYSTEMS.values(), ids=SYSTEMS)
def test_linear_layers_read_matrices_or_batches_of_them_as_8_bit_layers_must(case):
    model = make_model(case)
    dimensions = {}
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(lambda _, args, path=path: dimensions.update({path: args[0].dim()}))
    with torch.no_grad():
        model(**make_inputs(model, 3, 9))
    assert len(dimensions) > (5 if model.encoders() else 0)
    assert {path: number for path, number in dimensions.items() if number not in (2, 3)} == {}


@pytest.mark.parametrize("case", SYSTEMS.values(), ids=SYSTEMS)
def test_a_model_loads_in_8_bits_with_a_classifier_in_full(case, tmp_path):
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    model = make_model(case)
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
