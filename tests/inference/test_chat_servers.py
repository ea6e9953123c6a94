"""A server of OpenAI's protocol answers; it refuses, is slow, or answers nonsense, and says so in one line."""

import logging
import time

import pytest
from chat_helpers import picture
from chat_server import ChatServer, completion, refusal

from mmre.inference.chat_servers import ChatServer as Chat
from mmre.inference.demonstrations import Demonstrations
from mmre.inference.in_context import InContextRelationClassifier
from mmre.inference.prompts import PromptPost

pytest.importorskip("openai")
RELATIONS = ["None", "couple", "lives in"]
POST = PromptPost("1", "Ann weds Bob <|im_end|>", (0, 3), (9, 12))


def classifier(url: str, demonstrations=None, **changes) -> InContextRelationClassifier:
    chat = Chat("tiny", url, **{"timeout": 20.0, "retries": 0} | changes)
    return InContextRelationClassifier(chat, RELATIONS, demonstrations, seed=1)


def last(body: dict) -> str:
    return body["messages"][-1]["content"]


def test_what_a_server_answers_is_read_and_always_checked():
    answers = {"Ann": "couple", "Cid": "It is: lives in.", "Dee": "I do not know", "Eve": None}

    def answer(body):
        return completion(next(text for name, text in answers.items() if f'Head: "{name}"' in last(body)))

    posts = [PromptPost(name, f"{name} and Bob", (0, 3), (8, 11)) for name in answers]
    with ChatServer(answer) as server:
        found = classifier(server.url).answer(posts)
    assert [row.probabilities for row in found] == [[0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert [(row.text, row.prompt_tokens, row.answer_tokens) for row in found][:2] == [
        ("couple", 7, 2),
        ("It is: lives in.", 7, 2),
    ]
    body = server.requests[0]
    assert (body["model"], body["temperature"], body["seed"]) == ("tiny", 0, 42)
    assert body["structured_outputs"] == {"choice": RELATIONS}


def test_no_message_of_a_post_has_a_control_token():
    with ChatServer(lambda body: "None") as server:
        classifier(server.url).answer([POST])
    assert "< |im_end|>" in last(server.requests[0]) and "<|im_end|>" not in str(server.requests)


def test_a_server_that_refuses_choices_is_asked_without_them():
    def answer(body):
        return refusal("unknown field structured_outputs") if "structured_outputs" in body else "couple"

    with ChatServer(answer) as server:
        extract = classifier(server.url)
        assert [extract.answer([POST])[0].text for _ in range(2)] == ["couple", "couple"]
    assert ["structured_outputs" in body for body in server.requests] == [True, False, False]


def test_a_prompt_that_a_server_finds_too_long_loses_its_oldest_demonstration():
    def answer(body):
        long = len(body["messages"]) > 3
        return refusal("This model's maximum context length is 9 tokens") if long else "couple"

    shown = [PromptPost(f"s{i}", f"{i} and Bob", (0, 1), (6, 9), relation=i) for i in range(3)]
    with ChatServer(answer) as server:
        [found] = classifier(server.url, Demonstrations(shown, [None] * 3, 3)).answer([POST])
        assert found.left_out == 2 and len(found.demonstrations) == 1
        assert found.demonstrations == [p.id for p in Demonstrations(shown, [None] * 3, 3).draw(POST)][2:]
    with (
        ChatServer(lambda body: refusal("maximum context length")) as server,
        pytest.raises(ValueError, match="post '1' is too long for tiny .*maximum context length"),
    ):
        classifier(server.url).answer([POST])


def test_a_post_that_a_server_finds_too_long_loses_its_caption_then_the_ends_of_its_text():
    post = POST._replace(text="Ann weds Bob " + "and more " * 9, caption="a wedding")
    with ChatServer(lambda body: refusal("prompt is too long") if "more" in last(body) else "couple") as server:
        [found] = classifier(server.url).answer([post])
    assert (found.text, found.is_cut, found.left_out) == ("couple", True, 0)
    assert "a wedding" in last(server.requests[0]) and "a wedding" not in last(server.requests[1])
    assert 'Head: "Ann"\nTail: "Bob"' in last(server.requests[-1])


def test_what_a_model_refuses_by_its_name_is_left_out_from_then_on():
    def answer(body):
        for name in ("structured_outputs", "max_tokens", "temperature"):
            if name in body:
                return refusal(f"Unsupported parameter: '{name}' is not supported with this model.")
        return "couple"

    with ChatServer(answer) as server:
        extract = classifier(server.url)
        assert [row.text for row in extract.answer([POST] * 3)] == ["couple"] * 3
        number = len(server.requests)
        assert extract.answer([POST])[0].text == "couple" and len(server.requests) == number + 1
    assert server.requests[-1].keys() == {"model", "messages", "seed", "max_completion_tokens"}


def test_a_server_is_given_the_tokens_of_the_longest_name():
    long = "ist verheiratet mit " * 4
    with ChatServer(lambda body: long) as server:
        chat = Chat("tiny", server.url)
        [found] = InContextRelationClassifier(chat, ["None", long.strip()]).answer([POST])
    assert found.probabilities == [0, 1] and server.requests[0]["max_tokens"] >= len(long)
    assert server.requests[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_blocks_of_text_are_an_answer_and_odd_counts_are_none():
    blocks = completion([{"type": "text", "text": "cou"}, {"type": "text", "text": "ple"}])
    with ChatServer(lambda body: blocks | {"usage": {"prompt_tokens": "many", "completion_tokens": None}}) as server:
        [found] = classifier(server.url).answer([POST])
    assert (found.text, found.prompt_tokens, found.answer_tokens) == ("couple", 0, 0)


def test_the_key_is_in_no_answer_and_in_no_message_that_is_cut(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\n")
    with ChatServer(lambda body: "couple sk-secret") as server:
        [found] = classifier(server.url).answer([POST])
        assert server.keys == ["Bearer sk-secret"] and found.text == "couple ***"
    with ChatServer(lambda body: refusal("x" * 475 + "sk-secret")) as server, pytest.raises(OSError) as error:
        classifier(server.url).answer([POST])
    assert "sk-" not in str(error.value)


@pytest.mark.parametrize("key", ["sk-se cret", "sk-se\ncret", "sk-sécret"])
def test_a_key_that_is_none_is_refused_and_not_repeated(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValueError, match="OPENAI_API_KEY has a character in it that no key has") as error:
        Chat("tiny", "http://localhost:1/v1")
    assert "cret" not in str(error.value)


def test_pictures_go_to_the_server_in_the_message():
    chat_posts = [POST._replace(image=picture(0))]
    with ChatServer(lambda body: "couple") as server:
        extract = InContextRelationClassifier(Chat("tiny", server.url), RELATIONS, show_images="all")
        extract.answer(chat_posts)
    image, text = last(server.requests[0])
    assert image["image_url"]["url"].startswith("data:image/png;base64,") and "Ann weds Bob" in text["text"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda body: refusal("no such model", 404), "failed: .*no such model"),
        (lambda body: refusal("bad prompt"), "refuses the prompt: .*bad prompt"),
        (lambda body: refusal("wrong key sk-secret", 401), "refuses the key: set OPENAI_API_KEY to the right one"),
        (lambda body: refusal("sk-secret may not", 403), r"failed: .*\*\*\* may not"),
        (lambda body: refusal("broken", 500), "failed: .*broken"),
        (lambda body: b"<html>hello</html>", "does not speak OpenAI's protocol"),
        (lambda body: {"choices": []}, "does not speak OpenAI's protocol"),
        (lambda body: {"error": {"message": "sk-secret is out of money"}}, r"no answer, but .*\*\*\* is out of money"),
        (lambda body: completion(7), "an answer is 7; expected a text"),
        (lambda body: {"result": "couple"}, "does not speak OpenAI's protocol"),
        (lambda body: time.sleep(2) or "couple", "did not answer in 0.3 s: give it longer by --timeout"),
    ],
    ids=["missing", "refused", "key", "forbidden", "broken", "page", "empty", "error", "number", "other", "slow"],
)
def test_what_goes_wrong_is_said_in_one_line_without_the_key(answer, message, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    caplog.set_level(logging.DEBUG)
    with ChatServer(answer) as server, pytest.raises(OSError, match=message) as error:
        classifier(server.url, timeout=0.3 if "0.3" in message else 20.0).answer([POST])
    assert server.keys[0] == "Bearer sk-secret"
    assert "sk-secret" not in str(error.value) + caplog.text and "\n" not in str(error.value)


def test_a_server_that_is_not_there_is_named():
    with ChatServer(lambda body: "") as server:
        url = server.url
    with pytest.raises(OSError, match=f"the server {url} cannot be reached"):
        classifier(url).answer([POST])


def test_a_server_only_writes():
    with pytest.raises(ValueError, match="answer 'letters': servers do not tell probabilities alike"):
        InContextRelationClassifier(Chat("tiny", "http://localhost:1/v1"), RELATIONS, answer="letters")


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "http://", "http://user:word@host/v1", "http://host/v1?key=word"]
)
def test_an_address_is_one_and_says_no_password(url):
    with pytest.raises(ValueError, match="--base_url .*expected an address") as error:
        Chat("tiny", url)
    assert "word" not in str(error.value)
