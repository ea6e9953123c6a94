"""Triples: names, literals and the three formats."""

import csv
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from prediction_helpers import TEXT, read, write

from mmre.inference.run import predict
from mmre.inference.triples import RDFS_LABEL, as_csv_cell, literal, ntriples

# https://www.w3.org/TR/n-triples/#n-triples-grammar, of what has no blank nodes, types or languages.
UCHAR = r"(?:\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8})"
IRIREF = rf"<((?:[^\x00-\x20<>\"{{}}|^`\\]|{UCHAR})*)>"
LITERAL = rf"\"((?:[^\x22\x5C\x0A\x0D]|\\[tbnrf\"'\\]|{UCHAR})*)\""
STATEMENT = re.compile(rf"[ \t]*{IRIREF}[ \t]*{IRIREF}[ \t]*(?:{IRIREF}|{LITERAL})[ \t]*\.[ \t]*")
ESCAPED = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


def parse_literal(text: str) -> str:
    def unescape(match) -> str:
        return ESCAPED[match[1]] if match[1] in ESCAPED else chr(int(match[1][1:], 16))

    return re.sub(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", unescape, text)


NASTY = ['Bo "B" \\ <Cy>', "Zoë & 東京 🎾", "a\tb\nc", "../x?y#z%41", "{}|^`", "'\x07\x7f"]


@pytest.mark.parametrize("name", NASTY)
def test_ntriples_hold_any_name(name):
    lines = ntriples({"head": {"text": name}, "tail": {"text": "Cy"}, "label": "/per/per/couple of"}, "http://kg.org/#")
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    (head, relation, tail, _), *labels = (STATEMENT.fullmatch(line[:-1]).groups() for line in lines)
    expected = " ".join(name.split())
    assert head.startswith("http://kg.org/#entity/") and tail == "http://kg.org/#entity/Cy" and head.isascii()
    assert unquote(head.removeprefix("http://kg.org/#entity/")) == expected
    assert relation == "http://kg.org/#relation/per/per/couple%20of"
    assert [(node, unquote(by), parse_literal(label)) for node, by, _, label in labels] == [
        (head, "http://www.w3.org/2000/01/rdf-schema#label", expected),
        (tail, "http://www.w3.org/2000/01/rdf-schema#label", "Cy"),
    ]


@pytest.mark.parametrize("text", [*NASTY, "a\r\nb"])
def test_literals_follow_the_grammar_and_read_back(text):
    assert re.fullmatch(LITERAL, literal(text))
    assert parse_literal(literal(text)[1:-1]) == text


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
    args = {name: arguments(f"triples.{name}") for name in ("jsonl", "csv", "nt")}
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
    statements = [STATEMENT.fullmatch(line).groups() for line in Path(args["nt"].out).read_text("utf-8").splitlines()]
    relations = [statement for statement in statements if "/relation/" in statement[1]]
    assert [tuple(unquote(iri.split("/", 4)[4]) for iri in statement[:3]) for statement in relations] == [
        (row["head"]["text"], row["relation"][1:], row["tail"]["text"]) for row in triples
    ]
    assert len(statements) == 3 * len(triples)


def test_names_in_a_knowledge_graph_are_without_html():
    lines = ntriples({"head": {"text": "Marks &amp; Spencer"}, "tail": {"text": "York"}, "label": "/org/loc/in"}, "x:")
    assert lines[1] == f'<x:entity/Marks%20%26%20Spencer> <{RDFS_LABEL}> "Marks & Spencer" .\n'


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
