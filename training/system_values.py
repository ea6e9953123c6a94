"""The values of a system: what can be set of its configuration and of its processor, which share some."""

from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin

from huggingface_hub.errors import StrictDataclassError
from transformers import BertTokenizer, CLIPImageProcessorPil, PreTrainedConfig

from mmre.modeling import MODELS
from mmre.processing import PROCESSORS
from mmre.processing.suggestions import unknown

from .arguments import encoders_of
from .docstrings import documented_arguments

# Arguments of processors and values of configurations that the run gives itself.
NOT_SETTABLE = {"tokenizer", "image_processor", "inputs", "vocab_size", "pad_token_id"}
NOT_SETTABLE |= {"score_temperature", "trained_without_none"}
ROOM_FOR_REGIONS = {"num_grounded_regions", "num_detected_regions"}


def documented_values(model_type: str) -> dict[str, str]:
    """Return the text about each value that can be set of a system's configuration and of its processor."""
    config_class = MODELS[model_type].config_class
    texts = documented_arguments(processor_class(model_type))
    for base in reversed(config_class.__mro__):
        texts |= documented_arguments(base)
    names = config_names(model_type) | processor_names(model_type)
    return {name: texts.get(name, "") for name in sorted(names)}


def config_names(model_type: str) -> set[str]:
    """Return what can be set of a model's configuration: its own fields, without the encoders' configurations."""
    config_class = MODELS[model_type].config_class
    own = {*config_class.__dataclass_fields__} - {*PreTrainedConfig.__dataclass_fields__}
    return own - {*config_class.sub_configs} - NOT_SETTABLE


def processor_names(model_type: str) -> set[str]:
    """Return what can be set of a model's processor: room for regions only where the system reads regions."""
    names = {*documented_arguments(processor_class(model_type))} - NOT_SETTABLE
    return names if "regions" in MODELS[model_type].config_class.inputs else names - ROOM_FOR_REGIONS


def processor_class(model_type: str) -> type:
    """Return the class of a system's processor."""
    return PROCESSORS[MODELS[model_type].config_class.processor_class]


def only(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the values with these names."""
    return {name: value for name, value in values.items() if name in names}


def processor_values(config: PreTrainedConfig, values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a model's processor.

    Args:
        config: the model's configuration: what the processor shares with it, and what the model reads.
        values: further values, by name.
    """
    names = processor_names(config.model_type)
    shared = {name: getattr(config, name) for name in sorted(names & config_names(config.model_type))}
    return only(values, names) | shared | {"inputs": config.reads()}


def try_values(model_type: str, values: dict[str, Any]) -> None:
    """Build configuration and processor of the values, before any data is loaded.

    Raises:
        ValueError: if a value cannot be right.
    """
    config = make_config(model_type, values)
    parts = {"tokenizer": BertTokenizer()}
    if "vision" in encoders_of(type(config)):
        parts["image_processor"] = CLIPImageProcessorPil()
    try:
        processor_class(model_type)(**parts, **processor_values(config, values))
    except TypeError as error:
        raise ValueError(" ".join(str(error).split())) from error


def make_config(model_type: str, values: dict[str, Any]) -> PreTrainedConfig:
    """Build the configuration of a system from those of the values that are its own.

    Raises:
        ValueError: if a value cannot be right.
    """
    config_class = MODELS[model_type].config_class
    values = only(values, config_names(model_type))
    for name, value in values.items():
        kind = config_class.__dataclass_fields__[name].type
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(unknown(name, value, get_args(kind)))
    try:
        return config_class(**values)
    except (StrictDataclassError, TypeError) as error:
        raise ValueError(what_is_wrong(error)) from error


def what_is_wrong(error: Exception) -> str:
    """Return what a configuration says of a wrong value in one line, without the name of the check that found it."""
    return " ".join(str(error.__cause__ or error).split())


__all__ = [
    "config_names",
    "documented_values",
    "make_config",
    "only",
    "processor_class",
    "processor_names",
    "processor_values",
    "try_values",
    "what_is_wrong",
]
