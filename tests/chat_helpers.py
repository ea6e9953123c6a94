"""Tiny random chat models made from a configuration, with the templates of the families of chat models."""

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mmre.inference.chat_models import ChatModel

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA2 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
    "{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAVA = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{% if c.type == 'image' %}<image>\n{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN2_VL = LLAVA.replace("<image>\n", "<|vision_start|><|image_pad|><|vision_end|>")
TEMPLATES = {"chatml": CHATML, "llama2": LLAMA2, "llama3": LLAMA3, "gemma": GEMMA}
SPECIALS = [
    *("<pad>", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "<image>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
]
QWEN2_VL_TOKENS = {
    "vision_start": "vision_start",
    "vision_end": "vision_end",
    "image": "image_pad",
    "video": "video_pad",
}
# Characters, and all pairs of capitals: letters beyond Z are a token each.
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def make_tokenizer(template: str | None = CHATML, num_pairs: int = 26 * 26) -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes, but for special tokens and pairs of capitals."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [a + b for a in CAPITALS for b in CAPITALS][:num_pairs]
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, *alphabet, *pairs])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(pair) for pair in pairs], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[A-Z]+|[^A-Z]+"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIALS])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, model_max_length=10**12)
    fast.chat_template = template
    return fast


def text_config(size: int = 16, positions: int = 4096, kind: type = LlamaConfig, **further):
    return kind(
        vocab_size=len(SPECIALS) + 256 + 26 * 26,
        hidden_size=size,
        intermediate_size=2 * size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        initializer_range=0.6,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **further,
    )


def save_chat_model(
    folder,
    template: str | None = CHATML,
    positions: int = 4096,
    num_pairs: int = 26 * 26,
    kind: tuple[type, type] = (LlamaConfig, LlamaForCausalLM),
    **further,
) -> str:
    """Save a random model that reads text alone: a Llama, or of another configuration and class."""
    torch.manual_seed(0)
    kind[1](text_config(positions=positions, kind=kind[0], **further)).save_pretrained(folder)
    make_tokenizer(template, num_pairs).save_pretrained(folder)
    return str(folder)


def save_vision_chat_model(folder) -> str:
    """Save a random LLaVA: a tiny CLIP of four patches before a tiny Llama."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=8,
        patch_size=4,
        initializer_range=0.6,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text_config(),
        image_token_index=SPECIALS.index("<image>"),
        vision_feature_layer=-1,
        image_seq_length=4,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 8, "width": 8}
    images = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=size)
    processor = LlavaProcessor(
        images,
        make_tokenizer(LLAVA),
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA,
    )
    processor.save_pretrained(folder)
    return str(folder)


def load_qwen2_vl(folder) -> ChatModel:
    model = Qwen2VLForConditionalGeneration.from_pretrained(folder)
    return ChatModel(model, PictureQwen2VLProcessor.from_pretrained(folder), "qwen2_vl")


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((12, 10))


class PictureQwen2VLProcessor(Qwen2VLProcessor):
    """The processor of Qwen2-VL without videos, whose part needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **options):
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def save_qwen2_vl(folder) -> str:
    """Save a random Qwen2-VL: a picture takes as many tokens as it is large, and each token has three coordinates."""
    torch.manual_seed(0)
    text = text_config(kind=dict, rope_parameters={"rope_type": "default", "mrope_section": [1, 1]}, hidden_act="silu")
    config = Qwen2VLConfig(
        vision_config={"depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2},
        text_config=text,
        **{f"{name}_token_id": SPECIALS.index(f"<|{token}|>") for name, token in QWEN2_VL_TOKENS.items()},
        tie_word_embeddings=False,
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    images = Qwen2VLImageProcessorPil(
        min_pixels=256, max_pixels=1024, patch_size=4, merge_size=2, temporal_patch_size=2
    )
    PictureQwen2VLProcessor(images, make_tokenizer(QWEN2_VL), chat_template=QWEN2_VL).save_pretrained(folder)
    return str(folder)
