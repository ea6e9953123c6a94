"""Bring a checkpoint of the FocalMRE authors (`best_model.pth`) into this project's format.

What the official code does and the paper does not say is set in the configuration: the class token is a patch, region
weights are raw, absent regions are zero images, frames are drawn on the full-size picture and its sides are cut off.
"""

import json
import pickle
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedConfig

from mmre.evaluation.scores import check_finite_weights
from mmre.modeling import FocalMREConfig, FocalMREForRelationClassification
from mmre.posts.full_disk import naming_full_disk
from mmre.processing import FocalMREProcessor

OFFICIAL_MARKERS = ["<s>", "</s>", "<o>", "</o>"]
OFFICIAL_PROCESSOR = {
    "entity_markers": OFFICIAL_MARKERS,
    "max_length": 128,
    "resize": "center_crop",
    "draw_at": "source",
    "original_if_no_region": False,
}

# Layers of the official model that its forward pass never uses.
UNUSED_WEIGHTS = ("v_projection.", "t_projection.", "gate_out.", "gate_out1.", "gate_out2.", "gate_final.")


def convert_state_dict(official: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the weights of the official `REModel`.

    Args:
        official: its state dict, with or without the `module.` of `DataParallel`.

    Returns:
        The state dict of [`FocalMREForRelationClassification`] with raw region weights.

    Raises:
        ValueError: if a weight is not one of the official model's.
    """
    converted = {}
    for official_name, tensor in official.items():
        name = official_name.removeprefix("module.")
        if name.startswith("classifier."):
            converted[name.replace("classifier.", "classifier.0.")] = tensor
            continue
        name = name.removeprefix("model.")
        if name.startswith(UNUSED_WEIGHTS) or name.endswith("embeddings.position_ids"):
            continue
        part, _, rest = name.partition(".")
        if part == "text_model":
            converted[name] = tensor
        elif part == "vision_model":
            converted[f"vision_model.{rest.removeprefix('vision_model.')}"] = tensor
        elif part == "selective_attns":
            slot, _, layer = rest.partition(".")
            layer = f"out_{layer}" if layer.startswith("proj.") else layer
            converted[f"region_fusions.{slot}.attention.{layer}"] = tensor
        elif part == "gate_denses":
            slot, _, kind = rest.partition(".")
            gate = f"region_fusions.{slot}.gate"
            if kind == "bias":
                converted[f"{gate}.text_proj.bias"] = tensor
            else:
                # One linear layer on [image; text]: its left half is V, its right half U of equation (4).
                image, text = tensor.chunk(2, dim=1)
                converted[f"{gate}.image_proj.weight"] = image.contiguous()
                converted[f"{gate}.text_proj.weight"] = text.contiguous()
        elif part in ("weights1", "weights2"):
            group = "grounded_fusion" if part == "weights1" else "detected_fusion"
            converted[f"{group}.weights"] = tensor.flatten()
        else:
            raise ValueError(f"{official_name!r} is no weight of the official FocalMRE model")
    return converted


def convert_checkpoint(
    path: str | Path, relation_ids: dict[str, int], text_config: PreTrainedConfig, vision_config: PreTrainedConfig
) -> FocalMREForRelationClassification:
    """Load an official checkpoint.

    Args:
        path: the authors' `best_model.pth`.
        relation_ids: name to id of each relation, the content of `ours_rel2id.json`.
        text_config: configuration of the text encoder, BERT-base-uncased.
        vision_config: configuration of the vision encoder, of CLIP ViT-B/32.

    Returns:
        The model in evaluation mode: for the same inputs, the logits of the official code.

    Raises:
        ValueError: if the file holds other weights than the official model of these encoders, or some are not finite.
    """
    official = torch.load(path, map_location="cpu", weights_only=True)
    weights = convert_state_dict(official.get("state_dict", official))
    text_config.vocab_size = weights["text_model.embeddings.word_embeddings.weight"].shape[0]
    model = FocalMREForRelationClassification(
        FocalMREConfig(
            text_config=text_config,
            vision_config=vision_config,
            num_grounded_regions=len(weights["grounded_fusion.weights"]),
            num_detected_regions=len(weights["detected_fusion.weights"]),
            region_weighting="raw",
            vision_feature_select_strategy="full",
            id2label={index: name for name, index in relation_ids.items()},
            label2id=relation_ids,
        )
    )
    missing = set(model.state_dict()) - set(weights)
    strange = set(weights) - set(model.state_dict())
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in model.state_dict().items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if missing or strange or shapes:
        raise ValueError(
            f"{path} does not fit these encoders. Missing: {sorted(missing)}. Unknown: {sorted(strange)}. "
            f"Of another shape: {shapes}"
        )
    check_finite_weights(weights, path)
    model.load_state_dict(weights)
    return model.eval()


def convert(
    checkpoint: str | Path,
    relations: str | Path,
    out: str | Path,
    text_encoder: str = "google-bert/bert-base-uncased",
    vision_encoder: str = "openai/clip-vit-base-patch32",
) -> None:
    """Convert an official checkpoint into a folder that `AutoModel` and `AutoProcessor` load.

    Args:
        checkpoint: the authors' `best_model.pth`.
        relations: their `ours_rel2id.json`.
        out: the folder to write.
        text_encoder: name or path of the text encoder that the checkpoint was trained with.
        vision_encoder: name or path of its vision encoder.

    Raises:
        OSError: if a file or an encoder is not there.
        ValueError: if the files are not those of the official code, or not of these encoders.
    """
    for path in (checkpoint, relations):
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no file {path}")
    try:
        relation_ids = json.loads(Path(relations).read_text("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{relations}: {error}; expected the ids of the relations, as JSON") from error
    vision_config = AutoConfig.from_pretrained(vision_encoder)
    try:
        model = convert_checkpoint(
            checkpoint,
            relation_ids,
            AutoConfig.from_pretrained(text_encoder),
            getattr(vision_config, "vision_config", vision_config),
        )
    except (RuntimeError, pickle.UnpicklingError) as error:  # of `torch.load`
        raise ValueError(
            f"{checkpoint} is no checkpoint of weights alone; expected the authors' best_model.pth"
        ) from error
    processor = FocalMREProcessor.from_encoders(
        text=text_encoder,
        vision=vision_encoder,
        num_grounded_regions=model.config.num_grounded_regions,
        num_detected_regions=model.config.num_detected_regions,
        **OFFICIAL_PROCESSOR,
    )
    if len(processor.tokenizer) != model.config.text_config.vocab_size:
        raise ValueError(
            f"the checkpoint has {model.config.text_config.vocab_size} token embeddings, but {text_encoder} with its "
            f"entity markers has {len(processor.tokenizer)} tokens; expected the text encoder of the checkpoint"
        )
    with naming_full_disk(out, "make room, or give another folder"):
        model.save_pretrained(out)
        processor.save_pretrained(out)


__all__ = ["convert", "convert_checkpoint", "convert_state_dict"]
