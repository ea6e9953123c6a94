"""Triples: cells of CSV, and the same triples in all formats."""

import csv

import pytest
from prediction_helpers import TEXT, read, write
from rdflib import Graph
from rdflib.compare import isomorphic

from mmre.inference.csv_cells import as_csv_cell
from mmre.inference.run import predict


@pytest.mark.parametrize("space", ["", " ", "\t", "\r", "\n", "\u3000", "\u00a0 \t"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_a_cell_of_csv_is_no_formula(space, sign):
    assert as_csv_cell(f"{space}{sign}1+1") == f"'{space}{sign}1+1"


def test_other_cells_of_csv_stay_as_they_are():
    for value in ("a=b", "", " a", "(=1)", None, 3, -0.5, "\uff1ea"):
        assert as_csv_cell(value) == value and type(as_csv_cell(value)) is type(value)
    assert as_csv_cell("\ta") == "'\ta" and as_csv_cell("\ra") == "'\ra"
    assert (as_csv_cell(["=1"]), as_csv_cell({"a": "é"}), as_csv_cell(True)) == ('["=1"]', '{"a": "é"}', "true")


def test_all_formats_hold_the_same_triples(focalmre, folder, arguments):
    text = 'Rafael "Rafa" Nadal, weds\nMery \\ Perello'
    posts = [{"id": 'x,"1"', "text": text, "entities": [[0, 19], [26, 40]]}, {"text": TEXT}]
    path = write(folder / "raw.jsonl", posts)
    args = {name: arguments(f"triples.{name}") for name in ("jsonl", "csv", "nt", "ttl")}
    for arguments_of_format in args.values():
        predict(focalmre, path, arguments_of_format)
    triples = read(args["jsonl"])
    assert 'Rafael "Rafa" Nadal' in {row["head"]["text"] for row in triples}
    with open(args["csv"].out, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "head", "head_type", "relation", "tail", "tail_type", "score", "ruled_out"]
    assert [(*row[:6], float(row[6])) for row in rows] == [
        (
            *(row["id"], row["head"]["text"], row["head"].get("type", ""), row["relation"]),
            *(row["tail"]["text"], row["tail"].get("type", ""), row["score"]),
        )
        for row in triples
    ]
    assert {row["head"].get("type") for row in triples} > {None, "PER"}  # spaCy found those of the second post
    graphs = [Graph().parse(args[name].out) for name in ("nt", "ttl")]
    assert isomorphic(*graphs)
    relation = "http://example.org/relation"
    said = [f"{relation}{row['relation']}" for row in triples]
    assert sorted(str(by) for _, by, _ in graphs[0] if str(by).startswith(relation)) == sorted(said)


def test_relations_below_the_lowest_score_are_left_out_and_counted(focalmre, folder, arguments):
    path = write(folder / "raw.jsonl", [{"text": f"{TEXT} {word}"} for word in ("in York", "of the city", "")])
    everything = arguments("all.jsonl")
    predict(focalmre, path, everything)
    scores = sorted(row["score"] for row in read(everything))
    middle = scores[len(scores) // 2]
    assert scores[0] < middle
    args = arguments("some.jsonl", min_score=middle)
    report = predict(focalmre, path, args)
    assert read(args) == [row for row in read(everything) if row["score"] >= middle]
    assert f"{len(scores) - len(read(args))} relations with a score below" in report.text
