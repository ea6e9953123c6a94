"""The spaCy component: the same relations as those of `mmre predict`, in documents."""

import pytest
import spacy
from picture_helpers import SPACY_MODEL
from prediction_helpers import read, write
from spacy.tokens import DocBin
from transformers import AutoConfig, AutoModel

from mmre.evaluation.thresholds import Thresholds, write_thresholds
from mmre.inference.run import predict
from mmre.inference.spacy_component import DocRelation

TEXTS = ["Rafael Nadal weds Mery Perello in South Wales", "nobody is here", "Barack Obama met Angela Merkel on Monday"]


@pytest.fixture
def nlp(mtb):
    """A spaCy model with the component at its end."""
    nlp = spacy.load(SPACY_MODEL)
    nlp.add_pipe("mmre_relations", config={"model": mtb})
    return nlp


def shown_of(doc) -> list[tuple]:
    return [
        (each.head.text, each.relation, each.tail.text, pytest.approx(each.score, abs=1e-5)) for each in doc._.relations
    ]


def test_the_relations_are_those_of_a_prediction(nlp, mtb, folder, arguments):
    args = arguments(decision="post")
    predict(mtb, write(folder / "raw.jsonl", [{"text": text} for text in TEXTS]), args)
    expected = [[], [], []]
    for row in read(args):
        found = row["head"]["text"], row["relation"], row["tail"]["text"], row["score"]
        expected[int(row["id"].removeprefix("raw-"))].append(found)
    assert expected[0] and expected[1] == []
    assert [shown_of(doc) for doc in nlp.pipe(TEXTS)] == expected
    assert [shown_of(nlp(text)) for text in TEXTS] == expected
    first = nlp(TEXTS[0])._.relations[0]
    assert isinstance(first, DocRelation) and first.head.label_ == "PERSON" and 0 <= first.ruled_out < 1
    assert not any("Monday" in (each.head.text, each.tail.text) for each in nlp(TEXTS[2])._.relations)


def test_relations_are_written_and_read_with_their_documents(nlp):
    docs = list(nlp.pipe(TEXTS))
    stored = DocBin(docs=docs, store_user_data=True).to_bytes()
    again = list(DocBin().from_bytes(stored).get_docs(nlp.vocab))
    assert [shown_of(doc) for doc in again] == [shown_of(doc) for doc in docs]
    assert again[0]._.relations[0].head.label_ == docs[0]._.relations[0].head.label_


def test_a_document_has_a_picture(focalmre, folder):
    nlp = spacy.load(SPACY_MODEL)
    names = AutoModel.from_pretrained(focalmre).config.label2id.keys() - {"None"}
    rules = [{"relation": name, "types": [["*", "*"]]} for name in sorted(names)]  # a random model knows no types
    schema = write(folder / "schema.jsonl", rules)
    nlp.add_pipe("mmre_relations", config={"model": focalmre, "schema": schema, "both_directions": True})
    scores = []
    for image in (None, str(folder / "a.png"), (folder / "b.png").read_bytes()):
        doc = nlp.make_doc(TEXTS[0])
        doc._.image = image
        (doc,) = nlp.pipe([doc])
        scores.append([each.score for each in doc._.relations])
    assert scores[0] != scores[1] and scores[1] != scores[2]
    doc = nlp.make_doc(TEXTS[0])
    doc._.image = "https://example.org/a.png"
    with pytest.raises(ValueError, match="is the address 'https://example.org/a.png', and `fetch_images` is off"):
        nlp(doc)
    failed = []
    nlp.get_pipe("mmre_relations").set_error_handler(lambda name, component, docs, error: failed.append((name, docs)))
    others = [nlp.make_doc(text) for text in TEXTS]
    found = list(nlp.pipe([others[0], doc, *others[1:]]))  # one batch
    assert found == others and failed == [("mmre_relations", [doc])]
    assert found[0]._.relations and shown_of(found[0]) == shown_of(nlp(TEXTS[0]))


def test_relations_below_their_threshold_are_left_out(mtb, nlp, tmp_path):
    names = [name for name in AutoConfig.from_pretrained(mtb).id2label.values() if name != "None"]
    everything = [each for text in TEXTS for each in nlp(text)._.relations]
    best = max(everything, key=lambda each: each.score)
    assert len(everything) > 1
    lowest = dict.fromkeys(names) | {best.relation: best.score - 1e-4}
    write_thresholds(tmp_path / "t.json", Thresholds(0.9, 1.0, lowest, 10, dict.fromkeys(names, 0)))
    strict = spacy.load(SPACY_MODEL)
    strict.add_pipe("mmre_relations", config={"model": mtb, "thresholds": str(tmp_path / "t.json")})
    kept = [each for each in everything if each.relation == best.relation and each.score >= best.score - 1e-4]
    found = [(each.head.text, each.tail.text) for text in TEXTS for each in strict(text)._.relations]
    assert found == [(each.head.text, each.tail.text) for each in kept] and len(kept) < len(everything)
    with pytest.raises(FileNotFoundError, match="^thresholds nowhere: there is no such file"):
        spacy.blank("en").add_pipe("mmre_relations", config={"model": mtb, "thresholds": "nowhere"})


def test_scores_below_the_lowest_are_left_out_and_values_out_of_range_refused(mtb, nlp):
    best = max(each.score for each in nlp(TEXTS[0])._.relations)
    strict = spacy.load(SPACY_MODEL)
    strict.add_pipe("mmre_relations", config={"model": mtb, "min_score": best})
    assert [each.score for each in strict(TEXTS[0])._.relations] == [pytest.approx(best)]
    for config, message in (
        ({"min_score": 1.5}, "mmre_relations: min_score 1.5; expected"),
        ({"batch_size": 0}, "mmre_relations: batch_size 0; expected at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            spacy.blank("en").add_pipe("mmre_relations", config={"model": mtb, **config})
    with pytest.raises(FileNotFoundError, match="--schema nowhere"):
        spacy.blank("en").add_pipe("mmre_relations", config={"model": mtb, "schema": "nowhere"})
