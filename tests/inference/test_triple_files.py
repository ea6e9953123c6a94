"""A folder of files in place of one: together they hold the triples of one file."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rdflib import Graph
from rdflib.compare import isomorphic

from mmre.annotation.unfinished import append_line
from mmre.inference import triples as triples_module
from mmre.inference.arguments import PredictionArguments
from mmre.inference.triples import write_triples

HEADER = {"posts": 5, "model": "org/model", "revision": "0a1b", "files_sha256": None, "schema": None}
NAMES = ["Ann", "#ann", "Bo", "Cy", "Ann"]


def part_of_five_posts(tmp_path):
    """Five posts, each with a triple, "Ann" in three of them; the second has two, and the fourth none."""
    path = tmp_path / "unfinished"
    with open(path, "wb", buffering=0) as file:
        append_line(file, HEADER)
        for place, name in enumerate(NAMES):
            head = {"start": 0, "end": len(name), "text": name, "type": "PER"}
            tail = {"start": 9, "end": 13, "text": "Rome", "type": "LOC"}
            found = [{"head": head, "label": "lives_in", "tail": tail, "score": 0.5}] * (place != 3)
            found += [{"head": head, "label": "born_in", "tail": tail, "score": 0.25}] * (place == 1)
            row = {"place": place, "id": f"p{place}", "kept": {"by": "x"}, "relations": found, "left_out": {"none": 0}}
            append_line(file, {"batch": place, "rows": [row]})
    return path


def written(tmp_path, name: str, **changes):
    args = PredictionArguments(out=str(tmp_path / name), keep=["by"], **changes)
    report = write_triples(part_of_five_posts(tmp_path), HEADER, args)
    return tmp_path / name, report.text


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_files_of_two_triples_hold_those_of_one_file(tmp_path, format):
    one, _ = written(tmp_path, f"one.{format}")
    folder, report = written(tmp_path, f"many.{format}", triples_per_file=2)
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [f"triples-0000{number}.{format}" for number in range(3)]
    assert f"many.{format}: 5 triples of 5 posts in 3 files" in report
    if format == "parquet":
        assert pq.read_table(folder).to_pylist() == pq.read_table(one).to_pylist()
        assert [pq.read_metadata(path).num_rows for path in files] == [2, 2, 1]
    else:
        skipped = 1 if format == "csv" else 0  # each file has the header
        lines = [line for path in files for line in path.read_text("utf-8").splitlines()[skipped:]]
        assert lines == one.read_text("utf-8").splitlines()[skipped:] and len(lines) == 5


@pytest.mark.parametrize("format", ["nt", "ttl"])
def test_files_of_a_graph_are_each_whole_and_together_one_graph(tmp_path, format):
    one, _ = written(tmp_path, f"one.{format}")
    folder, report = written(tmp_path, f"many.{format}", triples_per_file=2)
    names = ["nodes", "triples-00000", "triples-00001", "triples-00002"]
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.{format}" for name in names]
    assert "5 triples between 3 entities of 5 posts in 3 files" in report
    together = Graph()
    for path in folder.iterdir():
        together += Graph().parse(path)
    assert isomorphic(together, Graph().parse(one))
    if format == "nt":  # of the three posts that say it, one file says that Ann lives in Rome
        said = "".join(path.read_text("utf-8") for path in folder.glob("triples-*"))
        assert said.count("<http://example.org/relation/lives_in> <http://example.org/entity/LOC/rome> .") == 2


SCRIPT = """
import sys
from pathlib import Path
import test_triple_files

test_triple_files.NAMES[:] = [f"Name {number}" for number in range(40)]
for format in ("nt", "ttl"):
    print(test_triple_files.written(Path(sys.argv[1]), f"one.{format}")[0].read_text("utf-8"))
"""


def test_a_graph_is_the_same_bytes_whatever_the_hashes_of_a_process(tmp_path):
    found = set()
    for seed in "123":
        paths = [str(Path(__file__).parent), *sys.path]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(paths)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, env=environment, check=True
        )
        found.add(done.stdout)
    (text,) = found
    assert text.count("rdf:Statement") + text.count("rdf-syntax-ns#Statement>") == 2 * 40


def test_files_of_relationships_have_one_file_of_nodes(tmp_path):
    folder, _ = written(tmp_path, "graph", format="neo4j", triples_per_file=3)
    assert sorted(path.name for path in folder.iterdir()) == ["nodes.csv", "triples-00000.csv", "triples-00001.csv"]
    parts = [list(csv.reader(path.open(encoding="utf-8"))) for path in sorted(folder.iterdir())]
    assert [len(rows) for rows in parts] == [4, 4, 3] and parts[1][0] == parts[2][0]
    ids = {row[0] for row in parts[0][1:]}
    assert {cell for rows in parts[1:] for row in rows[1:] for cell in row[:2]} <= ids


@pytest.mark.parametrize("format", ["jsonl", "parquet", "nt"])
def test_without_a_triple_there_is_one_file_without_one(tmp_path, format):
    folder, report = written(tmp_path, f"none.{format}", triples_per_file=2, min_score=0.9)
    assert (folder / f"triples-00000.{format}").is_file() and "0 triples" in report
    if format == "parquet":
        assert "head_type" in pq.read_schema(folder / "triples-00000.parquet").names


def test_no_folder_is_there_before_all_of_its_files_are(tmp_path, monkeypatch):
    (tmp_path / "many.jsonl.unfinished").mkdir()
    (tmp_path / "many.jsonl.unfinished" / "left").write_text("by a run that was killed")
    part = part_of_five_posts(tmp_path)
    line_of = triples_module.triple_line

    def stop_at_the_third_post(triple, keep):
        if triple["id"] == "p2":
            raise KeyboardInterrupt
        return line_of(triple, keep)

    with monkeypatch.context() as patched:
        patched.setattr(triples_module, "triple_line", stop_at_the_third_post)
        with pytest.raises(KeyboardInterrupt):
            write_triples(part, HEADER, PredictionArguments(out=str(tmp_path / "many.jsonl"), triples_per_file=2))
    assert not list(tmp_path.glob("many.jsonl*"))
    folder, _ = written(tmp_path, "many.jsonl", triples_per_file=2)
    assert len(list(folder.iterdir())) == 3


def test_a_number_of_triples_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="--triples_per_file 0; expected at least 1"):
        PredictionArguments(out="t.jsonl", triples_per_file=0)
