"""What tools for labelling export, as posts: each file was made by hand after the tool's documentation."""

import json
import re
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from mmre.posts.importing import READERS
from mmre.posts.labelled_posts import Gathering, picture_name

DATA = Path(__file__).parents[1] / "data" / "imports"
WEDDING = "🎾 Rafael Nadal weds Mery Perello"
NADAL, PERELLO = (2, 14, "PER"), (20, 32, "PER")


def gather(kind: str, path: Path) -> tuple[list, dict]:
    gathering = Gathering(path)
    posts = list(READERS[kind](gathering))
    gathering.problems.raise_if_any()
    return posts, {what: count for what, count in gathering.passed_over.items() if count}


def errors(kind: str, path: Path, *lines) -> str:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    with pytest.raises(ValueError) as found:
        gather(kind, path)
    return str(found.value)


def test_doccano_has_entities_and_relations_by_their_ids_in_code_points():
    (first, second, third), passed_over = gather("doccano", DATA / "doccano.jsonl")
    assert (first.id, first.text, first.image) == ("1", WEDDING, "wedding.jpg")
    assert first.entities == [NADAL, PERELLO] and first.relations == [(0, 1, "couple")]
    assert [second.text[start:end] for start, end, _ in second.entities] == ["Ann Lee", "Acme", "Rome"]
    assert [kind for *_, kind in second.entities] == ["PER", "ORG", "LOC"]
    assert third.image is None and third.relations == [] and not third.lists_pairs and passed_over == {}


def test_label_studio_has_offsets_of_either_kind_directions_and_names_of_pictures_without_their_addresses():
    (first, second), passed_over = gather("label_studio", DATA / "label_studio.json")
    # The first task counts in UTF-16, the second in code points.
    assert first.entities == [NADAL, PERELLO]
    assert first.relations == [(0, 1, "couple"), (1, 0, "couple")]
    assert first.image == "0a1b2c3d-wedding.jpg"
    assert second.text == "🏛 Ann Lee of Acme" and second.image == "rome.jpg"
    assert [second.text[start:end] for start, end, _ in second.entities] == ["Ann Lee", "Acme"]
    assert second.relations == [(0, 1, "member_of")]  # to the left: from Ann Lee to Acme
    assert passed_over == {"results that are neither spans of the text nor relations": 1}


def test_prodigy_has_spans_or_the_tokens_that_they_end_at_and_only_accepted_answers():
    (first, second), passed_over = gather("prodigy", DATA / "prodigy.jsonl")
    assert first.entities == [NADAL, PERELLO] and first.relations == [(0, 1, "couple")]
    assert (first.image, second.id, second.relations) == ("wedding.jpg", "second", [(0, 1, "member_of")])
    assert passed_over == {"answers that were not accepted": 1}


def test_brat_has_files_side_by_side_pieces_and_lines_that_say_something_else():
    (rome, wedding), passed_over = gather("brat", DATA / "brat")
    assert (wedding.id, wedding.image, rome.id, rome.image) == ("wedding", "wedding.png", "more/rome", None)
    assert [wedding.text[start:end] for start, end, _ in wedding.entities] == ["Rafael Nadal", "Mery Perello"]
    assert wedding.relations == [(0, 1, "couple")]
    assert [rome.text[start:end] for start, end, _ in rome.entities] == ["Ann and Bo Lee", "Bo Lee", "Acme"]
    assert rome.relations == [(0, 2, "member_of"), (1, 2, "member_of")]
    assert sorted(passed_over.values()) == [1, 3]


def test_opennre_has_pairs_in_characters_or_in_words():
    (first, second), _ = gather("opennre", DATA / "opennre.jsonl")
    assert first.entities == [(2, 14, None), (20, 32, None)] and first.relations == [(0, 1, "couple")]
    assert second.text == "Ann Lee of Acme" and second.relations == [(0, 1, "None")] and second.image == "rome.jpg"
    assert second.entities == [(0, 7, None), (11, 15, None)] and first.lists_pairs and second.lists_pairs


def test_tacred_has_the_last_word_of_each_entity_not_the_one_after():
    (first, second), _ = gather("tacred", DATA / "tacred.json")
    assert first.text == "Rafael Nadal weds Mery Perello" and first.relations == [(0, 1, "per:spouse")]
    assert first.entities == [(0, 12, "PERSON"), (18, 30, "PERSON")]
    assert [second.text[start:end] for start, end, _ in second.entities] == ["Acme", "Rome"]
    assert second.relations == [(0, 1, "None")] and second.id == "e78"


def test_a_docbin_has_entities_and_the_relations_of_spacys_example(tmp_path):
    nlp = spacy.blank("en")
    doc = nlp("Rafael Nadal weds Mery Perello")
    doc.ents = [Span(doc, 0, 2, "PERSON"), Span(doc, 3, 5, "PERSON")]
    if not Doc.has_extension("rel"):
        Doc.set_extension("rel", default={})
    doc._.rel = {(0, 3): {"couple": 1.0, "peer": 0.0}, (3, 0): {"couple": 0.0}}
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "posts.spacy")
    (post,), _ = gather("docbin", tmp_path / "posts.spacy")
    assert post.entities == [(0, 12, "PERSON"), (18, 30, "PERSON")] and post.relations == [(0, 1, "couple")]
    for content, error in ((b"no zlib", "expected a DocBin"), (b"x\x9c\x03\x00\x00\x00\x00\x01", "a DocBin of spaCy")):
        (tmp_path / "bad.spacy").write_bytes(content)
        with pytest.raises(ValueError, match=error):
            gather("docbin", tmp_path / "bad.spacy")


ENTITY = {"id": 1, "start_offset": 0, "end_offset": 2, "label": "PER"}
OTHER = {"id": 2, "start_offset": 3, "end_offset": 5, "label": "PER"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"entities": [ENTITY | {"end_offset": 99}]}, r"entity: \[0, 99\], 'Bo Cy'; expected start and end"),
        ({"entities": [ENTITY | {"start_offset": "0"}]}, r"entity: \['0', 2\]; expected start and end"),
        (
            {"entities": [ENTITY | {"start_offset": 2, "end_offset": 3}]},
            r"entity: \[2, 3\], ' '; expected .* not blank",
        ),
        ({"relations": [{"from_id": 1, "to_id": 3, "type": "wed"}]}, "relation: of '3'; expected entities that are"),
        ({"relations": [{"from_id": 1, "to_id": 2}]}, "relation: nothing; expected a name"),
        ({"relations": [{"from_id": 1, "to_id": 1, "type": "wed"}]}, "'wed' of an entity to itself"),
        ({"text": ""}, "text: ''; expected a text"),
        ({"text": None}, "text: nothing"),
        ({"entities": None}, "export as JSONL .relation."),
        ({"image": "folder/.."}, "image: 'folder/..'; expected"),
        ({"id": [1]}, r"id: \[1\]; expected"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(changes, error, tmp_path):
    good = {"id": 1, "text": "Bo Cy", "entities": [ENTITY, OTHER], "relations": []}
    message = errors("doccano", tmp_path / "a.jsonl", good, good | {"id": 2} | changes)
    assert re.search(rf"a\.jsonl:2: .*{error}", message), message


def test_malformed_lines_ids_and_names_of_pictures_that_are_twice_are_named(tmp_path):
    good = {"id": 1, "text": "Bo Cy", "image": "a/1.jpg", "entities": [ENTITY, OTHER], "relations": []}
    other = good | {"id": 2, "image": "b/1.jpg"}
    message = errors("doccano", tmp_path / "a.jsonl", good, "{", good | {"text": "Bo!"}, other, '{"id": 1, "id": 2}')
    assert "a.jsonl:2: line: '{'; expected a JSON object" in message
    assert "a.jsonl:3: id: '1', as at" in message
    assert "a.jsonl:4: image: 'b/1.jpg', and 'a/1.jpg' at" in message
    assert "a.jsonl:5: line: 'id' twice" in message
    assert "content: nothing; expected an export with posts" in errors("doccano", tmp_path / "a.jsonl", "")
    assert "no JSON list that ends" in errors("label_studio", tmp_path / "a.json", "[{}")
    assert "not as JSON-MIN" in errors("label_studio", tmp_path / "a.json", [{"id": 1, "label": []}])


def test_regions_whose_text_does_not_stand_there_are_refused(tmp_path):
    value = {"start": 0, "end": 2, "text": "Xy", "labels": ["PER"]}
    task = {"data": {"text": "Bo Cy"}, "annotations": [{"result": [{"id": "a", "type": "labels", "value": value}]}]}
    assert "offsets at which its text stands" in errors("label_studio", tmp_path / "a.json", [task])


def test_a_line_of_brat_that_contradicts_its_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("Bo Cy", "utf-8")
    (tmp_path / "a.ann").write_text("T1\tPER 0 2\tXy\nnonsense\n", "utf-8")
    (tmp_path / "b.ann").write_text("", "utf-8")
    with pytest.raises(ValueError) as found:
        gather("brat", tmp_path)
    assert "a.ann:1: entity: 'Bo' at 0 2; expected 'Xy'" in str(found.value)
    assert "a.ann:2: line: 'nonsense'" in str(found.value) and "b.txt or b.ann: not there" in str(found.value)


def test_entities_of_one_span_are_one_and_relations_that_are_said_twice_are_said_once(tmp_path):
    third = OTHER | {"id": 3, "label": "ORG"}
    relations = [{"from_id": 1, "to_id": number, "type": "wed"} for number in (2, 3)]
    line = {"id": 1, "text": "Bo Cy", "entities": [ENTITY, OTHER, third], "relations": relations}
    (tmp_path / "a.jsonl").write_text(json.dumps(line), "utf-8")
    (post,), passed_over = gather("doccano", tmp_path / "a.jsonl")
    assert post.entities == [(0, 2, "PER"), (3, 5, "PER")] and post.relations == [(0, 1, "wed")]
    assert sorted(passed_over.values()) == [1, 1]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\a.jpg", "a.jpg"),
        ("https://example.org/x/a.jpg?w=1#top", "a.jpg"),
        ("/data/local-files/?d=pictures/a.jpg", "a.jpg"),
        ("folder/", None),
        ("..", None),
        ("a\nb", None),
        ("https://example.org/", None),
    ],
)
def test_of_a_picture_the_name_is_kept(reference, name):
    assert picture_name(reference) == name
