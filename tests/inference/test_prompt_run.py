"""A run of a chat model leaves the record of a training; a killed one goes on where it was."""

import json
from pathlib import Path

import pytest
import yaml
from chat_helpers import PictureQwen2VLProcessor, picture, save_chat_model, save_qwen2_vl, save_vision_chat_model
from chat_server import ChatServer

from mmre.cli.main import main
from mmre.evaluation.run_record import read_metrics, read_predictions
from mmre.inference.in_context import InContextRelationClassifier
from mmre.inference.prompt_arguments import PromptArguments
from mmre.inference.prompt_run import prompt
from mmre.model_cards.prompt_card import render_prompt_card

RELATIONS = ["couple", "None", "lives in"]


@pytest.fixture(scope="module")
def chat(tmp_path_factory) -> str:
    return save_chat_model(tmp_path_factory.mktemp("chat") / "model")


@pytest.fixture(scope="module")
def vision_chat(tmp_path_factory) -> str:
    return save_vision_chat_model(tmp_path_factory.mktemp("chat") / "vision")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """Posts of two files; each two that follow one another have one picture."""
    folder, paths = tmp_path_factory.mktemp("posts"), {}
    for split, number in (("train", 8), ("test", 5)):
        rows = []
        for i in range(number):
            name = f"{split}{i // 2}.png"
            picture(i // 2).save(folder / name)
            text = f"Ann {i} weds Bob of {split}"
            row = {"id": f"{split}-{i}", "text": text, "head": [0, 3], "tail": [11, 14], "image": name}
            rows.append(row | {"relation": RELATIONS[i % 3], "caption": "a wedding"})
        paths[f"{split}_file"] = str(folder / f"{split}.jsonl")
        Path(paths[f"{split}_file"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


def arguments(folder: Path, files: dict[str, str], **changes) -> PromptArguments:
    return PromptArguments(output_dir=str(folder), **files | {"batch_size": 2, "shots": 2} | changes)


def content(folder: Path) -> dict[str, list]:
    """What a run found, without its times."""
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text("utf-8").splitlines()]
    predictions = (folder / "predictions.jsonl").read_text("utf-8").splitlines()
    return {"answers": [row | {"seconds": 0} for row in answers], "predictions": [json.loads(p) for p in predictions]}


def test_a_run_leaves_the_record_of_a_training(chat, files, tmp_path):
    report = prompt(chat, "files", arguments(tmp_path / "out", files))
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} - {".lock"} == {
        *("metrics.json", "predictions.jsonl", "results.md", "answers.jsonl", "prompt.txt", "environment.json"),
        *("resolved_config.yaml", "confusion_matrix.png"),
    }
    metrics, predictions, found = read_metrics(out), read_predictions(out), content(out)
    assert metrics["test"]["samples"] == 5 and metrics["test"]["loss"] > 0
    right = [row["gold"] == row["predicted"] for row in found["predictions"]]
    assert metrics["test"]["accuracy"] == sum(right) / 5 and sorted(predictions.relations) == sorted(RELATIONS)
    assert (metrics["posts"]["images"], metrics["posts"]["regions"]) == ("unused", "none")
    asked = metrics["prompt"]
    assert (asked["answer"], asked["shots"], asked["unparsable"]) == ("letters", 2, 0)
    tokens = [row["prompt_tokens"] for row in found["answers"]]
    assert asked["prompt_tokens_per_post"] == sum(tokens) / 5 and asked["seconds_per_post"] > 0
    assert metrics["cost"]["parameters"] > 0 and metrics["cost"]["train_seconds_per_post"] is None
    assert "asked by letters with 2 random shots" in report.tables
    # The prompt of the first post in full, with the captions in place of the pictures, and the posts that it shows.
    text = (out / "prompt.txt").read_text("utf-8")
    assert text.endswith("<|im_start|>assistant\n\n") and text.count("The picture shows: a wedding") == 3
    for name in found["answers"][0]["demonstrations"]:
        assert f"Ann {name.removeprefix('train-')} weds Bob of train" in text
    settings = yaml.safe_load((out / "resolved_config.yaml").read_text("utf-8"))
    assert settings["model"] == chat and settings["prompt"]["shots"] == 2


@pytest.mark.parametrize("way", ["letters", "likelihood", "generate"])
@pytest.mark.parametrize(("kind", "place"), [("llava", "<image>"), ("qwen2_vl", "<|image_pad|>")])
def test_a_model_that_reads_pictures_is_shown_those_of_the_demonstrations(
    vision_chat, files, tmp_path, way, kind, place, monkeypatch
):
    if kind == "qwen2_vl":
        vision_chat = save_qwen2_vl(tmp_path / "model")
        monkeypatch.setattr("mmre.inference.chat_models.AutoProcessor", PictureQwen2VLProcessor)
    prompt(vision_chat, "files", arguments(tmp_path / "all", files, answer=way))
    prompt(vision_chat, "files", arguments(tmp_path / "post", files, answer=way, demonstration_images=False))
    metrics, found = read_metrics(tmp_path / "all"), content(tmp_path / "all")
    assert metrics["posts"]["images"] == "used" and metrics["prompt"]["demonstration_images"]
    unparsable = [row["predicted"] is None for row in found["predictions"]]
    assert metrics["prompt"]["unparsable"] == sum(unparsable) / 5
    if way != "generate":
        assert not any(unparsable)
    other = content(tmp_path / "post")
    assert found["answers"][0]["prompt_tokens"] != other["answers"][0]["prompt_tokens"]
    assert (tmp_path / "all" / "prompt.txt").read_text("utf-8").count(place) == 3
    assert (tmp_path / "post" / "prompt.txt").read_text("utf-8").count(place) == 1


def test_no_post_is_shown_one_of_its_own_picture_though_it_shows_none(chat, files, tmp_path):
    """Asked about the training posts, of which all that are allowed are drawn."""
    asked = files | {"test_file": None, "validation_file": files["train_file"]}
    copy = tmp_path / "posts"
    copy.mkdir()
    rows = [json.loads(line) for line in Path(files["train_file"]).read_text().splitlines()]
    text = "".join(json.dumps(row | {"id": f"new {row['id']}", "text": row["text"] + "!"}) + "\n" for row in rows)
    (Path(files["train_file"]).parent / "again.jsonl").write_text(text)
    asked["validation_file"] = str(Path(files["train_file"]).parent / "again.jsonl")
    prompt(chat, "files", arguments(tmp_path / "out", asked, split="validation", shots=6))
    for number, row in enumerate(content(tmp_path / "out")["answers"]):
        same_picture = {f"train-{number // 2 * 2}", f"train-{number // 2 * 2 + 1}"}
        assert {*row["demonstrations"]} == {f"train-{i}" for i in range(8)} - same_picture


def test_a_killed_run_goes_on_where_it_was_and_gives_the_same(chat, files, tmp_path, monkeypatch):
    prompt(chat, "files", arguments(tmp_path / "whole", files))
    answer, calls = InContextRelationClassifier.answer, []

    def stops(self, posts, keys=None):
        calls.append([post.id for post in posts])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(self, posts, keys)

    monkeypatch.setattr(InContextRelationClassifier, "answer", stops)
    with pytest.raises(KeyboardInterrupt):
        prompt(chat, "files", arguments(tmp_path / "killed", files))
    with open(tmp_path / "killed" / "answers.part", "ab") as part:
        part.write(b'{"batch": 2, "ro')
    with pytest.raises(ValueError, match=r"another --output_dir, or delete the file:\n  --shots: 2 there, 1 now$"):
        prompt(chat, "files", arguments(tmp_path / "killed", files, shots=1))
    prompt(chat, "files", arguments(tmp_path / "killed", files))
    assert calls == [["test-0", "test-1"], ["test-2", "test-3"], ["test-4"], ["test-4"]]
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    with pytest.raises(ValueError, match="killed holds the results of this command already: delete it, or set another"):
        prompt(chat, "files", arguments(tmp_path / "killed", files))
    with pytest.raises(
        ValueError, match=r"another run .--split: 'test' there, 'validation' now; --seed: 42 there, 7 now.: set"
    ):
        prompt(chat, "files", arguments(tmp_path / "killed", files, seed=7, split="validation"))


def test_a_server_leaves_the_same_record_without_its_address_in_the_card(files, tmp_path, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with ChatServer(lambda body: "couple" if "Ann 1" in body["messages"][-1]["content"] else "who knows") as server:
        out = tmp_path / "out"
        prompt("tiny", "files", arguments(out, files, base_url=server.url, shots=0))
        assert len(server.requests) == 5
        metrics = read_metrics(out)
        assert metrics["prompt"]["unparsable"] == 0.8 and metrics["test"]["accuracy"] == 0 and "cost" not in metrics
        assert [row["predicted"] for row in content(out)["predictions"]] == [None, "couple", None, None, None]
        card = str(render_prompt_card(out))
        assert "80.00 % of the answers named no relation" in card and server.url not in card
        assert all("sk-secret" not in path.read_text("utf-8", errors="replace") for path in out.iterdir())


def test_the_command_writes_the_card_beside_the_record(chat, files, tmp_path, capsys):
    descriptions = tmp_path / "about.txt"
    descriptions.write_text("couple\tthey are married\n")
    words = ["prompt", chat, "files", "--test_file", files["test_file"], "--train_file", files["train_file"]]
    words += ["--output_dir", str(tmp_path / "out"), "--descriptions", str(descriptions), "--max_posts", "2"]
    assert main([*words, "--shots", "1", "--answer", "likelihood", "--stratified"]) == 0
    assert "| test | 2 |" in capsys.readouterr().out
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "**It was not\ntrained for that**" in card and "couple: they are married" in card
    assert "mmre prompt model files --split test --max_posts 2 --shots 1 --stratified" in card
    assert "--descriptions path/of/about.txt" in card and str(tmp_path) not in card


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--shots", "-1"], 2, "--shots -1; expected at least 0"),
        (["--stratified"], 2, "--stratified is of the posts that are shown: give --shots"),
        (["--answer", "letter"], 2, "unknown --answer 'letter'; did you mean 'letters'?"),
        (["--answer", "letters", "--base_url", "http://localhost:1/v1"], 2, "servers do not tell probabilities alike"),
        (
            ["--base_url", "localhost:1/v1"],
            2,
            "--base_url localhost:1/v1; expected an address as http://localhost:8000/v1",
        ),
        (["--base_url", "http://me:word@host/v1"], 2, "the key belongs in the environment, as OPENAI_API_KEY"),
        (["--timeout", "0"], 2, "--timeout 0; expected seconds"),
        (["--use_images"], 1, "reads no pictures; give --captions in their place"),
        (["--shots", "9"], 1, "`shots` is 9, and there are 8 posts to draw from"),
        (["--split", "validation"], 1, "DATA files has no posts of validation"),
        (["--max_prompt_tokens", "9"], 1, "is too long for"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(chat, files, tmp_path, capsys, words, status, message):
    given = ["prompt", chat, "files", "--test_file", files["test_file"], "--train_file", files["train_file"]]
    try:
        ended = main([*given, "--output_dir", str(tmp_path / "out"), *words])
    except SystemExit as stopped:
        ended = stopped.code
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended == status and line.startswith("mmre prompt: error: ") and message in line
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_nothing_is_asked_if_a_later_post_cannot_be_shown_so_many_examples(chat, files, tmp_path):
    rows = Path(files["test_file"]).read_text("utf-8").splitlines()
    rows[-1] = rows[-1].replace("Ann 4 weds Bob of test", "Ann 0 weds Bob of train")
    copied = Path(files["test_file"]).with_name("copied.jsonl")
    copied.write_text("\n".join(rows) + "\n")
    with pytest.raises(ValueError, match="7 posts have another text and another picture than 'test-4'"):
        prompt(chat, "files", arguments(tmp_path / "out", files, shots=8, test_file=str(copied)))
    assert not (tmp_path / "out" / "answers.part").exists()


def test_descriptions_of_other_relations_and_models_without_a_template_are_refused(chat, files, tmp_path):
    descriptions = tmp_path / "about.txt"
    descriptions.write_text("coupel\tthey are married\n")
    with pytest.raises(ValueError, match="descriptions: unknown relation 'coupel'; did you mean 'couple'"):
        prompt(chat, "files", arguments(tmp_path / "out", files, descriptions=str(descriptions)))
    silent = save_chat_model(tmp_path / "silent", template=None)
    with pytest.raises(ValueError, match="has no chat template"):
        prompt(silent, "files", arguments(tmp_path / "out", files))
    assert not (tmp_path / "out").exists()


def test_predict_makes_triples_with_relations_that_nobody_trained(chat, vision_chat, tmp_path, capsys):
    relations, posts = tmp_path / "relations.txt", tmp_path / "posts.jsonl"
    relations.write_text("couple\tthey are married\nlives in\n")
    picture(0).save(tmp_path / "a.png")
    rows = [
        {"id": str(i), "text": f"Ann weds Bob in Rome {i}", "entities": [[0, 3], [9, 12], [16, 20]]} for i in range(4)
    ]
    posts.write_text("".join(json.dumps(row | {"image": "a.png"}) + "\n" for row in rows))
    compared = 0
    for model in (chat, vision_chat):
        out = tmp_path / f"{Path(model).name}.jsonl"
        assert (
            main(["predict", model, str(posts), "--out", str(out), "--relations", str(relations), "--decision", "pair"])
            == 0
        )
        triples = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        meanings = {"couple": "they are married"}
        extract = InContextRelationClassifier.from_pretrained(model, ["couple", "lives in"], descriptions=meanings)
        image = picture(0) if model == vision_chat else None
        expected = []
        for row in rows:
            pairs = [(a, b) for a in row["entities"] for b in row["entities"] if a != b]
            for (head, tail), found in zip(pairs, extract({"text": row["text"], "pairs": pairs, "image": image})):
                if found["label"] != "None":
                    expected.append(
                        (row["id"], head[0], found["label"], tail[0], pytest.approx(found["score"], abs=1e-4))
                    )
        shown = [(t["id"], t["head"]["start"], t["relation"], t["tail"]["start"], t["score"]) for t in triples]
        assert shown == expected
        compared += len(expected)
    assert compared > 0
    capsys.readouterr()
    words = ["predict", chat, str(posts), "--out", str(tmp_path / "t.jsonl"), "--relations", str(relations)]
    assert main([*words, "--tasks", "detection"]) == 1
    assert "asked for --relations, reads no regions; leave it out" in capsys.readouterr().err
