"""A chat model on this machine: from conversations to its first token, to the likelihood of labels, or to an answer."""

import inspect
import os
import unicodedata
from collections.abc import Sequence
from itertools import product
from string import ascii_uppercase
from typing import Any

import torch
from jinja2 import TemplateError
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

from .label_likelihood import score_rows, score_tree
from .prompts import Turn, control_tokens, disarm
from .shared_prefixes import EncodedPrompts, Prefixes, keeps_all_tokens

# An answer that no model gives, to find where the template puts one.
PLACE = "answer0place"
# What `max_position_embeddings` and tokenizers say where there is no limit.
ENDLESS = 10**9
# Ways to compute attention that take a mask of four dimensions.
MASKED = ("eager", "sdpa")


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
        self.counts_in_pictures = hasattr(getattr(model, "model", None), "rope_deltas")
        self.prefixes = Prefixes(self._read_prefix)
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
        is_for_pictures = reads_pictures(name, revision)
        kind = AutoModelForImageTextToText if is_for_pictures else AutoModelForCausalLM
        place = {"device_map": "auto"} if torch.cuda.is_available() else {}
        with naming(f"MODEL {name}"):
            place |= {"revision": revision, "trust_remote_code": False}
            processor = (AutoProcessor if is_for_pictures else AutoTokenizer).from_pretrained(
                name, revision=revision, trust_remote_code=False
            )
            model = kind.from_pretrained(name, dtype=dtype, **place)
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

    def encode(
        self, conversations: Sequence[Sequence[Turn]], probes: tuple[Sequence[Turn], Sequence[Turn]] | None = None
    ) -> EncodedPrompts:
        """Turn conversations into inputs, padded on the left.

        Args:
            conversations: each ends with a question; all with the same number of pictures.
            probes: two that differ from these, and from one another, in the last question alone. What the prompts of
                both begin with, the model reads once for all conversations that are encoded with equal probes. One
                shows the picture of the last question, if these do, and the other none.
        """
        texts = [self.render(turns) for turns in conversations]
        options = {"padding": True, "return_tensors": "pt", "add_special_tokens": False}
        images = [[turn.image for turn in turns if turn.image is not None] for turns in conversations]
        if not any(images):
            inputs = self.tokenizer(texts, return_token_type_ids=False, **options).to(self.device)
        else:
            inputs = self.processor(text=texts, images=images, padding_side="left", **options)
            inputs = inputs.to(self.device, self.model.dtype)
        prompts = EncodedPrompts(dict(inputs))
        # The keys and values of pictures are not kept: where they stand, models count positions in several ways.
        if probes is None or any(turn.image is not None for probe in probes for turn in probe[:-1]):
            return prompts
        start = os.path.commonprefix([self._ids(self.render(probe)) for probe in probes])
        return prompts.after(start, self.prefixes) if start else prompts

    def count_tokens(self, turns: Sequence[Turn]) -> int:
        """Return the number of tokens of a prompt, those of its pictures too."""
        return self.encode([turns]).inputs["input_ids"].shape[1]

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
    def first_tokens(self, prompts: EncodedPrompts, tokens: Sequence[int]) -> torch.Tensor:
        """Score the first token of the answers in one forward pass.

        Args:
            prompts: from [`encode`].
            tokens: the K tokens to choose from.

        Returns:
            Log-probabilities among these tokens, (B, K).
        """
        return self._prefill(prompts)[0][:, list(tokens)].log_softmax(-1)

    def _prefill(self, prompts: EncodedPrompts) -> tuple[torch.Tensor, Any]:
        """Return the logits of the first token of the answers, (B, V), and the cache of the prompts."""
        # Of transformers' ways to run a model this one knows the positions of each kind of model.
        self._forget_positions()
        outputs = self.model.generate(
            **prompts.inputs,
            **prompts.cache(),
            max_new_tokens=1,
            output_logits=True,
            return_dict_in_generate=True,
            use_cache=True,
        )
        return outputs.logits[0].float(), outputs.past_key_values

    def _read_prefix(self, ids: Sequence[int]) -> Any:
        """Return the cache of the beginning of prompts."""
        inputs = torch.tensor([ids], device=self.device)
        return self._prefill(EncodedPrompts({"input_ids": inputs, "attention_mask": torch.ones_like(inputs)}))[1]

    def _forget_positions(self) -> None:
        """Forget what models of Qwen2-VL's kind keep of the pictures of the batch before."""
        if self.counts_in_pictures:
            self.model.model.rope_deltas = None

    @torch.inference_mode()
    def label_likelihood(self, prompts: EncodedPrompts, labels: Sequence[str]) -> torch.Tensor:
        """Score whole answers: each prompt is read once, and its cache serves all labels.

        Args:
            prompts: from [`encode`].
            labels: the L answers to choose from.

        Returns:
            Log-probabilities of each label with the end of the turn after it, (B, L), so that one that begins with
            another is no part of it. They sum to 1 over all texts, not over these labels.
        """
        logits, cache = self._prefill(prompts)
        tokens = [[*self.continuation(label), *self.end_ids] for label in labels]
        is_tree = self.takes_positions and keeps_all_tokens(cache) and self.model.config._attn_implementation in MASKED
        score = score_tree if is_tree else score_rows
        mask = prompts.inputs["attention_mask"]
        return score(self.model, cache, mask, logits.log_softmax(-1), tokens, self._positions)

    def _positions(self, places: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the argument that says where tokens stand, of their places in their rows, (B, T)."""
        if not self.takes_positions:
            return {}
        if self.counts_in_pictures:
            # A picture of many tokens takes few positions, and each position has three coordinates.
            shifts = self.model.model.rope_deltas.to(places.device)
            places = (places + shifts.repeat_interleave(len(places) // len(shifts), dim=0)).expand(3, -1, -1)
        return {"position_ids": places}

    @torch.inference_mode()
    def generate(self, prompts: EncodedPrompts, max_new_tokens: int) -> list[tuple[str, int]]:
        """Let the model answer, greedily.

        Args:
            prompts: from [`encode`].
            max_new_tokens: most tokens of an answer.

        Returns:
            The answers, each with its number of tokens.
        """
        self._forget_positions()
        written = self.model.generate(**prompts.inputs, **prompts.cache(), max_new_tokens=max_new_tokens)
        written = written[:, prompts.inputs["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        counts = (written != self.tokenizer.pad_token_id).sum(-1).tolist()
        return list(zip(texts, counts))


def reads_pictures(name: str | os.PathLike, revision: str | None = None) -> bool:
    """Return whether a chat model reads pictures, by its configuration alone.

    Args:
        name: a folder, or a name on the Hub.
        revision: on the Hub.

    Raises:
        OSError: there is no such model.
        ValueError: it is none that answers.
    """
    with naming(f"MODEL {name}"):
        # Else a person at a terminal is asked whether the model's own code may run.
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return True
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(f"MODEL {name} is a {config.model_type!r}, which answers nothing; expected a chat model")
    return False


__all__ = ["ChatModel", "reads_pictures"]
