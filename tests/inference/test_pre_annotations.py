"""Triples as pre-annotations, and back."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from prediction_helpers import write

from mmre.cli.main import main
from mmre.inference.pre_annotations import write_pre_annotations
from mmre.posts.importing import READERS
from mmre.posts.labelled_posts import Gathering

TEXT = "🎾 Rafael Nadal weds Mery Perello"
NADAL, PERELLO = (
    {"start": start, "end": end, "text": TEXT[start:end], "type": "PER"} for start, end in ((2, 14), (20, 32))
)


@pytest.fixture
def posts(tmp_path):
    rows = [
        {"id": "a", "text": TEXT, "image": "a.png"},
        {"id": "b", "text": "nobody"},
        {"id": "c", "tokens": ["Bo", "and", "Cy"], "entities": [{"start": 0, "end": 1, "type": "PER"}, [2, 3]]},
    ]
    return write(tmp_path / "posts.jsonl", rows)


@pytest.fixture
def triples(tmp_path):
    lines = [
        {"id": "a", "head": NADAL, "relation": "couple", "tail": PERELLO, "score": 0.75, "ruled_out": 0.0},
        {"id": "a", "head": PERELLO, "relation": "peer", "tail": NADAL, "score": 0.5, "ruled_out": 0.0},
    ]
    return write(tmp_path / "triples.jsonl", lines)


def test_label_studio_gets_tasks_with_predictions(posts, triples, tmp_path):
    assert write_pre_annotations("label_studio", posts, triples, tmp_path / "tasks.json").endswith(
        "3 posts with 2 relations"
    )
    first, second, third = json.loads((tmp_path / "tasks.json").read_text("utf-8"))
    assert first["data"] == {"id": "a", "text": TEXT, "image": "a.png"} and second["predictions"] == []
    (prediction,) = first["predictions"]
    assert prediction["score"] == 0.5
    labels = {"from_name": "label", "to_name": "text", "type": "labels"}
    assert prediction["result"] == [
        {"id": "e0", **labels, "value": {"start": 2, "end": 14, "text": "Rafael Nadal", "labels": ["PER"]}},
        {"id": "e1", **labels, "value": {"start": 20, "end": 32, "text": "Mery Perello", "labels": ["PER"]}},
        {"type": "relation", "from_id": "e0", "to_id": "e1", "direction": "right", "labels": ["couple"]},
        {"type": "relation", "from_id": "e1", "to_id": "e0", "direction": "right", "labels": ["peer"]},
    ]
    (prediction,) = third["predictions"]
    assert third["data"]["text"] == "Bo and Cy" and "score" not in prediction
    assert [each["value"]["labels"] for each in prediction["result"]] == [["PER"], ["Entity"]]


def test_doccano_gets_entities_and_relations(posts, triples, tmp_path):
    write_pre_annotations("doccano", posts, triples, tmp_path / "lines.jsonl")
    first, second, third = map(json.loads, (tmp_path / "lines.jsonl").read_text("utf-8").splitlines())
    assert first["entities"][1] == {"id": 1, "start_offset": 20, "end_offset": 32, "label": "PER"}
    assert first["relations"] == [
        {"id": 0, "from_id": 0, "to_id": 1, "type": "couple"},
        {"id": 1, "from_id": 1, "to_id": 0, "type": "peer"},
    ]
    assert (first["post_id"], first["image"]) == ("a", "a.png") and second["entities"] == []


@pytest.mark.parametrize("tool", ["label_studio", "doccano"])
def test_what_was_written_is_imported_as_what_was_predicted(tool, posts, triples, tmp_path):
    """As if a person had accepted all of it."""
    out = tmp_path / "out.json"
    write_pre_annotations(tool, posts, triples, out)
    if tool == "label_studio":
        tasks = json.loads(out.read_text("utf-8"))
        out.write_text(json.dumps([task | {"annotations": task["predictions"]} for task in tasks]), "utf-8")
    gathering = Gathering(out)
    first, *_ = READERS[tool](gathering)
    assert not gathering.problems
    assert (first.text, first.image) == (TEXT, "a.png")
    assert first.entities == [(2, 14, "PER"), (20, 32, "PER")]
    assert first.relations == [(0, 1, "couple"), (1, 0, "peer")]


@pytest.mark.parametrize("tool", ["label_studio", "doccano"])
def test_a_picture_inside_parquet_is_left_out_and_a_path_is_kept(tool, tmp_path):
    image = io.BytesIO()
    Image.new("RGB", (2, 2)).save(image, "PNG")
    pictures = [{"bytes": None, "path": "a.png"}, {"bytes": image.getvalue(), "path": None}]
    rows = [{"id": str(n), "text": "nobody", "image": picture} for n, picture in enumerate(pictures)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "posts.parquet")
    write_pre_annotations(tool, str(tmp_path / "posts.parquet"), write(tmp_path / "none.jsonl", []), tmp_path / "out")
    lines = (tmp_path / "out").read_text("utf-8")
    found = json.loads(lines) if tool == "label_studio" else [json.loads(line) for line in lines.splitlines()]
    images = [row.get("data", row).get("image") for row in found]
    assert images[0].endswith("a.png") and images[1] is None and len(images) == 2


def test_a_folder_of_triples_is_told_how_to_become_a_file(posts, tmp_path):
    with pytest.raises(ValueError, match="is a folder; expected one file of JSON lines: join those in it, in order"):
        write_pre_annotations("doccano", posts, str(tmp_path), tmp_path / "out")


def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(posts, triples, tmp_path, capsys):
    out = tmp_path / "out.json"

    def ends(*words, status: int = 1) -> str:
        try:
            ended = main(["preannotate", *map(str, words), "--out", str(out)])
        except SystemExit as stopped:
            ended = stopped.code
        assert ended == status and not out.exists()
        return capsys.readouterr().err.splitlines()[0]

    assert "did you mean 'doccano'" in ends("docano", posts, triples, status=2)
    assert "there is no such file" in ends("doccano", posts, tmp_path / "no.jsonl")
    assert "expected a line of mmre predict" in ends("doccano", posts, posts)
    strange = write(tmp_path / "strange.jsonl", [{"id": "z", "head": NADAL, "relation": "r", "tail": PERELLO}])
    assert "'z' is no post of" in ends("label_studio", posts, strange)
