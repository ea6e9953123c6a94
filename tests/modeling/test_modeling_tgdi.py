"""TGDI against the paper's equations, computed slowly, and its ablations.

The reference below computes one post, image, token and head at a time, in float64, from the weights by name. It calls
nothing of the model under test; of transformers only the vision encoder.
"""

import copy
import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_helpers import loss_and_gradients, own_fields, take, without
from tgdi_helpers import (
    PATCHES,
    PREFIXES,
    TEXT_ENCODERS,
    TOLERANCE,
    VISION_ENCODERS,
    close,
    make_batch,
    make_model,
    record_text_states,
)
from torch import nn
from transformers import AutoConfig, AutoModel

from mmre.modeling import TGDIConfig, TGDIForRelationClassification
from mmre.modeling.modeling_tgdi import TGDIOutput

pytestmark = [
    pytest.mark.filterwarnings(
        "error::FutureWarning",
        "error::DeprecationWarning",
        "ignore:`torch.jit.script`:DeprecationWarning",  # DeBERTa's, in transformers 5.17.
    ),
    pytest.mark.usefixtures("one_thread", "no_deprecation_message"),
]

ENCODERS = ["text_model", "vision_model"]
NEW_LAYERS = [*PREFIXES, "visual_features", "text_attention", "matching_gate", "classifier"]


# Equations (1) to (15), slowly


def softmax(scores: list[float]) -> list[float]:
    exponentials = [math.exp(score - max(scores)) for score in scores]
    return [exponential / sum(exponentials) for exponential in exponentials]


def weighted_sum(weights: list[float], vectors: list[torch.Tensor]) -> torch.Tensor:
    return sum(weight * vector for weight, vector in zip(weights, vectors))


def gelu(vector: torch.Tensor) -> torch.Tensor:
    return torch.stack([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in vector])


def turn(vector: torch.Tensor, position: int, theta: float) -> torch.Tensor:
    """Turn one head's query or key by the rotary position embedding: dimension i turns with dimension i + size / 2."""
    half = len(vector) // 2
    turned = vector.clone()
    for i in range(half):
        angle = position * theta ** (-i / half)
        turned[i] = vector[i] * math.cos(angle) - vector[half + i] * math.sin(angle)
        turned[half + i] = vector[half + i] * math.cos(angle) + vector[i] * math.sin(angle)
    return turned


class Slow:
    """Computes TGDI for each post of a batch, by plain loops over images, levels, layers, heads and tokens."""

    def __init__(self, model: TGDIForRelationClassification):
        self.config = model.config
        self.text = model.config.text_config
        self.size = self.text.hidden_size
        self.weights = {name: weight.detach().double() for name, weight in model.state_dict().items()}
        self.vision = AutoModel.from_config(copy.deepcopy(model.config.vision_config), dtype=torch.float64).eval()
        vision = {name.removeprefix("vision_model."): weight for name, weight in self.weights.items()}
        self.vision.load_state_dict({name: vision[name] for name in self.vision.state_dict()})
        self.levels = []
        for module in (self.vision.pre_layrnorm, *self.vision.encoder.layers):
            module.register_forward_hook(lambda module, inputs, output: self.levels.append(output))

    def linear(self, name: str, vector: torch.Tensor) -> torch.Tensor:
        result = self.weights[f"{name}.weight"] @ vector
        return result + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else result

    def norm(self, name: str, vector: torch.Tensor) -> torch.Tensor:
        epsilon = getattr(self.text, "layer_norm_eps", None) or self.text.norm_eps
        centred = vector - vector.mean()
        result = centred / math.sqrt((centred**2).mean() + epsilon) * self.weights[f"{name}.weight"]
        return result + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else result

    # The text encoder, with a prefix in each layer

    def attend(self, queries, keys, values, prefix, window: int | None) -> list[torch.Tensor]:
        """Compute (6) and (13): attention over [prefix; own tokens], for each head."""
        heads = self.text.num_attention_heads
        size = self.size // heads
        prefix_keys, prefix_values = prefix
        result = []
        for i, query in enumerate(queries):
            seen = [j for j in range(len(keys)) if window is None or abs(i - j) <= window]
            all_keys = prefix_keys + [keys[j] for j in seen]
            all_values = prefix_values + [values[j] for j in seen]
            parts = []
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                scores = [(query[part] @ key[part]).item() / math.sqrt(size) for key in all_keys]
                parts.append(weighted_sum(softmax(scores), [value[part] for value in all_values]))
            result.append(torch.cat(parts))
        return result

    def bert_layer(self, name: str, states, prefix) -> list[torch.Tensor]:
        queries, keys, values = (
            [self.linear(f"{name}.attention.self.{part}", state) for state in states]
            for part in ("query", "key", "value")
        )
        attended = self.attend(queries, keys, values, prefix, window=None)
        result = []
        for state, each in zip(states, attended):
            state = self.norm(
                f"{name}.attention.output.LayerNorm", state + self.linear(f"{name}.attention.output.dense", each)
            )
            hidden = gelu(self.linear(f"{name}.intermediate.dense", state))
            result.append(self.norm(f"{name}.output.LayerNorm", state + self.linear(f"{name}.output.dense", hidden)))
        return result

    def modernbert_layer(self, name: str, index: int, states, prefix) -> list[torch.Tensor]:
        sees_all = index % self.text.global_attn_every_n_layers == 0
        window, theta = (None, 160_000.0) if sees_all else (self.text.local_attention // 2, 10_000.0)
        size = self.size // self.text.num_attention_heads
        normed = states if index == 0 else [self.norm(f"{name}.attn_norm", state) for state in states]
        queries, keys, values = zip(*(self.linear(f"{name}.attn.Wqkv", state).chunk(3) for state in normed))
        queries, keys = (
            [torch.cat([turn(part, i, theta) for part in vector.split(size)]) for i, vector in enumerate(vectors)]
            for vectors in (queries, keys)
        )
        attended = self.attend(queries, keys, values, prefix, window)
        result = []
        for state, each in zip(states, attended):
            state = state + self.linear(f"{name}.attn.Wo", each)
            hidden, gate = self.linear(f"{name}.mlp.Wi", self.norm(f"{name}.mlp_norm", state)).chunk(2)
            result.append(state + self.linear(f"{name}.mlp.Wo", gelu(hidden) * gate))
        return result

    def encode(self, encoder: str, embeddings, prefixes=None) -> list[list[torch.Tensor]]:
        """Compute the states after each layer, then the encoder's last hidden states."""
        prefixes = prefixes or [([], [])] * self.text.num_hidden_layers
        name = f"{encoder}.embeddings"
        if self.text.model_type == "modernbert":
            states = [self.norm(f"{name}.norm", embedding) for embedding in embeddings]
        else:
            first = self.text.pad_token_id + 1 if self.text.model_type == "roberta" else 0
            positions = self.weights[f"{name}.position_embeddings.weight"]
            segment = self.weights[f"{name}.token_type_embeddings.weight"][0]
            states = [
                self.norm(f"{name}.LayerNorm", embedding + positions[first + i] + segment)
                for i, embedding in enumerate(embeddings)
            ]
        result = []
        for index, prefix in enumerate(prefixes):
            if self.text.model_type == "modernbert":
                states = self.modernbert_layer(f"{encoder}.layers.{index}", index, states, prefix)
            else:
                states = self.bert_layer(f"{encoder}.encoder.layer.{index}", states, prefix)
            result.append(states)
        if self.text.model_type == "modernbert":
            states = [self.norm(f"{encoder}.final_norm", state) for state in states]
        return [*result, states]

    def embed(self, ids: list[int]) -> list[torch.Tensor]:
        name = "tok_embeddings" if self.text.model_type == "modernbert" else "word_embeddings"
        return [self.weights[f"text_model.embeddings.{name}.weight"][token] for token in ids]

    def prefix(self, name: str, states) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Compute (5): the keys and the values that a layer sees before its own."""
        projected = [self.linear(name, state) for state in states]
        return [each[: self.size] for each in projected], [each[self.size :] for each in projected]

    # The images

    def encode_image(self, image: torch.Tensor) -> list[list[torch.Tensor]]:
        """Compute the patches of each level; CLIP's first token is the class token."""
        self.levels.clear()
        self.vision(pixel_values=image[None].double())
        return [list(level[0][1:]) for level in self.levels]

    def visual_features(self, levels) -> dict:
        """Compute (1) to (3) for one image."""
        length = self.config.visual_prompt_length
        features = []
        for patches in levels:
            features.append([])
            for token in range(length):
                pooled = patches[token * PATCHES // length : -(-(token + 1) * PATCHES // length)]
                hidden = self.linear("visual_features.mlp.0", sum(pooled) / len(pooled)).tanh()
                projected = self.linear("visual_features.mlp.2", hidden)
                kernel = self.weights["visual_features.convolution.weight"][:, :, 0]
                features[-1].append(kernel @ projected + self.weights["visual_features.convolution.bias"])
        tokens = [token for feature in features for token in feature]
        scores = self.linear("visual_features.gate", sum(tokens) / len(tokens)).tolist()
        scores = [score if score > 0 else 0.01 * score for score in scores]
        gates, visual = [], []
        for layer in range(self.text.num_hidden_layers):
            gates.append(softmax(scores[layer * len(levels) : (layer + 1) * len(levels)]))
            visual.append([weighted_sum(gates[-1], [feature[i] for feature in features]) for i in range(length)])
        return {"features": features, "gates": gates, "visual": visual}

    # The text and the images

    def self_attention(self, states) -> list[torch.Tensor]:
        """Compute (7)."""
        queries, keys, values = (
            [self.linear(f"text_attention.{part}_proj", state) for state in states] for part in "qkv"
        )
        return [
            weighted_sum(softmax([(query @ key).item() / math.sqrt(self.size) for key in keys]), values)
            for query in queries
        ]

    def match(self, images, text) -> dict:
        """Compute (8) to (10)."""
        scale = math.sqrt(self.size) if self.config.scale_matching_scores else 1.0
        scores, compared = [], []
        for patches in images:
            scores.append([])
            for patch in patches:
                vision = self.linear("matching_gate.image_proj", patch)
                scores[-1].append(softmax([(vision @ token).item() / scale for token in text]))
                context = weighted_sum(scores[-1][-1], text)
                compared.append(torch.cat([vision, context, vision * context]))
        hidden = self.linear("matching_gate.mlp.0", sum(compared) / len(compared)).clamp(min=0)
        gate = self.linear("matching_gate.mlp.2", hidden)
        gate = [1 / (1 + math.exp(-each)) for each in gate.tolist()]
        return {"scores": scores, "gate": torch.tensor(gate, dtype=torch.float64)}

    def post(self, batch, post: int) -> dict:
        config = self.config
        ids = [token for token, kept in zip(batch["input_ids"][post].tolist(), batch["attention_mask"][post]) if kept]
        text_ids = ids[: int(batch["text_mask"][post].sum())]
        slots = [slot for slot, exists in enumerate(batch["image_mask"][post].tolist()) if exists]
        levels = [self.encode_image(batch["pixel_values"][post, slot]) for slot in slots]
        result = {"slots": slots, "levels": levels, "visual": [], "alpha": None}

        if config.use_cross_modal_interaction:
            result["visual"] = [self.visual_features(each) for each in levels]
            result["alpha"] = [
                self.prefix(
                    f"visual_prefixes.layers.{layer}",
                    [token for image in result["visual"] for token in image["visual"][layer]],
                )
                for layer in range(self.text.num_hidden_layers)
            ]
        fusion_ids = ids if config.use_caption else text_ids
        result["f1"] = self.encode("text_model", self.embed(fusion_ids), result["alpha"])  # (4) to (6)
        fused = result["f1"][-1]

        if config.use_text_oriented_interaction:
            result["H"] = self.encode("text_model", self.embed(text_ids))
            result["H_s"] = self.self_attention(result["H"][-1])
            gate = torch.ones(self.size, dtype=torch.float64)
            if config.use_matching_gate and slots:
                result |= self.match([each[-1] for each in levels], result["H_s"])
                gate = result["gate"]
            result["gate"] = gate
            result["f2"] = [gate * token for token in fused]  # (11)
            result["beta"] = [
                self.prefix(f"fusion_prefixes.layers.{layer}", result["f2"])
                for layer in range(self.text.num_hidden_layers)
            ]
            encoder = "toi_model" if config.toi_encoder == "separate" else "text_model"
            result["f3"] = self.encode(encoder, result["H_s"], result["beta"])  # (12) and (13)

        vectors = []
        for position in batch["entity_positions"][post].tolist():
            if not config.use_text_oriented_interaction:
                vectors.append(fused[position])
            elif not config.use_result_fusion:
                vectors.append(result["f3"][-1][position])
            else:
                weight = config.fusion_weight
                vectors.append(weight * result["f3"][-1][position] + (1 - weight) * fused[position])  # (14)
        result["R"] = torch.cat(vectors)
        result["logits"] = self.linear("classifier", result["R"])  # (15)
        return result

    @torch.no_grad()
    def __call__(self, batch) -> list[dict]:
        return [self.post(batch, post) for post in range(len(batch["input_ids"]))]


# Arguments of `make_model` whose model is compared with the slow one.
VARIANTS = {
    "paper": {},
    "other values": {
        "num_object_images": 1,
        "visual_prompt_length": 3,
        "scale_matching_scores": True,
        "fusion_weight": 0.2,
    },
    "no object images": {"num_object_images": 0, "visual_prompt_length": 2},
    "separate": {"toi_encoder": "separate"},
    "roberta": {"text": "roberta", "num_object_images": 1},
    "electra": {"text": "electra", "num_object_images": 1},
    "modernbert": {"text": "modernbert", "visual_prompt_length": 2},
    "separate modernbert": {"text": "modernbert", "toi_encoder": "separate", "num_object_images": 1},
    "no caption": {"use_caption": False},
    "no matching gate": {"use_matching_gate": False},
    "no cross-modal interaction": {"use_cross_modal_interaction": False},
    "no text-oriented interaction": {"use_text_oriented_interaction": False},
    "no result fusion": {"use_result_fusion": False},
    "text alone": {"use_caption": False, "use_matching_gate": False, "use_cross_modal_interaction": False},
}
# What `test_modeling_common.py` asks is asked of these there.
ASKED_OF_EVERY_MODEL = ["paper", "separate", "text alone"]
_TRACES = {}


class Trace:
    """Records a batch on all tokens, as the model and as the slow reference computes it, in float64."""

    def __init__(self, model):
        self.config = model.config
        self.batch = make_batch(model.config, torch.float64)
        self.slow = Slow(model)(self.batch)
        # transformers turns by angles in float32.
        self.tolerance = TOLERANCE if model.config.text_config.model_type == "modernbert" else {}
        self.inputs, self.outputs = {}, {}
        handles = [
            module.register_forward_hook(self._record(name))
            for name, module in model.named_modules()
            if not name.startswith("vision_model")
        ]
        with torch.no_grad():
            self.output = model(**self.batch, output_fusion=True)
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            self.logits_alone = model(**self.batch).logits
            # transformers' eager attention of the vision encoder takes its softmax in float32.
            model.set_attn_implementation({"text_config": "eager"})
            self.eager_logits = model(**self.batch).logits

    def _record(self, name):
        def hook(module, inputs, output):
            self.inputs.setdefault(name, []).append(inputs)
            self.outputs.setdefault(name, []).append(output)

        return hook

    def close(self, actual, expected):
        close(actual, torch.stack(expected) if isinstance(expected, list) else expected, **self.tolerance)

    def layers(self, encoder: str, call: int) -> list[torch.Tensor]:
        """Return the states after each layer, then the last hidden states, of the encoder's `call`-th run."""
        layers = "layers" if self.config.text_config.model_type == "modernbert" else "encoder.layer"
        names = [f"{encoder}.{layers}.{index}" for index in range(self.config.text_config.num_hidden_layers)]
        states = [self.outputs[name][call] for name in names]
        states = [state[0] if isinstance(state, tuple) else state for state in states]
        return [*states, self.outputs[encoder][call].last_hidden_state]

    def check_layers(self, encoder: str, call: int, key: str):
        for states, *expected in zip(self.layers(encoder, call), *(slow[key] for slow in self.slow), strict=True):
            for post, tokens in enumerate(expected):
                self.close(states[post, : len(tokens)], tokens)

    def images(self) -> list[tuple[int, int, int]]:
        """Return of each image its number among those that exist, its post, its place among the post's images."""
        places = [(post, place) for post, slow in enumerate(self.slow) for place in range(len(slow["slots"]))]
        return [(number, post, place) for number, (post, place) in enumerate(places)]


def has_matching_gate(config) -> bool:
    return config.use_text_oriented_interaction and config.use_matching_gate


def reads_text_alone(config) -> bool:
    return not config.use_caption and not config.use_cross_modal_interaction


@pytest.fixture(params=VARIANTS)
def trace(request) -> Trace:
    if request.param not in _TRACES:
        _TRACES[request.param] = Trace(make_model(**VARIANTS[request.param]).double())
    return _TRACES[request.param]


def test_equation_1_features_of_each_level(trace):
    if not trace.config.use_cross_modal_interaction:
        assert not any(name.startswith("visual_features") for name in trace.outputs)
        return
    (features,) = trace.outputs["visual_features.convolution"]
    features = features.transpose(1, 2).unflatten(0, (-1, 3))  # (N, c, L, d)
    assert features.shape == (len(trace.images()), 3, trace.config.visual_prompt_length, 16)
    for number, post, place in trace.images():
        for level, expected in enumerate(trace.slow[post]["visual"][place]["features"]):
            trace.close(features[number, level], expected)


def test_equations_2_and_3_gate_the_levels_for_each_text_layer(trace):
    if trace.config.use_cross_modal_interaction:
        ((visual, gates),) = trace.outputs["visual_features"]
        assert gates.shape == (len(trace.images()), 3, 3)
        for number, post, place in trace.images():
            expected = trace.slow[post]["visual"][place]
            close(gates[number], expected["gates"])
            for layer in range(3):
                trace.close(visual[number, layer], expected["visual"][layer])


def check_prefix(trace, name: str, key: str, first: list[list[int]]):
    """Check the recorded keys and values of each layer at the positions `first` of each post."""
    (prefix,) = trace.outputs[name]
    assert len(prefix.keys_values) == 3
    for post, (slow, places) in enumerate(zip(trace.slow, first)):
        assert prefix.mask[post].nonzero().flatten().tolist() == places
        if places:
            for layer, (keys, values) in enumerate(slow[key]):
                trace.close(prefix.keys_values[layer][post, places, :16], keys)
                trace.close(prefix.keys_values[layer][post, places, 16:], values)


def test_equation_5_visual_prefixes_of_each_layer(trace):
    if trace.config.use_cross_modal_interaction:
        length = trace.config.visual_prompt_length
        places = [[slot * length + i for slot in slow["slots"] for i in range(length)] for slow in trace.slow]
        check_prefix(trace, "visual_prefixes", "alpha", places)
    else:
        assert "visual_prefixes" not in trace.outputs


def test_equations_4_and_6_attend_over_the_visual_prefix_in_each_layer(trace):
    trace.check_layers("text_model", 0, "f1")


def test_the_text_alone_is_encoded_without_a_prefix(trace):
    if trace.config.use_text_oriented_interaction:
        # Without dropout it is the first encoding, where that reads neither a caption nor a picture.
        trace.check_layers("text_model", 0 if reads_text_alone(trace.config) else 1, "H")
    else:
        assert len(trace.outputs["text_model"]) == 1


def test_equation_7_self_attention_of_the_text(trace):
    if trace.config.use_text_oriented_interaction:
        (text,) = trace.outputs["text_attention"]
        assert text.shape == (5, 7, 16)
        for post, slow in enumerate(trace.slow):
            trace.close(text[post, : len(slow["H_s"])], slow["H_s"])


def test_equations_8_to_10_matching_gate(trace):
    if not has_matching_gate(trace.config):
        assert "matching_gate" not in trace.outputs
        return
    ((gate, scores),) = trace.outputs["matching_gate"]
    for post, slow in enumerate(trace.slow):
        trace.close(gate[post], slow["gate"])
        for place, slot in enumerate(slow["slots"]):
            expected = torch.tensor(slow["scores"][place], dtype=torch.float64)
            trace.close(scores[post, slot, :, : expected.shape[1]], expected)
            assert not scores[post, slot, :, expected.shape[1] :].any()


def test_equations_11_and_12_put_the_gated_fusion_before_the_text(trace):
    if trace.config.use_text_oriented_interaction:
        ((gated, mask),) = trace.inputs["fusion_prefixes"]
        assert len(gated) == 3
        for post, slow in enumerate(trace.slow):
            for each in gated:
                trace.close(each[post, : len(slow["f2"])], slow["f2"])
        check_prefix(trace, "fusion_prefixes", "beta", [list(range(len(slow["f2"]))) for slow in trace.slow])


def test_equation_13_encodes_the_text_again_over_the_fused_prefix(trace):
    if trace.config.use_text_oriented_interaction:
        before = 1 if reads_text_alone(trace.config) else 2
        if trace.config.toi_encoder == "separate":
            assert len(trace.outputs["text_model"]) == before
            trace.check_layers("toi_model", 0, "f3")
        else:
            assert len(trace.outputs["text_model"]) == before + 1
            trace.check_layers("text_model", before, "f3")


def test_equation_14_fuses_both_results_at_head_and_tail(trace):
    ((result,),) = trace.inputs["classifier"]
    assert result.shape == (5, 32)
    trace.close(result, [slow["R"] for slow in trace.slow])


def test_equation_15_classifies(trace):
    expected = torch.stack([slow["logits"] for slow in trace.slow])
    trace.close(trace.output.logits, expected)
    # The model reads the post: no two of them have the same logits.
    assert torch.pdist(expected).min() > 0.1


def test_neither_output_fusion_nor_eager_attention_changes_a_logit(trace):
    close(trace.logits_alone, trace.output.logits)
    close(trace.eager_logits, trace.output.logits)


def test_output_fusion_reports_what_the_equations_say_and_zero_where_no_image_is(trace):
    output, slots = trace.output, 1 + trace.config.num_object_images
    if trace.config.use_cross_modal_interaction:
        assert output.hierarchy_gates.shape == (5, slots, 3, 3)
    else:
        assert output.hierarchy_gates is None
    if has_matching_gate(trace.config):
        assert output.matching_scores.shape == (5, slots, PATCHES, 7)
        trace.close(output.matching_gate, [slow["gate"] for slow in trace.slow])
        assert output.matching_gate[2].tolist() == [1.0] * 16
    else:
        assert output.matching_scores is None
        assert output.matching_gate is None
    for post, slow in enumerate(trace.slow):
        for slot in range(slots):
            gates = [[0.0] * 3] * 3
            scores = torch.zeros(PATCHES, 7, dtype=torch.float64)
            if slot in slow["slots"]:
                place = slow["slots"].index(slot)
                if output.hierarchy_gates is not None:
                    gates = slow["visual"][place]["gates"]
                if output.matching_scores is not None:
                    expected = torch.tensor(slow["scores"][place], dtype=torch.float64)
                    scores[:, : expected.shape[1]] = expected
            if output.hierarchy_gates is not None:
                close(output.hierarchy_gates[post, slot], gates)
            if output.matching_scores is not None:
                trace.close(output.matching_scores[post, slot], scores)


@pytest.mark.parametrize("text", TEXT_ENCODERS)
def test_logits_agree_in_float32_too(text):
    model = make_model(text)
    batch = make_batch(model.config)
    expected = torch.stack([slow["logits"] for slow in Slow(model)(batch)])
    with torch.no_grad():
        close(model(**batch).logits, expected, atol=5e-5, rtol=1e-4)
        model.set_attn_implementation("eager")
        close(model(**batch).logits, expected, atol=5e-5, rtol=1e-4)


# What is read


@torch.no_grad()
@pytest.mark.parametrize("text", TEXT_ENCODERS)
def test_a_text_may_be_as_long_as_the_position_table(text):
    model = make_model(text, visual_prompt_length=5).double()
    batch = take(make_batch(model.config, torch.float64), [0])
    generator = torch.Generator().manual_seed(2)
    batch["input_ids"] = torch.randint(5, 250, (1, 24), generator=generator)
    batch |= {name: torch.ones(1, 24, dtype=torch.bool) for name in ("attention_mask", "text_mask")}
    batch["entity_positions"] = torch.tensor([[23, 20]])
    close(model(**batch).logits[0], Slow(model)(batch)[0]["logits"], **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_absent_images_are_as_if_they_had_never_been(implementation):
    model = make_model()
    model.set_attn_implementation(implementation)
    weights = model.state_dict()
    batch = make_batch(model.config)
    logits = model(**batch).logits
    for post, slots in ((0, [0, 1, 2, 3]), (1, [0, 2]), (3, [0]), (4, [1, 3])):
        smaller = make_model(num_object_images=len(slots) - 1)
        smaller.load_state_dict(weights)
        alone = without(take(batch, [post]), "image_mask")
        alone["pixel_values"] = alone["pixel_values"][:, slots]
        close(smaller(**alone).logits[0], logits[post], **TOLERANCE)


@torch.no_grad()
def test_what_stands_in_absent_slots_is_never_read_by_eager_attention():
    model = make_model()
    model.set_attn_implementation("eager")
    batch = make_batch(model.config)
    expected = model(**batch, output_fusion=True)
    assert all(values.isfinite().all() for values in expected.values())
    for garbage in (0.0, 1e6, float("inf")):
        pixel_values = batch["pixel_values"].clone()
        pixel_values[~batch["image_mask"]] = garbage
        output = model(**batch | {"pixel_values": pixel_values}, output_fusion=True)
        for name, values in expected.items():
            assert torch.equal(output[name], values), name


@pytest.mark.parametrize(
    ("text", "implementation"), [("bert", "eager"), ("modernbert", "sdpa"), ("modernbert", "eager")]
)
def test_what_stands_in_absent_slots_reaches_no_gradient(text, implementation):
    model = make_model(text).train()
    model.set_attn_implementation(implementation)
    model(**make_batch(model.config, labels=True)).loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


@torch.no_grad()
@pytest.mark.parametrize("text", TEXT_ENCODERS)
def test_the_caption_reaches_the_fusion_and_never_the_text_alone(text):
    model = make_model(text)
    states = record_text_states(model)
    batch = make_batch(model.config)
    caption = batch["attention_mask"].bool() & ~batch["text_mask"]
    other = batch | {"input_ids": batch["input_ids"].masked_fill(caption, 200)}
    logits, other_logits = model(**batch).logits, model(**other).logits
    fused, text_states, _, other_fused, other_text_states, _ = states
    kept = batch["text_mask"][:, :7]
    assert torch.equal(other_text_states[kept], text_states[kept])
    with_caption = caption.any(dim=1)
    assert with_caption.tolist() == [True, True, False, True, True]
    for post in range(5):
        changed = (other_fused - fused)[post, : int(kept[post].sum())].abs().max()
        assert (changed > 1e-2) == (post != 2)
    assert ((other_logits - logits).abs().amax(dim=1) > 1e-2).equal(with_caption)


@torch.no_grad()
def test_without_a_text_mask_all_tokens_are_text():
    model = make_model()
    batch = make_batch(model.config)
    expected = model(**batch | {"text_mask": batch["attention_mask"]}).logits
    assert torch.equal(model(**without(batch, "text_mask")).logits, expected)
    assert (model(**batch).logits - expected).abs().max() > 1e-2
    whole = take(batch, [0, 4])
    expected = model(**without(whole, "text_mask")).logits
    close(model(**without(whole, "text_mask", "attention_mask")).logits, expected, **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("use_caption", [True, False])
def test_a_text_with_padding_before_it_is_not_cut(use_caption):
    model = make_model(use_caption=use_caption)
    model.text_model.embeddings.position_embeddings.weight.zero_()  # The padding moves the text.
    batch = make_batch(model.config)
    moved = batch | {name: batch[name].clone() for name in ("input_ids", "attention_mask", "text_mask")}
    moved["entity_positions"] = batch["entity_positions"].clone()
    for post, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        for name in ("input_ids", "attention_mask", "text_mask"):
            moved[name][post] = batch[name][post].roll(10 - length)
        moved["entity_positions"][post] += 10 - length
    assert not moved["attention_mask"][2, :3].any()
    close(model(**moved).logits, model(**batch).logits, **TOLERANCE)


# Ablations


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        ({}, []),
        ({"use_caption": False}, []),
        ({"use_matching_gate": False}, ["matching_gate"]),
        ({"use_cross_modal_interaction": False}, ["visual_features", "visual_prefixes"]),
        ({"use_text_oriented_interaction": False}, ["text_attention", "matching_gate", "fusion_prefixes"]),
        (
            {"use_text_oriented_interaction": False, "toi_encoder": "separate"},
            ["text_attention", "matching_gate", "fusion_prefixes"],
        ),
        ({"use_result_fusion": False}, []),
        ({"fusion_weight": 0.2, "scale_matching_scores": True, "num_object_images": 1, "dropout": 0.5}, []),
    ],
    ids=str,
)
def test_an_ablation_takes_away_its_own_parameters_and_no_others(arguments, gone):
    full, ablated = make_model(), make_model(**arguments)
    expected = {
        name: weight.shape for name, weight in full.state_dict().items() if name.split(".", maxsplit=1)[0] not in gone
    }
    assert {name: weight.shape for name, weight in ablated.state_dict().items()} == expected
    assert {name for name, _ in full.named_children()} == {*ENCODERS, *NEW_LAYERS, "dropout"}


def test_the_new_parameters_are_those_of_the_equations():
    shapes = {name: tuple(weight.shape) for name, weight in make_model().state_dict().items()}
    assert {name: shape for name, shape in shapes.items() if name.split(".")[0] not in ENCODERS} == {
        "visual_features.mlp.0.weight": (11, 24),
        "visual_features.mlp.0.bias": (11,),
        "visual_features.mlp.2.weight": (16, 11),
        "visual_features.mlp.2.bias": (16,),
        "visual_features.convolution.weight": (16, 16, 1),
        "visual_features.convolution.bias": (16,),
        "visual_features.gate.weight": (9, 16),
        "visual_features.gate.bias": (9,),
        **{f"{name}.layers.{layer}.weight": (32, 16) for name in PREFIXES for layer in range(3)},
        **{f"text_attention.{part}_proj.weight": (16, 16) for part in "qkv"},
        "matching_gate.image_proj.weight": (16, 24),
        "matching_gate.image_proj.bias": (16,),
        "matching_gate.mlp.0.weight": (16, 48),
        "matching_gate.mlp.0.bias": (16,),
        "matching_gate.mlp.2.weight": (16, 16),
        "matching_gate.mlp.2.bias": (16,),
        "classifier.weight": (4, 32),
        "classifier.bias": (4,),
    }


ABLATIONS = {
    "use_caption": [True, True, False, True, True],
    "use_matching_gate": [True, True, False, True, True],
    "use_cross_modal_interaction": [True, True, False, True, True],
    "use_text_oriented_interaction": [True] * 5,
    "use_result_fusion": [True] * 5,
}


@torch.no_grad()
@pytest.mark.parametrize("switch", ABLATIONS)
def test_an_ablated_model_keeps_the_weights_of_the_full_one_and_computes_something_else(switch):
    """Check that the switch changes every post but the third, if it concerns images or captions: it has neither."""
    full, ablated = make_model(), make_model(**{switch: False})
    assert ablated.load_state_dict(full.state_dict(), strict=False).missing_keys == []
    batch = make_batch(full.config)
    difference = (ablated(**batch).logits - full(**batch).logits).abs().amax(dim=1)
    assert (difference > 1e-3).tolist() == ABLATIONS[switch]
    assert difference[~torch.tensor(ABLATIONS[switch])].sum() < 1e-5


@torch.no_grad()
def test_without_captions_the_caption_is_never_read():
    model = make_model(use_caption=False)
    states = record_text_states(model)
    batch = make_batch(model.config)
    logits = model(**batch).logits
    assert [each.shape[1] for each in states] == [7, 7, 7]
    caption = ~batch["text_mask"]
    for input_ids in (batch["input_ids"].masked_fill(caption, 200), batch["input_ids"].masked_fill(caption, 0)):
        assert torch.equal(model(**batch | {"input_ids": input_ids}).logits, logits)
    text = batch | {name: batch[name][:, :7] for name in ("input_ids", "attention_mask", "text_mask")}
    text["attention_mask"] = text["text_mask"]
    assert torch.equal(model(**text).logits, logits)
    close(make_model()(**text).logits, logits, **TOLERANCE)


@torch.no_grad()
def test_the_fusion_weight_goes_from_the_first_result_to_the_refined_one():
    model = make_model()
    batch = make_batch(model.config)
    halfway = model(**batch).logits
    ends = []
    for weight, switch in ((0, "use_text_oriented_interaction"), (1, "use_result_fusion")):
        model.config.fusion_weight = weight
        ablated = make_model(**{switch: False})
        ablated.load_state_dict(model.state_dict(), strict=False)
        ends.append(model(**batch).logits)
        close(ends[-1], ablated(**batch).logits, **TOLERANCE)
    assert (ends[0] - ends[1]).abs().amax(dim=1).min() > 0.1
    close(halfway, (ends[0] + ends[1]) / 2, **TOLERANCE)


# What the three encodings of the text share


def test_a_text_with_nothing_beside_it_is_encoded_once_with_the_logits_and_gradients_of_twice():
    model = make_model().double()
    batch = without(make_batch(model.config, torch.float64, labels=True), "pixel_values", "image_mask")
    alone = batch | {"attention_mask": batch["text_mask"].long()}
    states, results = record_text_states(model), []
    for training in (False, True):  # its dropout is zero, but a model in training is not asked
        model.train(training)
        results.append(loss_and_gradients(model, alone))
    assert len(states) == 2 + 3
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=1e-10)
    states.clear()
    model.eval()(**batch)  # one with captions
    assert len(states) == 3


def copy_to_toi(model) -> None:
    weights = model.text_model.state_dict()
    model.toi_model.load_state_dict({name: weights[name] for name in model.toi_model.state_dict()})


@torch.no_grad()
@pytest.mark.parametrize("text", TEXT_ENCODERS)
def test_a_separate_encoder_with_the_same_weights_is_the_shared_one(tmp_path, text):
    shared, separate = make_model(text), make_model(text, toi_encoder="separate")
    new = {name: weight for name, weight in separate.state_dict().items() if name.startswith("toi_model.")}
    assert {name for name in separate.state_dict() if name not in new} == set(shared.state_dict())
    embeddings = [name for name, module in shared.named_modules() if module is shared.get_input_embeddings()]
    without_embeddings = {name for name in shared.state_dict() if not name.startswith(embeddings[0])}
    assert set(new) == {
        name.replace("text_model.", "toi_model.") for name in without_embeddings if name.startswith("text_model.")
    }
    missing = separate.load_state_dict(shared.state_dict(), strict=False).missing_keys
    assert set(missing) == set(new)
    batch = make_batch(shared.config)
    assert (separate(**batch).logits - shared(**batch).logits).abs().max() > 1e-2
    copy_to_toi(separate)
    assert torch.equal(separate(**batch).logits, shared(**batch).logits)

    # Its embeddings do not grow with the vocabulary: it has none.
    for each in (separate, shared):
        torch.manual_seed(0)
        each.resize_token_embeddings(260)
    separate.save_pretrained(tmp_path)
    loaded, information = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(information.values()), information
    assert loaded.toi_model.config is loaded.text_model.config is loaded.config.text_config
    batch["input_ids"][:, 1] = 259
    assert torch.equal(loaded(**batch).logits, separate(**batch).logits)
    assert torch.equal(loaded(**batch).logits, shared(**batch).logits)
    # Weights of its own: the text alone and the fusion stay the same when they change.
    before = record_text_states(loaded)
    loaded(**batch)
    for name, weight in loaded.named_parameters():
        if name.startswith("toi_model."):
            weight.mul_(1.5)
    assert (loaded(**batch).logits - separate(**batch).logits).abs().max() > 1e-2
    assert len(before) == 4
    assert torch.equal(before[0], before[2])
    assert torch.equal(before[1], before[3])


def test_a_separate_encoder_starts_with_weights_when_the_checkpoint_has_none(tmp_path):
    make_model("modernbert").save_pretrained(tmp_path)
    loaded, information = AutoModel.from_pretrained(tmp_path, toi_encoder="separate", output_loading_info=True)
    assert set(information["missing_keys"]) == {name for name in loaded.state_dict() if name.startswith("toi_model.")}
    assert loaded(**make_batch(loaded.config)).logits.isfinite().all()
    weight = loaded.toi_model.layers[0].attn.Wqkv.weight.detach()
    assert weight.std() == pytest.approx(0.3, rel=0.2)


# What may not change a logit


@torch.no_grad()
@pytest.mark.parametrize("variant", [each for each in VARIANTS if each not in ASKED_OF_EVERY_MODEL])
def test_the_company_in_a_batch_changes_no_logit(variant):
    model = make_model(**VARIANTS[variant])
    batch = make_batch(model.config)
    logits = model(**batch).logits
    for post in range(5):
        close(model(**take(batch, [post])).logits[0], logits[post], **TOLERANCE)
        # Without its padding.
        alone = take(batch, [post])
        length = int(alone["attention_mask"].sum())
        alone |= {name: alone[name][:, :length] for name in ("input_ids", "attention_mask", "text_mask")}
        close(model(**alone).logits[0], logits[post], **TOLERANCE)
    permutation = torch.tensor([3, 0, 4, 2, 1])
    close(model(**take(batch, permutation)).logits, logits[permutation], **TOLERANCE)
    close(model(**take(batch, [1, 1])).logits, logits[[1, 1]], **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("variant", ["other values", "modernbert", "no text-oriented interaction"])
def test_a_post_without_image_is_the_same_alone_in_company_and_without_pixels(variant):
    model = make_model(**VARIANTS[variant])
    batch = make_batch(model.config)
    expected = model(**batch).logits[2]
    alone = take(batch, [2])
    text = without(alone, "pixel_values", "image_mask")
    mask = {"image_mask": alone["image_mask"]}
    for inputs in (alone, text, text | {"pixel_values": None}, text | {"pixel_values": None} | mask, text | mask):
        close(model(**inputs).logits[0], expected, **TOLERANCE)


@torch.no_grad()
def test_a_batch_without_any_image_has_a_gate_of_one_and_nothing_else_to_report():
    model = make_model()
    batch = make_batch(model.config)
    text = without(batch, "pixel_values", "image_mask")
    expected = model(**text).logits
    absent = batch | {"image_mask": torch.zeros_like(batch["image_mask"])}
    for inputs in (text, text | {"pixel_values": None}, absent):
        output = model(**inputs, output_fusion=True)
        assert torch.equal(output.logits, expected)
        assert output.hierarchy_gates is None
        assert output.matching_scores is None
        assert output.matching_gate.shape == (5, 16)
        assert (output.matching_gate == 1).all()
    no_gate = make_model(use_matching_gate=False)
    no_gate.load_state_dict(model.state_dict(), strict=False)
    assert torch.equal(no_gate(**text).logits, expected)
    assert no_gate(**text, output_fusion=True).matching_gate is None


@torch.no_grad()
@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ({}, 1),
        ({"use_cross_modal_interaction": False}, 1),
        ({"use_matching_gate": False}, 1),
        ({"use_text_oriented_interaction": False}, 1),
        ({"use_cross_modal_interaction": False, "use_matching_gate": False}, 0),
        ({"use_cross_modal_interaction": False, "use_text_oriented_interaction": False}, 0),
    ],
    ids=str,
)
def test_the_vision_encoder_runs_once_on_the_existing_images_and_not_at_all_when_no_part_needs_it(arguments, runs):
    model = make_model(**arguments)
    seen = []
    model.vision_model.register_forward_pre_hook(
        lambda module, arguments, keywords: seen.append(keywords["pixel_values"]), with_kwargs=True
    )
    batch = make_batch(model.config)
    for output_fusion in (False, True):
        model(**batch, output_fusion=output_fusion)
        assert len(seen) == runs
        for images in seen:
            assert torch.equal(images, batch["pixel_values"][batch["image_mask"]])
        seen.clear()
    model(**take(batch, [2]))  # No image at all.
    model(**without(batch, "pixel_values", "image_mask"))
    assert seen == []


# Saving and loading


@torch.no_grad()
@pytest.mark.parametrize("variant", ["other values", "modernbert"])
def test_a_saved_model_computes_the_same_after_loading(tmp_path, variant):
    model = make_model(**VARIANTS[variant])
    model.save_pretrained(tmp_path)
    batch = make_batch(model.config)
    for loader in (AutoModel, TGDIForRelationClassification):
        loaded, information = loader.from_pretrained(tmp_path, output_loading_info=True)
        assert type(loaded) is TGDIForRelationClassification
        assert not any(information.values()), information
        assert not loaded.training
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)
        assert loaded.config.id2label == model.config.id2label


# Building from two encoders


def save_encoder(folder, model_type: str, **values) -> nn.Module:
    torch.manual_seed(3)
    known = TEXT_ENCODERS[model_type] if model_type in TEXT_ENCODERS else VISION_ENCODERS[model_type][0]
    encoder = AutoModel.from_config(AutoConfig.for_model(model_type, **{**known, **values})).eval()
    encoder.save_pretrained(folder)
    return encoder


@torch.no_grad()
@pytest.mark.parametrize(
    ("text", "vision", "toi_encoder"),
    [(text, "clip_vision_model", toi_encoder) for text in TEXT_ENCODERS for toi_encoder in ("shared", "separate")]
    + [("bert", vision, "shared") for vision in VISION_ENCODERS if vision != "clip_vision_model"],
)
def test_a_model_is_built_from_two_encoders_whose_weights_it_keeps(tmp_path, text, vision, toi_encoder):
    text_encoder = save_encoder(tmp_path / "text", text)
    vision_encoder = save_encoder(tmp_path / "vision", vision)
    model = TGDIForRelationClassification.from_encoders(
        str(tmp_path / "text"),
        str(tmp_path / "vision"),
        vocab_size=254,
        toi_encoder=toi_encoder,
        id2label={0: "None", 1: "/per/per/peer"},
    )
    assert not model.training
    assert model.config.text_config.vocab_size == len(model.get_input_embeddings().weight) == 254
    embeddings = f"{[name for name, each in text_encoder.named_modules() if isinstance(each, nn.Embedding)][0]}.weight"
    for own, encoder in ((model.text_model, text_encoder), (model.vision_model, vision_encoder)):
        weights = own.state_dict()
        assert set(weights) == set(encoder.state_dict())
        for name, weight in encoder.state_dict().items():
            assert torch.equal(weights[name][: len(weight)], weight), name
    if toi_encoder == "separate":
        weights = model.toi_model.state_dict()
        assert set(weights) == set(text_encoder.state_dict()) - {embeddings}
        for name, weight in weights.items():
            assert torch.equal(text_encoder.state_dict()[name], weight), name

    batch = make_batch(model.config)
    batch["input_ids"][:, 1] = 203
    seen = []
    if toi_encoder == "shared":
        plain = text_encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        model.text_model.register_forward_hook(lambda module, inputs, output: seen.append(output.last_hidden_state))
        model(**without(batch, "pixel_values", "image_mask"))
        close(seen[0], plain, **TOLERANCE)
    batch["input_ids"][:, 1] = 253
    matched = []
    model.matching_gate.register_forward_hook(lambda module, inputs, output: matched.append(inputs))
    output = model(**batch, output_fusion=True)
    assert output.logits.shape == (5, 2)
    assert all(values.isfinite().all() for values in output.values())
    assert output.hierarchy_gates.shape == (5, 4, 3, 3)
    # The patches of the last level, without the tokens before them.
    first = VISION_ENCODERS[vision][1]
    states = vision_encoder(pixel_values=batch["pixel_values"][:1, 0], output_hidden_states=True).hidden_states
    assert [each.shape[1] for each in states] == [first + PATCHES] * 3
    close(matched[0][0][0, 0], states[-1][0, first:], **TOLERANCE)

    model.save_pretrained(tmp_path / "model")
    loaded = AutoModel.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)


@torch.no_grad()
def test_a_text_encoder_with_embeddings_of_another_size_can_serve_without_text_oriented_interaction_alone():
    values = {"model_type": "electra", **TEXT_ENCODERS["electra"], "embedding_size": 8}
    with pytest.raises(ValueError, match=r"ElectraModel reads embeddings of size 8, .* whose size is 16"):
        make_model(text_config=values)
    model = make_model(text_config=values, use_text_oriented_interaction=False)
    assert model(**make_batch(model.config)).logits.isfinite().all()


# Loss and training


# Their outputs are not read, by the model of any paper.
UNUSED = {
    "text_model.pooler.dense.weight",
    "text_model.pooler.dense.bias",
    "vision_model.post_layernorm.weight",
    "vision_model.post_layernorm.bias",
}


@pytest.mark.parametrize(
    "variant", ["paper", "other values", "separate", "modernbert", "no matching gate", "no text-oriented interaction"]
)
def test_every_parameter_learns(variant):
    model = make_model(**VARIANTS[variant]).train()
    _, gradients = loss_and_gradients(model, make_batch(model.config, labels=True))
    unused = UNUSED | {name.replace("text_model", "toi_model") for name in UNUSED}
    for name, _ in model.named_parameters():
        if name in unused:
            assert name not in gradients, name
        else:
            # A softmax does not change when all its scores grow by the same amount.
            assert name.endswith(("k_proj.bias", "key.bias")) or gradients[name].abs().max() > 1e-7, name


@pytest.mark.parametrize("variant", ["other values", "modernbert"])
def test_a_bfloat16_model_trains(variant):
    model = make_model(**VARIANTS[variant]).to(torch.bfloat16).train()
    batch = make_batch(model.config, labels=True)
    loss, gradients = loss_and_gradients(model, batch)
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert all(gradient.isfinite().all() and gradient.dtype == torch.bfloat16 for gradient in gradients.values())


@pytest.mark.parametrize(
    ("variant", "implementation"),
    [
        ("paper", "eager"),
        *((variant, attention) for variant in ("other values", "modernbert") for attention in ("sdpa", "eager")),
    ],
)
def test_autocast_is_close_to_float32(variant, implementation):
    model = make_model(**VARIANTS[variant], initializer_range=0.05).train()
    model.set_attn_implementation(implementation)
    batch = make_batch(model.config, labels=True)
    expected = model(**batch).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**batch, output_fusion=True)
    error = (output.logits.float() - expected).abs().max() / expected.abs().max()
    assert 0 < error < 0.05
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


@torch.no_grad()
def test_evaluation_is_deterministic_and_training_drops_before_the_classifier():
    model = make_model(dropout=0.5)
    batch = make_batch(model.config)
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    results = []
    model.classifier.register_forward_hook(lambda module, inputs, output: results.append(inputs[0]))
    model(**batch)
    model.train()(**batch)
    whole, dropped = results
    kept = dropped != 0
    assert kept.double().mean() == pytest.approx(0.5, abs=0.15)
    torch.testing.assert_close(dropped[kept], whole[kept] * 2)


# The face of `forward`


@torch.no_grad()
def test_output_fusion_adds_its_fields():
    model = make_model()
    batch = make_batch(model.config, labels=True)
    output = model(**batch, output_fusion=True)
    assert isinstance(output, TGDIOutput)
    assert list(output) == ["loss", "logits", "hierarchy_gates", "matching_scores", "matching_gate"]
    assert len(model(**batch, return_dict=False, output_fusion=True)) == 5


# The configuration


def test_the_defaults_are_the_system_of_the_paper():
    config = TGDIConfig()
    assert (config.text_config.model_type, config.text_config.hidden_size) == ("bert", 768)
    assert (config.vision_config.model_type, config.vision_config.patch_size) == ("clip_vision_model", 32)
    assert (config.num_object_images, config.fusion_weight, config.dropout) == (3, 0.5, 0.01)
    assert (config.visual_prompt_length, config.visual_projection_size) == (1, 800)
    assert (config.scale_matching_scores, config.toi_encoder) == (False, "shared")
    assert config.reads() == ("text", "caption", "image", "regions")
    assert all(getattr(config, name) is True for name in own_fields(TGDIConfig) if name.startswith("use_"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"use_text_oriented_interaction": False, "use_result_fusion": False},
            "`use_text_oriented_interaction=False` leaves f1 alone and `use_result_fusion=False` leaves f3 alone: one",
        ),
        ({"visual_prompt_length": 0}, "`visual_prompt_length` must be positive, got 0"),
        ({"visual_projection_size": 0}, "`visual_projection_size` must be positive, got 0"),
        ({"fusion_weight": 1.1}, r"`fusion_weight` must be in \[0, 1\], got 1.1"),
        ({"fusion_weight": -0.1}, r"`fusion_weight` must be in \[0, 1\], got -0.1"),
        ({"toi_encoder": "copied"}, r"'toi_encoder' expected one of \('shared', 'separate'\), got copied"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_by_name(values, message):
    with pytest.raises(StrictDataclassError, match=message):
        TGDIConfig(**values)


def test_a_vision_encoder_that_packs_all_images_into_one_row_is_named():
    vision = {"model_type": "pixtral", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = make_model(
        vision_config=vision | {"intermediate_size": 32, "image_size": 32, "patch_size": 8, "head_dim": 6}
    )
    with pytest.raises(ValueError, match="must be ViT-like: for [0-9]+ images it should give features of shape"):
        model(**make_batch(model.config))


@pytest.mark.parametrize(
    ("values", "reads"),
    [
        ({"use_caption": False}, "text image regions"),
        ({"num_object_images": 0}, "text caption image"),
        ({"use_cross_modal_interaction": False}, "text caption image regions"),
        ({"use_cross_modal_interaction": False, "use_matching_gate": False}, "text caption"),
        ({"use_cross_modal_interaction": False, "use_text_oriented_interaction": False}, "text caption"),
    ],
    ids=str,
)
def test_a_model_reads_pictures_only_if_a_part_of_it_does(values, reads):
    assert TGDIConfig(**values).reads() == tuple(reads.split())


@pytest.mark.parametrize("change", [lambda mask: mask & False, lambda mask: mask[0], lambda mask: mask[:, :-1]])
def test_a_text_mask_that_cannot_be_right_is_refused(change):
    model = make_model()
    batch = make_batch(model.config)
    with pytest.raises(ValueError, match="`text_mask` must"):
        model(**batch | {"text_mask": change(batch["text_mask"])})
