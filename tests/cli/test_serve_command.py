"""`mmre serve` as a process: its errors, slow clients, what it logs, and its end."""

import builtins
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from picture_helpers import SPACY_MODEL
from prediction_helpers import NADAL, PERELLO, TEXT

from mmre.cli.main import main

PAIR = {"text": TEXT, "head": list(NADAL), "tail": list(PERELLO)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "70000"], "--port 70000; expected a number from 0 to 65535"),
        (["--max_posts", "0"], "--max_posts 0; expected at least 1"),
        (["--max_posts", "300"], "--max_posts 300; expected at most --max_queue, 256"),
        (["--max_body_mb", "nan"], "--max_body_mb nan; expected more than 0"),
        (["--max_seconds", "0"], "--max_seconds 0.0; expected more than 0"),
        (["--max_wait_ms", "-1"], "--max_wait_ms -1.0; expected a number from 0 to 10000"),
        (["--batch_size", "0"], "--batch_size 0; expected at least 1"),
        (["--decision", "pair", "--both_directions"], "--both_directions; --decision pair takes each pair"),
        (["--max_quue", "3"], "unknown option '--max_quue'; did you mean '--max_queue'?"),
    ],
)
def test_wrong_usage_is_one_line(words, message, capsys):
    try:
        status = main(["serve", "no/such/model", *words])
    except SystemExit as stopped:
        status = stopped.code
    error = capsys.readouterr().err
    assert status == 2 and error.startswith(f"mmre serve: error: {message}") and error.count("\n") == 1


def test_the_extra_that_is_missing_is_named(monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name.partition(".")[0] == "uvicorn":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return real(name, *arguments, **more)

    monkeypatch.delitem(sys.modules, "mmre.inference.serving", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["serve", "no/such/model"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith('pip install "mmre[serve]"')


def test_a_taken_port_and_a_missing_model_end_with_a_line(capsys):
    pytest.importorskip("fastapi")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "no/such/model", "--port", str(taken.getsockname()[1])]) == 1
    assert "give another --port" in capsys.readouterr().err.splitlines()[-1]
    assert main(["serve", "no/such/model", "--port", "0", "--spacy_model", SPACY_MODEL]) == 1
    assert "MODEL no/such/model: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process of Windows at once")
def test_a_server_gives_up_slow_clients_logs_no_secrets_and_finishes_what_was_begun(focalmre, tmp_path):
    pytest.importorskip("fastapi")
    words = [sys.executable, "-m", "mmre.cli.main", "serve", focalmre, "--port", "0", "--spacy_model", SPACY_MODEL]
    # A long wait for others: requests are under way for five seconds.
    words += ["--max_seconds", "2", "--max_wait_ms", "5000"]
    log = tmp_path / "log"
    environment = os.environ | {"HF_TOKEN": "hf_SECRET"}
    with open(log, "wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, env=environment)
    try:
        while not (found := re.search(r"is served at http://127\.0\.0\.1:(\d+) ", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)  # it needs the processor
        port = int(found[1])
        for begun in (
            b"POST /pred",  # the head does not end
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
                slow.sendall(begun)
                answer = b"".join(iter(lambda slow=slow: slow.recv(4096), b""))  # until the server closes
            assert answer == b"" or b" 408 " in answer.splitlines()[0]
        with socket.create_connection(("127.0.0.1", port), timeout=60) as broken:
            broken.sendall(b"nonsense\r\n\r\n")
            assert b" 400 " in broken.recv(4096)

        def ask(answers: list) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            head = {"Content-Type": "application/json", "Authorization": "Bearer SECRET"}
            connection.request("POST", "/predict?token=SECRET", json.dumps({"posts": [PAIR]}), head)
            answer = connection.getresponse()
            answers.append((answer.status, json.loads(answer.read())))

        def waiting() -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/health")
            return json.loads(connection.getresponse().read())["waiting"]

        answers = []
        client = threading.Thread(target=ask, args=(answers,))
        client.start()
        while not waiting():
            assert client.is_alive()
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        client.join(60)
        process.wait(60)
        assert [status for status, _ in answers] == [200] and answers[0][1]["posts"][0]["id"] == "0"
        assert process.returncode in (0, -signal.SIGTERM)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
    finally:
        process.kill()
        process.wait()
    assert "SECRET" not in log.read_text() and "Traceback" not in log.read_text()
