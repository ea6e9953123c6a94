"""What is asked of every model.

No system is named here: a system that is added to `MODELS`, and to the tiny cases of `model_helpers.py`, is asked all
of it. What its paper's equations are is asked in its own file.
"""

import copy
import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from inspect import signature
from pathlib import Path

import pytest
import torch
import yaml
from model_helpers import (
    CASES,
    IMAGE_SIZE,
    LABELS,
    OF_TOKENS,
    PICTURES,
    SYSTEMS,
    CountOperations,
    dropouts,
    loss_and_gradients,
    new_parameters,
    own_fields,
    take,
    tiny_batch,
    tiny_model,
    without,
)
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoProcessor, CLIPImageProcessor, Trainer, TrainingArguments
from transformers.modeling_layers import GradientCheckpointingLayer

from mmre.modeling import MODELS, image_tower
from mmre.processing import PROCESSORS

pytestmark = [
    pytest.mark.filterwarnings(
        "error::FutureWarning",
        "error::DeprecationWarning",
        "ignore:`is_gradient_checkpointing`:FutureWarning",  # PEFT asks by the old name.
    ),
    pytest.mark.usefixtures("one_thread", "no_deprecation_message"),
]

ROOT = Path(__file__).resolve().parents[2]
POST = {
    "text": "rafael nadal weds mery perello",
    "caption": "mery of wales",
    "grounded_regions": [(0.1, 0.2, 0.5, 0.9)],
    "detected_regions": [(0.3, 0.1, 0.8, 0.7)],
}
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
READ_PICTURES = [case for case, (_, _, slots) in CASES.items() if slots]


def close(actual, expected, **tolerance):
    torch.testing.assert_close(actual, expected, **(tolerance or TOLERANCE))


def processor_of(model, tokenizer, **values):
    """Make the processor of a tiny model."""
    processor_class = PROCESSORS[model.config.processor_class]
    names = signature(processor_class.__init__).parameters
    values |= {name: getattr(model.config, name) for name in own_fields(type(model.config)) if name in names}
    if "image_processor" in names:
        size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
        values["image_processor"] = CLIPImageProcessor(size={"shortest_edge": IMAGE_SIZE}, crop_size=size)
    return processor_class(tokenizer=tokenizer, inputs=model.config.reads(), **values)


@pytest.fixture(params=CASES)
def case(request) -> str:
    return request.param


@pytest.fixture(params=READ_PICTURES)
def case_with_pictures(request) -> str:
    return request.param


@pytest.fixture(params=SYSTEMS.values(), ids=SYSTEMS)
def system(request) -> str:
    """One case of each system."""
    return request.param


# What a repository has for each system


@pytest.mark.parametrize("model_type", MODELS)
def test_a_configuration_file_of_the_repository_trains_the_system(model_type):
    files = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "configs").glob("*.yaml")]
    assert model_type in [file["model"].get("model_type") for file in files]  # one that names none is for several


@pytest.mark.parametrize("model_type", MODELS)
def test_auto_classes_know_the_model(model_type):
    model = AutoModel.from_config(tiny_model(SYSTEMS[model_type]).config)
    assert type(model) is MODELS[model_type]
    assert MODELS[model_type].accepts_loss_kwargs


@torch.no_grad()
def test_the_processor_of_the_configuration_makes_what_the_model_takes(case, make_tokenizer, picture):
    model = tiny_model(case)
    processor = processor_of(model, make_tokenizer())
    model.resize_token_embeddings(len(processor.tokenizer))
    inputs = processor(**POST, images=picture, head=(0, 12), tail=(18, 30))
    batch = tiny_batch(case, model.config)
    assert set(inputs) == set(processor.model_input_names) == set(batch)
    for name, values in inputs.items():
        assert values.dtype == batch[name].dtype, name
        assert values.dim() == batch[name].dim(), name
    logits = model(**inputs).logits
    assert logits.shape == (1, len(LABELS)) and logits.isfinite().all()


@torch.no_grad()
def test_with_markers_in_text_order_a_post_and_its_reverse_are_the_same(case, make_tokenizer, picture, tmp_path):
    model = tiny_model(case)
    processor_of(model, make_tokenizer(), markers_in_text_order=True).save_pretrained(tmp_path)
    hiding, telling = AutoProcessor.from_pretrained(tmp_path), processor_of(model, make_tokenizer())
    model.resize_token_embeddings(len(hiding.tokenizer))
    # Apart; side by side; one in the other, with their starts, their ends or nothing together; crossing.
    others = [(18, 30), (13, 17), (0, 6), (7, 12), (7, 17)]
    pairs = [*(((0, 12), other) for other in others), ((0, 17), (7, 12))]
    for one, other in pairs:
        ways = [{"head": one, "tail": other}, {"head": other, "tail": one}]
        hidden, told = ([processor(**POST, images=picture, **way) for way in ways] for processor in (hiding, telling))
        assert all(torch.equal(hidden[0][name], hidden[1][name]) for name in told[0])
        opening = hidden[0]["entity_positions"][0]
        assert opening[0] < opening[1]
        # The one that starts first, or else is longer, is the head.
        first = min((0, 1), key=lambda number: (ways[number]["head"][0], -ways[number]["head"][1]))
        assert all(torch.equal(hidden[0][name], told[first][name]) for name in told[0])
        logits = [model(**inputs).logits for inputs in told]
        assert one[0] == other[0] or (logits[0] - logits[1]).abs().max() > 1e-4


# Saving and loading


@torch.no_grad()
def test_a_saved_model_computes_the_same_after_loading(tmp_path, case):
    model = tiny_model(case)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    batch = tiny_batch(case, model.config)
    for loader in (AutoModel, type(model)):
        loaded, information = loader.from_pretrained(tmp_path, output_loading_info=True)
        assert type(loaded) is type(model)
        assert not any(information.values()), information
        assert not loaded.training
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)
        assert (loaded.config.id2label, loaded.config.label2id) == (model.config.id2label, model.config.label2id)
    for each in (model, loaded, AutoModel.from_config(model.config)):
        # The encoders share the configurations of the model.
        for modality in ("text", "vision"):
            for encoder in each.encoders(modality):
                assert encoder.config is getattr(each.config, f"{modality}_config")


def test_the_code_of_a_saved_model_is_all_that_it_imports(tmp_path, system):
    tiny_model(system).save_pretrained(tmp_path)
    saved = {path.name: path.read_text("utf-8") for path in tmp_path.glob("*.py")}
    model_type = CASES[system][0]
    needed, files = set(), [f"modeling_{model_type}.py", f"configuration_{model_type}.py"]
    while files:
        name = files.pop()
        needed.add(name)
        lines = (ROOT / "modeling" / name).read_text("utf-8").splitlines()
        imported = [f"{line.split()[1][1:]}.py" for line in lines if line.startswith("from .")]
        files += [name for name in imported if name not in needed]
    assert set(saved) == needed


REMOTE = """
import json, os, sys
sys.modules["mmre"] = None
import torch
from transformers import AutoConfig, AutoModel
logits = {}
for case in sorted(os.listdir(sys.argv[1])):
    folder = os.path.join(sys.argv[1], case)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    with torch.no_grad():
        output = model(**torch.load(os.path.join(folder, "batch.pt")))
    logits[case] = {"reads": config.reads(), "logits": output.logits.tolist()}
print(json.dumps(logits))
"""


@pytest.fixture(scope="module")
def remote(tmp_path_factory) -> tuple[dict, dict]:
    """Logits of every case's model, here and in one fresh process that has no `mmre`."""
    folder = tmp_path_factory.mktemp("remote")
    expected = {}
    for case in CASES:
        model = tiny_model(case)
        batch = tiny_batch(case, model.config)
        model.save_pretrained(folder / "models" / case)
        torch.save(batch, folder / "models" / case / "batch.pt")
        with torch.no_grad():
            expected[case] = {"reads": list(model.config.reads()), "logits": model(**batch).logits.tolist()}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(folder / "modules"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", REMOTE, str(folder / "models")],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return expected, json.loads(done.stdout)


def test_a_process_without_this_package_computes_the_same_from_the_saved_code(remote, case):
    expected, found = remote
    assert found[case]["reads"] == expected[case]["reads"]
    close(torch.tensor(found[case]["logits"]), torch.tensor(expected[case]["logits"]))


def check_spread(model, spread: float, names: set[str] | None = None) -> None:
    """Check the matrices of the linear layers outside the encoders (of `names` only), and their biases."""
    new = {name for name in new_parameters(model) if names is None or name in names}
    weights, biases = [], []
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) and f"{name}.weight" in new:
            weights.append(module.weight.detach().flatten())
            biases += [] if module.bias is None else [module.bias]
    weights = torch.cat(weights)
    assert weights.std() == pytest.approx(spread, rel=0.05)
    assert weights.mean().abs() < spread / 10
    assert not any(bias.any() for bias in biases)


def test_new_layers_start_with_their_own_spread_and_encoders_with_theirs(case):
    model = AutoModel.from_config(tiny_model(case, initializer_range=0.05).config)
    check_spread(model, 0.05)
    for encoder in model.encoders("text"):
        assert encoder.encoder.layer[0].intermediate.dense.weight.detach().std() == pytest.approx(0.3, rel=0.2)


def test_a_checkpoint_that_does_not_fill_the_model_is_refused_by_the_names_that_it_lacks(tmp_path, system):
    tiny_model(system).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = sorted(new_parameters(tiny_model(system)))[0]
    weights["renamed"] = weights.pop(name)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"does not fill {type(tiny_model(system)).__name__}: it lacks {name}, which"):
        AutoModel.from_pretrained(tmp_path)
    _, information = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert set(information["missing_keys"]) == {name} and set(information["unexpected_keys"]) == {"renamed"}


def test_a_checkpoint_with_a_weight_of_another_shape_is_refused_by_its_name(tmp_path, system):
    model = tiny_model(system)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if name.startswith("classifier") and weights[name].dim() == 2)
    shape, cut = tuple(weights[name].shape), weights[name][:, 1:].contiguous()
    save_file(weights | {name: cut}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    message = (
        rf"does not fit .*: the shape of {name} is \({cut.shape[0]}, {cut.shape[1]}\), and \({shape[0]}, {shape[1]}\)"
    )
    with pytest.raises(ValueError, match=message):
        type(model).from_pretrained(tmp_path)
    assert type(type(model).from_pretrained(tmp_path, ignore_mismatched_sizes=True)) is type(model)


def test_layers_that_a_checkpoint_lacks_are_initialised_and_the_others_are_kept(tmp_path, case):
    model = tiny_model(case, initializer_range=0.05)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    embeddings = {name for name, module in model.named_modules() if module is model.get_input_embeddings()}
    lacking = set(new_parameters(model)) - {f"{name}.weight" for name in embeddings}
    kept = {name: weight for name, weight in weights.items() if name not in lacking}
    assert lacking and kept
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded, information = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert set(information["missing_keys"]) == lacking
    check_spread(loaded, 0.05)
    for name, weight in kept.items():
        assert torch.equal(loaded.state_dict()[name], weight), name
    # What starts the same in every new model, such as a weight of one, does so here.
    first, second = (AutoModel.from_config(model.config).state_dict() for _ in range(2))
    for name in lacking:
        if torch.equal(first[name], second[name]):
            assert torch.equal(loaded.state_dict()[name], first[name]), name
    assert loaded(**tiny_batch(case, loaded.config)).logits.isfinite().all()


def test_a_weight_is_kept_when_the_checkpoint_lacks_only_its_bias(tmp_path, system):
    model = tiny_model(system)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    bias = next(name for name in new_parameters(model) if name.endswith(".bias"))
    assert weights.pop(bias).any()
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = AutoModel.from_pretrained(tmp_path, output_loading_info=True)[0].state_dict()
    assert not loaded[bias].any()
    weight = bias.replace("bias", "weight")
    assert torch.equal(loaded[weight], model.state_dict()[weight])


@torch.no_grad()
def test_the_whole_model_loads_in_bfloat16_and_in_float32_again(tmp_path, case):
    model = tiny_model(case)
    expected = model(**tiny_batch(case, model.config)).logits
    model.save_pretrained(tmp_path / "fp32")
    half = AutoModel.from_pretrained(tmp_path / "fp32", dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "bf16")
    again = AutoModel.from_pretrained(tmp_path / "bf16")
    for each in (half, again, model.to(torch.bfloat16)):
        assert each.dtype == torch.bfloat16
        assert {weight.dtype for weight in each.parameters()} == {torch.bfloat16}
        logits = each(**tiny_batch(case, each.config)).logits  # Its pixels are float32 still.
        assert logits.dtype == torch.bfloat16
        assert (logits.float() - expected).norm() < 0.05 * expected.norm()
    full = AutoModel.from_pretrained(tmp_path / "bf16", dtype=torch.float32)
    assert {weight.dtype for weight in full.parameters()} == {torch.float32}
    # The configuration of a bfloat16 model makes a model of one dtype too.
    assert {weight.dtype for weight in type(model)(half.config).parameters()} == {torch.float32}
    assert {weight.dtype for weight in AutoModel.from_config(half.config).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("pinned", ["float16", torch.float16])
def test_the_model_has_one_dtype_whatever_its_encoders_say(tmp_path, system, pinned):
    config = tiny_model(system).config
    for name in config.sub_configs:
        getattr(config, name).dtype = pinned
    model = MODELS[config.model_type](config)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    model.save_pretrained(tmp_path)
    assert {weight.dtype for weight in AutoModel.from_pretrained(tmp_path).parameters()} == {torch.float32}


def test_resized_token_embeddings_reach_the_configuration_and_survive_saving(tmp_path, system):
    model = tiny_model(system)
    before = model.get_input_embeddings().weight.detach().clone()
    model.resize_token_embeddings(260)
    assert model.config.get_text_config().vocab_size == 260
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert loaded.config.get_text_config().vocab_size == 260
    assert torch.equal(loaded.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert torch.equal(loaded.get_input_embeddings().weight[:250], before)
    batch = tiny_batch(system, loaded.config)
    batch["input_ids"][0, 1] = 259
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)
    embeddings = nn.Embedding(250, before.shape[1])
    model.set_input_embeddings(embeddings)
    assert model.get_input_embeddings() is embeddings


# Building from pretrained encoders


def save_encoders(folder: Path, model, dtype=torch.float32) -> dict[str, nn.Module]:
    """Save other encoders of the model's kind; return each by the argument of `from_encoders` that names its folder."""
    encoders = {}
    for modality in ("text", "vision"):
        for encoder in model.encoders(modality)[:1]:
            torch.manual_seed(3)
            encoders[modality] = AutoModel.from_config(copy.deepcopy(encoder.config), dtype=dtype).eval()
            encoders[modality].save_pretrained(folder / modality)
    return encoders


@torch.no_grad()
@pytest.mark.parametrize(
    ("case", "dtype"), [(case, torch.float32) for case in CASES] + [(case, torch.bfloat16) for case in SYSTEMS.values()]
)
def test_a_model_is_built_from_pretrained_encoders_whose_weights_it_keeps(tmp_path, case, dtype):
    template = tiny_model(case)
    encoders = save_encoders(tmp_path, template, dtype)
    if not encoders:
        pytest.skip("the system has no pretrained encoder")
    folders = {modality: str(tmp_path / modality) for modality in encoders}
    values = {name: getattr(template.config, name) for name in own_fields(type(template.config))}
    values = {name: value for name, value in values.items() if name not in template.config.sub_configs}
    model = type(template).from_encoders(**folders, vocab_size=254, **values, id2label={0: "None", 1: "/per/per/peer"})
    assert not model.training
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.config.num_labels == 2
    assert model.config.get_text_config().vocab_size == len(model.get_input_embeddings().weight) == 254
    for modality, encoder in encoders.items():
        weights = encoder.state_dict()
        for own in model.encoders(modality):
            assert own.config is getattr(model.config, f"{modality}_config")
            assert own.state_dict()
            for name, weight in own.state_dict().items():
                expected = weights[name]
                close(weight[: len(expected)] if weight.dim() else weight, expected.to(weight.dtype), atol=0, rtol=0)
    batch = tiny_batch(case, model.config)
    batch["input_ids"][:, 1] = 253
    logits = model(**batch).logits
    assert logits.shape == (5, 2) and logits.isfinite().all()
    for name, value in values.items():
        assert getattr(model.config, name) == value, name
    model.save_pretrained(tmp_path / "model")
    assert torch.equal(AutoModel.from_pretrained(tmp_path / "model")(**batch).logits, logits)


def test_names_that_the_configuration_does_not_know_are_refused(tmp_path, system):
    model = tiny_model(system)
    folders = {modality: str(tmp_path / modality) for modality in save_encoders(tmp_path, model)}
    if not folders:
        pytest.skip("the system has no pretrained encoder")
    build, name = type(model).from_encoders, type(model.config).__name__
    with pytest.raises(TypeError, match=f"`{name}` has no argument 'num_region', 'usegate'"):
        build(**folders, vocab_size=100, usegate=False, num_region=1)
    with pytest.raises(TypeError, match="vocab_size"):
        build(**folders)
    # The vocabulary never shrinks: BERT's is padded.
    assert build(**folders, vocab_size=100, num_labels=6).config.get_text_config().vocab_size == 250
    for modality in {"text", "vision"} - set(folders):
        with pytest.raises(TypeError, match=f"`{name}` has no argument '{modality}'"):
            build(**folders, **{modality: folders["text"]}, vocab_size=100)


# What may not change a logit


@torch.no_grad()
def test_neither_padding_nor_company_nor_order_changes_a_logit(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config)
    logits = model(**batch).logits
    # The model reads what is there: no two posts have the same logits.
    assert torch.pdist(logits).min() > 1e-3
    of_tokens = [name for name in OF_TOKENS if name in batch]
    padded = batch | {name: nn.functional.pad(batch[name].mT, (0, 6)).mT for name in of_tokens if batch[name].dim() > 2}
    padded |= {name: nn.functional.pad(batch[name], (0, 6)) for name in of_tokens if batch[name].dim() == 2}
    close(model(**padded).logits, logits)
    other = batch | {"input_ids": batch["input_ids"].where(batch["attention_mask"] == 1, torch.tensor(17))}
    close(model(**other).logits, logits)
    for post in range(5):
        alone = take(batch, [post])
        close(model(**alone).logits[0], logits[post])
        length = int(alone["attention_mask"].sum())
        cut = alone | {name: alone[name][:, :length] for name in of_tokens}
        close(model(**cut).logits[0], logits[post])
        close(model(**without(cut, "attention_mask")).logits[0], logits[post])
    permutation = torch.tensor([3, 0, 4, 2, 1])
    close(model(**take(batch, permutation)).logits, logits[permutation])
    close(model(**take(batch, [1, 1])).logits, logits[[1, 1]])


@torch.no_grad()
def test_the_head_comes_before_the_tail(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config)
    swapped = {name: values.flip(1) if name.startswith("entity_") else values for name, values in batch.items()}
    difference = (model(**batch).logits - model(**swapped).logits).abs().amax(dim=1)
    assert (difference > 1e-3).tolist() == [True, True, True, False, True]  # The fourth post's are the same token.


@torch.no_grad()
def test_a_caption_is_read_if_and_only_if_the_configuration_says_so(case):
    model = tiny_model(case)
    if "caption" not in model.config.inputs:
        pytest.skip("the system never reads a caption")
    batch = tiny_batch(case, model.config)
    batch["text_mask"] = torch.arange(10) < torch.tensor([[6], [4], [7], [5], [3]])
    caption = batch["attention_mask"].bool() & ~batch["text_mask"]
    other = batch | {"input_ids": batch["input_ids"].masked_fill(caption, 200)}
    changed = (model(**batch).logits - model(**other).logits).abs().amax(dim=1) > 1e-3
    assert changed.tolist() == [post != 2 and "caption" in model.config.reads() for post in range(5)]


@torch.no_grad()
def test_the_masks_may_have_any_dtype(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config)
    expected = model(**batch).logits
    for dtype in (torch.int64, torch.int32, torch.uint8, torch.float32):
        masks = {name: values.to(dtype) for name, values in batch.items() if name.endswith("_mask")}
        close(model(**batch | masks).logits, expected)


@torch.no_grad()
def test_what_stands_in_absent_slots_is_never_read(case_with_pictures):
    model = tiny_model(case_with_pictures)
    batch = tiny_batch(case_with_pictures, model.config)
    fusion = {"output_fusion": True} if hasattr(model, "fusion_summary") else {}
    expected = model(**batch, **fusion)
    assert all(values.isfinite().all() for values in expected.values())
    absent = ~batch["image_mask"]
    for garbage in (0.0, 1e6, float("inf")):
        changed = {name: batch[name].clone() for name in PICTURES if name in batch and name != "image_mask"}
        for values in changed.values():
            values[absent] = garbage
        output = model(**batch | changed, **fusion)
        for name, values in expected.items():
            close(output[name], values)


def test_pictures_that_exist_reach_the_gradient_and_what_stands_in_absent_slots_does_not(case_with_pictures):
    model = tiny_model(case_with_pictures).train()
    batch = tiny_batch(case_with_pictures, model.config, labels=True)
    batch["pixel_values"].requires_grad_()
    model(**batch).loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)
    assert ((batch["pixel_values"].grad.abs().amax(dim=(2, 3, 4)) > 0) == batch["image_mask"]).all()


@torch.no_grad()
def test_all_images_exist_without_a_mask(case_with_pictures):
    model = tiny_model(case_with_pictures)
    batch = take(tiny_batch(case_with_pictures, model.config), [0])
    assert torch.equal(model(**without(batch, "image_mask")).logits, model(**batch).logits)


@torch.no_grad()
def test_a_post_without_picture_is_the_same_alone_in_company_and_without_pixels(case_with_pictures):
    model = tiny_model(case_with_pictures)
    batch = tiny_batch(case_with_pictures, model.config)
    logits = model(**batch).logits
    alone = take(batch, [2])
    text, mask = without(alone, *PICTURES), {"image_mask": alone["image_mask"]}
    for inputs in (alone, text, text | {"pixel_values": None}, text | {"pixel_values": None} | mask, text | mask):
        close(model(**inputs).logits[0], logits[2])
    # A whole batch of such posts.
    absent = batch | {"image_mask": torch.zeros_like(batch["image_mask"])}
    close(model(**absent).logits, model(**without(batch, *PICTURES)).logits)
    with pytest.raises(ValueError, match="`image_mask` says that there are images, but `pixel_values` is None"):
        model(**without(batch, "pixel_values"))


@torch.no_grad()
def test_the_vision_encoder_sees_all_pictures_of_a_size_at_once_and_no_absent_one(case_with_pictures):
    model = tiny_model(case_with_pictures)
    seen = []
    first = next(module for module in model.vision_model.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    batch = tiny_batch(case_with_pictures, model.config)
    model(**batch)
    assert len({images.shape[2:] for images in seen}) == len(seen)
    number, images = int(batch["image_mask"].sum()), [image for images in seen for image in images]
    assert number <= len(images) <= number + 1  # A system may read a blank image.
    assert all(image.isfinite().all() for image in images) and not any(image.any() for image in images[number:])
    seen.clear()
    model(**take(batch, [2]))  # No picture at all.
    model(**without(batch, *PICTURES))
    assert seen == []


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_picture_that_stands_there_twice_is_as_good_as_two(case_with_pictures, monkeypatch, dropout):
    model = tiny_model(case_with_pictures, dropout=dropout).double().train()
    if "maps" in getattr(model.config, "vision_features", ""):
        model.vision_model.eval()  # else an image's neighbours count, and each image is encoded
    batch = tiny_batch(case_with_pictures, model.config, labels=True)
    pixel_values = batch["pixel_values"].double()
    pixel_values[1] = pixel_values[0]
    pixel_values[3] = pixel_values[0, :1]
    batch["pixel_values"] = pixel_values.where(batch["image_mask"][:, :, None, None, None], float("nan"))

    def run():
        torch.manual_seed(3)
        return loss_and_gradients(model, batch)

    once = run()
    monkeypatch.setattr(image_tower, "_mixes_images", lambda vision_model: True)
    close(once, run(), atol=1e-10, rtol=1e-8)


@torch.no_grad()
def test_the_forward_does_not_loop_over_posts(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config)
    counts = []
    for repeats in (1, 4):
        posts = take(batch, list(range(5)) * repeats)
        if "pixel_values" in posts:  # a picture that stands there twice is encoded once
            posts["pixel_values"] = posts["pixel_values"] + torch.arange(len(posts["pixel_values"])).view(
                -1, 1, 1, 1, 1
            )
        with CountOperations() as operations:
            model(**posts)
        counts.append(operations.counts)
    assert counts[0] == counts[1]
    # Values that the CPU waits for: where the text ends, is there a picture, and in transformers is there padding.
    assert counts[0]["aten._local_scalar_dense.default"] <= 5


# Loss


@torch.no_grad()
def test_the_loss_is_cross_entropy_over_the_posts_with_a_label(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config, labels=True)
    output = model(**batch)
    probabilities = output.logits.double().softmax(dim=1)
    losses = [-probabilities[post, label].log().item() for post, label in enumerate(batch["labels"].tolist())]
    assert output.loss.shape == ()
    assert output.loss.item() == pytest.approx(sum(losses) / 5, rel=1e-5)
    for items in (10, torch.tensor(10)):
        assert model(**batch, num_items_in_batch=items).loss.item() == pytest.approx(sum(losses) / 10, rel=1e-5)
    # Posts without a label count for nothing, and parts of a batch add up to the whole.
    batch["labels"][[1, 4]] = -100
    expected = sum(losses[post] for post in (0, 2, 3)) / 3
    assert model(**batch).loss.item() == pytest.approx(expected, rel=1e-5)
    for label in (model.config.num_labels, -1):
        wrong = batch | {"labels": batch["labels"].clone()}
        wrong["labels"][2] = label
        with pytest.raises(ValueError, match=f"`labels` holds {label}; expected the id of a relation, 0 to "):
            model(**wrong)
    parts = [model(**take(batch, posts), num_items_in_batch=3).loss.item() for posts in ([0, 1], [2], [3, 4])]
    assert sum(parts) == pytest.approx(expected, rel=1e-5)
    assert model(**without(batch, "labels")).loss is None
    half = model.to(torch.bfloat16)(**batch)
    assert (half.logits.dtype, half.loss.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(half.loss, nn.functional.cross_entropy(half.logits.float(), batch["labels"]))


@torch.no_grad()
def test_the_logits_are_in_the_order_of_the_labels(system):
    model = tiny_model(system)
    batch = tiny_batch(system, model.config)
    *_, last = (layer for layer in model.classifier.modules() if isinstance(layer, nn.Linear))
    for index, label in enumerate(LABELS):
        last.bias.zero_()[index] = 1000.0
        best = model(**batch).logits.argmax(dim=1)
        assert {model.config.id2label[each] for each in best.tolist()} == {label}


def train_one_step(model, posts: list[dict], folder, batch_size: int, steps: int) -> dict[str, torch.Tensor]:
    """Return the weights after one step of SGD by the real Trainer, on a copy of the model."""
    model = copy.deepcopy(model)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=steps,
        num_train_epochs=1,
        optim="sgd",
        learning_rate=1.0,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=0.0,  # Clipping would hide a wrong scale.
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=posts)
    trainer.train()
    assert trainer.state.global_step == 1
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


# All systems skip unlabelled posts by one loss; that it also counts right where there are none is asked of any of them.
@pytest.mark.parametrize(
    ("system", "unlabelled"), [(min(SYSTEMS.values()), ()), *((system, (1, 2, 6)) for system in SYSTEMS.values())]
)
def test_gradient_accumulation_takes_the_same_step_as_one_large_batch(tmp_path, system, unlabelled):
    model = tiny_model(system)
    batch = take(tiny_batch(system, model.config, labels=True), [0, 1, 2, 3, 4, 0, 3])
    for encoder in model.encoders("vision"):
        if any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules()):  # whose posts are not independent
            encoder.requires_grad_(False)
    batch["labels"] = torch.tensor([0, 1, 2, 3, 2, 1, 0])
    batch["labels"][list(unlabelled)] = -100
    posts = [take(batch, post) for post in range(7)]
    whole = train_one_step(model, posts, tmp_path, batch_size=7, steps=1)
    # Micro-batches of 2, 2, 2 and 1.
    accumulated = train_one_step(model, posts, tmp_path, batch_size=2, steps=4)
    # By hand: gradient descent on the mean of the labelled posts.
    model.train()
    model(**batch).loss.backward()
    for name, weight in model.named_parameters():
        expected = weight.detach() - (0 if weight.grad is None else weight.grad)
        close(whole[name], expected, atol=1e-5, rtol=1e-4, msg=name)
        close(accumulated[name], expected, atol=1e-5, rtol=1e-4, msg=name)


# Attention implementations, checkpointing, precision, gradients


@torch.no_grad()
def test_eager_and_sdpa_attention_give_the_same_logits(tmp_path, case):
    model = tiny_model(case)
    if not model._supports_sdpa:
        pytest.skip("the model does not declare sdpa")
    model.save_pretrained(tmp_path)
    batch = tiny_batch(case, model.config)
    expected = model(**batch).logits
    mixed = dict.fromkeys(model.config.sub_configs, "eager") | {"vision_config": "sdpa"}
    mixed = {name: mixed[name] for name in model.config.sub_configs}
    for implementation in ("eager", "sdpa", mixed):
        loaded = AutoModel.from_pretrained(tmp_path, attn_implementation=implementation)
        model.set_attn_implementation(implementation)
        for each in (loaded, model):
            close(each(**batch).logits, expected)
            for modality in ("text", "vision"):
                for encoder in each.encoders(modality):
                    asked = implementation if isinstance(implementation, str) else implementation[f"{modality}_config"]
                    # A system may attend in its own way, under a name of its own.
                    found = encoder.config._attn_implementation
                    own = found.startswith("mmre_")
                    assert found == asked or own or (found == "eager" and not encoder._supports_sdpa)


def checkpointed_layers(model) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, GradientCheckpointingLayer)}


@pytest.mark.parametrize("prefix", ["gradient", "activation"])
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(case, prefix):
    model = tiny_model(case).train()
    if not model.supports_gradient_checkpointing:
        pytest.skip("the model does not declare gradient checkpointing")
    enable = getattr(model, f"{prefix}_checkpointing_enable", None)
    if enable is None:
        pytest.skip(f"this transformers has no {prefix}_checkpointing_enable")
    batch = tiny_batch(case, model.config, labels=True)
    calls = Counter()
    for name, layer in checkpointed_layers(model).items():
        inner = next(iter(layer.children()))
        inner.register_forward_pre_hook(lambda *_, name=name: calls.update([name]))
    loss, gradients = loss_and_gradients(model, batch)
    once = dict(calls)
    for name in model.text_encoders + model.vision_encoders:
        if name in model.text_encoders or "pixel_values" in batch:
            layers = checkpointed_layers(getattr(model, name, nn.Identity()))
            assert not layers or any(each.startswith(name) for each in once)
    calls.clear()
    with warnings.catch_warnings():
        # In 5.23 the name that 5.17 alone knows is deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        enable()
    checkpointed_loss, checkpointed_gradients = loss_and_gradients(model, batch)
    assert calls == {name: 2 * number for name, number in once.items()}  # Computed again in the backward pass.
    close(checkpointed_loss, loss)
    assert set(checkpointed_gradients) == set(gradients)
    for name, gradient in gradients.items():
        close(checkpointed_gradients[name], gradient, atol=2e-5, rtol=1e-4, msg=name)


def test_a_bfloat16_model_trains(case):
    model = tiny_model(case, dropout=0.1).to(torch.bfloat16).train()
    loss, gradients = loss_and_gradients(model, tiny_batch(case, model.config, labels=True))
    assert loss.isfinite() and loss.dtype == torch.float32
    assert all(gradient.isfinite().all() and gradient.dtype == torch.bfloat16 for gradient in gradients.values())


def test_autocast_is_close_to_float32(case):
    model = tiny_model(case, initializer_range=0.05).train()
    batch = tiny_batch(case, model.config, labels=True)
    expected = model(**batch).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**batch)
    error = (output.logits.float() - expected).abs().max() / expected.abs().max()
    assert 0 < error < 0.05
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


def test_every_new_parameter_learns_and_so_do_the_encoders(case):
    model = tiny_model(case).train()
    batch = tiny_batch(case, model.config, labels=True)
    _, gradients = loss_and_gradients(model, batch)
    for name in new_parameters(model):
        assert name in gradients, name
        # A softmax does not change when all its scores grow by the same amount: the keys' bias has no effect. A group
        # without slots has no weights.
        if not name.endswith(("k_proj.bias", "key_projection.bias")) and gradients[name].numel():
            assert gradients[name].abs().max() > 1e-7, name
    for encoder in model.encoders(None if "pixel_values" in batch else "text"):
        learning = [weight for weight in encoder.parameters() if weight.grad is not None and weight.grad.any()]
        assert len(learning) > 20


@torch.no_grad()
def test_evaluation_is_deterministic_and_training_drops(system):
    # Without the encoders' own dropout.
    values = dict.fromkeys(dropouts(MODELS[CASES[system][0]].config_class), 0.5)
    model = tiny_model(system, **values)
    batch = tiny_batch(system, model.config)
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    model.train()
    assert torch.equal(model(**batch).logits, model(**batch).logits) == (not values)


# Frozen encoders and adapters


@pytest.mark.parametrize("modality", ["text", "vision"])
def test_a_frozen_encoder_stays_in_evaluation_mode_and_the_rest_trains(case, modality):
    model = tiny_model(case)
    frozen = model.encoders(modality)
    for encoder in frozen:
        encoder.requires_grad_(False)
    model.train()
    still = {module for encoder in frozen for module in encoder.modules()}
    for name, module in model.named_modules():
        assert module.training == (module not in still), name
    before = {name: values.clone() for encoder in frozen for name, values in encoder.state_dict().items()}
    loss_and_gradients(model, tiny_batch(case, model.config, labels=True))
    after = {name: values for encoder in frozen for name, values in encoder.state_dict().items()}
    assert all(torch.equal(after[name], values) for name, values in before.items())
    assert all(weight.grad is None for encoder in frozen for weight in encoder.parameters())


def test_adapters_in_the_encoders_train_and_come_back(tmp_path, case):
    model = tiny_model(case)
    if not model.encoders():
        pytest.skip("the system has no pretrained encoder")
    batch = tiny_batch(case, model.config, labels=True)
    expected = model(**batch).logits.detach()
    model.save_pretrained(tmp_path / "model")
    encoders = model.text_encoders + model.vision_encoders
    adapted = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.split(".")[0] in encoders
    ]
    assert adapted
    peft = get_peft_model(model, LoraConfig(r=2, target_modules=adapted, modules_to_save=["classifier"])).train()
    close(peft(**batch).logits.detach(), expected)
    optimizer = torch.optim.SGD([weight for weight in peft.parameters() if weight.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        peft(**batch).loss.backward()
        optimizer.step()
    trained = {name for name, weight in peft.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    peft.eval()
    logits = peft(**batch).logits.detach()
    assert (logits - expected).abs().max() > 1e-3
    peft.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(AutoModel.from_pretrained(tmp_path / "model"), tmp_path / "adapter")
    close(again(**batch).logits.detach(), logits)
    close(again.merge_and_unload()(**batch).logits.detach(), logits, atol=1e-4, rtol=1e-4)


# The face of `forward`


@torch.no_grad()
def test_a_wrong_number_of_slots_is_refused_with_both_numbers(case_with_pictures):
    model = tiny_model(case_with_pictures)
    batch = tiny_batch(case_with_pictures, model.config)
    slots = CASES[case_with_pictures][2]
    with pytest.raises(ValueError, match=rf"{slots} slots \(.* shape is \(5, {slots - 1}, 3, 32, 32\)"):
        model(**batch | {"pixel_values": batch["pixel_values"][:, 1:]})
    with pytest.raises(ValueError, match=rf"5 posts .* shape is \(4, {slots}, 3, 32, 32\)"):
        model(**batch | {"pixel_values": batch["pixel_values"][:4]})
    with pytest.raises(ValueError, match=r"shape is \(5, 3, 32, 32\)"):
        model(**batch | {"pixel_values": batch["pixel_values"][:, 0]})
    message = rf"`image_mask` must have shape \(5, {slots}\), but its shape is \(5, {slots - 1}\)"
    with pytest.raises(ValueError, match=message):
        model(**batch | {"image_mask": batch["image_mask"][:, 1:]})


@torch.no_grad()
def test_a_tuple_is_returned_on_request_and_nothing_beyond_loss_and_logits_unasked(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config, labels=True)
    output = model(**batch)
    assert list(output) == ["loss", "logits"]
    loss, logits = model(**batch, return_dict=False)
    assert torch.equal(loss, output.loss)
    assert torch.equal(logits, output.logits)


@pytest.mark.parametrize("name", ["token_type_ids", "pixel_value", "output_attentions", "inputs_embeds", "prefix"])
def test_an_unknown_input_is_refused(system, name):
    model = tiny_model(system)
    with pytest.raises(TypeError, match=name):
        model(**tiny_batch(system, model.config), **{name: None})


@torch.no_grad()
def test_a_system_that_fuses_says_in_a_few_numbers_how(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config)
    if not hasattr(model, "fusion_summary"):
        with pytest.raises(TypeError, match="output_fusion"):
            model(**batch, output_fusion=True)
        return
    logits = model(**batch).logits
    output = model(**batch, output_fusion=True)
    close(output.logits, logits)
    if hasattr(model, "picture_attention"):
        is_there = model.picture_attention(output, batch) is not None
        assert model.has_picture_attention == (is_there and case != "bert_sg")  # whose weights are all alike
    summaries = model.fusion_summary(output, batch)
    assert len(summaries) == 5
    assert summaries == json.loads(json.dumps(summaries))
    if "pixel_values" in batch:
        assert len(output) > 1
        with_picture = int(batch["image_mask"].any(dim=1).sum())
        # A plain mean weighs the regions of all posts with as many of them alike: two posts have two.
        different = with_picture if case == "bert_sg" else with_picture + 1
        assert len({json.dumps(summary) for summary in summaries}) == min(5, different)
    # Post by post the same, and without an image mask.
    for post in range(5):
        alone = take(batch, [post])
        (summary,) = model.fusion_summary(model(**alone, output_fusion=True), alone)
        check_close(summary, summaries[post])
    whole = without(take(batch, [0]), "image_mask")
    check_close(model.fusion_summary(model(**whole, output_fusion=True), whole)[0], summaries[0])
    text = without(take(batch, [2]), *PICTURES)
    check_close(model.fusion_summary(model(**text, output_fusion=True), text)[0], summaries[2])


def check_close(actual, expected):
    """Compare dictionaries and lists of numbers."""
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        actual, expected = list(actual.values()), list(expected.values())
    if isinstance(expected, list):
        assert len(actual) == len(expected)
        for each, other in zip(actual, expected):
            check_close(each, other)
    else:
        assert actual == pytest.approx(expected, abs=1e-5)


def test_the_names_of_the_inputs_are_the_same_for_all_systems(system):
    model = tiny_model(system)
    known = {"entity_positions", "entity_spans", *OF_TOKENS, *PICTURES}
    known |= {"labels", "num_items_in_batch", "output_fusion"}
    names = set(signature(model.forward).parameters)
    assert names <= known
    assert set(tiny_batch(system, model.config, labels=True)) <= names
