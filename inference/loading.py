"""Models in a folder or on the Hub, with their LoRA adapters."""

import os
from pathlib import Path

from peft import PeftConfig, PeftModel
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoProcessor, Pipeline, PreTrainedModel, pipeline
from transformers.utils import find_adapter_config_file

from mmre.annotation.annotator import naming
from mmre.modeling import MODELS
from mmre.processing.pipeline_relation_extraction import TASK

from .adapter_scores import load_score_values


def load_model(
    folder: str | os.PathLike, is_trainable: bool = False, revision: str | None = None, dtype: str = "auto"
) -> PreTrainedModel | PeftModel:
    """Load a model, or a LoRA adapter on the model that the adapter was trained on.

    Args:
        folder: a folder of a model or of an adapter, or its name on the Hub.
        is_trainable: keep an adapter's weights trainable, to train them further.
        revision: revision of a model or an adapter on the Hub.
        dtype: type of the weights; that of the checkpoint by default.

    Returns:
        The model in evaluation mode.

    Raises:
        OSError: there is no model, or the model under the adapter is gone.
    """
    config = adapter_config(folder, revision)
    try:
        if config is None:
            return AutoModel.from_pretrained(folder, revision=revision, dtype=dtype).eval()
        base = AutoModel.from_pretrained(config.base_model_name_or_path, revision=config.revision, dtype=dtype)
        model = PeftModel.from_pretrained(base, folder, config=config, is_trainable=is_trainable, revision=revision)
        load_score_values(model, folder, revision)
    except SafetensorError as error:
        raise OSError(f"the weights of {folder} cannot be read: {error}. Is the file complete?") from error
    return model.eval()


def load_pipeline(model: str, revision: str | None = None, dtype: str = "auto", **options) -> Pipeline:
    """Load a model, or a LoRA adapter merged into its model, into a pipeline.

    Args:
        model: a folder of a model or of an adapter, or its name on the Hub.
        revision: revision on the Hub.
        dtype: type of the weights; that of the checkpoint by default.
        options: further arguments of the pipeline.

    Raises:
        OSError: the model is not there.
        ValueError: the model is none for relations, or does not take an option.
    """
    with naming(f"MODEL {model}"):
        adapter = adapter_config(model, revision=revision)
        if adapter is None:
            config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
        else:
            config = AutoConfig.from_pretrained(adapter.base_model_name_or_path, revision=adapter.revision)
    kind = config.model_type
    if kind not in MODELS:
        raise ValueError(f"MODEL {model} is a {kind!r}, which extracts no relations; expected {' or '.join(MODELS)}")
    with naming(f"MODEL {model}"):
        # Not by its name: `pipeline` looks for the model under an adapter where it was when the adapter was trained.
        whole = load_model(model, revision=revision, dtype=dtype)
        whole = whole if adapter is None else whole.merge_and_unload()
        processor = AutoProcessor.from_pretrained(model, revision=revision)
        return pipeline(TASK, model=whole, processor=processor, dtype=dtype, **options)


def adapter_config(folder: str | os.PathLike, revision: str | None = None) -> PeftConfig | None:
    """Read the configuration of a LoRA adapter.

    The output folder of an adapter may have been moved: the model under the adapter is then found inside the folder,
    in `base_model`.

    Args:
        folder: a folder of a model or of an adapter, or its name on the Hub.
        revision: revision on the Hub.

    Returns:
        The configuration; None of a whole model.
    """
    if find_adapter_config_file(str(folder), revision=revision) is None:
        return None
    config = PeftConfig.from_pretrained(folder, revision=revision)
    inside = Path(folder) / "base_model"
    if inside.is_dir() and not os.path.isdir(config.base_model_name_or_path):
        config.base_model_name_or_path = str(inside.absolute())
    return config


def relations_of_model(folder: str | os.PathLike) -> list[str]:
    """Read the relations of a model, or of the model under a LoRA adapter, in the order of their ids.

    Args:
        folder: a folder of a model or of an adapter, or its name on the Hub.
    """
    config = adapter_config(folder)
    name, revision = (folder, None) if config is None else (config.base_model_name_or_path, config.revision)
    names = AutoConfig.from_pretrained(name, revision=revision).id2label
    return [names[number] for number in sorted(names)]


__all__ = ["adapter_config", "load_model", "load_pipeline", "relations_of_model"]
