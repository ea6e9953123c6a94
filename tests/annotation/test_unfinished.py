"""Unfinished files: what was written is read, a torn line is not, and other settings are refused."""

import json
from pathlib import Path

import pytest

from mmre.annotation.unfinished import OutputFileError, append_line, check_same_header, read_batches

HEADER = {"version": 1, "model": {"name": "a", "threshold": 0.5}}


def test_batches_are_read_as_they_were_written_and_a_torn_line_is_left_out(tmp_path):
    path = tmp_path / "out.part"
    with open(path, "ab") as file:
        append_line(file, HEADER)
        append_line(file, {"batch": 0, "rows": [{"id": "é"}]})
        good = file.tell()
        file.write(b'{"batch": 1, "ro')
    found = list(read_batches(path, HEADER))
    assert [batch for *batch, _ in found] == [[None, []], [0, [{"id": "é"}]]]
    assert found[-1][-1] == good == len(path.read_bytes()) - 16
    with open(path, "ab") as file:
        file.write(b"\n")
    with pytest.raises(OutputFileError, match="out.part:3 is damaged"):
        list(read_batches(path, HEADER))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_named_with_its_file():
    with pytest.raises(OSError, match="/dev/full") as error, open("/dev/full", "ab", buffering=0) as file:
        append_line(file, HEADER)
    assert error.value.filename == "/dev/full"


def test_each_difference_of_two_headers_is_named():
    check_same_header(json.loads(json.dumps(HEADER)), HEADER, "out")
    other = {"version": 1, "model": {"name": "b"}, "posts": 2}
    with pytest.raises(OutputFileError) as error:
        check_same_header(other, HEADER, "out")
    assert str(error.value).split("\n  ")[1:] == [
        "model.name: 'b' there, 'a' now",
        "model.threshold: None there, 0.5 now",
        "posts: 2 there, None now",
    ]
