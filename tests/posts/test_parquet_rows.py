"""Rows of parquet: of a file, a folder, an address; with pictures inside; and what is wrong with them."""

import io
import pickle
import random

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmre.posts import parquet_rows
from mmre.posts.checks import Problems
from mmre.posts.parquet_rows import InlinePicture, read_parquet
from mmre.posts.post_files import kind_of_posts

FIELDS = ("id", "text", "image", "head", "score")


def rows(path, problems=None, **changes) -> list:
    return list(read_parquet(str(path), Problems() if problems is None else problems, FIELDS, **changes))


def test_rows_come_in_the_order_of_files_with_their_places_and_without_nulls(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "ROWS_READ_AT_ONCE", 2)
    pq.write_table(pa.table({"id": [3], "text": ["c"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"id": [1, 2, None], "text": ["a", None, "b"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [9]}), tmp_path / "_unfinished.parquet")
    (tmp_path / "readme.txt").write_text("no posts")
    assert kind_of_posts(tmp_path) == "parquet"
    found = rows(tmp_path)
    assert [row for _, row in found] == [{"id": "1", "text": "a"}, {"id": "2"}, {"text": "b"}, {"id": "3", "text": "c"}]
    places = [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert [place for place, _ in found] == [f"{tmp_path}/{name}.parquet: row {row}" for name, row in places]
    assert rows(tmp_path / "b.parquet") == found[3:]


def test_an_address_is_read_through_fsspec():
    files = fsspec.filesystem("memory")
    with files.open("/bucket/posts/a.parquet", "wb") as file:
        pq.write_table(pa.table({"text": ["a"]}), file)
    assert kind_of_posts("memory://bucket/posts") == "parquet"
    for address in ("memory://bucket/posts", "memory://bucket/posts/a.parquet"):
        assert rows(address) == [("/bucket/posts/a.parquet: row 1", {"text": "a"})]
    with pytest.raises(FileNotFoundError, match="memory://bucket/none: there is no parquet file"):
        rows("memory://bucket/none")
    with pytest.raises(ValueError, match="nonsense"):
        rows("nonsense://bucket/none")


def test_pictures_in_a_file_are_named_by_their_bytes_and_paths_stay(tmp_path):
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = [{"bytes": b"1", "path": "a.png"}, {"bytes": b"1", "path": None}, {"bytes": None, "path": "c.png"}, None]
    pq.write_table(pa.table({"image": pa.array(cells, kind)}), tmp_path / "a.parquet")
    first, second, third, none = (row.get("image") for _, row in rows(tmp_path / "a.parquet"))
    assert first == second and first.content == second.content == b"1" and first != InlinePicture(b"2")
    assert third == "c.png" and not isinstance(third, InlinePicture) and none is None
    pq.write_table(pa.table({"image": pa.array([b"1"], pa.binary())}), tmp_path / "b.parquet")
    assert rows(tmp_path / "b.parquet")[0][1]["image"] == first
    again = pickle.loads(pickle.dumps(first))  # noqa: S301, it goes to other processes
    assert again == first and again.content == b"1"


def test_columns_that_are_not_known_are_reported_once_or_passed_over(tmp_path):
    pq.write_table(pa.table({"texd": ["a"], "author": ["b"], "text": ["c"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"author": ["b"], "text": ["c"]}), tmp_path / "b.parquet")
    problems = Problems()
    assert [row for _, row in rows(tmp_path, problems)] == [{"text": "c"}] * 2
    report = problems.report()
    assert report.startswith("2 problem(s)") and "unknown column 'texd'; did you mean 'text'?" in report
    ignored, problems = set(), Problems()
    rows(tmp_path, problems, ignored=ignored)
    assert ignored == {"author"} and len(problems) == 1  # a misspelt one is not passed over


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"<html>404</html>")
    problems = Problems()
    assert rows(tmp_path / "a.parquet", problems) == []
    assert "a.parquet: content: " in problems.report() and "a parquet file that can be read" in problems.report()


@pytest.mark.parametrize("rows_of_a_group", [10, 200])
def test_little_of_a_file_is_read_before_it_is_needed(rows_of_a_group, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "ROWS_READ_AT_ONCE", 5)
    monkeypatch.setattr(parquet_rows, "BYTES_READ_AT_ONCE", 1 << 17)
    pictures = [random.randbytes(100_000) for _ in range(200)]  # 20 MB
    table = pa.table({"image": pa.array(pictures, pa.binary())})
    options = {"use_dictionary": False, "compression": "none", "data_page_size": 1 << 17, "write_batch_size": 1}
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=rows_of_a_group, **options)
    counted = 0

    class Counted(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            nonlocal counted
            content = super().read(size)
            counted += len(content)
            return content

        def readinto(self, buffer) -> int:
            nonlocal counted
            size = super().readinto(buffer)
            counted += size
            return size

    class Files:
        def open(self, name: str, mode: str) -> Counted:
            return Counted(name, mode)

    monkeypatch.setattr(parquet_rows, "find_post_files", lambda path, kind: (Files(), [path]))
    found = read_parquet(str(tmp_path / "a.parquet"), Problems(), FIELDS)
    read = []
    for _, row in found:
        assert row["image"].content == pictures[len(read)]
        read.append(counted)
    assert read[0] < 3_000_000 and read[99] < 13_000_000 and read[-1] > 20_000_000
