"""Thresholds and the warning of a model without `None`, in `mmre predict`."""

import json

import pytest
from prediction_helpers import NADAL, PERELLO, TEXT, read, write
from transformers import AutoConfig

from mmre.evaluation.thresholds import Thresholds, write_thresholds
from mmre.inference.run import predict

ENTITIES = [NADAL, PERELLO, (45, 56)]


def change_config(model: str, **values) -> None:
    path = f"{model}/config.json"
    with open(path, encoding="utf-8") as file:
        config = json.load(file) | values
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)


def test_relations_below_their_threshold_are_left_out_and_counted(mtb, folder, arguments, tmp_path):
    path = write(folder / "raw.jsonl", [{"text": TEXT, "entities": ENTITIES}])
    everything = arguments("all.jsonl")
    predict(mtb, path, everything)
    rows = read(everything)
    names = [name for name in AutoConfig.from_pretrained(mtb).id2label.values() if name != "None"]
    relation = rows[0]["relation"]
    scores = sorted(row["score"] for row in rows if row["relation"] == relation)
    assert len(scores) > 1 and scores[0] < scores[-1]
    middle = (scores[-2] + scores[-1]) / 2
    others = [row for row in rows if row["relation"] != relation]
    lowest = dict.fromkeys(names) | {relation: middle}
    *other, few = [name for name in names if name != relation]
    write_thresholds(tmp_path / "t.json", Thresholds(0.9, 1.0, lowest, 10, dict.fromkeys(names, 10) | {few: 9}))
    some = arguments("some.jsonl", thresholds=str(tmp_path / "t.json"))
    report = predict(mtb, path, some).text
    assert read(some) == [row for row in rows if row["relation"] == relation and row["score"] >= middle]
    assert f"for precision 0.9: {len(scores) - 1} relations below their threshold" in report
    counts = {name: f"{name} ({sum(row['relation'] == name for row in others)})" for name in names}
    assert f"those that reach it at no threshold: {', '.join(counts[name] for name in other)}" in report
    assert f"those that have none, of fewer than 10 posts: {counts[few]}" in report


def test_thresholds_are_of_the_scores_at_the_temperature_of_the_model(mtb, folder, arguments, tmp_path):
    path = write(folder / "raw.jsonl", [{"text": TEXT, "entities": ENTITIES}])
    names = [name for name in AutoConfig.from_pretrained(mtb).id2label.values() if name != "None"]
    posts = dict.fromkeys(names, 10)
    write_thresholds(tmp_path / "t.json", Thresholds(0.9, 2.0, dict.fromkeys(names, 0.0), 10, posts))
    args = arguments(thresholds=str(tmp_path / "t.json"))
    with pytest.raises(ValueError, match="scores of temperature 2, and the model's have 1"):
        predict(mtb, path, args)
    plain = arguments("plain.jsonl")
    predict(mtb, path, plain)
    change_config(mtb, score_temperature=2.0)
    predict(mtb, path, args)
    flat, sharp = ({str(row["head"]) + str(row["tail"]): row for row in read(each)} for each in (args, plain))
    assert flat.keys() == sharp.keys() and flat
    for pair, row in flat.items():
        assert row["relation"] == sharp[pair]["relation"] and row["score"] < sharp[pair]["score"]


def test_a_model_that_never_saw_a_pair_without_a_relation_is_warned_of(mtb, folder, arguments):
    one = write(folder / "one.jsonl", [{"text": TEXT, "head": NADAL, "tail": PERELLO}])
    entities = write(folder / "entities.jsonl", [{"text": TEXT, "entities": ENTITIES}])
    found = write(folder / "found.jsonl", [{"text": TEXT}])
    warning = "warning: no pair of this model's training had the relation None"
    assert warning not in predict(mtb, entities, arguments("0.jsonl")).text
    change_config(mtb, trained_without_none=True)
    assert warning not in predict(mtb, one, arguments("1.jsonl")).text
    assert warning in predict(mtb, entities, arguments("2.jsonl")).text
    assert warning in predict(mtb, found, arguments("3.jsonl")).text
