"""A file is whole at its path, or the old one is there."""

import os

import pytest

from mmre.posts.whole_file import whole_file


def test_text_and_bytes_are_written_as_they_are_on_every_system(tmp_path):
    with whole_file(tmp_path / "a.txt") as file:
        file.write("é\n")
        assert not (tmp_path / "a.txt").exists()
    with whole_file(str(tmp_path / "b.bin"), "wb") as file:
        file.write(b"\r\n\x00")
    with whole_file(tmp_path / "c.csv", newline="") as file:
        file.write("a\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\r\n\x00"
    assert (tmp_path / "c.csv").read_bytes() == b"a\r\n"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, stop):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(stop), whole_file(path) as file:
        file.write("half of the n")
        raise stop
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "nowhere" / "a.txt"):
        pass


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: .*a\.txt"), whole_file(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_that_write_one_file_at_once_do_not_meet(tmp_path, monkeypatch):
    """Two benchmarks wrote one report: the second found its unfinished file gone."""
    path = tmp_path / "a.txt"
    with whole_file(path) as first:
        first.write("first, and longer")
        monkeypatch.setattr(os, "getpid", lambda: 0)
        with whole_file(path) as second:
            second.write("second")
        monkeypatch.undo()
    assert path.read_text() == "first, and longer"
    assert list(tmp_path.iterdir()) == [path]
