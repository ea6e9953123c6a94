"""A model behind HTTP: the answers are those of `mmre predict`, and what is hostile is refused in plain words."""

import base64
import json
import re
import shlex
import socket
import struct
import threading
import urllib.request
import zlib
from pathlib import Path

import pytest
import uvicorn
from picture_helpers import SPACY_MODEL, cached_load_spacy, image_bytes, noise
from prediction_helpers import NADAL, PERELLO, TEXT, read, write
from transformers import AutoConfig

from mmre.evaluation.thresholds import Thresholds, write_thresholds
from mmre.inference import serving as serving_module
from mmre.inference.run import predict
from mmre.inference.serving import Service, make_app, patient_protocol
from mmre.inference.serving_arguments import ServingArguments
from mmre.inference.serving_schema import EXAMPLES

pytest.importorskip("fastapi")
from starlette.testclient import TestClient  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PAIR = {"text": TEXT, "head": list(NADAL), "tail": list(PERELLO)}
ENTITIES = {"text": TEXT, "entities": [[11, 23], [29, 41], [45, 56]]}


@pytest.fixture(autouse=True)
def spacy_is_loaded_once(monkeypatch):
    monkeypatch.setattr(serving_module, "load_spacy", cached_load_spacy)


@pytest.fixture
def start(focalmre):
    """Return a function that serves a random FocalMRE; arguments are those of `ServingArguments`."""
    clients = []

    def make(**changes) -> TestClient:
        args = ServingArguments(**{"spacy_model": SPACY_MODEL, "decision": "pair", "batch_size": 4} | changes)
        service = Service(focalmre, args)
        clients.append(TestClient(make_app(service), raise_server_exceptions=False))
        clients[-1].service = service
        return clients[-1].__enter__()

    yield make
    for client in clients:
        client.__exit__(None, None, None)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def ask(client: TestClient, *posts: dict):
    return client.post("/predict", json={"posts": list(posts)})


def told(answer, status: int = 422) -> str:
    """Return what a refusal says, after a look at its form: no traceback, no path of this machine."""
    assert answer.status_code == status, answer.text
    assert [*answer.json()] == ["errors"] and answer.json()["errors"]
    text = "; ".join(answer.json()["errors"])
    assert "Traceback" not in text and ".py" not in text and str(ROOT) not in text and len(text) < 5000
    return text


def as_lines(answer) -> list[dict]:
    assert answer.status_code == 200, answer.text
    return [triple for post in answer.json()["posts"] for triple in post["triples"]]


def nearly(lines: list[dict]) -> list[dict]:
    scores = ("score", "ruled_out")
    return [line | {name: pytest.approx(line[name], abs=2e-6) for name in scores if name in line} for line in lines]


@pytest.mark.parametrize("changes", [{}, {"decision": "post"}, {"output_fusion": True, "min_score": 0.3}])
def test_answers_have_what_predict_writes(changes, start, focalmre, folder, arguments):
    boxes = {"grounded_regions": [[0.1, 0.1, 0.6, 0.9]], "detected_regions": [[0, 0, 0.5, 0.5]]}
    posts = [
        {"id": "a", **PAIR, "image": "a.png", **boxes},
        {"id": "b", **ENTITIES, "image": "b.png"},
        {"id": "words", "tokens": TEXT.split(), "pairs": [[[3, 5], [6, 8]], [[6, 8], [9, 11]]]},
        {"id": "found", "text": TEXT, "image": "a.png"},
    ]
    # JSON knows one number for a span of each post: what is fused is rounded as in the file.
    args = arguments(**{"batch_size": 4} | changes)
    predict(focalmre, write(folder / "raw.jsonl", posts), args)
    sent = [
        post | ({"image": encoded((folder / post["image"]).read_bytes())} if "image" in post else {}) for post in posts
    ]
    client = start(**changes)
    expected = nearly(read(args))
    assert len(expected) > 3
    lines = as_lines(ask(client, *sent))
    if changes.get("output_fusion"):
        assert [line.pop("fusion").keys() for line in lines] == [line.pop("fusion").keys() for line in expected]
    assert lines == expected
    # One by one, in parts.
    alone = []
    for post in posts:
        files = {"image": ("../../etc/passwd", (folder / post["image"]).read_bytes())} if "image" in post else {}
        row = {name: value for name, value in post.items() if name != "image"}
        alone += as_lines(client.post("/predict", files={"post": (None, json.dumps(row)), **files}))
    assert [{**line, "fusion": None} for line in alone] == [{**line, "fusion": None} for line in expected]


def test_relations_below_their_threshold_are_left_out_and_counted(start, focalmre, tmp_path):
    posts = [{"id": "a", **PAIR}, {"id": "b", **ENTITIES}]
    lines = as_lines(ask(start(), *posts))
    names = [name for name in AutoConfig.from_pretrained(focalmre).id2label.values() if name != "None"]
    scores = sorted(line["score"] for line in lines)
    middle = (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2
    of_none = lines[0]["relation"]
    lowest = dict.fromkeys(names, middle) | {of_none: None}
    write_thresholds(tmp_path / "t.json", Thresholds(0.9, 1.0, lowest, 1, dict.fromkeys(names, 5)))
    answer = ask(start(thresholds=str(tmp_path / "t.json")), *posts)
    kept = [line for line in lines if line["relation"] != of_none and line["score"] >= middle]
    assert as_lines(answer) == nearly(kept) and len(kept) < len(lines)
    counts = [post["left_out"].get("below_threshold", 0) for post in answer.json()["posts"]]
    assert sum(counts) == len(lines) - len(kept)
    with pytest.raises(ValueError, match="the model's relation .* has none; make it anew"):
        write_thresholds(tmp_path / "t.json", Thresholds(0.9, 1.0, {}, 1, {}))
        start(thresholds=str(tmp_path / "t.json"))


def test_requests_that_arrive_together_share_a_call_of_the_model(start):
    client, sizes, begun, may_go = start(max_wait_ms=0), [], threading.Event(), threading.Event()
    predictor = client.service.predictor
    client.service.predictor = lambda posts, *rest: (
        sizes.append(len(posts)),
        begun.set(),
        may_go.wait(60),
        predictor(posts, *rest),
    )[-1]
    answers, expected = {}, as_lines_of(client, may_go, PAIR)
    sizes.clear(), begun.clear(), may_go.clear()

    def send(name: str) -> None:
        answers[name] = ask(client, {**PAIR, "id": name})

    threads = [threading.Thread(target=send, args=(name,)) for name in "abcd"]
    threads[0].start()
    assert begun.wait(60)
    for thread in threads[1:]:
        thread.start()
    while len(client.service.batcher) < 3:
        may_go.wait(0.01)
    may_go.set()
    for thread in threads:
        thread.join(60)
    assert sizes == [1, 3]
    for name in "abcd":  # each has its own answer
        assert as_lines(answers[name]) == nearly([line | {"id": name} for line in expected])


def as_lines_of(client: TestClient, may_go: threading.Event, post: dict) -> list[dict]:
    may_go.set()
    return as_lines(ask(client, post))


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


# Some hundred bytes that say they are 81 million pixels.
PNG = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II5B", 9000, 9000, 8, 2, 0, 0, 0))
PNG += chunk(b"IDAT", zlib.compress(bytes(1000)))
GOOD = image_bytes(noise(0))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


def test_hostile_pictures_are_refused_in_plain_words(start):
    client = start(max_pixels=10_000)
    cases = {
        "a path": ("/etc/passwd", "paths and addresses are not opened"),
        "a path upwards": ("../../secret.png", "paths and addresses are not opened"),
        "an address of a file": ("file:///etc/passwd", "paths and addresses are not opened"),
        "an address of the web": ("http://127.0.0.1:1/a.png", "paths and addresses are not opened"),
        "a path in base64": (encoded(b"/etc/passwd"), "expected a file in JPEG, PNG or WebP"),
        "a word that is base64": ("etcpasswd000", "expected a file in JPEG, PNG or WebP"),
        "nothing": ("", "expected a file in JPEG, PNG or WebP"),
        "a number": (7, "image: 7; expected the bytes"),
        "an object": ({"path": "/etc/passwd"}, "paths and addresses are not opened"),
        "half of a pair of surrogates": ("\ud800", "in base64"),
        "no picture": (encoded(b"<html>404</html>"), "expected a file in JPEG, PNG or WebP"),
        "cut off": (encoded(GOOD[: len(GOOD) // 2]), "cannot be read"),
        "a broken head": (encoded(PNG[:20]), "expected a file in JPEG, PNG or WebP"),
        "a bomb": (encoded(PNG), "9000 x 9000, more than 10000 pixels"),
        "too many pixels": (encoded(image_bytes(noise(1, 200, 100))), "200 x 100, more than 10000 pixels"),
        "GIF": (encoded(image_bytes(noise(1), "GIF")), "expected a file in JPEG, PNG or WebP"),
        "TIFF": (encoded(image_bytes(noise(1), "TIFF")), "expected a file in JPEG, PNG or WebP"),
        "SVG": (encoded(SVG), "expected a file in JPEG, PNG or WebP"),
    }
    for name, (image, message) in cases.items():
        body = json.dumps({"posts": [{**PAIR, "image": image}]})
        answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
        assert message in told(answer), name
        assert told(answer).startswith("posts[0]: image: "), name
    for content in (b"<html>404</html>", GOOD[:200], PNG, SVG):
        answer = client.post("/predict", files={"post": (None, json.dumps(PAIR)), "image": ("a.png", content)})
        assert told(answer).startswith("posts[0]: image: ")
    # A bad one among good ones, seen only when it is decoded, is told in its place.
    mixed = ask(client, PAIR, {**PAIR, "image": encoded(GOOD[: len(GOOD) // 2])}, {**PAIR, "image": encoded(GOOD)})
    assert mixed.status_code == 200
    assert [sorted(each) for each in mixed.json()["posts"]] == [
        ["id", "left_out", "triples"],
        ["error", "id"],
        ["id", "left_out", "triples"],
    ]
    assert as_lines(ask(client, PAIR)) is not None  # it goes on


def test_hostile_posts_are_refused_in_plain_words(start):
    client = start(max_posts=3, max_text=100, max_pairs=6)
    cases = [
        ({"posts": []}, "posts: 0 of them; expected 1 to 3"),
        ({"posts": [PAIR] * 4}, "posts: 4 of them; expected 1 to 3"),
        ({"posts": PAIR}, 'expected {"posts": [...]}'),
        ({"posts": [PAIR], "more": 1}, 'expected {"posts": [...]}'),
        ([PAIR], 'expected {"posts": [...]}'),
        (None, 'expected {"posts": [...]}'),
        ({"posts": ["text"]}, "posts[0]: 'text'; expected a post"),
        ({"posts": [{**PAIR, "texd": 1}]}, "unknown field 'texd'; did you mean 'text'?"),
        ({"posts": [{**PAIR, "relation": "/per/per/couple"}]}, "unknown field 'relation'"),
        ({"posts": [{**PAIR, "x" * 100_000: 1}]}, "unknown field 'xxx"),
        ({"posts": [{**PAIR, "head": [11, 999]}]}, "posts[0]: head: [11, 999]; expected start and end of the head"),
        ({"posts": [PAIR, {**PAIR, "head": [23, 11]}]}, "posts[1]: head: [23, 11]"),
        ({"posts": [{**PAIR, "head": [-3, 11]}]}, "head: [-3, 11]"),
        ({"posts": [{**PAIR, "head": [11.0, 23.0]}]}, "head: [11.0, 23.0]"),
        ({"posts": [{**PAIR, "head": [True, 23]}]}, "head: [True, 23]"),
        ({"posts": [{"text": TEXT, "head": [11, 23]}]}, "tail: nothing"),
        ({"posts": [{**PAIR, "text": "Rafael \ud83d Nadal weds Mery Perello in South Wales"}]}, "half of a pair"),
        ({"posts": [{**PAIR, "text": " "}]}, "a text that is not blank"),
        ({"posts": [{**PAIR, "text": 7}]}, "text: 7"),
        ({"posts": [{**PAIR, "text": "x" * 101}]}, "text: 101 characters; expected at most 100"),
        ({"posts": [{"tokens": ["x" * 60] * 2, "head": [0, 1], "tail": [1, 2]}]}, "text: 121 characters"),
        ({"posts": [{**PAIR, "caption": "x" * 101}]}, "caption: 101 characters"),
        ({"posts": [{**PAIR, "id": "x" * 201}]}, "id: 201 characters"),
        ({"posts": [{**PAIR, "id": {"a": 1}}]}, "id: "),
        ({"posts": [{"text": TEXT, "entities": [[0, 2]] * 100_000}]}, "entities: 9999900000 pairs of entities"),
        (
            {"posts": [{"text": TEXT, "pairs": [[[0, 2], [3, 8]]] * 7}]},
            "pairs: 7 pairs of entities; expected at most 6",
        ),
        ({"posts": [{**PAIR, "detected_regions": [[0, 0, 1, 1]]}]}, "the post has no image"),
        ({"posts": [{**PAIR, "detected_regions": [[0, 0, "1", 1]], "image": encoded(GOOD)}]}, "in fractions of the"),
        ({"posts": [{"text": TEXT, "entities": [{"start": 0, "end": 2, "type": 7}]}]}, "entities[0].type: 7"),
    ]
    for body, message in cases:
        answer = client.post("/predict", content=json.dumps(body), headers={"content-type": "application/json"})
        assert message in told(answer), message
    three = told(client.post("/predict", json={"posts": [{}, {}, {}]}))
    assert all(f"posts[{number}]: text: nothing" in three for number in range(3))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no JSON in UTF-8"),
        (b"{", "no JSON in UTF-8"),
        (b'{"posts": [{"text": "a b", "head": [0, NaN]}]}', "NaN is no number of JSON"),
        (b'{"posts": [{"text": "a b", "head": [0, -Infinity]}]}', "-Infinity is no number of JSON"),
        (b'{"posts": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"posts": [' + b"9" * 5000 + b"]}", "no JSON in UTF-8"),
        ('{"posts": []}'.encode("utf-16"), "no JSON in UTF-8"),
        (b"\xff\xfe", "no JSON in UTF-8"),
    ],
    ids=["empty", "open", "NaN", "infinity", "deep", "digits", "UTF-16", "bytes"],
)
def test_a_body_that_is_no_json_is_refused(body, message, start):
    answer = start().post("/predict", content=body, headers={"content-type": "application/json"})
    assert message in told(answer, 400)


def test_what_is_sent_otherwise_than_expected_is_refused(start):
    client = start(max_body_mb=0.1)
    good = json.dumps({"posts": [PAIR]})
    for kind in ("text/plain", "application/xml", "", "application/json-seq", "image/png"):
        told(client.post("/predict", content=good, headers={"content-type": kind}), 415)
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    told(client.post("/predict", content=zlib.compress(good.encode()), headers=packed), 415)
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert told(client.request(method, "/predict"), 405) == "Another method is expected."
    assert told(client.get("/predict/../../etc/passwd"), 404) and told(client.get("/%2e%2e/etc/passwd"), 404)
    large = client.post("/predict", content=b" " * 200_000, headers={"content-type": "application/json"})
    assert "more than 100000 bytes" in told(large, 413) and large.headers["connection"] == "close"

    sent = []

    def stream():  # of no length that is known before
        for _ in range(1000):
            sent.append(1)
            yield b" " * 10_000

    told(client.post("/predict", content=stream(), headers={"content-type": "application/json"}), 413)
    form = {"post": (None, json.dumps(PAIR))}
    assert "expected post, its JSON" in told(client.post("/predict", files={"image": ("a.png", GOOD)}))
    assert "the parts 'other', 'post'" in told(client.post("/predict", files={**form, "other": ("a", b"b")}))
    twice = [("post", (None, "{}")), ("image", ("a.png", GOOD)), ("image", ("b.png", GOOD))]
    assert "the parts 'image', 'image', 'post'" in told(client.post("/predict", files=twice))
    assert "paths and addresses are not opened" in told(
        client.post("/predict", files={**form, "image": (None, "/etc/passwd")})
    )
    assert "comes as the part image" in told(
        client.post("/predict", files={"post": (None, json.dumps({**PAIR, "image": "/etc/passwd"}))})
    )
    assert "no JSON in UTF-8" in told(client.post("/predict", files={"post": (None, "{")}), 400)
    for kind, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b"--b\r\nnothing"),
        ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a--"),
    ):
        answer = client.post("/predict", content=body, headers={"content-type": kind})
        assert told(answer, answer.status_code) and answer.status_code in (400, 422)
    many = [("post", (None, "x"))] * 100
    assert "malformed" in told(client.post("/predict", files=many), 400)


def test_a_full_queue_is_answered_at_once_with_when_to_come_again(start):
    client, begun, may_go = start(max_queue=2, max_posts=2, max_wait_ms=0), threading.Event(), threading.Event()
    predictor = client.service.predictor
    client.service.predictor = lambda *arguments: (begun.set(), may_go.wait(60), predictor(*arguments))[-1]
    waiting = [threading.Thread(target=ask, args=(client, PAIR)) for _ in range(1)]
    waiting[0].start()
    assert begun.wait(60)
    waiting.append(threading.Thread(target=ask, args=(client, PAIR, PAIR)))
    waiting[1].start()
    while len(client.service.batcher) < 2:
        may_go.wait(0.01)
    full = ask(client, PAIR)
    assert "2 posts wait" in told(full, 503) and full.headers["retry-after"] == "1"
    assert client.get("/health").json()["waiting"] == 2
    may_go.set()
    for thread in waiting:
        thread.join(60)
    assert ask(client, PAIR).status_code == 200


def test_a_fault_of_the_server_is_told_without_its_insides(start, monkeypatch):
    client = start()

    def fail(*arguments):
        raise RuntimeError("/secret/path token hf_abc")

    monkeypatch.setattr(client.service, "predictor", fail)
    assert told(ask(client, PAIR), 500) == "Something went wrong here. The log of the server has more."
    assert client.get("/health").status_code == 200


def test_no_part_of_an_answer_waits_for_the_one_before_to_be_acknowledged():
    seen = []

    class Watched(patient_protocol(seconds=5)):
        def connection_made(self, transport):
            super().connection_made(transport)
            seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answer"})

    server = uvicorn.Server(uvicorn.Config(app, http=Watched, ws="none", lifespan="off", log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout=30) as answer:
            assert answer.read() == b"answer"
        server.should_exit = True
        thread.join(timeout=30)
    assert len(seen) == 1 and seen[0]


def test_health_and_metrics_tell_what_happens(start):
    client = start()
    ask(client, PAIR, {**PAIR, "image": encoded(GOOD[:300])})
    client.get("/health/live"), client.get("/no/such/page"), client.put("/predict")
    assert client.get("/health").json() == {"live": True, "ready": True, "model": "focalmre", "waiting": 0}
    lines = client.get("/metrics").text.splitlines()
    for line in (
        'mmre_requests_total{path="/predict",status="200"} 1.0',
        'mmre_requests_total{path="/predict",status="405"} 1.0',
        'mmre_requests_total{path="other",status="404"} 1.0',
        'mmre_posts_total{result="answered"} 1.0',
        'mmre_posts_total{result="failed"} 1.0',
        "mmre_batch_posts_sum 2.0",
        "mmre_waiting_posts 0.0",
    ):
        assert line in lines
    client.service.batcher.close()
    stopped = client.get("/health")
    assert stopped.status_code == 503 and stopped.json()["ready"] is False
    told(ask(client, PAIR), 503)


def test_the_page_and_openapi_have_examples_that_work(start):
    client = start()
    described = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    shown = described["requestBody"]["content"]["application/json"]["examples"]
    assert {name: each["value"] for name, each in shown.items()} == EXAMPLES
    answer = described["responses"]["200"]["content"]["application/json"]["example"]["posts"][0]
    for example in EXAMPLES.values():
        got = client.post("/predict", json=example)
        assert got.status_code == 200, got.text
        assert got.json()["posts"][0].keys() == answer.keys()
    page = client.get("/docs")
    assert "<form" in page.text and "<script" not in page.text and "default-src 'none'" in str(page.headers)
    assert not re.search(r"(src|href)=.?https?:", page.text)  # nothing is fetched from elsewhere


def test_without_spacy_posts_name_their_entities(start, monkeypatch):
    def missing(name):
        raise ImportError("spaCy is not installed")

    monkeypatch.setattr(serving_module, "load_spacy", missing)
    client = start()
    assert as_lines(ask(client, PAIR)) is not None
    assert "none are found here" in told(ask(client, {"text": TEXT}))


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, with the lines that go on joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.M)
    return [tuple(line.split(maxsplit=1)) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_dockerfile_names_what_is_there_and_runs_as_nobody_special(start, monkeypatch):
    """Docker itself is not run."""
    from mmre.cli import serve as command
    from mmre.cli.parser import Parser, read_dataclass

    found = instructions()
    names = [name for name, _ in found]
    assert names[0] in ("ARG", "FROM") and names.count("ENTRYPOINT") == names.count("HEALTHCHECK") == 1
    for name, words in found:
        if name == "COPY":
            for source in shlex.split(words)[:-1]:
                assert source.startswith("--") or (ROOT / source).exists(), source
    users = [words for name, words in found if name == "USER"]
    assert users == ["mmre"] and names.index("USER") < names.index("ENTRYPOINT")
    assert any("useradd" in words and " mmre" in words for name, words in found if name == "RUN")
    installed = " ".join(words for name, words in found if name == "RUN")
    extras = re.search(r'"\.\[([\w,]+)\]"', installed)[1].split(",")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert "serve" in extras and all(re.search(rf"^{extra} = \[", project, flags=re.M) for extra in extras)

    by_name = dict(found)
    words = json.loads(by_name["ENTRYPOINT"]) + json.loads(by_name["CMD"])
    assert words[:2] == ["mmre", "serve"]
    parser = Parser(prog="mmre serve")
    command.add_arguments(parser)
    args = read_dataclass(ServingArguments, parser.parse(words[2:]))
    assert args.host == "0.0.0.0" and by_name["EXPOSE"] == str(args.port)  # noqa: S104

    # The check of health is run against the application, which stands in for urllib.
    check = json.loads(by_name["HEALTHCHECK"].partition("CMD")[2])
    assert check[:2] == ["python", "-c"]
    client, seen = start(), []

    def urlopen(address: str, timeout: float):
        seen.append(client.get(address.partition(f":{args.port}")[2]).status_code)

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    exec(check[2], {})  # noqa: S102, it is our own file
    assert seen == [200]
