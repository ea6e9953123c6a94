"""MTB against its equations, computed slowly, and its switches."""

import pytest
import torch
from model_helpers import tiny_batch, tiny_model
from transformers import AutoModel

from mmre.modeling import MTBConfig

pytestmark = [
    pytest.mark.filterwarnings("error::FutureWarning", "error::DeprecationWarning"),
    pytest.mark.usefixtures("one_thread", "no_deprecation_message"),
]


def slow_logits(model, batch, post: int) -> torch.Tensor:
    """Compute the logits of one post in float64, from the weights by name; of transformers only the text encoder."""
    weights = {name: weight.double() for name, weight in model.state_dict().items()}
    encoder = AutoModel.from_config(model.config.text_config, dtype=torch.float64).eval()
    encoder.load_state_dict(
        {name.removeprefix("text_model."): weight for name, weight in weights.items() if name.startswith("text_model.")}
    )
    read = batch["attention_mask" if model.config.use_caption else "text_mask"][post]
    tokens = [token for token, is_read in zip(batch["input_ids"][post], read) if is_read]
    states = encoder(input_ids=torch.stack(tokens)[None]).last_hidden_state[0]
    head, tail = batch["entity_positions"][post].tolist()
    vector = [*states[head].tolist(), *states[tail].tolist()]
    for name in ("hidden_layer", "classifier"):
        rows, bias = weights[f"{name}.weight"].tolist(), weights[f"{name}.bias"].tolist()
        vector = [sum(w * x for w, x in zip(row, vector)) + b for row, b in zip(rows, bias)]
    return torch.tensor(vector, dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("use_caption", [False, True])
def test_the_states_at_head_and_tail_go_through_a_linear_layer_to_the_classifier(use_caption):
    model = tiny_model("mtb", use_caption=use_caption).double()
    batch = tiny_batch("mtb-captions", tiny_model("mtb-captions").config)
    expected = torch.stack([slow_logits(model, batch, post) for post in range(5)])
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-9, rtol=1e-7)
    assert torch.pdist(expected).min() > 0.1


@torch.no_grad()
def test_dropout_falls_before_the_classifier():
    model = tiny_model("mtb")
    model.dropout.p = 0.5
    seen = []
    model.classifier.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    batch = tiny_batch("mtb", model.config)
    model(**batch)
    model.train()(**batch)
    whole, dropped = seen
    kept = dropped != 0
    assert kept.double().mean() == pytest.approx(0.5, abs=0.15)
    torch.testing.assert_close(dropped[kept], whole[kept] * 2)


def test_the_defaults_are_those_of_the_others_baseline():
    config = MTBConfig()
    assert (config.text_config.model_type, config.text_config.hidden_size) == ("bert", 768)
    assert (config.use_caption, config.dropout) == (False, 0.5)
    assert config.reads() == ("text",)
    assert MTBConfig(use_caption=True).reads() == ("text", "caption")


def test_the_caption_adds_no_parameter():
    shapes = {name: weight.shape for name, weight in tiny_model("mtb").state_dict().items()}
    assert {name: weight.shape for name, weight in tiny_model("mtb-captions").state_dict().items()} == shapes
    assert {name for name in shapes if not name.startswith("text_model.")} == {
        f"{layer}.{kind}" for layer in ("hidden_layer", "classifier") for kind in ("weight", "bias")
    }
