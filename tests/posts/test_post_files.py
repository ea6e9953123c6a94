"""Files of posts: which kind they are, and where they are."""

import fsspec
import pytest

from mmre.posts.checks import Problems
from mmre.posts.post_files import find_post_files, kind_of_posts, open_post_file
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
