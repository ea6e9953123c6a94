"""A chat model on this machine: from conversations to its first token, to the likelihood of labels, or to an answer."""

import copy
import inspect
import os
import unicodedata
from collections.abc import Sequence
from itertools import product
from string import ascii_uppercase
from typing import Any

import torch
from jinja2 import TemplateError
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from mmre.annotation.annotator import naming

from .prompts import Turn, control_tokens, disarm

# An answer that no model gives, to find where the template puts one.
PLACE = "answer0place"
# What `max_position_embeddings` and tokenizers say where there is no limit.
ENDLESS = 10**9
# Rows of labels that go through a model at once, beside the cache of their prompts.
LABELS_AT_ONCE = 64


class ChatModel:
    """A chat model with its template: conversations in, numbers and answers out.

    Prompts are padded on the left, so that all end at one place; a batch gives what its conversations give one by one.
    Nothing is sampled. A control token in a message is broken, so that it ends no turn.

    Args:
        model: a causal language model, or one of text and pictures.
        processor: its processor, or its tokenizer if it reads text alone; with a chat template.
        name: of the model, for messages.

    Raises:
        ValueError: there is no chat template, or it takes no message of a user.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin | PreTrainedTokenizerBase, name: str):
        self.model, self.processor, self.name = model.eval(), processor, name
        self.reads_pictures = not isinstance(processor, PreTrainedTokenizerBase)
        self.tokenizer = processor.tokenizer if self.reads_pictures else processor
        if getattr(processor, "chat_template", None) is None:
            raise ValueError(
                f"MODEL {name} has no chat template: it was not trained to answer; expected a chat model, whose name "
                "often ends in -Instruct or -Chat"
            )
        # Templates of models that think aloud first have a switch for it.
        thinks = "enable_thinking" in str(processor.chat_template)
        self.switches = {"enable_thinking": False} if thinks else {}
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "left"
        added = self.tokenizer.added_tokens_decoder
        self.special_ids = {id for id, token in added.items() if token.special} - {self.tokenizer.unk_token_id}
        template = str(processor.chat_template)
        self.control_tokens = control_tokens(
            str(token) for id, token in added.items() if id in self.special_ids or str(token).strip() in template
        )
        old = model.generation_config
        model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=old.eos_token_id, pad_token_id=self.tokenizer.pad_token_id
        )
        limits = [getattr(model.config.get_text_config(), "max_position_embeddings", None) or ENDLESS]
        limits.append(self.tokenizer.model_max_length or ENDLESS)
        self.max_tokens = min(limits) if min(limits) < ENDLESS else None
        self.takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self._find_place_of_answers()

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, revision: str | None = None, dtype: str = "auto") -> "ChatModel":
        """Load a chat model.

        Args:
            name: a folder, or a name on the Hub.
            revision: on the Hub.
            dtype: type of the weights; that of the checkpoint by default.

        Raises:
            OSError: there is no such model.
            ValueError: it is none that answers.
        """
        with naming(f"MODEL {name}"):
            config = AutoConfig.from_pretrained(name, revision=revision)
        reads_pictures = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        if not reads_pictures and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise ValueError(f"MODEL {name} is a {config.model_type!r}, which answers nothing; expected a chat model")
        kind = AutoModelForImageTextToText if reads_pictures else AutoModelForCausalLM
        place = {"device_map": "auto"} if torch.cuda.is_available() else {}
        with naming(f"MODEL {name}"):
            processor = (AutoProcessor if reads_pictures else AutoTokenizer).from_pretrained(name, revision=revision)
            model = kind.from_pretrained(name, revision=revision, dtype=dtype, **place)
        return cls(model, processor, str(name))

    @property
    def device(self) -> torch.device:
        """Return the device that inputs go to."""
        return self.model.device

    def _find_place_of_answers(self) -> None:
        """Find what the template puts between a prompt and an answer, and what ends the answer."""
        self.primer = ""
        self.stub = self.render([Turn("user", "x")])
        whole = self.render([Turn("user", "x"), Turn("assistant", PLACE)], is_prompt=False)
        self.lead, rest = "", ""
        if whole.startswith(self.stub) and PLACE in whole[len(self.stub) :]:
            self.lead, _, rest = whole[len(self.stub) :].partition(PLACE)
        ids = self._ids(rest)
        ending = next((place for place, id in enumerate(ids) if id in self.special_ids), None)
        self.end_ids = ids[: ending + 1] if ending is not None else [self.tokenizer.eos_token_id]
        self.stub_ids = self._ids(self.stub)
        primed = self._ids(self.stub + self.lead)
        if self.lead and self._ids(self.stub + self.lead + "A")[: len(primed)] == primed:
            # A token of its own, as a space where no token begins with one: it belongs to the prompt.
            self.primer, self.stub, self.stub_ids, self.lead = self.lead, self.stub + self.lead, primed, ""

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def render(self, turns: Sequence[Turn], is_prompt: bool = True) -> str:
        """Write a conversation as the model's template does, ready for its answer if it is a prompt.

        Raises:
            ValueError: the template does not take it, or a message still has a control token.
        """
        messages = []
        for turn in turns:
            text = self._disarm(turn.text)
            if self.reads_pictures:
                blocks = [{"type": "image"}] if turn.image is not None else []
                messages.append({"role": turn.role, "content": [*blocks, {"type": "text", "text": text}]})
            else:
                messages.append({"role": turn.role, "content": text})
        try:
            text = self.processor.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=is_prompt, **self.switches
            )
        except TemplateError as error:
            raise ValueError(f"MODEL {self.name}: its chat template refuses the conversation: {error}") from error
        return text + self.primer if is_prompt else text

    def _disarm(self, text: str) -> str:
        """Break the control tokens of a message, those too that only the tokenizer's normalization makes."""
        for candidate in (text, unicodedata.normalize("NFKC", text)):
            disarmed = disarm(candidate, self.control_tokens)
            if self.special_ids.isdisjoint(self._ids(disarmed)):
                return disarmed
        raise ValueError(f"MODEL {self.name}: its tokenizer reads a control token in {disarmed!r}")

    def encode(self, conversations: Sequence[Sequence[Turn]]) -> dict[str, torch.Tensor]:
        """Turn conversations into inputs, padded on the left.

        Args:
            conversations: each ends with a question; all with the same number of pictures.
        """
        texts = [self.render(turns) for turns in conversations]
        options = {"padding": True, "return_tensors": "pt", "add_special_tokens": False}
        images = [[turn.image for turn in turns if turn.image is not None] for turns in conversations]
        if not any(images):
            return self.tokenizer(texts, return_token_type_ids=False, **options).to(self.device)
        inputs = self.processor(text=texts, images=images, padding_side="left", **options)
        return inputs.to(self.device, self.model.dtype)

    def count_tokens(self, turns: Sequence[Turn]) -> int:
        """Return the number of tokens of a prompt, those of its pictures too."""
        return self.encode([turns])["input_ids"].shape[1]

    def continuation(self, answer: str) -> list[int]:
        """Return the tokens of an answer where the template puts one, without those that end it."""
        answer = self._disarm(answer)
        ids = self._ids(self.stub + self.lead + answer)
        if ids[: len(self.stub_ids)] == self.stub_ids:
            return ids[len(self.stub_ids) :]
        return self._ids(self.lead + answer)  # the answer would melt into the last token of the prompt

    def choose_letters(self, number: int) -> dict[str, int]:
        """Choose letters that are one token each: A to Z, then AA, AB, ...

        Args:
            number: how many.

        Returns:
            The token of each.

        Raises:
            ValueError: the tokenizer has too few.
        """
        letters = {}
        for candidate in (*ascii_uppercase, *map("".join, product(ascii_uppercase, repeat=2))):
            ids = self.continuation(candidate)
            if len(ids) == 1 and ids[0] not in letters.values() and ids[0] != self.tokenizer.unk_token_id:
                letters[candidate] = ids[0]
            if len(letters) == number:
                return letters
        raise ValueError(
            f"the tokenizer of {self.name} has {len(letters)} letters that are one token each, for {number} relations: "
            "answer by likelihood"
        )

    @torch.inference_mode()
    def first_tokens(self, batch: dict[str, torch.Tensor], tokens: Sequence[int]) -> torch.Tensor:
        """Score the first token of the answers in one forward pass.

        Args:
            batch: from [`encode`].
            tokens: the K tokens to choose from.

        Returns:
            Log-probabilities among these tokens, (B, K).
        """
        return self._prefill(batch)[0][:, list(tokens)].log_softmax(-1)

    def _prefill(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, Any]:
        """Return the logits of the first token of the answers, (B, V), and the cache of the prompts."""
        # Of transformers' ways to run a model this one knows the positions of each kind of model.
        outputs = self.model.generate(
            **batch, max_new_tokens=1, output_logits=True, return_dict_in_generate=True, use_cache=True
        )
        return outputs.logits[0].float(), outputs.past_key_values

    @torch.inference_mode()
    def label_likelihood(self, batch: dict[str, torch.Tensor], labels: Sequence[str]) -> torch.Tensor:
        """Score whole answers: each prompt is read once, and its cache serves all labels.

        Args:
            batch: from [`encode`].
            labels: the L answers to choose from.

        Returns:
            Log-probabilities of each label with the end of the turn after it, (B, L), so that one that begins with
            another is no part of it. They sum to 1 over all texts, not over these labels.
        """
        logits, cache = self._prefill(batch)
        mask, first = batch["attention_mask"], logits.log_softmax(-1)
        rows, scores = len(mask), []
        tokens = [torch.tensor([*self.continuation(label), *self.end_ids], device=self.device) for label in labels]
        at_once = max(1, LABELS_AT_ONCE // rows)
        for start in range(0, len(tokens), at_once):
            chunk = tokens[start : start + at_once]
            number = len(chunk)
            ids = pad_sequence(chunk, batch_first=True)  # (C, T); what is padded on the right is seen by none before it
            lengths = torch.tensor([len(label) for label in chunk], device=self.device)
            repeated = copy.deepcopy(cache)
            repeated.batch_repeat_interleave(number)
            seen = mask.repeat_interleave(number, dim=0)  # (B C, T_prompt)
            inputs = ids[:, :-1].repeat(rows, 1)
            positions = {}
            if self.takes_positions and not hasattr(getattr(self.model, "model", None), "rope_deltas"):
                positions["position_ids"] = seen.sum(-1, keepdim=True) + torch.arange(
                    inputs.shape[1], device=self.device
                )
            outputs = self.model(
                input_ids=inputs,
                attention_mask=torch.cat([seen, torch.ones_like(inputs)], dim=1),
                past_key_values=repeated,
                use_cache=True,
                **positions,
            )
            later = outputs.logits.float().log_softmax(-1).view(rows, number, inputs.shape[1], -1)
            later = later.gather(-1, ids[None, :, 1:, None].expand(rows, -1, -1, 1)).squeeze(-1)  # (B, C, T - 1)
            is_label = torch.arange(1, ids.shape[1], device=self.device) < lengths[:, None]
            scores.append(first[:, ids[:, 0]] + (later * is_label).sum(-1))
        return torch.cat(scores, dim=1)

    @torch.inference_mode()
    def generate(self, batch: dict[str, torch.Tensor], max_new_tokens: int) -> list[tuple[str, int]]:
        """Let the model answer, greedily.

        Args:
            batch: from [`encode`].
            max_new_tokens: most tokens of an answer.

        Returns:
            The answers, each with its number of tokens.
        """
        written = self.model.generate(**batch, max_new_tokens=max_new_tokens)[:, batch["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        counts = (written != self.tokenizer.pad_token_id).sum(-1).tolist()
        return list(zip(texts, counts))


__all__ = ["ChatModel"]
