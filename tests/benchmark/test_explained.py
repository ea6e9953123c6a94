"""Explanations over the test posts of trained runs: the table of faithfulness, and the papers' figures of attention."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from mmre.benchmark.explained import TrainedRun, faithfulness_table, interval
from mmre.cli.main import main
from mmre.inference import explain
from mmre.inference.cards import CardMaker


def test_the_table_is_of_the_explanations_of_each_test_post(run, tmp_path, capsys):
    posts = TrainedRun(run).posts
    ids = list(posts["id"][:3])
    command = ["benchmark", "faithfulness", str(run), "--posts", *ids, "--out", str(tmp_path)]
    assert main([*command, "--json", str(tmp_path / "rows.json")]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text("utf-8"))
    assert [row["explanation"] for row in rows].count("attention") >= 1
    trained = TrainedRun(run)
    drops = [
        line.drop - line.random_drop
        for post in posts.select(range(3))
        for line in explain(trained.model, trained.processor, post, check=True).faithfulness
        if (line.explanation, line.parts) == ("occlusion", "words")
    ]
    (row,) = [row for row in rows if (row["explanation"], row["parts"]) == ("occlusion", "words")]
    assert row["posts"] == 3 and row["difference"] == pytest.approx(np.mean(drops), abs=1e-6)
    assert row["low"] <= row["difference"] <= row["high"]
    table = (tmp_path / "faithfulness.md").read_text("utf-8")
    assert table in capsys.readouterr().out and "| focalmre, synthetic | occlusion | words | 3 |" in table


def test_only_a_difference_that_is_sure_is_a_reason():
    row = {"system": "a", "explanation": "occlusion", "parts": "words", "posts": 10, "drop": 0.5, "random_drop": 0.1}
    verdicts = []
    for low, high in ((0.1, 0.2), (-0.1, 0.2), (-0.2, -0.1), (0.001, 0.002)):
        verdicts.append(
            faithfulness_table([row | {"difference": 0.4, "low": low, "high": high}]).split("|")[-2].strip()
        )
    assert verdicts == ["yes", "not shown", "less than chance", "these parts hardly count"]
    assert "| too few posts |" in faithfulness_table([row | {"posts": 9, "difference": 0.4, "low": 0.1, "high": 0.2}])
    assert interval(np.full(5, 0.25)) == (0.25, 0.25)
    zeros = {"random_drop": -0.0001, "difference": -0.0004, "low": -0.02, "high": -0.0001}
    assert "| 0.500 | 0.000 | 0.000 [-0.020, 0.000] |" in faithfulness_table([row | zeros])  # no zero has a sign


def test_figure_4_has_four_pictures_a_post_and_figure_5_two(run, tgdi_run, tmp_path, capsys):
    for name, folder, columns in (("focalmre_fig4", run, 4), ("tgdi_fig5", tgdi_run, 2)):
        posts = list(TrainedRun(folder).posts["id"][:2])
        assert main(["benchmark", name, str(folder), "--posts", *posts, "--out", str(tmp_path)]) == 0
        assert f"of the posts {', '.join(posts)}" in capsys.readouterr().out
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.width == pytest.approx(columns * 2.6 * 150, abs=2)


def test_a_page_of_a_run_has_a_card_for_each_of_its_test_posts(run, tmp_path, capsys):
    posts = TrainedRun(run).posts
    ids = list(posts["id"][:3])
    command = ["explain", str(run), "--out", str(tmp_path / "why"), "--method", "attention"]
    assert main([*command, "--posts", *ids]) == 0
    assert str(tmp_path / "why" / "index.html") in capsys.readouterr().out
    page = (tmp_path / "why" / "index.html").read_text("utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    predictions = [json.loads(line) for line in (run / "predictions.jsonl").read_text("utf-8").splitlines()]
    of_run = {line["id"]: line for line in predictions}
    for post_id, card in zip(ids, data["cards"], strict=True):
        expected = of_run[post_id]
        assert (card["id"], card["gold"], card["predicted"]) == (post_id, expected["gold"], expected["predicted"])
        assert card["score"] == pytest.approx(expected["probabilities"][expected["predicted"]], abs=2e-3)
        assert "".join(piece[0] for piece in card["pieces"]) == expected["text"]
        assert (tmp_path / "why" / card["picture"]).is_file()
    assert main([*command, "--posts", *ids]) == 1
    assert "index.html is there already; give another --out" in capsys.readouterr().err


def test_a_page_that_was_stopped_goes_on_where_it_was(run, tmp_path, capsys, monkeypatch):
    ids = list(TrainedRun(run).posts["id"][:4])
    make, made = CardMaker.__call__, []

    def stopped_at_the_third(self, post_id, post, **values):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(post_id)
        return make(self, post_id, post, **values)

    def explain_into(name: str, *options: str) -> int:
        return main(["explain", str(run), "--out", str(tmp_path / name), "--posts", *ids, *options])

    monkeypatch.setattr(CardMaker, "__call__", stopped_at_the_third)
    assert explain_into("why") == 130
    assert "stopped; the same command goes on where it was" in capsys.readouterr().err
    part = tmp_path / "why" / "cards.part"
    part.write_bytes(part.read_bytes() + b'{"batch": 2, "rows": [{"id"')  # a kill may tear a line off
    made.clear()
    monkeypatch.setattr(
        CardMaker, "__call__", lambda self, *args, **values: made.append(args[0]) or make(self, *args, **values)
    )
    assert explain_into("why", "--method", "attention") == 1
    assert "method: 'occlusion' there, 'attention' now" in capsys.readouterr().err
    assert explain_into("why") == 0 and made == ids[2:]
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == ["index.html", "pictures"]
    assert explain_into("whole") == 0
    pages = [
        re.sub(r"nonce[-=][^ \n;>]+", "", (tmp_path / name / "index.html").read_text("utf-8"))
        for name in ("why", "whole")
    ]
    assert pages[0] == pages[1] and not list(tmp_path.glob("*.lock"))


def test_what_fails_at_the_first_post_may_be_tried_otherwise(run, tmp_path, monkeypatch):
    make = CardMaker.__call__

    def fails(self, *args, **values):
        raise ValueError("no")

    command = ["explain", str(run), "--out", str(tmp_path / "why"), "--posts", TrainedRun(run).posts["id"][0]]
    monkeypatch.setattr(CardMaker, "__call__", fails)
    assert main(command) == 1
    monkeypatch.setattr(CardMaker, "__call__", make)
    assert main([*command, "--method", "attention"]) == 0


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["RUN", "--method", "oclusion", "--out", "OUT"], 2, "did you mean 'occlusion'"),
        (["RUN"], 2, "required: --out"),
        (["no/run", "--out", "OUT"], 1, "there is no file .*resolved_config.yaml; expected the output folder of a run"),
        (["RUN", "--out", "OUT", "--posts", "nowhere"], 1, "--posts nowhere: .* has no such test post"),
    ],
)
def test_a_page_that_cannot_be_made_is_one_line(run, tmp_path, capsys, words, status, message):
    words = [{"RUN": str(run), "OUT": str(tmp_path / "why")}.get(word, word) for word in words]
    try:
        found = main(["explain", *words])
    except SystemExit as error:
        found = error.code
    assert found == status
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "why").exists()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["faithfulness"], 2, "faithfulness takes folders of runs"),
        (["focalmre_fig4", "a", "b"], 2, "focalmre_fig4 takes the folder of a run"),
        (["tgdi_fig5", "RUN"], 1, "tgdi_fig5 is of tgdi, and"),
        (["focalmre_fig4", "RUN", "--posts", "nowhere"], 1, "--posts nowhere: .* has no such test post"),
        (["faithfulness", "no/run"], 1, "there is no file .*resolved_config.yaml; expected the output folder of a run"),
        (["faithfulness", "RUN", "--method", "attention"], 2, "unknown --method 'attention'; expected 'occlusion'"),
    ],
)
def test_what_cannot_be_explained_is_one_line(run, tmp_path, capsys, words, status, message):
    words = [str(run) if word == "RUN" else word for word in words]
    try:
        found = main(["benchmark", *words, "--out", str(tmp_path)])
    except SystemExit as error:
        found = error.code
    assert found == status
    assert re.search(message, capsys.readouterr().err)
