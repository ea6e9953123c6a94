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
    back is an answer like any other: one that passes it over says nothing.

    Args:
        name: of the model, as the server calls it.
        base_url: of the server, as `http://localhost:8000/v1`.
        timeout: seconds to wait for an answer.
        seed: handed to the server.
        retries: how often a request is made again that the server did not answer, or was too busy for.

    Raises:
        ImportError: the client is not installed.
        ValueError: the address is none, or has a password in it.
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
        self.key = os.environ.get(KEY_VARIABLE) or "none"
        self.client = openai.OpenAI(api_key=self.key, base_url=base_url, timeout=timeout, max_retries=retries)
        self.offers_choice = True

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
        request = {
            "model": self.name,
            "messages": [_message(turn) for turn in turns],
            "temperature": 0,
            "seed": self.seed,
            "max_tokens": max_new_tokens,
        }
        try:
            if self.offers_choice:
                choice = {"structured_outputs": {"choice": list(labels)}}
                try:
                    return self._read(self.client.chat.completions.create(**request, extra_body=choice))
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    if TOO_LONG.search(str(error)):
                        raise
                    logger.warning_once(f"{self.base_url} takes no list of choices; answers are read as they come")
                    self.offers_choice = False
            return self._read(self.client.chat.completions.create(**request))
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if TOO_LONG.search(str(error)):
                return PromptTooLongError(self._hide(error))
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

    def _read(self, answer: Any) -> Completion:
        text = answer.choices[0].message.content
        usage = [getattr(answer.usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        return Completion(text or "", *(int(number or 0) for number in usage))

    def _hide(self, error: Exception) -> str:
        """Return the message of an error without the key, which servers repeat."""
        message = " ".join(str(error).split())[:500]
        return message if self.key == "none" else message.replace(self.key, "***")


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
