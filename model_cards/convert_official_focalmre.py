"""Bring a checkpoint of the FocalMRE authors (`best_model.pth`) into this project's format.

    mmre-convert best_model.pth ours_rel2id.json OUT [--text_encoder NAME] [--vision_encoder NAME]

The folder OUT then loads with `AutoModel` and `AutoProcessor`, and `train.py` measures it (`--model_name_or_path OUT
--do_train false`). What the official code does and the paper does not say is set in the configuration: the class token
is a patch, region weights are raw, absent regions are zero images, frames are drawn on the full-size picture and its
sides are cut off.
"""

import argparse
import json
import pickle
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedConfig

from mmre.modeling import FocalMREConfig, FocalMREForRelationClassification
from mmre.processing import FocalMREProcessor

OFFICIAL_MARKERS = ["<s>", "</s>", "<o>", "</o>"]
OFFICIAL_PROCESSOR = {
    "entity_markers": OFFICIAL_MARKERS,
    "max_length": 128,
    "resize": "center_crop",
    "draw_at": "source",
    "original_if_no_region": False,
}

# Layers that the official model has and never uses.
UNUSED = ("v_projection.", "t_projection.", "gate_out.", "gate_out1.", "gate_out2.", "gate_final.")


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
        if name.startswith(UNUSED) or name.endswith("embeddings.position_ids"):
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
            raise ValueError(f"{official_name!r} is no weight of the official FocalMRE model.")
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
        ValueError: if the file holds other weights than the official model of these encoders.
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
            f"Of another shape: {shapes}."
        )
    model.load_state_dict(weights)
    return model.eval()


def main() -> None:
    """The command `mmre-convert`."""
    parser = argparse.ArgumentParser(prog="mmre-convert", description=__doc__.split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path, help="the authors' best_model.pth")
    parser.add_argument("relations", type=Path, help="ours_rel2id.json")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--text_encoder", default="google-bert/bert-base-uncased")
    parser.add_argument("--vision_encoder", default="openai/clip-vit-base-patch32")
    args = parser.parse_args()
    for path in (args.checkpoint, args.relations):
        if not path.is_file():
            parser.error(f"there is no file {path}")
    try:
        relation_ids = json.loads(args.relations.read_text("utf-8"))
        vision_config = AutoConfig.from_pretrained(args.vision_encoder)
        model = convert_checkpoint(
            args.checkpoint,
            relation_ids,
            AutoConfig.from_pretrained(args.text_encoder),
            getattr(vision_config, "vision_config", vision_config),
        )
    except (ValueError, OSError, RuntimeError, pickle.UnpicklingError) as error:
        parser.error(str(error))
    processor = FocalMREProcessor.from_encoders(
        args.text_encoder,
        args.vision_encoder,
        num_grounded_regions=model.config.num_grounded_regions,
        num_detected_regions=model.config.num_detected_regions,
        **OFFICIAL_PROCESSOR,
    )
    if len(processor.tokenizer) != model.config.text_config.vocab_size:
        parser.error(
            f"the checkpoint has {model.config.text_config.vocab_size} token embeddings, but {args.text_encoder} with "
            f"its entity markers {len(processor.tokenizer)}: it was trained with another text encoder"
        )
    model.save_pretrained(args.out)
    processor.save_pretrained(args.out)
    print(f"Written to {args.out}.")


if __name__ == "__main__":
    main()
