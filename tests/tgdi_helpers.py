"""Tiny models of TGDI with several encoders, and batches for them: of its own tests and of those of the prefix."""

import torch

from mmre.modeling import TGDIConfig, TGDIForRelationClassification

PREFIXES = ["visual_prefixes", "fusion_prefixes"]
PATCHES = 16  # 32 x 32 pixels, patches of 8 x 8
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
LABELS = {
    name: index for index, name in enumerate(["None", "/per/per/couple", "/per/misc/awarded", "/per/org/member_of"])
}
LAYERS = {"num_attention_heads": 4, "intermediate_size": 20, "initializer_range": 0.3}
TEXT = {"vocab_size": 250, "hidden_size": 16, "num_hidden_layers": 3, **LAYERS}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SPECIAL = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
TEXT_ENCODERS = {
    "bert": {**TEXT, **NO_DROPOUT, "max_position_embeddings": 24},
    "roberta": {**TEXT, **NO_DROPOUT, "max_position_embeddings": 26, **SPECIAL},
    "electra": {**TEXT, **NO_DROPOUT, "max_position_embeddings": 24, "embedding_size": 16},
    # One layer sees all tokens, two see two tokens on each side.
    "modernbert": {**TEXT, **SPECIAL, "global_attn_every_n_layers": 3, "local_attention": 4},
}
VISION = {"image_size": 32, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2, **LAYERS}
VISION_ENCODERS = {  # Name: the configuration's values, how many tokens come before the patches.
    "clip_vision_model": (VISION, 1),
    "vit": (VISION | NO_DROPOUT, 1),
    "siglip_vision_model": (VISION, 0),
    "dinov2": ({name: value for name, value in VISION.items() if name != "intermediate_size"} | {"mlp_ratio": 2}, 1),
}


def make_config(text: str = "bert", **arguments) -> TGDIConfig:
    """Make a configuration of two encoders with different depths and widths, whose values differ from one another."""
    arguments.setdefault("text_config", {"model_type": text, **TEXT_ENCODERS[text]})
    arguments.setdefault("vision_config", {"model_type": "clip_vision_model", **VISION})
    arguments = {"visual_projection_size": 11, "initializer_range": 0.3, "dropout": 0.0, **arguments}
    return TGDIConfig(id2label={index: name for name, index in LABELS.items()}, label2id=dict(LABELS), **arguments)


def make_model(text: str = "bert", **arguments) -> TGDIForRelationClassification:
    """Make a model in evaluation mode, the same for the same arguments, no weight of which is zero or one."""
    torch.manual_seed(0)
    model = TGDIForRelationClassification(make_config(text, **arguments)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight += 0.2 * torch.randn_like(weight)
    return model


def make_batch(config, dtype=torch.float32, labels=False) -> dict[str, torch.Tensor]:
    """Make five posts: all images, some, none and no caption either, the whole image alone, crops alone."""
    generator = torch.Generator().manual_seed(1)
    text_lengths, lengths = torch.tensor([[6], [4], [7], [5], [3]]), torch.tensor([[10], [9], [7], [8], [10]])
    attention_mask = (torch.arange(10) < lengths).long()
    input_ids = torch.randint(5, config.text_config.vocab_size, (5, 10), generator=generator)
    input_ids = input_ids.masked_fill(attention_mask == 0, config.text_config.pad_token_id)
    slots = range(1 + config.num_object_images)
    image_mask = torch.tensor(
        [
            [True for slot in slots],
            [slot % 2 == 0 for slot in slots],
            [False for slot in slots],
            [slot == 0 for slot in slots],
            [slot in (1, 3) for slot in slots],
        ]
    )
    pixel_values = torch.randn(5, len(slots), 3, 32, 32, generator=generator, dtype=dtype)
    # What stands in absent slots must never be read.
    pixel_values[~image_mask] = float("nan")
    batch = {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "text_mask": torch.arange(10) < text_lengths,
        "pixel_values": pixel_values,
        "image_mask": image_mask,
        "entity_positions": torch.tensor([[1, 4], [2, 1], [0, 6], [3, 3], [2, 0]]),
    }
    if labels:
        batch["labels"] = torch.tensor([1, 0, 3, 2, 1])
    return batch


def close(actual, expected, **tolerance):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.double(), expected, **(tolerance or {"atol": 1e-9, "rtol": 1e-7}))


def record_text_states(model) -> list[torch.Tensor]:
    """Return a list to which each run of the text encoder adds its last hidden states."""
    states = []
    model.text_model.register_forward_hook(lambda module, inputs, output: states.append(output.last_hidden_state))
    return states
