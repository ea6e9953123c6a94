"""Tables of a benchmark: their numbers, their files, their figures."""

import csv
import json
import statistics

import numpy as np
import pytest
from benchmark_helpers import FAKE, RELATIONS, WHOLE, captions, table
from PIL import Image
from sklearn.metrics import f1_score

from mmre.benchmark import runs as benchmark_runs
from mmre.benchmark.plan import PROMPTED
from mmre.benchmark.post_counts import count_posts
from mmre.benchmark.suite import PROMPT, Cell, Suite
from mmre.benchmark.suites import SUITES
from mmre.cli.main import main
from mmre.evaluation.plots import plot_results
from mmre.posts.mnre_regions import LEAK


def test_the_numbers_of_a_table_are_those_of_its_runs(tiny, known, tmp_path, capsys):
    assert tiny(FAKE, suite=WHOLE) == 0
    found = table(tmp_path)
    (row,) = found["rows"]
    assert row["measured"]["f1"]["values"] == [50, 60, 80]
    assert row["measured"]["f1"]["mean"] == pytest.approx(190 / 3)
    assert row["measured"]["f1"]["std"] == pytest.approx(statistics.stdev([50, 60, 80]))
    assert row["paper"] == {"precision": 80.0, "recall": 60.0, "f1": 68.57}
    assert (row["source"], found["protocol"], found["test_posts"]) == ("A paper, Table 9, whole", "drawn", 40)

    # The interval once more: another generator, a loop, scikit-learn's F1.
    generator, means = np.random.default_rng(99), []
    gold, runs = np.array(known["gold"]), np.array(known["predicted"])
    for _ in range(300):
        posts = generator.integers(40, size=40)
        means.append(
            np.mean([100 * f1_score(gold[posts], run[posts], labels=RELATIONS[1:], average="micro") for run in runs])
        )
    assert row["interval"] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=3)

    text = (tmp_path / "out/tiny_drawn.md").read_text("utf-8")
    interval = "{:.2f} to {:.2f}".format(*row["interval"])
    line = f"| whole | 3 | {' | '.join(['63.33 ± 15.28'] * 4)} |  | {interval} | 80.00 | 60.00 | 68.57 |"
    assert line in text and text in capsys.readouterr().out
    assert "Protocol: drawn. The regions were drawn with the posts" in text
    assert "The papers' figures are of MNRE and stand here for orientation only." in text
    (row_of_csv,) = csv.DictReader((tmp_path / "out/tiny_drawn.csv").open(encoding="utf-8"))
    assert float(row_of_csv["f1_mean"]) == pytest.approx(190 / 3) and row_of_csv["seeds"] == "1 2 3"
    assert (row_of_csv["paper_f1"], row_of_csv["source"]) == ("68.57", "A paper, Table 9, whole")


def test_the_column_of_posts_whose_head_comes_first_is_there_where_all_runs_have_it(tiny, known, tmp_path):
    by_order = 'scores | {{"per_relation": per_relation, "by_order": {{"head_first": HEAD, "tail_first": {{}}}}}}'
    head = 'scores | {{"f1": scores["f1"] / 2, "per_relation": per_relation}}'
    program = FAKE.replace('scores | {{"per_relation": per_relation}}', by_order.replace("HEAD", head))
    program = program.replace('"images": "used"', '"images": "used", "markers_in_text_order": True')
    assert program.count("by_order") == program.count("markers_in_text_order") == 1
    assert tiny(program, suite=WHOLE) == 0
    (row,) = table(tmp_path)["rows"]
    assert row["measured"]["f1_head_first"]["values"] == [25, 30, 40]
    text = (tmp_path / "out/tiny_drawn.md").read_text("utf-8")
    assert "| F1 | F1, head first | F1, 95 % interval |" in text and "| 63.33 ± 15.28 | 31.67 ± 7.64 |" in text
    assert "Markers in text order: no model was told which entity is the head." in text
    suite = WHOLE._replace(paper_metrics=("f1",), per_relation={"peer": (50.0,)})
    assert tiny(program, suite=suite) == 0
    assert [row["measured"]["f1_head_first"]["values"] for row in table(tmp_path)["rows"]] == [[50, 60, 80]] * 2
    # A run of an earlier version lacks the numbers: the mean of the others would be that of other seeds.
    path = next((tmp_path / "out/cells").glob("*/metrics.json"))
    path.write_text(json.dumps({**(found := json.loads(path.read_text())), "test": found["test"] | {"by_order": {}}}))
    assert tiny(program, suite=WHOLE) == 0
    assert "f1_head_first" not in table(tmp_path)["rows"][0]["measured"]


def test_a_table_by_relation_has_the_papers_relations_and_those_of_the_test_posts(tiny, known, tmp_path):
    suite = Suite(
        title="by relation",
        source="A paper, Table 8",
        cells=(Cell("rival", PROMPT), Cell("whole", "focalmre")),
        paper_metrics=("f1",),
        per_relation={"peer": (40.0, 50.0), "unheard of": (2.0, 1.0)},
    )
    assert tiny(FAKE, "--seeds", "1", "3", suite=suite) == 0
    rows = table(tmp_path)["rows"]
    assert [(row["name"], row["system"]) for row in rows] == [
        *(("peer", "rival"), ("peer", "whole"), ("unheard of", "rival"), ("unheard of", "whole"), ("couple", "whole"))
    ]
    rival, peer, _, unheard, couple = rows
    assert (rival["not_run"], rival["paper"], rival["measured"]) == (
        PROMPTED,
        {"f1": 40.0},
        {},
    )
    assert peer["measured"]["f1"]["values"] == [50, 80] and peer["paper"] == {"f1": 50.0}
    assert peer["test_posts"] == known["gold"].count("peer") and peer["not_run"] is None
    assert unheard["measured"] == {} and unheard["paper"] == {"f1": 1.0} and unheard["interval"] is None
    assert couple["paper"] == {} and couple["interval"][0] < couple["interval"][1]
    text = (tmp_path / "out/tiny_drawn.md").read_text("utf-8")
    header = "| relation | system | test posts | seeds | P | R | F1 | F1, head first | F1, 95 % interval | paper: F1 |"
    assert header in text
    posts = known["gold"].count("peer")
    assert f"| peer | rival | {posts} | {PROMPTED} |  |  |  |  |  | 40.00 | A paper, Table 8, peer |" in text


def test_a_chat_model_is_listed_with_the_papers_figures_and_not_run(tiny, known, tmp_path, capsys):
    rival = Cell("rival", PROMPT, {"pooling": "max"}, (60.0, 60.0, 60.0), point=("rival", 10))
    suite = WHOLE._replace(cells=(rival, WHOLE.cells[0]._replace(point=("whole", 10))), axes=("share (%)", "F1 (%)"))
    assert tiny(FAKE, "--dry_run", suite=suite) == 0
    assert f"| tiny | rival | ({PROMPTED}) |" in capsys.readouterr().out
    assert tiny(FAKE, "--seeds", "1", suite=suite) == 0  # it is not missing
    assert (tmp_path / "started").read_text("utf-8") == "anew\n"
    text = (tmp_path / "out/tiny_drawn.md").read_text("utf-8")
    assert f"| rival | {PROMPTED} |  |  |  |  |  |  | 60.00 | 60.00 | 60.00 | A paper, Table 9, rival |" in text
    assert "Missing" not in text
    rows = [*csv.DictReader((tmp_path / "out/tiny_drawn.csv").open(encoding="utf-8"))]
    assert [(row["name"], row["not_run"], row["paper_f1"]) for row in rows] == [
        *(("rival", PROMPTED, "60.0"), ("whole", "", "68.57"))
    ]


def test_a_figure_is_drawn_with_its_error_bars_and_the_papers_points(tiny, known, tmp_path):
    points = [
        {"line": "noise", "x": 10, "mean": 50.0, "std": 2.0, "paper": 60.0},
        {"line": "noise", "x": 20, "mean": 40.0, "std": None, "paper": None},
    ]
    points.append({"line": "noise", "x": 50, "mean": None, "std": None, "paper": 30.0})  # not measured yet
    figure = plot_results(points, "share (%)", "F1 (%)", tmp_path / "plot.png", "noise\nMNRE, no regions")
    (axes,) = figure.axes
    assert axes.get_title() == "noise\nMNRE, no regions"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("share (%)", "F1 (%)")
    assert sorted(text.get_text() for text in axes.get_legend().get_texts()) == ["noise", "noise, paper"]
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert lines["noise, paper"] == [[10, 60], [50, 30]]
    measured = axes.containers[0]
    assert measured[0].get_xydata().tolist() == [[10, 50], [20, 40]]
    assert [segment.tolist() for segment in measured[2][0].get_segments()] == [[[10, 48], [10, 52]], [[20, 40]] * 2]

    long = "vilbert:visual_size=64,visual_intermediate_size=128,visual_num_heads=4"  # as its variant, but for the end
    named = [points[0] | {"x": name, "mean": mean} for name, mean in (("TGDI", 50), (long, 30), (f"{long},a=1", 20))]
    (axes,) = plot_results([*named, points[2] | {"x": long}], "system", "F1 (%)", tmp_path / "bars.png", "").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("F1 (%)", "system")
    assert [bar.get_width() for bar in axes.patches] == [50, 30, 20]
    assert [bar.get_y() + bar.get_height() / 2 for bar in axes.patches] == [0, 1, 2] == [*axes.get_yticks()]
    texts = [text.get_text() for text in axes.get_yticklabels()]
    assert [text.replace("\n", "").replace(" ", "") for text in texts] == ["TGDI", long, f"{long},a=1"]
    assert max(len(line) for text in texts for line in text.split("\n")) <= 40
    assert {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}["noise, paper"] == [
        *([60, 0], [60, 1], [60, 2], [30, 1])
    ]

    cell = Cell("10%", "focalmre", {}, (60.0,), point=("noise", 10))
    suite = Suite(title="a figure", cells=(cell,), paper_metrics=("f1",), axes=("share (%)", "F1 (%)"))
    assert tiny(FAKE, "--seeds", "1", suite=suite) == 0
    with Image.open(tmp_path / "out/tiny_drawn.png") as image:
        assert image.format == "PNG"


def test_a_cell_without_pictures_is_told_from_those_with_released_regions(monkeypatch, mnre, tmp_path, capsys):
    monkeypatch.setattr(benchmark_runs, "do_run", lambda run: "left out")
    options = ["--captions", *captions(mnre), "--seeds", "1", "--out", str(tmp_path / "out")]
    assert main(["benchmark", "baselines", "--data", str(mnre), *options]) == 1
    assert "Without regions, under each protocol: text only, text + caption.\n" in capsys.readouterr().out
    regions = [row["regions"] for row in table(tmp_path, "baselines_released")["rows"]]
    assert regions == ["none", "none", "released"]


def test_a_table_of_released_regions_carries_the_warning(mnre, tmp_path):
    out = tmp_path / "out"
    assert main(["benchmark", "tgdi_table1", "--data", str(mnre), "--out", str(out)]) == 0
    assert f"Protocol: released. {LEAK}" in (out / "tgdi_table1_released.md").read_text("utf-8")
    found = table(tmp_path, "tgdi_table1_released")
    assert {row["name"]: row["measured"]["count"]["mean"] for row in found["rows"]} == {
        "Image": 2,
        "Sentence": 1,
        "Instance": 45,
        "Entity": 90,
        "Relation": 1,
    }
    assert [row["paper"]["count"] for row in found["rows"]] == [9201, 9201, 15485, 30970, 23]


def test_the_statistics_of_mnre_are_those_of_tgdi(shared_mnre):
    counts = count_posts(str(shared_mnre))
    paper = SUITES["tgdi_table1"].statistics
    assert {name: counts[name] for name in ("Image", "Instance", "Entity", "Relation")} == {
        name: paper[name] for name in ("Image", "Instance", "Entity", "Relation")
    }
