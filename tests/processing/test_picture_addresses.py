"""Pictures by address: real servers on this machine, which are refused as such unless a test says otherwise."""

import http.server
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from mmre.processing import picture_addresses as module
from mmre.processing.picture_addresses import check_public, fetch_image, is_address


@contextmanager
def server(answer):
    """A server that answers each request by a function of its handler; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with suppress(OSError):  # the client has seen enough
                answer(self)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def say(handler, status: int, content: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
def local_is_public(monkeypatch):
    monkeypatch.setattr(module, "check_public", lambda url: None)


def test_addresses_of_the_web_are_told_from_paths():
    assert [is_address(name) for name in ("http://x/a.png", "HTTPS://x", "a.png", "ftp://x/a", b"http://x", None)] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_what_a_server_answers_is_returned_and_redirections_are_followed(local_is_public):
    def answer(handler):
        if handler.path == "/first":
            say(handler, 302, Location="/second")
        else:
            say(handler, 200, b"content of " + handler.path.encode())

    with server(answer) as address:
        assert fetch_image(f"{address}/first") == b"content of /second"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png",
        "http://localhost:8000/",
        "http://[::1]/",
        "http://10.0.0.7/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://2130706433/",
    ],
)
def test_addresses_that_are_not_public_are_refused(url):
    with pytest.raises(ValueError, match="is not public: fetch the picture yourself"):
        check_public(url)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "gopher://x/", "http:///a.png", "//x/a.png"])
def test_what_is_no_address_of_the_web_is_refused(url):
    with pytest.raises(ValueError, match="is no address of the web"):
        check_public(url)


def test_a_public_address_passes(monkeypatch):
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("93.184.215.14", 80))])
    check_public("http://example.org/a.png")


def test_a_redirection_to_what_is_not_public_is_refused(monkeypatch):
    checked = []

    def only_first(url):
        checked.append(url)
        if len(checked) > 1:
            check_public(url)

    monkeypatch.setattr(module, "check_public", only_first)
    with (
        server(lambda handler: say(handler, 302, Location="http://127.0.0.1:1/secret")) as address,
        pytest.raises(ValueError, match="cannot be fetched: '127.0.0.1' is 127.0.0.1, which is not public"),
    ):
        fetch_image(address)
    assert checked[1:] == ["http://127.0.0.1:1/secret"]


@pytest.mark.parametrize("status, message", [(404, "404 Not Found"), (500, "500 Internal Server Error")])
def test_an_error_of_the_server_is_told(local_is_public, status, message):
    with (
        server(lambda handler: say(handler, status)) as address,
        pytest.raises(ValueError, match=f"cannot be fetched: .*{message}"),
    ):
        fetch_image(f"{address}/a.png")


def test_an_endless_answer_and_endless_redirections_end(local_is_public, monkeypatch):
    sent = []

    def endless(handler):
        say(handler, 200)
        while True:
            handler.wfile.write(bytes(100_000))
            sent.append(100_000)

    monkeypatch.setattr(module, "MAX_BYTES", 1_000_000)
    with server(endless) as address, pytest.raises(ValueError, match="cannot be fetched: more than 1000000 bytes"):
        fetch_image(address)
    with (
        server(lambda handler: say(handler, 302, Location="/again")) as address,
        pytest.raises(ValueError, match="cannot be fetched: more than 5 redirections"),
    ):
        fetch_image(address)


def test_an_answer_that_drips_ends_in_time(local_is_public, monkeypatch):
    def drip(handler):
        say(handler, 200)
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.05)

    monkeypatch.setattr(module, "SECONDS", 0.5)
    with server(drip) as address, pytest.raises(ValueError, match="cannot be fetched: not complete after 0.5 seconds"):
        fetch_image(address)


def test_nobody_there_is_an_error_that_names_the_address(local_is_public):
    with pytest.raises(ValueError, match="The image 'http://127.0.0.1:9/a.png' cannot be fetched: "):
        fetch_image("http://127.0.0.1:9/a.png")
