"""Import: pairs without a relation, splits that share nothing, and files that training reads."""

import json
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from mmre.cli.main import main
from mmre.posts import open_posts
from mmre.posts.importing import import_posts
from mmre.posts.splits_apart import groups_of, split_apart
from mmre.training.settings import Settings, read_config, resolve
from mmre.training.splits import check_data

DATA = Path(__file__).parents[1] / "data" / "imports"


def rows(folder: Path) -> list[dict]:
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    return [json.loads(line) for line in lines]


def pairs(found: list[dict]) -> list[tuple[str, str, str]]:
    names = [[row["text"][row[end]["start"] : row[end]["end"]] for end in ("head", "tail")] for row in found]
    return [(head, row["relation"], tail) for (head, tail), row in zip(names, found)]


def test_all_pairs_without_a_relation_in_either_direction_are_made(tmp_path):
    report = import_posts("doccano", DATA / "doccano.jsonl", tmp_path / "out", validation=0, test=0)
    found = rows(tmp_path / "out")
    assert pairs(found[:1]) == [("Rafael Nadal", "couple", "Mery Perello")]
    assert found[0]["head"] == {"start": 2, "end": 14, "type": "PER"} and found[0]["image"] == "wedding.jpg"
    assert pairs(found[1:6]) == [
        ("Ann Lee", "member_of", "Acme"),
        ("Ann Lee", "None", "Rome"),
        ("Acme", "None", "Rome"),
        ("Rome", "None", "Ann Lee"),
        ("Rome", "None", "Acme"),
    ]
    assert pairs(found[6:]) == [("Bo Ray", "None", "Cy Poe"), ("Cy Poe", "None", "Bo Ray")]
    assert len({row["id"] for row in found}) == 8
    assert "3 posts with 2 pictures, 8 pairs of entities, 6 of them without a relation" in report.text
    assert "2 relations: couple, member_of" in report.text


def test_so_many_pairs_without_a_relation_are_drawn_of_each_post_and_a_seed_repeats_them(tmp_path):
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        import_posts("doccano", DATA / "doccano.jsonl", tmp_path / name, none=1, validation=0, test=0, seed=seed)
        drawn.append([row["relation"] for row in rows(tmp_path / name)])
        assert drawn[-1] == ["couple", "member_of", "None", "None"]
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    import_posts("doccano", DATA / "doccano.jsonl", tmp_path / "none", none=0, validation=0, test=0)
    assert [row["relation"] for row in rows(tmp_path / "none")] == ["couple", "member_of"]


def test_posts_hang_together_by_a_picture_or_a_text_over_others_too():
    posts = [("a", "1"), ("b", "2"), (" A ", "2"), ("c", None), ("d", None), ("C", "3")]
    assert groups_of(posts) == [[0, 1, 2], [3, 5], [4]]


def test_splits_share_no_picture_and_no_text_and_training_knows_all_relations():
    posts = [(f"text {number // 2}", f"{number // 3}.jpg" if number % 2 else None) for number in range(300)]
    relations = [{"rare" if number == 7 else f"r{number % 3}"} for number in range(300)]
    splits = split_apart(posts, relations, 0.2, 0.1, seed=0)
    assert sorted(number for found in splits.values() for number in found) == list(range(300))
    assert 50 <= len(splits["validation"]) <= 60 and 20 <= len(splits["test"]) <= 30
    for column in (0, 1):
        seen = [{posts[number][column] for number in found} - {None} for found in splits.values()]
        assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert 7 in splits["train"]
    assert split_apart(posts, relations, 0.2, 0.1, seed=0) == splits != split_apart(posts, relations, 0.2, 0.1, seed=1)


def made(path: Path, number: int) -> Path:
    """An export of doccano with two entities and one of two relations in each post."""
    with open(path, "w", encoding="utf-8") as file:
        for n in range(number):
            entities = [{"id": i, "start_offset": 3 * i, "end_offset": 3 * i + 2, "label": "PER"} for i in (0, 1)]
            relations = [{"from_id": 0, "to_id": 1, "type": ("couple", "peer")[n % 2]}]
            line = {"id": n, "text": f"Bo Cy {n}", "entities": entities, "relations": relations if n % 3 else []}
            file.write(json.dumps(line) + "\n")
    return path


def test_what_was_imported_is_what_training_reads(tmp_path):
    report = import_posts("doccano", made(tmp_path / "a.jsonl", 40), tmp_path / "out", validation=0.2, test=0.1)
    posts = open_posts("files", files={split: str(path) for split, path in report.files.items()})
    assert {split: len({row["text"] for row in part}) for split, part in posts.items()} == {
        "train": 28,
        "validation": 8,
        "test": 4,
    }
    assert posts["train"].features["relation"].names == ["None", "couple", "peer"]
    counts = Counter(label for part in posts.values() for label in part["relation"])
    assert counts[0] == 2 * 14 and counts[1] + counts[2] == 26


def test_rows_that_an_earlier_post_has_are_there_once(tmp_path):
    lines = (DATA / "doccano.jsonl").read_text("utf-8").splitlines()
    again = json.dumps(json.loads(lines[0]) | {"id": 9})
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, again]), "utf-8")
    report = import_posts("doccano", tmp_path / "a.jsonl", tmp_path / "out", validation=0, test=0)
    assert len(rows(tmp_path / "out")) == 8
    assert "1 rows that an earlier post has, too" in report.text


@pytest.mark.parametrize("kind", ["doccano", "label_studio", "prodigy", "brat", "opennre", "tacred"])
def test_the_command_imports_each_format_and_says_what_comes_next(kind, tmp_path, capsys):
    path = {"brat": "brat", "label_studio": "label_studio.json", "tacred": "tacred.json"}.get(kind, f"{kind}.jsonl")
    out = tmp_path / "out"
    assert main(["import", kind, str(DATA / path), "--out", str(out), "--validation", "0", "--test", "0"]) == 0
    printed = capsys.readouterr().out
    assert f"next: mmre train own_posts --dataset {out}" in printed
    assert printed.endswith(" --do_eval false --do_predict false\n")
    posts = open_posts(out, use_images=False)
    assert posts.keys() == {"train"} and len(posts["train"]) == len(rows(out)) > 1


def next_command(capsys) -> tuple[str, Settings]:
    """Return what is printed before the command that comes next, and the settings that this command has."""
    before, _, words = capsys.readouterr().out.partition("next: mmre train own_posts ")
    words = shlex.split(words)
    settings = resolve(read_config("own_posts"), dict(zip((word[2:] for word in words[::2]), words[1::2])))
    check_data(settings.data, False)
    return before, settings


def test_the_command_that_comes_next_finds_posts_and_pictures(tmp_path, capsys):
    folder, out = tmp_path / "a folder", tmp_path / "out"
    folder.mkdir()
    path = shutil.copy(DATA / "doccano.jsonl", folder)
    options = ["--validation", "0", "--test", "0"]
    assert main(["import", "doccano", path, "--out", str(out), *options]) == 0
    before, settings = next_command(capsys)
    named = "rome.jpg, wedding.jpg"
    assert f"2 of 2 pictures are not there: put them into {out}: {named}" in before
    assert settings.data.image_dir is None and not settings.training.do_predict and not settings.training.do_eval
    with pytest.raises(ValueError, match="there is no such file"):
        open_posts(**settings.data.places)
    for name in named.split(", "):
        Image.new("RGB", (9, 9)).save(out / name)
    assert open_posts(**settings.data.places).keys() == {"train"}
    # Beside the export, and where the option says.
    for number, (place, given) in enumerate(((folder, []), (out, ["--image_dir", str(out)]))):
        for name in named.split(", "):
            Image.new("RGB", (9, 9)).save(place / name)
        again = ["import", "doccano", path, "--out", str(tmp_path / str(number)), *options, *given]
        assert main(again) == 0
        before, settings = next_command(capsys)
        assert "not there" not in before and settings.data.image_dir == str(place)
        assert len(open_posts(**settings.data.places)["train"]) == 8
    assert main([*again[:-1], str(tmp_path / "no"), "--out", str(tmp_path / "x")]) == 2
    assert "--image_dir" in capsys.readouterr().err


def test_what_is_wrong_is_said_in_one_line(tmp_path, capsys):
    def ends(*words, status: int = 1) -> str:
        try:
            ended = main(["import", *map(str, words)])
        except SystemExit as stopped:
            ended = stopped.code
        message = capsys.readouterr().err.splitlines()
        assert ended == status and message[0].startswith("mmre import: error: ")
        return message[0]

    path, out = DATA / "doccano.jsonl", tmp_path / "out"
    assert "did you mean 'doccano'" in ends("docano", path, "--out", out, status=2)
    assert "--none some; expected all, or how many" in ends("doccano", path, "--out", out, "--none", "some", status=2)
    assert "--none -1" in ends("doccano", path, "--out", out, "--none=-1", status=2)
    assert "together below 1" in ends("doccano", path, "--out", out, "--test", "0.95", status=2)
    assert "together below 1" in ends("doccano", path, "--out", out, "--test", "nan", status=2)
    assert "there is no folder" in ends("doccano", path, "--out", out / "x" / "y", status=2)
    assert "there is no such file" in ends("doccano", tmp_path / "no.jsonl", "--out", out)
    assert "give the folder of its .ann files" in ends("brat", path, "--out", out)
    assert "validation would be empty: 3 posts are too few" in ends("doccano", path, "--out", out)
    assert not out.exists()
    out.mkdir()
    assert "is there already" in ends("doccano", path, "--out", out)
