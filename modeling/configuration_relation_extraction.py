"""Bases of the configurations: what a system reads, the paper it is from, its encoders and its relations."""

from typing import NamedTuple

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES
from transformers.pipelines import PIPELINE_REGISTRY

PIPELINE = "multimodal-relation-extraction"

# All that a system may read of a post. "boxes" are the coordinates of the regions, "entity_spans" the tokens of the
# whole entities, "structure" the places of words and regions in graphs; each system is told where the entities' markers
# stand.
INPUTS = ("text", "caption", "image", "regions", "boxes", "entity_spans", "structure")

# Attributes of the configurations of encoders that do not give the same row of patches on every level.
NOT_VIT_LIKE = {
    "depths": "is a pyramid, whose levels differ in width and number of patches",
    "window_block_indices": "gives maps, not rows of patches",
    "global_attn_indexes": "gives maps, not rows of patches",
    "mask_ratio": "hides patches at random",
    "num_detection_tokens": "puts detection tokens after the patches",
    "num_patches": "needs the shape of each image beside its patches",
}


class Paper(NamedTuple):
    """The paper that a system is from.

    Args:
        title (`str`): title.
        authors (`tuple[str, ...]`): authors, first names first; empty if the paper is anonymous.
        venue (`str`): conference or journal.
        year (`int`): year of publication.
        address (`str`): where to read the paper.
        equations (`str`): the part of the paper that the model follows.
    """

    title: str
    authors: tuple[str, ...]
    venue: str
    year: int
    address: str
    equations: str


@strict
class RelationExtractionConfig(PreTrainedConfig):
    """Base of the configurations of all systems.

    A system says in class attributes, which are not part of `config.json`:

    - `system` (`str`): its name for readers, for example `"FocalMRE"`;
    - `paper` ([`Paper`]): the paper it is from;
    - `summary` (`str`): one sentence on how it works, for model cards;
    - `inputs` (`tuple[str, ...]`): what it can read of a post, in the words of `INPUTS`;
    - `processor_class` (`str`): the class of its processor, for example `"FocalMREProcessor"`.

    Args:
        initializer_range (`float`): standard deviation of the new layers' initial weights.
        score_temperature (`float`): what the logits are divided by before the softmax that makes scores of them; fitted
            on validation posts at the end of a training. Logits and loss know nothing of it.
        trained_without_none (`bool`): whether each pair of the training had a relation, so that the model has not
            learned when there is none.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type, or `score_temperature` is not above
            zero.
    """

    # Without annotations, which would make fields of them.
    system = None
    paper = None
    summary = None
    inputs = ()
    processor_class = None

    initializer_range: float | int = 0.02
    # Not `temperature`: transformers takes that for one of text generation, and refuses to save it.
    score_temperature: float | int = 1.0
    trained_without_none: bool = False

    def __post_init__(self, **kwargs):
        # A pipeline that is registered needs none of a repository's code; transformers would ask for trust in it.
        if PIPELINE in PIPELINE_REGISTRY.supported_tasks:
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)

    def validate_score_temperature(self):
        if not 0 < self.score_temperature < float("inf"):
            raise ValueError(f"`score_temperature` must be a number above 0, got {self.score_temperature}.")

    def reads(self) -> tuple[str, ...]:
        """Return what a model of this configuration reads: its system's `inputs`, without those switched off."""
        return self.inputs


@strict
class TextRelationExtractionConfig(RelationExtractionConfig):
    """Base of the configurations of systems with a pretrained text encoder.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type, or the encoder cannot be used.
    """

    sub_configs = {"text_config": AutoConfig}

    text_config: dict | PreTrainedConfig | None = None

    def __post_init__(self, **kwargs):
        self.text_config = _encoder_config(self.text_config, "bert")
        super().__post_init__(**kwargs)

    def validate_text_encoder(self):
        if self.text_config.is_encoder_decoder:
            raise ValueError(
                f"`text_config` must be an encoder alone, but {self.text_config.model_type!r} is an encoder-decoder."
            )


@strict
class MultimodalRelationExtractionConfig(TextRelationExtractionConfig):
    """Base of the configurations of systems with a pretrained text encoder and a pretrained vision encoder.

    The attribute `vision_features` says what a system reads of its vision encoder: `"patches"`, rows of patches of a
    ViT-like encoder (CLIP, ViT, SigLIP, DINOv2); or `"maps"`, the feature maps of an encoder that `AutoBackbone` knows
    (ResNet, ConvNeXt, Swin). Of a system that can read both, it is a value of the configuration.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): the vision encoder; by default CLIP ViT-B/32, or
            ResNet-50 for a system that reads maps.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type, or an encoder cannot be used.
    """

    vision_features = "patches"
    sub_configs = {"text_config": AutoConfig, "vision_config": AutoConfig}

    vision_config: dict | PreTrainedConfig | None = None

    def __post_init__(self, **kwargs):
        default = "clip_vision_model" if self.vision_features == "patches" else "resnet"
        self.vision_config = _encoder_config(self.vision_config, default)
        super().__post_init__(**kwargs)

    def validate_vision_encoder(self):
        # The other kind of encoder is read with the other value, where that is a choice.
        is_choice = "vision_features" in self.__dataclass_fields__
        if self.vision_features == "patches":
            _check_gives_patches(self.vision_config, ' Set `vision_features="maps"` for maps.' if is_choice else "")
        elif self.vision_config.model_type not in MODEL_FOR_BACKBONE_MAPPING_NAMES:
            hint = ' Set `vision_features="patches"` for a ViT-like one.' if is_choice else ""
            raise ValueError(
                f"`vision_config` must be an encoder that gives feature maps, one that `AutoBackbone` knows (resnet, "
                f"convnext, swin), but {self.vision_config.model_type!r} is none.{hint}"
            )


@strict
class RegionRelationExtractionConfig(MultimodalRelationExtractionConfig):
    """Base of the configurations of systems that read the slots of `MultimodalProcessor`.

    The slots are the whole image, if the system's `inputs` have "image", then grounded and detected regions.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): the vision encoder.
        num_grounded_regions (`int`): slots for regions found by visual grounding.
        num_detected_regions (`int`): slots for regions found by object detection.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    num_grounded_regions: int = 4
    num_detected_regions: int = 3

    def validate_slots(self):
        for name in ("num_grounded_regions", "num_detected_regions"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")
        if not self.num_slots:
            raise ValueError("`num_grounded_regions` and `num_detected_regions` are 0, so no picture is read.")

    @property
    def num_slots(self) -> int:
        """Return how many pictures a post has room for."""
        return int("image" in self.inputs) + self.num_grounded_regions + self.num_detected_regions

    def reads(self) -> tuple[str, ...]:
        """Return what a model of this configuration reads: its system's `inputs`, without those switched off."""
        has_regions = self.num_grounded_regions + self.num_detected_regions > 0
        return tuple(name for name in self.inputs if name != "regions" or has_regions)


def _check_gives_patches(vision_config: PreTrainedConfig, hint: str) -> None:
    """Refuse an encoder that does not give a row of patches on every level; the error ends with a hint.

    Raises:
        ValueError: if the encoder is not ViT-like.
    """
    for name, reason in NOT_VIT_LIKE.items():
        if hasattr(vision_config, name):
            raise ValueError(
                f"`vision_config` must be a ViT-like encoder, but {vision_config.model_type!r} {reason} (`{name}`)."
                f"{hint}"
            )
    # ConvNeXt and other pyramids have a `patch_size`, but neither one width nor a sequence of patches.
    for name in ("patch_size", "hidden_size"):
        if not hasattr(vision_config, name):
            raise ValueError(
                f"`vision_config` must be a ViT-like encoder with a `{name}`, but {vision_config.model_type!r} has "
                f"none.{hint}"
            )


def _encoder_config(values: dict | PreTrainedConfig | None, default_model_type: str) -> PreTrainedConfig:
    """Return an encoder's configuration as an object."""
    if values is None:
        values = {"model_type": default_model_type}
    if isinstance(values, dict):
        values = dict(values)
        return CONFIG_MAPPING[values.pop("model_type", default_model_type)](**values)
    return values


__all__ = [
    "INPUTS",
    "MultimodalRelationExtractionConfig",
    "Paper",
    "RegionRelationExtractionConfig",
    "RelationExtractionConfig",
    "TextRelationExtractionConfig",
]
