"""The prefix that the layers of a text encoder attend to, as TGDI gives it: which encoders and attentions can read it,
and that none of them drops it.
"""

import copy
import json
from collections import Counter

import pytest
import torch
from model_helpers import loss_and_gradients, take, without
from tgdi_helpers import (
    PREFIXES,
    SPECIAL,
    TEXT,
    TEXT_ENCODERS,
    TOLERANCE,
    close,
    make_batch,
    make_config,
    make_model,
    record_text_states,
)
from torch import nn
from transformers import AutoConfig, AutoModel

from mmre.modeling import FocalMREConfig, FocalMREForRelationClassification, TGDIForRelationClassification

pytestmark = [
    pytest.mark.filterwarnings(
        "error::FutureWarning",
        "error::DeprecationWarning",
        "ignore:`torch.jit.script`:DeprecationWarning",  # DeBERTa's, in transformers 5.17.
    ),
    pytest.mark.usefixtures("one_thread", "no_deprecation_message"),
]


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("text", TEXT_ENCODERS)
def test_without_a_prefix_the_text_encoder_gives_exactly_its_plain_output(text, implementation):
    model = make_model(text)
    model.set_attn_implementation(implementation)
    config = copy.deepcopy(model.config.text_config)
    plain = AutoModel.from_config(config, attn_implementation=implementation, dtype=torch.float32).eval()
    assert plain.config._attn_implementation == implementation
    plain.load_state_dict(model.text_model.state_dict())
    batch = make_batch(model.config)
    padded = {name: batch[name] for name in ("input_ids", "attention_mask")}
    whole = {"input_ids": batch["input_ids"][[0, 4]]}
    embeddings = {"inputs_embeds": torch.randn(5, 10, 16), "attention_mask": batch["attention_mask"]}
    for inputs in (padded, whole, whole | {"attention_mask": torch.ones(2, 10)}, embeddings):
        expected = plain(**inputs).last_hidden_state
        assert torch.equal(model.text_model(**inputs).last_hidden_state, expected)
        assert torch.equal(model.text_model(**inputs, prefix=None).last_hidden_state, expected)

    states = record_text_states(model)
    model(**without(batch, "pixel_values", "image_mask"))
    assert torch.equal(states[0], plain(**padded).last_hidden_state)
    text_alone = {"input_ids": batch["input_ids"][:, :7], "attention_mask": batch["text_mask"][:, :7]}
    assert torch.equal(states[1], plain(**text_alone).last_hidden_state)
    assert (states[2] - states[1]).abs().max() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("text", ["bert", "roberta"])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_positions_of_the_text_start_at_zero_whatever_the_length_of_the_prefix(text, length):
    model = make_model(text, visual_prompt_length=length)
    first = 0 if text == "bert" else 2
    positions = []
    model.text_model.embeddings.position_embeddings.register_forward_hook(
        lambda module, inputs, output: positions.append(inputs[0])
    )
    model(**take(make_batch(model.config), [0]))
    assert [each.unique().tolist() for each in positions] == [
        list(range(first, first + 10)),  # text and caption
        list(range(first, first + 6)),
        list(range(first, first + 6)),
    ]


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("text", TEXT_ENCODERS)
def test_padding_is_never_attended(text, implementation):
    model = make_model(text)
    model.set_attn_implementation(implementation)
    batch = make_batch(model.config)
    expected = model(**batch, output_fusion=True)
    other = batch | {"input_ids": batch["input_ids"].where(batch["attention_mask"] == 1, torch.tensor(17))}
    if text != "roberta":  # RoBERTa counts positions by the padding.
        close(model(**other).logits, expected.logits, **TOLERANCE)
    # Much padding: with ModernBERT, some padding sees nothing but padding, and of one post no prefix either.
    padding = {"input_ids": model.config.text_config.pad_token_id, "attention_mask": 0, "text_mask": False}
    padded = batch | {name: nn.functional.pad(batch[name], (0, 6), value=padding[name]) for name in padding}
    output = model(**padded, output_fusion=True)
    for name, values in expected.items():
        close(output[name], values, **TOLERANCE)


def enable_checkpointing(model, *arguments):
    """Enable it under the name that this version of transformers does not call deprecated."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(*arguments)


@pytest.mark.parametrize("posts", [[0, 1, 2, 3, 4], [0, 0], [0]], ids=["padded", "not padded", "one post"])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"text": "modernbert"}, {"toi_encoder": "separate"}],
    ids=["bert", "modernbert", "separate"],
)
def test_neither_eager_attention_nor_checkpointing_changes_loss_or_gradients(arguments, posts):
    model = make_model(**arguments).train()
    batch = take(make_batch(model.config, labels=True), posts)
    if len(posts) < 5:
        batch = {**batch, "attention_mask": batch["attention_mask"] * 0 + 1, "text_mask": batch["text_mask"] | True}
    calls = Counter()
    for encoder in ("text_model", "toi_model"):
        for index, layer in enumerate(attention_layers(getattr(model, encoder, None))):
            layer.register_forward_pre_hook(lambda *_, key=(encoder, index): calls.update([key]))
    loss, gradients = loss_and_gradients(model, batch)
    assert gradients["visual_features.gate.weight"].any()
    assert all(gradients[f"{name}.layers.{i}.weight"].any() for name in PREFIXES for i in range(3))
    once = dict(calls)
    assert sum(once.values()) == 9
    for checkpointing, implementation in ((False, "eager"), (True, "eager"), (True, "sdpa")):
        model.set_attn_implementation(implementation)
        if checkpointing:
            enable_checkpointing(model)
        calls.clear()
        other_loss, other_gradients = loss_and_gradients(model, batch)
        # Checkpointed layers are computed again in the backward pass.
        assert calls == {key: number * (2 if checkpointing else 1) for key, number in once.items()}
        torch.testing.assert_close(other_loss, loss)
        assert set(other_gradients) == set(gradients)
        for name, gradient in gradients.items():
            torch.testing.assert_close(other_gradients[name], gradient, atol=2e-5, rtol=1e-4, msg=name)


def attention_layers(encoder) -> list[nn.Module]:
    modules = [] if encoder is None else encoder.modules()
    return [module for module in modules if type(module).__name__ in ("BertSelfAttention", "ModernBertAttention")]


def attentions(model) -> tuple[str, str, str]:
    """Return the attentions of the model and of its encoders."""
    assert model.text_model.config is model.config.text_config
    return tuple(
        config._attn_implementation for config in (model.config, model.text_model.config, model.vision_model.config)
    )


PREFIX_SDPA, PREFIX_EAGER = "mmre_prefix", "mmre_prefix_eager"
ATTENTIONS = [
    ("sdpa", ("sdpa", PREFIX_SDPA, "sdpa")),
    ("eager", ("eager", PREFIX_EAGER, "eager")),
    ({"text_config": "eager"}, ("sdpa", PREFIX_EAGER, "sdpa")),
    ({"vision_config": "eager"}, ("sdpa", PREFIX_SDPA, "eager")),
    ({"text_config": "sdpa", "vision_config": "eager"}, ("sdpa", PREFIX_SDPA, "eager")),
    ({"": "eager", "text_config": "sdpa", "vision_config": "eager"}, ("eager", PREFIX_SDPA, "eager")),
]


@torch.no_grad()
@pytest.mark.parametrize(("asked", "expected"), ATTENTIONS, ids=str)
def test_the_attention_can_be_chosen_and_keeps_reading_the_prefix(tmp_path, asked, expected):
    model = make_model()
    assert attentions(model) == ("sdpa", PREFIX_SDPA, "sdpa")
    batch = make_batch(model.config)
    logits = model(**batch).logits
    model.save_pretrained(tmp_path)
    model.set_attn_implementation(asked)
    loaded = AutoModel.from_pretrained(tmp_path, attn_implementation=asked)
    built = AutoModel.from_config(AutoConfig.from_pretrained(tmp_path), attn_implementation=asked).eval()
    built.load_state_dict(model.state_dict())
    for each in (model, loaded, built):
        assert attentions(each) == expected
        close(each(**batch).logits, logits, **TOLERANCE)
        # Asked for what it has, or for what it had.
        each.set_attn_implementation(asked)
        assert attentions(each) == expected
        each.set_attn_implementation("sdpa")
        assert attentions(each) == ("sdpa", PREFIX_SDPA, "sdpa")
        assert torch.equal(each(**batch).logits, logits)


@pytest.mark.parametrize("toi_encoder", ["shared", "separate"])
def test_the_choice_of_attention_is_not_written_down(tmp_path, toi_encoder):
    model = make_model(toi_encoder=toi_encoder)
    for implementation in ("sdpa", "eager"):
        model.set_attn_implementation(implementation)
        model.save_pretrained(tmp_path)
        text = (tmp_path / "config.json").read_text()
        for name in ("attn_implementation", "mmre_prefix", "eager", "sdpa"):
            assert name not in text
            assert name not in json.dumps(model.config.to_dict())
        assert attentions(AutoModel.from_pretrained(tmp_path)) == ("sdpa", PREFIX_SDPA, "sdpa")


@torch.no_grad()
@pytest.mark.parametrize(
    "asked",
    ["flex_attention", "flash_attention_2", "nonsense", {"text_config": "flex_attention"}, {"text_config": None}],
    ids=str,
)
def test_an_attention_that_cannot_read_the_prefix_is_refused_and_nothing_changes(tmp_path, asked):
    model = make_model()
    model.save_pretrained(tmp_path)
    message = "This model attends over a prefix with 'sdpa' or 'eager', not with "
    batch = make_batch(model.config)
    logits = model(**batch).logits
    with pytest.raises(ValueError, match=message):
        model.set_attn_implementation(asked)
    assert attentions(model) == ("sdpa", PREFIX_SDPA, "sdpa")
    assert torch.equal(model(**batch).logits, logits)
    if asked != {"text_config": None}:
        with pytest.raises(ValueError, match=message):
            AutoModel.from_pretrained(tmp_path, attn_implementation=asked)


def change_text_encoder(model):
    model.text_model.set_attn_implementation("eager")


def change_toi_encoder(model):
    model.toi_model.set_attn_implementation("sdpa")


def change_configuration(model):
    model.config._attn_implementation = "sdpa"


@torch.no_grad()
@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        ({}, change_text_encoder),
        ({"toi_encoder": "separate"}, change_toi_encoder),
        ({"use_text_oriented_interaction": False}, change_text_encoder),
        ({"use_cross_modal_interaction": False}, change_text_encoder),
        ({}, change_configuration),
    ],
)
def test_attention_changed_behind_the_model_raises_instead_of_dropping_the_prefix(arguments, change):
    model = make_model(**arguments)
    batch = make_batch(model.config)
    logits = model(**batch).logits
    change(model)
    with pytest.raises(RuntimeError, match=r"Layers \[0, 1, 2\] of the text encoder did not read the prefix"):
        model(**batch)
    model.set_attn_implementation("sdpa")
    assert torch.equal(model(**batch).logits, logits)


def test_a_configuration_may_serve_two_models():
    config = make_config()
    first = TGDIForRelationClassification(config)
    first.set_attn_implementation("eager")
    second = TGDIForRelationClassification(config)
    assert attentions(second)[1] == PREFIX_EAGER
    # A model of another kind may share the text configuration: without a prefix the attention is the plain one.
    other = FocalMREForRelationClassification(
        FocalMREConfig(text_config=config.text_config, vision_config=config.vision_config)
    ).eval()
    other.text_model.load_state_dict(first.text_model.state_dict())
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        expected = first.eval().text_model(input_ids=ids).last_hidden_state
        close(other.text_model(input_ids=ids).last_hidden_state, expected, **TOLERANCE)


NOT_AN_ENCODER_FOR_PREFIXES = {
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 4, "hidden_dim": 20},
    "albert": {**TEXT, "embedding_size": 16},
    "deberta-v2": TEXT,
    "mpnet": TEXT,
    "megatron-bert": TEXT,  # Its layers know which they are, but attend in their own way.
    # Their attention sees the tokens before a token only.
    "bert": {**TEXT, "is_decoder": True},
    "llama": {**TEXT, "num_key_value_heads": 4, **SPECIAL},
    # Its query heads share key heads.
    "eurobert": {**TEXT, "num_key_value_heads": 2, **SPECIAL},
}


@pytest.mark.parametrize("implementation", [None, "eager"])
@pytest.mark.parametrize("model_type", NOT_AN_ENCODER_FOR_PREFIXES)
def test_a_text_encoder_whose_layers_cannot_take_a_prefix_is_refused(model_type, implementation):
    values = {"vocab_size": 250, "model_type": model_type, **NOT_AN_ENCODER_FOR_PREFIXES[model_type]}
    config = make_config(text_config=values)
    config._attn_implementation = implementation
    with pytest.raises(ValueError, match=r"The text encoder \w+Model cannot take a prefix: .* ModernBERT do"):
        TGDIForRelationClassification(config)


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_training_drops_attention_weights_of_the_text_encoder_as_it_says(implementation):
    values = {"model_type": "bert", **TEXT_ENCODERS["bert"], "attention_probs_dropout_prob": 0.5}
    model = make_model(text_config=values)
    model.set_attn_implementation(implementation)
    batch = make_batch(model.config)
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    states = record_text_states(model.train())
    model(**batch)
    model(**batch)
    for first, second in zip(states[:3], states[3:]):
        assert (first - second).abs().max() > 1e-2


def test_reentrant_checkpointing_is_refused():
    with pytest.raises(ValueError, match="set `use_reentrant=False`"):
        enable_checkpointing(make_model(), {"use_reentrant": True})
