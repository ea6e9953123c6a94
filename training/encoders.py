"""The model and the processor of a run, on encoders that are pretrained or new."""

import copy
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate import PartialState
from huggingface_hub.errors import StrictDataclassError
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    BertTokenizer,
    CLIPImageProcessorPil,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.utils import logging

from mmre.inference.loading import load_model
from mmre.modeling import MODELS
from mmre.posts.checks import some
from mmre.processing.word_tokenizer import split_words

from .adapters import add_adapters
from .arguments import MODALITIES, ModelArguments, encoders_of
from .system_values import config_names, only, processor_class, processor_values, what_is_wrong
from .vision_features import keep_vision_features
from .word_vectors import read_word_vectors

logger = logging.get_logger("mmre.train")

BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Kinds of a new vision encoder, by what a system reads of it.
NEW_VISION_ENCODERS = {"patches": "clip_vision_model", "maps": "resnet"}
# A picture's size for a new vision encoder whose configuration has none.
IMAGE_SIZE = 224


def build(
    arguments: ModelArguments,
    values: dict[str, Any],
    relations: list[str],
    posts: datasets.DatasetDict,
    output_dir: Path,
) -> tuple[ProcessorMixin, PreTrainedModel | PeftModel]:
    """Build the processor and the model to train.

    Args:
        arguments: a checkpoint, or encoders.
        values: values of the model's configuration and of its processor.
        relations: names of the relations in the order of their ids.
        posts: the data set; the vocabulary of a new text encoder is that of its training posts.
        output_dir: where new encoders are written for all processes, to `new_encoders`, and the model that adapters
            are trained for, to `base_model`.

    Returns:
        The processor and the model, with frozen encoders or adapters if asked for.

    Raises:
        ValueError: if the values are not the checkpoint's, it knows other relations, or texts can be too long.
        OSError: if an encoder or the checkpoint cannot be found.
    """
    labels = {"id2label": dict(enumerate(relations)), "label2id": {name: i for i, name in enumerate(relations)}}
    path = arguments.model_name_or_path
    if path is not None:
        processor, model = _load(path, values)
        if arguments.new_classifier:
            model = _with_new_classifier(model, path, labels)
        elif model.config.label2id != labels["label2id"]:  # the posts were opened with the checkpoint's
            raise ValueError(f"{path} knows the relations {some(model.config.label2id)}, not {some(relations)}.")
    else:
        processor, model = _compose(arguments, values, labels, posts, output_dir / "new_encoders")
    _check_length(processor, model)
    for modality in MODALITIES:
        if getattr(arguments, f"freeze_{modality}"):
            for encoder in model.encoders(modality):
                encoder.requires_grad_(False)
    if not isinstance(model, PeftModel):
        for name in model.new_in_encoders:
            model.get_submodule(name).requires_grad_(True)
    if arguments.feature_cache is not None:
        keep_vision_features(model.get_base_model() if isinstance(model, PeftModel) else model, arguments.feature_cache)
    if arguments.lora_rank is not None:
        if isinstance(model, PeftModel):
            raise ValueError(f"{path} is an adapter already: leave `lora_rank` out to go on training it.")
        if path is None and PartialState().is_main_process:
            # An adapter is loaded on top of the model that it was trained on: here, the encoders and new layers.
            model.save_pretrained(output_dir / "base_model")
            processor.save_pretrained(output_dir / "base_model")
        model = add_adapters(model, processor, arguments, str(path or (output_dir / "base_model").absolute()))
    return processor, model


def _load(path: str, values: dict[str, Any]) -> tuple[ProcessorMixin, PreTrainedModel | PeftModel]:
    """Load a checkpoint that was trained with these values."""
    processor = AutoProcessor.from_pretrained(path)
    model = load_model(path, is_trainable=True)
    for name, value in values.items():
        for saved in (model.config, processor):
            if hasattr(saved, name) and _plain(getattr(saved, name)) != _plain(value):
                raise ValueError(
                    f"`{name}` is {value!r} here, but the checkpoint {path} was trained with "
                    f"{getattr(saved, name)!r}: leave it out, or give the checkpoint's own configuration."
                )
    return processor, model


def _with_new_classifier(model: PreTrainedModel, path: str, labels: dict[str, dict]) -> PreTrainedModel:
    """Put a new classifier, for other relations, on a checkpoint's body."""
    if isinstance(model, PeftModel):
        raise ValueError(
            f"`new_classifier`: {path} is an adapter, whose model has its own: merge it into its model first."
        )
    thrown = {name: weight for name, weight in model.state_dict().items() if name.startswith("classifier.")}
    config = copy.deepcopy(model.config)
    config.id2label, config.label2id = labels["id2label"], labels["label2id"]
    new = type(model)(config)
    kept = {name: weight for name, weight in model.state_dict().items() if name not in thrown}
    left = new.load_state_dict(kept, strict=False)
    if set(left.missing_keys) != {name for name in new.state_dict() if name.startswith("classifier.")}:
        raise ValueError(f"`new_classifier`: {type(model).__name__} has no `classifier` that could be replaced.")
    shapes = ", ".join(f"{name} {tuple(weight.shape)}" for name, weight in thrown.items())
    logger.warning(
        f"`new_classifier`: of {path} are thrown away {shapes}, for the relations "
        f"{some(model.config.id2label.values())}; the new one is for {some(labels['label2id'])}."
    )
    return new.train(model.training)


def _compose(
    arguments: ModelArguments,
    values: dict[str, Any],
    labels: dict[str, dict],
    posts: datasets.DatasetDict,
    folder: Path,
) -> tuple[ProcessorMixin, PreTrainedModel]:
    """Build a model on encoders; new ones are written to the folder first."""
    model_class = MODELS[arguments.model_type]
    config_class = model_class.config_class
    encoders = {modality: getattr(arguments, f"{modality}_encoder") for modality in encoders_of(config_class)}
    if "text" in encoders and encoders["text"] is None:
        texts = posts["train"]["text"]
        encoders["text"] = make_text_encoder(folder / "text", arguments.new_text_encoder, texts)
    own = only(values, config_names(arguments.model_type))
    try:
        config = config_class(**own)
        if "vision" in encoders and encoders["vision"] is None:
            kind = NEW_VISION_ENCODERS[config.vision_features]
            encoders["vision"] = make_vision_encoder(folder / "vision", arguments.new_vision_encoder, kind)
        for_processor, of_system = processor_values(config, values), processor_class(arguments.model_type)
        if "text" in encoders:
            processor = of_system.from_encoders(**encoders, **for_processor)
            model = model_class.from_encoders(**encoders, vocab_size=len(processor.tokenizer), **labels, **own)
        else:
            words, vectors = _words(arguments, posts)
            processor = of_system.from_words(words, **for_processor)
            model = model_class.from_word_vectors(vectors, vocab_size=len(processor.tokenizer), **labels, **own)
    except StrictDataclassError as error:
        raise ValueError(what_is_wrong(error)) from error
    return processor, model


def _words(arguments: ModelArguments, posts: datasets.DatasetDict) -> tuple[list[str], torch.Tensor | None]:
    """Return the words that a system reads, and their vectors: those of the file, or the training posts' without."""
    if arguments.word_vectors is not None:
        return read_word_vectors(arguments.word_vectors, arguments.max_words)
    counts = Counter(word for text in posts["train"]["text"] for word in split_words(text.lower()))
    return [word for word, _ in counts.most_common()], None


def _check_length(processor: ProcessorMixin, model: PreTrainedModel | PeftModel) -> None:
    text_config = getattr(model.config, "text_config", None)
    positions = getattr(text_config, "max_position_embeddings", processor.max_length)
    longest = min(positions, processor.tokenizer.model_max_length)
    if processor.max_length > longest:
        raise ValueError(
            f"`max_length` is {processor.max_length}, but the text encoder reads at most {longest} tokens."
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def make_text_encoder(folder: Path, config: dict[str, Any], texts: Iterable[str]) -> Path:
    """Save a new BERT and its tokenizer.

    Args:
        folder: where to save them.
        config: values of `BertConfig`; the most frequent words are kept if there is a `vocab_size`.
        texts: texts whose words and characters are the vocabulary.

    Returns:
        The folder.
    """
    _check_sizes("new_text_encoder", config, ("vocab_size",))
    backend = BertTokenizer().backend_tokenizer
    words = Counter(
        word
        for text in texts
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    )
    characters = sorted({character for word in words for character in word})
    # Not with the trainers of `tokenizers`: they learn another vocabulary each time.
    vocabulary = [*BERT_TOKENS, *characters, *(f"##{c}" for c in characters)]
    vocabulary += [word for word, _ in words.most_common() if len(word) > 1]
    vocabulary = vocabulary[: config.get("vocab_size", len(vocabulary))]
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(vocabulary)})
    tokenizer.save_pretrained(folder)
    _save_new(folder, "bert", config | {"vocab_size": len(tokenizer)})
    return folder


def make_vision_encoder(folder: Path, config: dict[str, Any], kind: str = "clip_vision_model") -> Path:
    """Save a new vision encoder and its image processor.

    Args:
        folder: where to save them.
        config: values of its configuration. Of a ResNet, values of a ViT do as well: `hidden_size` is the size of its
            last map, each stage before it has half as many channels, and each stage one basic layer.
        kind: `model_type` of the encoder.

    Returns:
        The folder.
    """
    _check_sizes("new_vision_encoder", config, ("hidden_size", "image_size", "patch_size"))
    size = config.get("image_size", IMAGE_SIZE)
    if kind == "resnet" and "hidden_size" in config:
        sizes = [max(config["hidden_size"] // 2**stage, 1) for stage in (3, 2, 1, 0)]
        of_vit = {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size"}
        config = {name: value for name, value in config.items() if name not in of_vit | {"image_size"}}
        small = {"embedding_size": sizes[0], "hidden_sizes": sizes, "depths": [1] * 4, "layer_type": "basic"}
        config = small | config
    new = _save_new(folder, kind, config)
    size = getattr(new, "image_size", size)
    if size < getattr(new, "patch_size", 1):
        raise ValueError(f"no {kind} can be made of {config}: a picture of {size} pixels has no patch in it")
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    image_processor.save_pretrained(folder)
    return folder


def _check_sizes(argument: str, config: dict[str, Any], names: Iterable[str]) -> None:
    """Refuse sizes that this file computes with and that are no numbers; the configuration checks the others."""
    for name in names:
        if type(config.get(name, 1)) is not int:
            raise ValueError(f"`{argument}`: {name} is {config[name]!r}; expected a whole number")


def _save_new(folder: Path, kind: str, values: dict[str, Any]) -> PreTrainedConfig:
    try:
        config = AutoConfig.for_model(kind, **values)
        model = AutoModel.from_config(config, dtype=torch.float32)
    except StrictDataclassError as error:
        raise ValueError(what_is_wrong(error)) from error
    except (ArithmeticError, ValueError, TypeError, RuntimeError) as error:  # sizes of zero, of which torch says little
        raise ValueError(f"no {kind} can be made of {values}: {type(error).__name__}: {error}") from error
    model.save_pretrained(folder)
    return config


__all__ = ["build", "make_text_encoder", "make_vision_encoder"]
