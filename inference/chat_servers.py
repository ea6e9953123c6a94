"""A chat model behind a server of OpenAI's protocol, such as vLLM's: conversations in, answers out."""

import base64
import io
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from transformers.utils import logging

from .prompt_arguments import KEY_VARIABLE, check_base_url
from .prompts import Turn, disarm

logger = logging.get_logger(__name__)

# What a server may be asked for besides: to choose among labels, as vLLM has it, and not to think aloud before.
FURTHER = ("structured_outputs", "chat_template_kwargs")
# What some models refuse by its name, and what they take in its place.
UNWANTED = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}
TOO_LONG = re.compile(r"context[ _]length|maximum context|too many tokens|prompt is too long", re.IGNORECASE)


class PromptTooLongError(ValueError):
    """Raised where a prompt is longer than a model reads."""


class Completion(NamedTuple):
    """Answer of a server: its text, and the tokens of the prompt and of the answer as the server counts them."""

    text: str
    prompt_tokens: int
    answer_tokens: int


class ChatServer:
    """A chat model behind a server.

    The key comes from the environment, `OPENAI_API_KEY`, and stands in no file, log or message. A server is asked to
    choose among the labels, `structured_outputs` as vLLM has it; one that refuses that is asked without, and what comes
    back is an answer like any other: one that passes it over says nothing. Of the settings of the protocol, those that
    a model refuses by their names are left out.

    Args:
        name: of the model, as the server calls it.
        base_url: of the server, as `http://localhost:8000/v1`.
        timeout: seconds to wait for an answer.
        seed: handed to the server.
        retries: how often a request is made again that the server did not answer, or was too busy for.

    Raises:
        ImportError: the client is not installed.
        ValueError: the address is none, or has a password in it; or the key is none.
    """

    reads_pictures = True
    max_tokens = None

    def __init__(self, name: str, base_url: str, timeout: float = 60.0, seed: int = 42, retries: int = 2):
        check_base_url(base_url)
        try:
            import openai
        except ImportError as error:
            raise ImportError("--base_url needs the client: pip install 'mmre[llm]'") from error
        self.name, self.base_url, self.seed, self.openai = name, base_url, seed, openai
        self.key = read_key()
        self.client = openai.OpenAI(api_key=self.key, base_url=base_url, timeout=timeout, max_retries=retries)
        self.left_out = set()

    def render(self, turns: Sequence[Turn]) -> str:
        """Write a conversation for people: the server's template is not known."""
        return "\n\n".join(f"[{turn.role}]{' [picture]' if turn.image else ''}\n{disarm(turn.text)}" for turn in turns)

    def complete(
        self, conversations: Sequence[Sequence[Turn]], labels: Sequence[str], max_new_tokens: int
    ) -> list[Completion | PromptTooLongError]:
        """Ask for the answers of a batch, all at once.

        Args:
            conversations: each ends with a question.
            labels: the answers to choose from.
            max_new_tokens: most tokens of an answer.

        Returns:
            The answers; of a conversation that is too long, an error in its place.

        Raises:
            OSError: the server is not there, refuses, or answers something else than the protocol.
        """
        with ThreadPoolExecutor(max(1, len(conversations))) as pool:
            return list(pool.map(lambda turns: self._ask(turns, labels, max_new_tokens), conversations))

    def _ask(self, turns: Sequence[Turn], labels: Sequence[str], max_new_tokens: int) -> Completion | ValueError:
        openai = self.openai
        messages = [_message(turn) for turn in turns]
        request = self._request(labels, max_new_tokens)
        try:
            while True:
                try:
                    create = self.client.chat.completions.create
                    return self._read(create(model=self.name, messages=messages, **request))
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    if TOO_LONG.search(str(error)):
                        return PromptTooLongError(self._hide(error))
                    self._leave_out(request, error)
                    shorter = self._request(labels, max_new_tokens)
                    if shorter == request:
                        raise
                    request = shorter
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise OSError(f"the server {self.base_url} refuses the prompt: {self._hide(error)}") from None
        except openai.AuthenticationError:
            raise OSError(f"the server {self.base_url} refuses the key: set {KEY_VARIABLE} to the right one") from None
        except openai.APITimeoutError:
            raise OSError(
                f"the server {self.base_url} did not answer in {self.client.timeout:g} s: give it longer by --timeout"
            ) from None
        except openai.APIConnectionError as error:
            raise OSError(f"the server {self.base_url} cannot be reached: {self._hide(error)}") from None
        except openai.OpenAIError as error:
            raise OSError(f"the server {self.base_url} failed: {self._hide(error)}") from None
        except (ValueError, AttributeError, TypeError, LookupError) as error:
            raise OSError(
                f"the server {self.base_url} does not speak OpenAI's protocol ({self._hide(error)}); expected an "
                "address that ends in /v1"
            ) from None

    def _request(self, labels: Sequence[str], max_new_tokens: int) -> dict[str, Any]:
        """Return the settings of a request, without those that were refused."""
        settings = {"temperature": 0, "seed": self.seed, "max_tokens": max_new_tokens}
        for name in self.left_out & {*UNWANTED}:
            value = settings.pop(name)
            if UNWANTED[name] is not None:
                settings[UNWANTED[name]] = value
        further = {"structured_outputs": {"choice": list(labels)}, "chat_template_kwargs": {"enable_thinking": False}}
        return settings if self.left_out & {*FURTHER} else {**settings, "extra_body": further}

    def _leave_out(self, request: dict[str, Any], error: Exception) -> None:
        """Leave out, from now on, what a server refused of a request."""
        if "extra_body" in request:
            logger.warning_once(f"{self.base_url} takes no list of choices; answers are read as they come")
            self.left_out = self.left_out | {*FURTHER}  # anew: other threads read it
            return
        for name in UNWANTED:
            if name in request and re.search(rf"\b{name}\b", str(error)):
                logger.warning_once(f"{self.name} on {self.base_url} refuses {name!r}: it is asked without")
                self.left_out = self.left_out | {name}
                return

    def _read(self, answer: Any) -> Completion:
        if not getattr(answer, "choices", None):
            raise ValueError(f"no answer, but {getattr(answer, 'error', None) or answer!r}")
        choice, usage = answer.choices[0], getattr(answer, "usage", None)
        text = choice.message.content
        if isinstance(text, list):  # blocks, of which the texts count
            text = "".join(block.get("text") or "" for block in text)
        if not isinstance(text, str | None):
            raise ValueError(f"an answer is {text!r}; expected a text")
        if not text and choice.finish_reason == "length":
            logger.warning_once(
                f"{self.name} on {self.base_url} says nothing in the tokens that an answer has: models that think "
                "first must be told not to where the server is started"
            )
        counts = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        return Completion(self._without_key(text or ""), *(n if isinstance(n, int) else 0 for n in counts))

    def _hide(self, error: Exception) -> str:
        """Return the message of an error, in one line and without the key."""
        return " ".join(self._without_key(str(error)).split())[:500]

    def _without_key(self, text: str) -> str:
        """Return a text without the key, which servers repeat."""
        return text if self.key == "none" else text.replace(self.key, "***")


def read_key() -> str:
    """Return the key of servers that is in the environment; `"none"` if there is none.

    Raises:
        ValueError: it cannot be one; the message does not repeat it.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise ValueError(f"{KEY_VARIABLE} has a character in it that no key has, as a space: set it to the key alone")
    return key or "none"


def _message(turn: Turn) -> dict[str, Any]:
    text = disarm(turn.text)
    if turn.image is None:
        return {"role": turn.role, "content": text}
    buffer = io.BytesIO()
    turn.image.save(buffer, format="PNG")
    address = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    blocks = [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": text}]
    return {"role": turn.role, "content": blocks}


__all__ = ["ChatServer", "Completion", "PromptTooLongError"]
