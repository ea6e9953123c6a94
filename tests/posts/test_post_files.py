"""Files of posts: which kind they are, and where they are."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from mmre.posts.checks import Problems
from mmre.posts.post_files import (
    find_post_files,
    kind_of_posts,
    name_of_posts,
    naming_address,
    open_post_file,
    shown_address,
)
from mmre.posts.row_readers import read_csv, read_json_lines


def test_the_kind_of_a_folder_is_that_of_the_files_in_it(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.csv").write_text("text\na\n")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "_success.json").write_text("{}")
    assert kind_of_posts(tmp_path) == "texts"
    for name in ("b.jsonl", "A.JSON", "z.txt"):
        (tmp_path / name).write_text("{}")
    assert kind_of_posts(tmp_path) == kind_of_posts(str(tmp_path / "A.JSON")) == "jsonl"
    _, found = find_post_files(tmp_path, "jsonl")
    assert found == [f"{tmp_path}/A.JSON", f"{tmp_path}/b.jsonl"]
    (tmp_path / "d.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match="files of several kinds, jsonl, parquet; expected one kind in a folder"):
        kind_of_posts(tmp_path)


def test_what_is_not_there_and_what_the_name_does_not_tell_is_an_error(tmp_path):
    (tmp_path / "a.xlsx").write_text("")
    with pytest.raises(ValueError, match=r"a.xlsx: the name does not tell .* ends in .parquet or .jsonl or .json or"):
        kind_of_posts(tmp_path / "a.xlsx")
    with pytest.raises(FileNotFoundError, match="none.csv: there is no such file"):
        kind_of_posts(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="memory://bucket/nothing: there is no file that ends in .parquet"):
        kind_of_posts("memory://bucket/nothing")
    with pytest.raises(FileNotFoundError, match="there is no csv file"):
        find_post_files(tmp_path, "csv")


def test_json_lines_and_csv_are_read_at_an_address():
    files = fsspec.filesystem("memory")
    with files.open("/b19/lines/1.jsonl", "wb") as file:
        file.write('\ufeff{"id": 7, "text": "Bö"}\n'.encode())
    with files.open("/b19/cells/1.csv", "wb") as file:
        file.write("\ufefftext;head_start;head_end\nBö;0;2\n".encode())
    for kind, read, needed in (("jsonl", read_json_lines, {}), ("csv", read_csv, {"needed": ("text",)})):
        folder = f"memory://b19/{'lines' if kind == 'jsonl' else 'cells'}"
        assert kind_of_posts(folder) == kind
        found, names = find_post_files(folder, kind)
        problems = Problems()
        ((_, row),) = list(read(found.unstrip_protocol(names[0]), problems, **needed))
        assert not problems and row["text"] == "Bö"
    with open_post_file("memory://b19/cells/1.csv", "r", encoding="utf-8") as file:
        assert file.readline().startswith("\ufefftext")


class Server(BaseHTTPRequestHandler):
    """Refuses what is secret, and ends in the middle of what is cut."""

    def do_HEAD(self):
        """Answer with the length alone."""
        self.answer(b"")

    def do_GET(self):
        """Answer with half of the file."""
        self.answer(b'{"id": "1"}\n')

    def answer(self, content: bytes):
        """Answer, or refuse."""
        if "secret" in self.path:
            self.send_error(403)
            return
        self.send_response(200)
        self.send_header("Content-Length", "24")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def lines_at(address: str) -> list:
    with naming_address(address):
        files, (name,) = find_post_files(address, kind_of_posts(address))
        return list(read_json_lines(files.unstrip_protocol(name), Problems()))


@pytest.mark.parametrize("name, reason", [("secret", "403.*Forbidden"), ("cut", "Not enough data")])
def test_a_server_that_refuses_or_ends_too_soon_is_an_error_with_address_and_mend(server, name, reason):
    address = f"{server}/{name}.jsonl"
    with pytest.raises(OSError, match=f"^{address}: .*{reason}.*; expected posts .* the same command again"):
        lines_at(address)


def test_an_address_at_which_nobody_listens_is_named(server):
    with pytest.raises(OSError, match=r"^http://127.0.0.1:1/a.jsonl: Cannot connect to host.*; expected posts"):
        lines_at("http://127.0.0.1:1/a.jsonl")


@pytest.mark.parametrize(
    "error, kind, message",
    [
        (TimeoutError(), OSError, "s3://b/a.jsonl: no answer in time; expected posts that can be read there"),
        (PermissionError("Access Denied"), OSError, "s3://b/a.jsonl: Access Denied; expected posts"),
        (ImportError("Install s3fs to access S3"), ImportError, "s3://b/a.jsonl: Install s3fs to access S3"),
        (ValueError("Protocol not known: s3"), ValueError, "s3://b/a.jsonl: Protocol not known: s3; expected an addr"),
        (FileNotFoundError("s3://b/a.jsonl: there is none"), FileNotFoundError, "s3://b/a.jsonl: there is none$"),
        (KeyError("a fault of ours"), KeyError, "a fault of ours"),
    ],
)
def test_what_fails_at_an_address_says_so_and_faults_of_the_code_stay(error, kind, message):
    with pytest.raises(kind, match=f"^'?{message}"), naming_address("s3://b/a.jsonl"):
        raise error
    with pytest.raises(type(error)) as found, naming_address("a.jsonl"):
        raise error
    assert found.value is error


@pytest.mark.parametrize(
    "text, shown",
    [
        ("https://h/a.jsonl?X-Amz-Signature=ab%2F:c", "https://h/a.jsonl"),
        ("https://h/a.jsonl?sig=ab:12", "https://h/a.jsonl:12"),
        ("https://h/a.jsonl?sig=ab: row 3", "https://h/a.jsonl: row 3"),
        ("404, url='https://me:word@h:80/a.jsonl?sig=ab', at s3://b/c", "404, url='https://h:80/a.jsonl', at s3://b/c"),
        ("ftp://me@h/a/b@c.csv", "ftp://h/a/b@c.csv"),
        ("a?b.jsonl:3 of me@h", "a?b.jsonl:3 of me@h"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(text, shown):
    assert shown_address(text) == shown


def test_the_name_of_posts_is_that_of_the_file():
    names = {"https://h/a/b.jsonl?sig=c/d.e": "b.jsonl", "a/b?c.jsonl": "b?c.jsonl", "s3://b/c.csv": "c.csv"}
    assert {path: name_of_posts(path) for path in names} == names


@pytest.mark.parametrize("name", ["cut", "secret"])
def test_an_error_of_a_web_server_has_no_signature(server, name):
    with pytest.raises(OSError, match=f"^{server}/{name}.jsonl: ") as found:
        lines_at(f"{server}/{name}.jsonl?sig=word")
    assert "word" not in str(found.value)
