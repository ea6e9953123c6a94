"""The schema of relations: from names, from a file, from labelled posts."""

import json

import pytest
from picture_helpers import SPACY_MODEL

from mmre.cli.main import main
from mmre.inference.relation_schema import (
    RelationRule,
    RelationSchema,
    read_schema,
    schema_of_posts,
    type_of,
    write_schema,
)

RELATIONS = ["None", "/per/per/couple", "/per/loc/place_of_birth", "knows"]


def test_types_are_read_out_of_names():
    schema = RelationSchema.from_names([*RELATIONS, "/event/loc/held_on", "/per/loc/", "/per/loc"])
    assert schema.rules == {
        "/per/per/couple": RelationRule((("PER", "PER"),)),
        "/per/loc/place_of_birth": RelationRule((("PER", "LOC"),)),
    }
    assert schema.fits("/per/per/couple", "PER", None) and not schema.fits("/per/per/couple", "PER", "ORG")
    assert schema.fits("knows", "PER", "ORG") and not schema.is_symmetric("/per/per/couple")


@pytest.mark.parametrize(
    "head, tail, fits",
    [("PERSON", "GPE", True), ("person", "FAC", True), ("GPE", "PERSON", False), ("PERSON", "DATE", False)],
)
def test_types_that_spacy_names_otherwise_are_those_of_names(head, tail, fits):
    assert RelationSchema.from_names(RELATIONS).fits("/per/loc/place_of_birth", head, tail) is fits


def test_a_rule_of_spacys_types_takes_the_broader_type_and_no_sibling():
    schema = RelationSchema({"held_in": RelationRule((("EVENT", "GPE"),))})
    assert schema.fits("held_in", "EVENT", "GPE") and schema.fits("held_in", "MISC", "LOC")
    assert not schema.fits("held_in", "PRODUCT", "GPE") and not schema.fits("held_in", "EVENT", "FAC")


def test_a_file_says_types_and_symmetry_and_names_say_the_rest(tmp_path):
    path = tmp_path / "schema.jsonl"
    rows = [
        {"relation": "knows", "types": [["PER", "*"], ["ORG", "PER"]]},
        {"relation": RELATIONS[1], "symmetric": True},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    schema = read_schema(path, RELATIONS)
    assert schema.is_symmetric("/per/per/couple") and not schema.is_symmetric("knows")
    assert not schema.fits("/per/per/couple", "PER", "LOC") and not schema.fits("/per/loc/place_of_birth", "PER", "PER")
    fits = {(h, t): schema.fits("knows", h, t) for h in ("PER", "ORG", "LOC") for t in ("PER", "LOC")}
    assert [pair for pair, good in fits.items() if good] == [("PER", "PER"), ("PER", "LOC"), ("ORG", "PER")]
    write_schema(tmp_path / "again.jsonl", schema)
    assert read_schema(tmp_path / "again.jsonl", RELATIONS).rules == schema.rules


@pytest.mark.parametrize(
    "row, message",
    [
        ('{"relation": "couple"}', r"schema.jsonl:1: unknown relation 'couple'; .*couple.*\(known are the model's\)"),
        ('{"relation": "None"}', "unknown relation 'None'"),
        ('{"relation": 3}', "unknown relation 3"),
        ('{"types": [["PER", "PER"]]}', "unknown relation None"),
        ('{"relation": "knows", "types": ["PER", "PER"]}', r"types: .*expected a list of pairs"),
        ('{"relation": "knows", "types": []}', r"types: \[\]; expected a list of pairs"),
        ('{"relation": "knows", "types": [["PER"]]}', "types: "),
        ('{"relation": "knows", "symmetric": "yes"}', "symmetric: 'yes'; expected true or false"),
        ('{"relation": "knows", "simmetric": true}', "unknown field 'simmetric'; did you mean 'symmetric'"),
        ('{"relation": "knows"}\n{"relation": "knows"}', "jsonl:2: relation: 'knows' twice"),
        ("knows", "line: 'knows'; expected a JSON object"),
    ],
)
def test_a_bad_file_is_told_by_place(tmp_path, row, message):
    path = tmp_path / "schema.jsonl"
    path.write_text(row)
    with pytest.raises(ValueError, match=message):
        read_schema(path, RELATIONS)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="--schema .*nowhere: there is no such file"):
        read_schema(tmp_path / "nowhere", RELATIONS)


def post(text: str, head: str, tail: str, relation: str) -> dict:
    spans = {
        name: {"start": text.index(e), "end": text.index(e) + len(e)} for name, e in (("head", head), ("tail", tail))
    }
    return {"text": text, "relation": relation} | spans


def test_types_and_symmetry_are_learned_of_posts():
    kinds = {"Ann": "PER", "Bob": "PER", "Rome": "LOC", "Acme": "ORG"}

    def find(text: str) -> list[dict]:
        words = [(word, text.index(word)) for word in text.split() if word in kinds]
        return [{"start": start, "end": start + len(word), "type": kinds[word]} for word, start in words]

    posts = [
        post("Ann knows Bob", "Ann", "Bob", "knows"),
        post("Ann knows Bob", "Bob", "Ann", "knows"),
        post("Ann knows Zed", "Ann", "Zed", "knows"),  # a type that nobody knows counts for nothing
        *[post("Ann in Rome", "Ann", "Rome", "lives in")] * 19,
        post("Acme in Rome", "Acme", "Rome", "lives in"),
        post("Ann of Acme", "Ann", "Acme", "None"),
        post("Zed is Zoe", "Zed", "Zoe", "is"),
    ]
    assert schema_of_posts(posts, find, min_share=0.06, symmetric=["is"]).rules == {
        "is": RelationRule(None, True),
        "knows": RelationRule((("PER", "PER"),), True),
        "lives in": RelationRule((("PER", "LOC"),), False),
    }
    assert schema_of_posts(posts, find, min_share=0.05).rules["lives in"].types == (("PER", "LOC"), ("ORG", "LOC"))


def test_an_entity_has_the_type_of_what_overlaps_it_most():
    found = [{"start": 0, "end": 4, "type": "LOC"}, {"start": 4, "end": 12, "type": "ORG"}]
    assert [type_of(span, found) for span in ((0, 6), (3, 12), (12, 14), (11, 20))] == ["LOC", "ORG", None, "ORG"]


def test_the_command_learns_a_file_that_predict_reads(tmp_path, capsys):
    posts = tmp_path / "train.jsonl"
    texts = ["Rafael Nadal weds Mery Perello", "Angela Merkel met Emmanuel Macron"]
    rows = [
        post(texts[0], "Rafael Nadal", "Mery Perello", "couple"),
        post(texts[1], "Angela Merkel", "Emmanuel Macron", "None"),
    ]
    posts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "schema.jsonl"
    command = ["schema", str(posts), "--out", str(out), "--spacy_model", SPACY_MODEL]
    assert main([*command, "--symmetric", "couple"]) == 0
    assert "couple: PER-PER, symmetric\n" in capsys.readouterr().out
    assert read_schema(out, ["None", "couple"]).rules == {"couple": RelationRule((("PER", "PER"),), True)}
    assert main(command) == 1 and "is there already" in capsys.readouterr().err
    out.unlink()
    assert main([*command, "--symmetric", "cuople"]) == 2
    assert "unknown --symmetric 'cuople'; did you mean 'couple'" in capsys.readouterr().err
    assert main([*command, "--min_share", "2"]) == 2 and "--min_share 2; expected" in capsys.readouterr().err
    assert main(["schema", str(tmp_path / "none.csv"), "--out", str(out)]) == 1
    assert not out.exists()
