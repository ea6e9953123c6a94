"""LoRA adapters in the encoders of a model."""

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel, ProcessorMixin

from .arguments import MODALITIES, ModelArguments


def add_adapters(
    model: PreTrainedModel, processor: ProcessorMixin, arguments: ModelArguments, base_model: str
) -> PeftModel:
    """Put LoRA adapters into the linear layers of the encoders; the layers between them are trained in full.

    Args:
        model: the model.
        processor: its processor, whose entity markers are new words of the text encoder: their embeddings are trained.
        arguments: `lora_rank`, and which encoder is frozen: it gets no adapter.
        base_model: name or path from which the model without adapters can be loaded.

    Returns:
        The model with adapters, all else of the encoders frozen.
    """
    frozen = [
        encoder
        for modality in MODALITIES
        if getattr(arguments, f"freeze_{modality}")
        for encoder in model.encoders(modality)
    ]
    encoders = {name: module for name, module in model.named_children() if module in model.encoders()}
    linear = {
        name.rpartition(".")[2]
        for encoder in encoders.values()
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear)
    }
    adapted = [name for name, encoder in encoders.items() if encoder not in frozen]
    in_full = []
    for name, module in model.named_children():
        if name not in encoders and any(True for _ in module.parameters()):
            # PEFT wraps modules one by one: a list of modules would no longer be one.
            in_full += [f"{name}.{i}" for i in range(len(module))] if isinstance(module, nn.ModuleList) else [name]
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
