"""FocalMRE against the paper's equations, computed slowly, and its ablations.

The reference below computes one post, slot, token and patch at a time, in float64, from the weights by name. It calls
nothing of the model under test.
"""

import copy
import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_helpers import loss_and_gradients, take
from torch import nn
from transformers import AutoConfig, AutoModel

from mmre.modeling import FocalMREConfig, FocalMREForRelationClassification, FocalMREOutput

pytestmark = [
    pytest.mark.filterwarnings("error::FutureWarning", "error::DeprecationWarning"),
    pytest.mark.usefixtures("one_thread", "no_deprecation_message"),
]

PATCHES = 16  # 32 x 32 pixels, patches of 8 x 8
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


# Batches


def make_batch(config, dtype=torch.float32, labels=False) -> dict[str, torch.Tensor]:
    """Make five posts: all regions, some of each group, no image, grounded regions only, detected regions only."""
    generator = torch.Generator().manual_seed(1)
    num_grounded, num_detected = config.num_grounded_regions, config.num_detected_regions
    lengths = [9, 6, 7, 5, 8]
    attention_mask = torch.stack([torch.arange(9) < length for length in lengths]).long()
    input_ids = torch.randint(5, config.text_config.vocab_size, (5, 9), generator=generator)
    input_ids = input_ids.masked_fill(attention_mask == 0, config.text_config.pad_token_id)
    slots = range(num_grounded + num_detected)
    image_mask = torch.tensor(
        [
            [True for slot in slots],
            [slot % 2 == 0 for slot in slots],
            [False for slot in slots],
            [slot < num_grounded - 1 for slot in slots],
            [slot > num_grounded for slot in slots],
        ],
        dtype=torch.bool,
    ).reshape(5, len(slots))
    pixel_values = torch.randn(5, len(slots), 3, 32, 32, generator=generator, dtype=dtype)
    # What stands in absent slots must never be read.
    pixel_values[~image_mask] = float("nan")
    batch = {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "pixel_values": pixel_values,
        "image_mask": image_mask,
        "entity_positions": torch.tensor([[1, 7], [4, 2], [0, 6], [3, 3], [7, 1]]),
    }
    if labels:
        batch["labels"] = torch.tensor([1, 0, 3, 2, 1])
    return batch


# Equations (1) to (7), slowly


class Slow:
    """Computes FocalMRE for each post of a batch, by plain loops over slots, tokens and patches."""

    def __init__(self, model: FocalMREForRelationClassification):
        self.config = model.config
        self.weights = {name: weight.detach().double() for name, weight in model.state_dict().items()}
        self.encoders = {name: self._encoder(name) for name in ("text", "vision")}

    def _encoder(self, name: str) -> nn.Module:
        config = copy.deepcopy(getattr(self.config, f"{name}_config"))
        encoder = AutoModel.from_config(config, dtype=torch.float64).eval()
        prefix = f"{name}_model."
        encoder.load_state_dict({k.removeprefix(prefix): w for k, w in self.weights.items() if k.startswith(prefix)})
        return encoder

    def linear(self, name: str, vector: torch.Tensor) -> torch.Tensor:
        result = self.weights[f"{name}.weight"] @ vector
        return result + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else result

    def encode_text(self, batch, post) -> list[torch.Tensor]:
        """Compute (1), without the padding."""
        tokens = [token for token, kept in zip(batch["input_ids"][post], batch["attention_mask"][post]) if kept]
        return list(self.encoders["text"](input_ids=torch.stack(tokens)[None]).last_hidden_state[0])

    def encode_image(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Compute (2) for one image; CLIP's first token is the class token."""
        tokens = list(self.encoders["vision"](pixel_values=image[None].double()).last_hidden_state[0])
        return tokens if self.config.vision_feature_select_strategy == "full" else tokens[1:]

    def attend(self, fusion: str, token, keys, values) -> tuple[torch.Tensor, list[float]]:
        """Compute (3) for one token and one image, then the output projection."""
        query = self.linear(f"{fusion}.attention.q_proj", token)
        scores = [sum(q * k for q, k in zip(query.tolist(), key.tolist())) / math.sqrt(len(query)) for key in keys]
        exponentials = [math.exp(score) for score in scores]
        weights = [exponential / sum(exponentials) for exponential in exponentials]
        attended = sum(weight * value for weight, value in zip(weights, values))
        return self.linear(f"{fusion}.attention.out_proj", attended), weights

    def gate(self, fusion: str, token, attended) -> list[float]:
        """Compute λ of (4)."""
        sums = self.linear(f"{fusion}.gate.text_proj", token) + self.linear(f"{fusion}.gate.image_proj", attended)
        return [1 / (1 + math.exp(-each)) for each in sums.tolist()]

    def fuse(self, slot: int, tokens, patches) -> dict:
        """Compute (3) and (4) for each token."""
        fusion = f"region_fusions.{0 if self.config.share_region_weights else slot}"
        values = [self.linear(f"{fusion}.attention.v_proj", patch) for patch in patches]
        result = {"attended": [], "attention": [], "gate": [], "fused": []}
        if self.config.use_focal_attention:
            keys = [self.linear(f"{fusion}.attention.k_proj", patch) for patch in patches]
        for token in tokens:
            if self.config.use_focal_attention:
                attended, attention = self.attend(fusion, token, keys, values)
                result["attention"].append(attention)
            else:
                attended = sum(values) / len(values)
            if self.config.use_gate:
                gate = self.gate(fusion, token, attended)
                result["gate"].append(gate)
                fused = [(1 - g) * t + g * a for g, t, a in zip(gate, token.tolist(), attended.tolist())]
            else:
                fused = [t + a for t, a in zip(token.tolist(), attended.tolist())]
            result["attended"].append(attended.tolist())
            result["fused"].append(fused)
        return result

    def region_weights(self, group: str, slots: list[int], existing: list[int]) -> dict[int, float]:
        """Compute the weights of (5), of one group, for the slots that count."""
        weights = dict(zip(slots, self.weights[f"{group}_fusion.weights"].tolist()))
        if self.config.region_weighting == "raw":
            return weights if existing else {}
        exponentials = {slot: math.exp(weight) for slot, weight in weights.items() if slot in existing}
        return {slot: exponential / sum(exponentials.values()) for slot, exponential in exponentials.items()}

    def post(self, batch, post: int) -> dict:
        num_grounded, num_detected = self.config.num_grounded_regions, self.config.num_detected_regions
        slots = list(range(num_grounded + num_detected))
        existing = [slot for slot in slots if batch["image_mask"][post, slot]]
        result = {"text": self.encode_text(batch, post), "images": {}, "slots": {}, "weights": {}}
        groups = {"grounded": slots[:num_grounded], "detected": slots[num_grounded:]}
        for group, members in groups.items():
            result["weights"] |= self.region_weights(group, members, existing)
        for slot in result["weights"]:
            image = batch["pixel_values"][post, slot] if slot in existing else torch.zeros(3, 32, 32)
            result["images"][slot] = self.encode_image(image)
            result["slots"][slot] = self.fuse(slot, result["text"], result["images"][slot])
        vectors = []
        for group, members in groups.items():
            counting = [slot for slot in members if slot in result["weights"]]
            result[group] = []
            for token, text in enumerate(result["text"]):
                total = torch.zeros_like(text)
                for slot in counting:
                    fused = torch.tensor(result["slots"][slot]["fused"][token], dtype=torch.float64)
                    total += result["weights"][slot] * fused
                result[group].append(total if counting else text)
            vectors += [result[group][position] for position in batch["entity_positions"][post].tolist()]  # (6)
        result["z"] = [value for vector in vectors for value in vector.tolist()]
        vector = torch.tensor(result["z"], dtype=torch.float64)
        for layer in range(len(self.config.classifier_hidden_sizes)):  # (7)
            hidden = self.linear(f"classifier.{2 * layer}", vector).tolist()
            vector = torch.tensor([max(0.0, value) for value in hidden], dtype=torch.float64)
        result["logits"] = self.linear(f"classifier.{2 * len(self.config.classifier_hidden_sizes)}", vector)
        return result

    @torch.no_grad()
    def __call__(self, batch) -> list[dict]:
        return [self.post(batch, post) for post in range(len(batch["input_ids"]))]


# Arguments of `FocalMREConfig` whose model is compared with the slow one.
VARIANTS = {
    "paper": {},
    "official code": {"region_weighting": "raw", "vision_feature_select_strategy": "full"},
    "hidden layers": {"classifier_hidden_sizes": (7, 5)},
    "shared weights": {"share_region_weights": True},
    "no focal attention": {"use_focal_attention": False},
    "no gate": {"use_gate": False},
    "neither": {"use_focal_attention": False, "use_gate": False, "region_weighting": "raw"},
    "other slots": {"num_grounded_regions": 2, "num_detected_regions": 5},
    "detected only": {"num_grounded_regions": 0},
    "grounded only": {"num_detected_regions": 0, "region_weighting": "raw"},
}
_TRACES = {}


class Trace:
    """Records a batch on all tokens, as the model and as the slow reference computes it, in float64."""

    def __init__(self, model):
        self.config = model.config
        self.batch = make_batch(model.config, torch.float64)
        self.slow = Slow(model)(self.batch)
        self.inputs, self.outputs = {}, {}
        handles = [
            module.register_forward_hook(self._record(name), always_call=True)
            for name, module in model.named_modules()
            if name.startswith(("region_fusions", "grounded_fusion", "detected_fusion", "classifier"))
        ]
        with torch.no_grad():
            self.output = model(**self.batch, output_fusion=True)
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            self.logits_alone = model(**self.batch).logits

    def _record(self, name):
        def hook(module, inputs, output):
            self.inputs.setdefault(name, []).append(inputs)
            self.outputs.setdefault(name, []).append(output)

        return hook

    def fusion_call(self, records: dict, slot: int, part: str = ""):
        """Return the record of the fusion of this slot."""
        if self.config.share_region_weights:
            return records[f"region_fusions.0{part}"][slot]
        (call,) = records[f"region_fusions.{slot}{part}"]
        return call


@pytest.fixture(params=VARIANTS)
def trace(request, tiny_model):
    if request.param not in _TRACES:
        _TRACES[request.param] = Trace(tiny_model(**VARIANTS[request.param]).double())
    return _TRACES[request.param]


def close(actual, expected, **tolerance):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.double(), expected, **(tolerance or {"atol": 1e-9, "rtol": 1e-7}))


def counting_slots(trace):
    """Return (post, slot, the slow results of the post) for each slot that counts."""
    cases = [(post, slot, slow) for post, slow in enumerate(trace.slow) for slot in slow["slots"]]
    assert cases
    return cases


def test_equation_1_encodes_the_text_without_its_padding(trace):
    for post, slot, slow in counting_slots(trace):
        text, _ = trace.fusion_call(trace.inputs, slot)
        close(text[post, : len(slow["text"])], torch.stack(slow["text"]))


def test_equation_2_encodes_each_image_into_its_patches(trace):
    for post, slot, slow in counting_slots(trace):
        _, image = trace.fusion_call(trace.inputs, slot)
        expected = PATCHES + (trace.config.vision_feature_select_strategy == "full")
        assert image.shape[1] == len(slow["images"][slot]) == expected
        close(image[post], torch.stack(slow["images"][slot]))


def test_equation_3_focal_attention(trace):
    for post, slot, slow in counting_slots(trace):
        attended, attention = trace.fusion_call(trace.outputs, slot, ".attention")
        length = len(slow["text"])
        close(attended[post, :length], slow["slots"][slot]["attended"])
        if trace.config.use_focal_attention:
            close(attention[post, :length], slow["slots"][slot]["attention"])
        else:
            assert attention is None


def test_equation_4_gate(trace):
    for post, slot, slow in counting_slots(trace):
        fused, gate, _ = trace.fusion_call(trace.outputs, slot)
        length = len(slow["text"])
        close(fused[post, :length], slow["slots"][slot]["fused"])
        if trace.config.use_gate:
            close(gate[post, :length], slow["slots"][slot]["gate"])
        else:
            assert gate is None


@pytest.mark.parametrize("group", ["grounded", "detected"])
def test_equation_5_focal_fusion(trace, group):
    ((fused, _),) = trace.outputs[f"{group}_fusion"]
    for post, slow in enumerate(trace.slow):
        close(fused[post, : len(slow["text"])], torch.stack(slow[group]))


def test_equation_6_concatenates_head_and_tail_of_both_groups(trace):
    (z,) = trace.inputs["classifier"][0]
    close(z, [slow["z"] for slow in trace.slow])


def test_equation_7_classifies(trace):
    expected = torch.stack([slow["logits"] for slow in trace.slow])
    close(trace.output.logits, expected)
    # The model reads the picture, the text and the positions: no two posts have the same logits.
    assert torch.pdist(expected).min() > 0.1


def test_output_fusion_changes_no_logit(trace):
    close(trace.logits_alone, trace.output.logits)


def test_output_fusion_reports_what_the_equations_say_and_zero_where_no_region_is(trace):
    output = trace.output
    for name, key, used in (
        ("gates", "gate", trace.config.use_gate),
        ("focal_attentions", "attention", trace.config.use_focal_attention),
    ):
        if not used:
            assert getattr(output, name) is None
            continue
        values = getattr(output, name)
        assert values.shape[:3] == (5, trace.batch["image_mask"].shape[1], 9)
        for post, slow in enumerate(trace.slow):
            for slot, exists in enumerate(trace.batch["image_mask"][post]):
                if exists:
                    close(values[post, slot, : len(slow["text"])], slow["slots"][slot][key])
                else:
                    assert not values[post, slot].any()
    for post, slow in enumerate(trace.slow):
        slots = range(trace.batch["image_mask"].shape[1])
        close(output.region_weights[post], [slow["weights"].get(slot, 0.0) for slot in slots])


def test_logits_agree_in_float32_too(tiny_model):
    model = tiny_model()
    batch = make_batch(model.config)
    expected = torch.stack([slow["logits"] for slow in Slow(model)(batch)])
    with torch.no_grad():
        close(model(**batch).logits, expected, atol=2e-5, rtol=1e-5)
        close(model(**batch, output_fusion=True).logits, model(**batch).logits, **TOLERANCE)


# Region weighting


@torch.no_grad()
def test_raw_weights_start_at_one_and_softmax_weights_equal(tiny_config):
    for weighting, value in (("raw", 1.0), ("softmax", 0.0)):
        model = FocalMREForRelationClassification(tiny_config(region_weighting=weighting))
        assert model.grounded_fusion.weights.tolist() == [value] * 4
        assert model.detected_fusion.weights.tolist() == [value] * 3


@torch.no_grad()
def test_an_absent_slot_counts_as_a_zero_image_under_raw_weighting(tiny_model):
    model = tiny_model(region_weighting="raw")
    batch = make_batch(model.config)
    with_image = [0, 1, 3, 4]
    filled = take(batch, with_image)
    filled["pixel_values"] = torch.where(
        filled["image_mask"][:, :, None, None, None], filled["pixel_values"], torch.zeros(())
    )
    filled["image_mask"] = torch.ones_like(filled["image_mask"])
    close(model(**batch).logits[with_image], model(**filled).logits, **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("weighting", ["raw", "softmax"])
def test_a_post_without_image_is_its_text_alone(tiny_model, weighting):
    model = tiny_model(region_weighting=weighting)
    batch = make_batch(model.config)
    text = model.text_model(input_ids=batch["input_ids"][2:3, :7]).last_hidden_state[0]
    head, tail = text[batch["entity_positions"][2]]
    expected = model.classifier(torch.cat([head, tail, head, tail]))
    close(model(**batch).logits[2], expected, **TOLERANCE)
    output = model(**batch, output_fusion=True)
    assert not output.region_weights[2].any()
    without_pixels = {name: batch[name][2:3] for name in ("input_ids", "attention_mask", "entity_positions")}
    close(model(**without_pixels).logits[0], expected, **TOLERANCE)
    close(model(**without_pixels, pixel_values=None).logits[0], expected, **TOLERANCE)
    no_region = {"pixel_values": batch["pixel_values"][2:3], "image_mask": batch["image_mask"][2:3]}
    close(model(**without_pixels, **no_region).logits[0], expected, **TOLERANCE)


@torch.no_grad()
def test_softmax_weighting_averages_the_existing_regions_only(tiny_model):
    model = tiny_model()
    batch = make_batch(model.config)
    weights = model(**batch, output_fusion=True).region_weights
    assert ((weights > 0) == batch["image_mask"]).all()
    for group in (slice(0, 4), slice(4, 7)):
        exists = batch["image_mask"][:, group].any(dim=1)
        close(weights[:, group].sum(dim=1), exists.double(), atol=1e-6, rtol=0)


@torch.no_grad()
def test_equal_regions_count_the_same_however_many_there_are(tiny_model):
    model = tiny_model(share_region_weights=True)
    batch = take(make_batch(model.config), [0])
    batch["pixel_values"] = batch["pixel_values"][:, :1].expand(-1, 7, -1, -1, -1)
    few = batch | {"image_mask": torch.tensor([[True, False, False, False, False, True, False]])}
    close(model(**batch).logits, model(**few).logits, **TOLERANCE)


def test_a_region_gets_the_weight_of_its_slot_in_its_group(tiny_model):
    """Check that grounded slots come first: another weight in one group moves the weights of that group alone."""
    model = tiny_model()
    batch = make_batch(model.config)
    with torch.no_grad():
        before = model(**batch, output_fusion=True).region_weights
        model.detected_fusion.weights[2] += 1
        after = model(**batch, output_fusion=True).region_weights
    assert torch.equal(before[:, :4], after[:, :4])
    assert (after[0, 6] > before[0, 6]) and (after[0, 4:6] < before[0, 4:6]).all()


# Ablations


ATTENTION = {f"attention.{name}_proj.{kind}" for name in "qkv" for kind in ("weight", "bias")}
ATTENTION |= {"attention.out_proj.weight", "attention.out_proj.bias"}
MEAN_PATCHES = {"attention.v_proj.weight", "attention.v_proj.bias"}
GATE = {"gate.text_proj.weight", "gate.text_proj.bias", "gate.image_proj.weight"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ATTENTION | GATE),
        ({"use_focal_attention": False}, MEAN_PATCHES | GATE),
        ({"use_gate": False}, ATTENTION),
        ({"use_focal_attention": False, "use_gate": False}, MEAN_PATCHES),
    ],
)
def test_an_ablation_takes_away_its_own_parameters_and_no_others(tiny_model, arguments, expected):
    full, ablated = tiny_model().state_dict(), tiny_model(**arguments).state_dict()
    gone = {f"region_fusions.{slot}.{name}" for slot in range(7) for name in (ATTENTION | GATE) - expected}
    assert set(full) - set(ablated) == gone
    assert set(ablated) <= set(full)
    assert all(full[name].shape == weight.shape for name, weight in ablated.items())


@torch.no_grad()
@pytest.mark.parametrize(
    "arguments",
    [{"use_focal_attention": False}, {"use_gate": False}, {"use_focal_attention": False, "use_gate": False}],
)
def test_an_ablated_model_keeps_the_weights_of_the_full_one_and_computes_something_else(tiny_model, arguments):
    full, ablated = tiny_model(), tiny_model(**arguments)
    missing = ablated.load_state_dict(full.state_dict(), strict=False).missing_keys
    assert missing == []
    batch = make_batch(full.config)
    expected = torch.stack([slow["logits"] for slow in Slow(ablated)(batch)])
    close(ablated(**batch).logits, expected, atol=2e-5, rtol=1e-5)
    difference = (ablated(**batch).logits - full(**batch).logits).abs().amax(dim=1)
    assert (difference > 1e-2).tolist() == [True, True, False, True, True]  # The third post has no image.


@torch.no_grad()
def test_shared_region_weights_are_one_set_that_serves_every_slot(tiny_model):
    shared, own = tiny_model(share_region_weights=True), tiny_model()
    assert (len(shared.region_fusions), len(own.region_fusions)) == (1, 7)
    weights = shared.state_dict()
    for name in list(weights):
        if name.startswith("region_fusions.0."):
            for slot in range(1, 7):
                weights[name.replace(".0.", f".{slot}.", 1)] = weights[name]
    batch = make_batch(own.config)
    assert (own(**batch).logits - shared(**batch).logits).abs().max() > 1e-2
    own.load_state_dict(weights)
    close(own(**batch).logits, shared(**batch).logits, **TOLERANCE)


# What may not change a logit


@torch.no_grad()
@pytest.mark.parametrize(("weighting", "zero_images"), [("softmax", 0), ("raw", 1)])
def test_the_vision_encoder_runs_once_and_sees_no_absent_region(tiny_model, weighting, zero_images):
    model = tiny_model(region_weighting=weighting)
    seen = []
    model.vision_model.register_forward_pre_hook(
        lambda module, arguments, keywords: seen.append(keywords["pixel_values"]), with_kwargs=True
    )
    batch = make_batch(model.config)
    for output_fusion in (False, True):
        model(**batch, output_fusion=output_fusion)
        (images,) = seen
        number = int(batch["image_mask"].sum())
        assert torch.equal(images[:number], batch["pixel_values"][batch["image_mask"]])
        assert images.shape == (number + zero_images, 3, 32, 32)
        assert not images[number:].any()
        seen.clear()

    model(**take(batch, [0]))  # Every region exists: no zero image.
    assert [len(images) for images in seen] == [7]
    seen.clear()
    model(**take(batch, [2]))  # No image at all.
    model(**{name: batch[name] for name in ("input_ids", "attention_mask", "entity_positions")})
    assert seen == []


# Saving and loading


# Building from two encoders


LAYERS = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "initializer_range": 0.3,
}
TEXT_ENCODERS = {
    "bert": {"hidden_size": 16, **LAYERS},
    "roberta": {"hidden_size": 16, "max_position_embeddings": 40, **LAYERS},
    "modernbert": {"hidden_size": 16, "global_attn_every_n_layers": 2, "local_attention": 8, **LAYERS},
}
VISION_ENCODERS = {  # Name: the configuration's values, how many tokens come before the patches.
    "clip_vision_model": ({}, 1),
    "vit": ({}, 1),
    "siglip_vision_model": ({}, 0),
    "dinov2": ({"mlp_ratio": 2}, 1),
    "dinov2_with_registers": ({"mlp_ratio": 2, "num_register_tokens": 3}, 4),
}


def save_text_encoder(folder, model_type: str, **values) -> nn.Module:
    torch.manual_seed(3)
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    if model_type == "bert":
        special = {}
    values = {"vocab_size": 100, **TEXT_ENCODERS[model_type], **special, **values}
    encoder = AutoModel.from_config(AutoConfig.for_model(model_type, **values)).eval()
    encoder.save_pretrained(folder)
    return encoder


def save_vision_encoder(folder, model_type: str) -> nn.Module:
    torch.manual_seed(4)
    values = VISION_ENCODERS[model_type][0]
    layers = {key: value for key, value in LAYERS.items() if key != "intermediate_size" or not values}
    config = AutoConfig.for_model(model_type, image_size=32, patch_size=8, hidden_size=24, **layers, **values)
    encoder = AutoModel.from_config(config).eval()
    encoder.save_pretrained(folder)
    return encoder


def check_encoders(model, text_encoder, vision_encoder, vocab_size: int):
    """Check that the weights are those of the encoders, but for the new rows of the token embeddings."""
    embeddings = next(
        name for name, module in text_encoder.named_modules() if module is text_encoder.get_input_embeddings()
    )
    for own, encoder in ((model.text_model, text_encoder), (model.vision_model, vision_encoder)):
        weights = own.state_dict()
        assert set(weights) == set(encoder.state_dict())
        for name, weight in encoder.state_dict().items():
            old = weights[name][: len(weight)] if name == f"{embeddings}.weight" else weights[name]
            assert old.dtype == torch.float32 or not old.is_floating_point()
            assert torch.equal(old, weight.to(old.dtype)), name
    assert model.get_input_embeddings().weight.shape[0] == vocab_size
    assert model.config.text_config.vocab_size == vocab_size
    assert model.text_model.config is model.config.text_config
    assert model.vision_model.config is model.config.vision_config
    assert not model.training


@pytest.mark.parametrize(
    ("text", "vision"),
    [(text, "clip_vision_model") for text in TEXT_ENCODERS]
    + [("bert", vision) for vision in VISION_ENCODERS if vision != "clip_vision_model"],
)
@torch.no_grad()
def test_a_model_is_built_from_any_two_encoders(tmp_path, text, vision):
    text_encoder = save_text_encoder(tmp_path / "text", text)
    vision_encoder = save_vision_encoder(tmp_path / "vision", vision)
    model = FocalMREForRelationClassification.from_encoders(
        str(tmp_path / "text"), str(tmp_path / "vision"), vocab_size=104, id2label={0: "None", 1: "/per/per/peer"}
    )
    check_encoders(model, text_encoder, vision_encoder, vocab_size=104)
    assert model.config.num_labels == 2

    batch = make_batch(model.config)
    batch["input_ids"][:, 1] = 103
    seen = []
    model.region_fusions[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs))
    output = model(**batch, output_fusion=True)
    assert output.logits.shape == (5, 2)
    assert output.logits.isfinite().all()
    assert output.focal_attentions.shape == (5, 7, 9, PATCHES)
    # The patches, without the tokens before them.
    first = VISION_ENCODERS[vision][1]
    states = vision_encoder(pixel_values=batch["pixel_values"][:1, 0]).last_hidden_state
    assert states.shape[1] == first + PATCHES
    close(seen[0][1][0], states[0, first:], **TOLERANCE)
    model.config.vision_feature_select_strategy = "full"
    assert model(**batch, output_fusion=True).focal_attentions.shape[-1] == first + PATCHES
    model.config.vision_feature_select_strategy = "default"

    # Padding changes no logit, whichever the text encoder.
    padding = {"input_ids": model.config.text_config.pad_token_id, "attention_mask": 0}
    padded = batch | {name: nn.functional.pad(batch[name], (0, 6), value=padding[name]) for name in padding}
    close(model(**padded).logits, output.logits, **TOLERANCE)
    model.save_pretrained(tmp_path / "model")
    assert torch.equal(AutoModel.from_pretrained(tmp_path / "model")(**batch).logits, model(**batch).logits)
    assert model.to(torch.bfloat16)(**batch).logits.isfinite().all()  # Its pixels are float32 still.


@torch.no_grad()
def test_images_that_are_not_square_keep_all_their_patches(tmp_path):
    save_text_encoder(tmp_path / "text", "bert")
    save_vision_encoder(tmp_path / "vision", "dinov2_with_registers")
    model = FocalMREForRelationClassification.from_encoders(
        str(tmp_path / "text"), str(tmp_path / "vision"), vocab_size=100
    )
    batch = take(make_batch(model.config), [0])
    batch["pixel_values"] = torch.randn(1, 7, 3, 40, 24)
    assert model(**batch, output_fusion=True).focal_attentions.shape[-1] == 5 * 3


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@torch.no_grad()
def test_of_a_model_with_two_towers_the_vision_tower_is_taken(tmp_path, kind):
    text_encoder = save_text_encoder(tmp_path / "text", "bert")
    tower = {"hidden_size": 24, **LAYERS}
    config = AutoConfig.for_model(
        kind,
        text_config={"vocab_size": 50, **tower},
        vision_config={"image_size": 32, "patch_size": 8, **tower},
    )
    torch.manual_seed(4)
    two_towers = AutoModel.from_config(config).eval()
    two_towers.save_pretrained(tmp_path / "vision")
    model = FocalMREForRelationClassification.from_encoders(
        str(tmp_path / "text"), str(tmp_path / "vision"), vocab_size=100
    )
    vision_encoder = AutoModel.from_pretrained(tmp_path / "vision", config=config.vision_config)
    check_encoders(model, text_encoder, vision_encoder, vocab_size=100)
    pixel_values = make_batch(model.config)["pixel_values"][0]
    expected = two_towers.vision_model(pixel_values=pixel_values).last_hidden_state
    close(model.vision_model(pixel_values=pixel_values).last_hidden_state, expected, **TOLERANCE)


# Loss


# Attention implementations, checkpointing, precision, gradients


@pytest.mark.parametrize("variant", ["shared weights", "no focal attention", "no gate"])
def test_every_new_parameter_learns(tiny_model, variant):
    model = tiny_model(**VARIANTS[variant])
    _, gradients = loss_and_gradients(model, make_batch(model.config, labels=True))
    for name in dict(model.named_parameters()):
        if name.startswith(("text_model", "vision_model")):
            continue
        assert name in gradients, name
        # A softmax does not change when all its scores grow by the same amount: the keys' bias has no effect.
        if not name.endswith("k_proj.bias"):
            assert gradients[name].abs().max() > 1e-7, name
    for encoder in ("text_model", "vision_model"):
        moved = [name for name, gradient in gradients.items() if name.startswith(encoder) and gradient.any()]
        assert any("embeddings" in name for name in moved)


@torch.no_grad()
def test_dropout_falls_on_the_attention_weights_and_on_both_inputs_of_the_fusion(tiny_model):
    model = tiny_model(focal_dropout=0.5).train()
    dropped = []

    def record(module, inputs, output):
        shares = (output[inputs[0] != 0] == 0).double().mean()
        assert shares == pytest.approx(0.5, abs=0.2)
        dropped.append(inputs[0])

    fusion = model.region_fusions[3]
    for module in fusion.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(record)
    attentions = []
    fusion.attention.register_forward_hook(lambda module, inputs, output: attentions.append(output[1]))
    batch = make_batch(model.config)
    model(**batch, output_fusion=True)
    text, patches, weights = dropped
    assert text.shape == (5, 9, 16)
    assert patches.shape == (5, PATCHES, 24)
    assert torch.equal(weights, *attentions)


# The face of `forward`


@torch.no_grad()
@pytest.mark.parametrize("weighting", ["raw", "softmax"])
@pytest.mark.parametrize(("grounded", "detected"), [(0, 0), (0, 3), (4, 0)])
def test_a_group_may_have_no_slot(tmp_path, tiny_model, grounded, detected, weighting):
    model = tiny_model(num_grounded_regions=grounded, num_detected_regions=detected, region_weighting=weighting)
    batch = make_batch(model.config)
    expected = torch.stack([slow["logits"] for slow in Slow(model)(batch)])
    output = model(**batch, output_fusion=True)
    close(output.logits, expected, atol=2e-5, rtol=1e-5)
    assert output.region_weights.shape == (5, grounded + detected)
    model.save_pretrained(tmp_path)
    assert torch.equal(AutoModel.from_pretrained(tmp_path)(**batch).logits, model(**batch).logits)


@torch.no_grad()
def test_a_batch_without_any_image_has_neither_gates_nor_attentions(tiny_model):
    model = tiny_model()
    batch = make_batch(model.config)
    text = {name: batch[name] for name in ("input_ids", "attention_mask", "entity_positions")}
    absent = torch.zeros_like(batch["image_mask"])
    for images in ({}, {"pixel_values": None}, {"pixel_values": None, "image_mask": absent}):
        output = model(**text, **images, output_fusion=True)
        assert output.gates is None
        assert output.focal_attentions is None
        assert output.region_weights.tolist() == [[0.0] * 7] * 5
    with pytest.raises(ValueError, match="`pixel_values` is None"):
        model(**text, image_mask=batch["image_mask"])
    output_absent = model(**batch | {"image_mask": absent}, output_fusion=True)
    assert torch.equal(output_absent.logits, output.logits)
    assert output_absent.gates is None


@torch.no_grad()
def test_output_fusion_adds_its_fields(tiny_model):
    model = tiny_model()
    batch = make_batch(model.config, labels=True)
    output = model(**batch, output_fusion=True)
    assert isinstance(output, FocalMREOutput)
    assert list(output) == ["loss", "logits", "gates", "focal_attentions", "region_weights"]
    assert len(model(**batch, return_dict=False, output_fusion=True)) == 5


@torch.no_grad()
def test_the_processor_and_the_model_fit_together(make_processor, tiny_model, picture):
    processor = make_processor()
    model = tiny_model()
    model.resize_token_embeddings(len(processor.tokenizer))
    post = {"text": "rafael nadal weds mery perello", "images": picture, "head": (0, 12), "tail": (18, 30)}
    inputs = processor(**post, grounded_regions=[(0.1, 0.2, 0.5, 0.9)], detected_regions=[])
    output = model(**inputs)
    assert output.logits.shape == (1, 4)
    assert output.logits.isfinite().all()


# The configuration


def test_the_defaults_are_the_system_of_the_paper():
    config = FocalMREConfig()
    assert (config.text_config.model_type, config.text_config.hidden_size) == ("bert", 768)
    assert config.text_config.num_hidden_layers == 12
    assert (config.vision_config.model_type, config.vision_config.patch_size) == ("clip_vision_model", 32)
    assert (config.vision_config.hidden_size, config.vision_config.image_size) == (768, 224)
    assert (config.num_grounded_regions, config.num_detected_regions) == (4, 3)
    assert (config.region_weighting, config.vision_feature_select_strategy) == ("softmax", "default")
    assert (config.use_focal_attention, config.use_gate, config.share_region_weights) == (True, True, False)
    assert (config.focal_dropout, list(config.classifier_hidden_sizes)) == (0.1, [])
    assert config.reads() == ("text", "image", "regions")


def test_the_hidden_sizes_of_the_classifier_may_be_a_tuple_and_come_back_as_a_list(tmp_path, tiny_config):
    config = tiny_config(classifier_hidden_sizes=(6, 5))
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert loaded.classifier_hidden_sizes == [6, 5]
    for each in (config, loaded):
        classifier = AutoModel.from_config(each).classifier
        shapes = [tuple(layer.weight.shape) for layer in classifier if isinstance(layer, nn.Linear)]
        assert shapes == [(6, 64), (5, 6), (4, 5)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classifier_hidden_sizes": (6, 0)}, r"`classifier_hidden_sizes` must be positive, got \(6, 0\)"),
        ({"region_weighting": "mean"}, r"'region_weighting' expected one of \('softmax', 'raw'\), got mean"),
        ({"vision_feature_select_strategy": "cls"}, r"expected one of \('default', 'full'\), got cls"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_by_name(values, message):
    with pytest.raises(StrictDataclassError, match=message):
        FocalMREConfig(**values)
