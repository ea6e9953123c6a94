"""Tiny models of every system, and batches for them."""

import copy
from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedConfig, PreTrainedModel

from mmre.modeling import MODELS
from mmre.modeling.configuration_relation_extraction import RelationExtractionConfig

TINY_CNN = {"vocab_size": 250, "word_size": 12, "position_size": 3, "max_distance": 5, "hidden_size": 40}
# What every model is asked, it is asked as each of these: a system, values of its configuration, its picture slots.
CASES = {
    "cnn": ("cnn", TINY_CNN, 0),
    "cnn-piecewise": ("cnn", TINY_CNN | {"pooling": "piecewise"}, 0),
    "focalmre": ("focalmre", {"num_grounded_regions": 2, "num_detected_regions": 2}, 4),
    "focalmre-official": (
        "focalmre",
        {
            "num_grounded_regions": 3,
            "num_detected_regions": 1,
            "region_weighting": "raw",
            "vision_feature_select_strategy": "full",
        },
        4,
    ),
    "focalmre-ablated": (
        "focalmre",
        {"num_grounded_regions": 0, "num_detected_regions": 4, "use_focal_attention": False, "use_gate": False},
        4,
    ),
    "hvpnet": ("hvpnet", {"num_object_images": 3, "visual_projection_size": 11}, 4),
    "hvpnet-patches": (
        "hvpnet",
        {"num_object_images": 3, "visual_projection_size": 11, "vision_features": "patches"},
        4,
    ),
    "mtb": ("mtb", {}, 0),
    "mtb-captions": ("mtb", {"use_caption": True}, 0),
    "tgdi": ("tgdi", {"num_object_images": 3, "visual_projection_size": 11}, 4),
    "tgdi-separate": (
        "tgdi",
        {"num_object_images": 3, "visual_projection_size": 30, "visual_prompt_length": 2, "toi_encoder": "separate"},
        4,
    ),
    "tgdi-text": (
        "tgdi",
        {"use_caption": False, "use_matching_gate": False, "use_cross_modal_interaction": False},
        0,
    ),
}
LABELS = ["None", "/per/per/couple", "/per/misc/awarded", "/per/org/member_of"]
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.3}
ENCODERS = {  # By what a system reads of an encoder.
    "text": {
        "model_type": "bert",
        "vocab_size": 250,
        "hidden_size": 16,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        **LAYERS,
    },
    "patches": {
        "model_type": "clip_vision_model",
        "image_size": 32,
        "patch_size": 16,
        "hidden_size": 24,
        "intermediate_size": 32,
        **LAYERS,
    },
    "maps": {
        "model_type": "resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 8, 12, 16],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    },
}
SLOTS = {"num_grounded_regions": 2, "num_detected_regions": 1}  # and the whole picture
REGIONS = {"num_grounded_regions": 2, "num_detected_regions": 2}
CROPS = REGIONS | {"grounded_grid_size": 2, "detected_grid_size": 1}
CASES |= {
    "bert_sg": ("bert_sg", REGIONS | {"object_size": 12}, 4),
    "bert_sg-attention": ("bert_sg", REGIONS | {"object_size": 12, "use_attention": True}, 4),
    "ifaformer": ("ifaformer", CROPS, 4),
    "ifaformer-alike": ("ifaformer", CROPS | {"text_config": ENCODERS["text"] | {"hidden_size": 24}}, 4),
    "mkgformer": ("mkgformer", CROPS | {"text_config": ENCODERS["text"] | {"num_hidden_layers": 3}}, 4),
    "mkgformer-alike": ("mkgformer", CROPS | {"text_config": ENCODERS["text"] | {"hidden_size": 24}}, 4),
    "mega_mre": ("mega_mre", REGIONS | {"num_aligned_objects": 2}, 4),
    "umgf": (
        "umgf",
        REGIONS | {"num_fusion_layers": 2} | {"fusion_size": 12, "fusion_num_heads": 2, "fusion_intermediate_size": 10},
        4,
    ),
    "umt": ("umt", {"vision_config": ENCODERS["maps"] | {"out_features": ["stage3"]}}, 1),  # four cells, not one
    "umt-patches": ("umt", {"vision_features": "patches"}, 1),
    "vilbert": (
        "vilbert",
        SLOTS
        | {"text_config": ENCODERS["text"] | {"num_hidden_layers": 4}}
        | {"visual_size": 12, "visual_intermediate_size": 14, "visual_num_heads": 2}
        | {"connection_size": 8, "connection_num_heads": 2},
        4,
    ),
    "visualbert_mre": ("visualbert_mre", SLOTS, 4),
}
# One for each system, for what does not depend on the configuration.
SYSTEMS = {model_type: next(case for case, (name, *_) in CASES.items() if name == model_type) for model_type in MODELS}
IMAGE_SIZE = 32


def own_fields(config_class: type[PreTrainedConfig]) -> list[str]:
    """Return the names of a configuration's values that transformers does not know."""
    return [name for name in config_class.__dataclass_fields__ if name not in PreTrainedConfig.__dataclass_fields__]


def dropouts(config_class: type[PreTrainedConfig]) -> list[str]:
    return [name for name in own_fields(config_class) if name.endswith("dropout")]


def encoder_values(config_class: type[RelationExtractionConfig], **values) -> dict[str, dict]:
    """Return the values of the tiny encoders that a configuration class has, with these values."""
    features = values.get("vision_features", getattr(config_class, "vision_features", None))
    names = {"text_config": "text", "vision_config": features}
    return {name: copy.deepcopy(ENCODERS[names[name]]) for name in config_class.sub_configs}


def tiny_config(case: str, dropout: float = 0.0, **values) -> RelationExtractionConfig:
    """Make the configuration of a case; all its dropouts are `dropout`."""
    model_type, own, _ = CASES[case]
    config_class = MODELS[model_type].config_class
    encoders = encoder_values(config_class, **(own | values))
    values = {"initializer_range": 0.3, **encoders, **dict.fromkeys(dropouts(config_class), dropout), **own, **values}
    if "text_config" in encoders:
        of_encoder = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout)
        values["text_config"] = of_encoder | values["text_config"]
    labels = values.pop("labels", LABELS)
    return config_class(
        id2label=dict(enumerate(labels)), label2id={label: index for index, label in enumerate(labels)}, **values
    )


def tiny_model(case: str, **values) -> PreTrainedModel:
    """Make a model in evaluation mode, the same for the same arguments, no vector of which is zero or one."""
    torch.manual_seed(0)
    model = MODELS[CASES[case][0]](tiny_config(case, **values)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight += 0.2 * torch.randn_like(weight)
    return model


def tiny_batch(case: str, config: RelationExtractionConfig, labels: bool = False) -> dict[str, torch.Tensor]:
    """Make five posts: all pictures, some, none and no caption either, the first alone, some others."""
    generator = torch.Generator().manual_seed(1)
    slots, reads = CASES[case][2], config.reads()
    text_lengths, lengths = torch.tensor([[6], [4], [7], [5], [3]]), torch.tensor([[10], [9], [7], [8], [10]])
    if "caption" not in reads:
        text_lengths = lengths
    text = config.get_text_config()
    attention_mask = (torch.arange(10) < lengths).long()
    input_ids = torch.randint(5, text.vocab_size, (5, 10), generator=generator)
    batch = {
        "input_ids": input_ids.masked_fill(attention_mask == 0, text.pad_token_id),
        "attention_mask": attention_mask,
        "entity_positions": torch.tensor([[1, 4], [2, 1], [0, 6], [3, 3], [2, 0]]),
    }
    if "caption" in reads:
        batch["text_mask"] = torch.arange(10) < text_lengths
    if "entity_spans" in reads:
        batch["entity_positions"] = torch.tensor([[1, 4], [4, 1], [0, 3], [3, 3], [5, 2]])
        # A marker, a token, a marker.
        batch["entity_spans"] = torch.stack([batch["entity_positions"], batch["entity_positions"] + 3], dim=-1)
    image_mask = torch.tensor(
        [
            [True for slot in range(slots)],
            [slot % 2 == 0 for slot in range(slots)],
            [False for slot in range(slots)],
            [slot == 0 for slot in range(slots)],
            [slot in (1, 3) for slot in range(slots)],
        ]
    )
    # What stands in absent slots must never be read.
    absent = torch.tensor(float("nan"))
    if "image" in reads or "regions" in reads:
        pixel_values = torch.randn(5, slots, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
        batch["pixel_values"] = torch.where(image_mask[:, :, None, None, None], pixel_values, absent)
        batch["image_mask"] = image_mask
    if "boxes" in reads:
        corners = torch.rand(5, slots, 2, 2, generator=generator).sort(dim=2).values.flatten(2)
        batch["boxes"] = torch.where(image_mask[:, :, None], corners, absent)
    if "structure" in reads:
        batch |= tiny_structure(attention_mask, image_mask, generator)
    if labels:
        batch["labels"] = torch.tensor([1, 0, 3, 2, 1])
    return batch


def tiny_structure(attention_mask: torch.Tensor, image_mask: torch.Tensor, generator) -> dict[str, torch.Tensor]:
    """Describe the words, which start at each other token, and the regions; of absent ones nothing may be read."""
    words, regions = (torch.rand(*mask.shape, 8, generator=generator) for mask in (attention_mask, image_mask))
    starts = attention_mask.bool() & (torch.arange(attention_mask.shape[1]) % 2 == 1)
    absent = torch.tensor(float("nan"))
    return {
        "word_structure": torch.where(starts[..., None], words, 0.0),
        "region_structure": torch.where(image_mask[..., None], regions, absent),
    }


# Inputs that come of the pictures.
PICTURES = ("pixel_values", "image_mask", "boxes", "region_structure")
# Inputs with a value, or a row of them, for each token.
OF_TOKENS = ("input_ids", "attention_mask", "text_mask", "word_structure")


def without(batch: dict, *names: str) -> dict:
    """Return a batch without some of its inputs."""
    return {name: values for name, values in batch.items() if name not in names}


def take(batch: dict[str, torch.Tensor], posts) -> dict[str, torch.Tensor]:
    """Return some posts of a batch, by number."""
    return {name: values[posts] for name, values in batch.items()}


def loss_and_gradients(model, batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss of a batch and the gradient of each weight that has one."""
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    return loss.detach(), {
        name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None
    }


def new_parameters(model) -> dict[str, torch.nn.Parameter]:
    """Return the parameters outside the pretrained encoders, by name."""
    encoders = model.text_encoders + model.vision_encoders
    return {name: weight for name, weight in model.named_parameters() if name.split(".")[0] not in encoders}


class CountOperations(TorchDispatchMode):
    """Counts torch's operations by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.counts[str(function)] += 1
        return function(*arguments, **(keywords or {}))
