"""LoRA adapters in the encoders of a model."""

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel, ProcessorMixin

from .arguments import MODALITIES, ModelArguments


def add_adapters(
    model: PreTrainedModel, processor: ProcessorMixin, arguments: ModelArguments, base_model: str
) -> PeftModel:
    """Put LoRA adapters into the linear layers of the encoders; the layers between them are trained in full.

    So is what the model's class says is new within them, its `new_in_encoders`. PEFT finds a module to train in full by
    the end of its name, so none of them may be called as something in an encoder is.

    Args:
        model: the model.
        processor: its processor, whose entity markers are new words of the text encoder: their embeddings are trained.
        arguments: `lora_rank`, and which encoder is frozen: it gets no adapter.
        base_model: name or path from which the model without adapters can be loaded.

    Returns:
        The model with adapters, all else of the encoders frozen.

    Raises:
        ValueError: if a module that is to be trained in full is called as one of an encoder is.
    """
    frozen = [
        encoder
        for modality in MODALITIES
        if getattr(arguments, f"freeze_{modality}")
        for encoder in model.encoders(modality)
    ]
    encoders = {name: module for name, module in model.named_children() if module in model.encoders()}
    of_encoders = {
        f"{name}.{inner}": module for name, encoder in encoders.items() for inner, module in encoder.named_modules()
    }
    linear = {
        name.rpartition(".")[2]
        for name, module in of_encoders.items()
        if isinstance(module, nn.Linear) and name not in model.new_in_encoders
    }
    adapted = [name for name, encoder in encoders.items() if encoder not in frozen]
    in_full = [*model.new_in_encoders]
    for name, module in model.named_children():
        if name not in encoders and any(True for _ in module.parameters()):
            # PEFT wraps modules one by one: a list of modules would no longer be one.
            in_full += [f"{name}.{i}" for i in range(len(module))] if isinstance(module, nn.ModuleList) else [name]
    for name in in_full:
        same = [other for other in of_encoders if other.endswith(name) and other != name]
        if same:
            raise ValueError(
                f"{type(model).__name__} cannot be trained with adapters: PEFT takes {same[0]} of an encoder for its "
                f"own {name}. Call that by a name that no encoder has."
            )
    markers = None
    if not arguments.freeze_text:
        embeddings = next(name for name, module in model.named_modules() if module is model.get_input_embeddings())
        markers = {embeddings: processor.tokenizer.convert_tokens_to_ids(processor.entity_markers)}
    config = LoraConfig(
        r=arguments.lora_rank,
        lora_alpha=2 * arguments.lora_rank,
        target_modules=rf"({'|'.join(adapted)})\..*\.({'|'.join(sorted(linear))})",
        modules_to_save=in_full,
        trainable_token_indices=markers,
    )
    adapted_model = get_peft_model(model, config)
    config.base_model_name_or_path = base_model
    return adapted_model


__all__ = ["add_adapters"]
