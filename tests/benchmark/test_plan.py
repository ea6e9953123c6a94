"""Plans of a benchmark: the runs that suites need, their settings and their addresses."""

from pathlib import Path

import pytest
from benchmark_helpers import FAKE, THREE, TINY, captions, plan

from mmre.benchmark import post_counts
from mmre.benchmark.addresses import file_digest
from mmre.benchmark.arguments import SHARED_RECIPES
from mmre.benchmark.plan import inputs_of, lacking
from mmre.benchmark.suite import PROMPT, Cell
from mmre.benchmark.suites import SUITES
from mmre.cli.main import main
from mmre.modeling import MODELS
from mmre.posts.sources import MADE_DATA


@pytest.fixture
def vectors(tmp_path) -> str:
    """A file of word vectors."""
    path = tmp_path / "vectors.txt"
    path.write_text("a 1 0\nb 0 1\n", "utf-8")
    return str(path)


@pytest.mark.parametrize("suite", [name for name in SUITES if name != "tgdi_fig4"])  # 24 cells like those of table 6
def test_train_understands_every_cell_of_every_suite(suite, mnre, vectors):
    for data, options in (
        ("synthetic", {}),
        (mnre, {"captions": [captions(mnre)], "train": {"word_vectors": vectors}}),
    ):
        rows = plan(suite, data, **options)
        assert list(rows) == [cell.name for cell in SUITES[suite].cells]
        for row in rows.values():
            if row.cell.model_type not in MODELS:
                assert row.cell.model_type == PROMPT
                assert (row.runs, row.reason) == ([], "not trained: asked by mmre prompt")
                continue
            (run,) = row.runs
            settings = run.settings["model"] | run.settings["data"]
            assert {name: settings[name] for name in row.cell.arguments} == row.cell.arguments
            assert settings["model_type"] == row.cell.model_type
            reads_captions = row.cell.model_type == "tgdi" and row.name != "w/o caption" or row.name == "text + caption"
            assert (settings["captions"] is not None) == (data != "synthetic" and reads_captions)
            reads_pictures = "vision_config" in MODELS[row.cell.model_type].config_class.sub_configs
            assert settings["use_images"] == reads_pictures
            assert settings["word_vectors"] == (vectors if row.cell.model_type == "cnn" and data == mnre else None)
            if data == "synthetic":
                assert settings["regions"] == "drawn"
            else:
                counts = row.name == "text + number of grounded regions"
                assert settings["regions"] == ("released" if reads_pictures or counts else "none")


def test_all_systems_of_the_papers_are_trained_but_the_chat_models():
    assert {cell.model_type for suite in SUITES.values() for cell in suite.cells} - {PROMPT} <= set(MODELS)
    rows = plan("focalmre_table1")
    prompted = ["Llama2-13B", "baichuan-13B-Chat", "ChatGLM3-6B", "Qwen-14B-Chat", "Qwen-VL-Chat"]
    assert [name for name, row in rows.items() if not row.runs] == prompted


def test_all_posts_that_the_code_makes_have_a_recipe_for_all_systems():
    assert set(SHARED_RECIPES) == set(MADE_DATA)


def test_word_vectors_are_asked_for_before_anything_is_run_and_are_part_of_the_address(mnre, vectors, tmp_path):
    options = {"captions": [captions(mnre)]}
    with pytest.raises(FileNotFoundError, match="'PCNN' of 'overall performance' reads word vectors, .*--word_vectors"):
        plan("focalmre_table1", mnre, **options)

    def address(path) -> str:
        file_digest.cache_clear()
        return plan("focalmre_table1", mnre, train={"word_vectors": str(path)}, **options)["PCNN"].runs[0].address

    first, moved = address(vectors), Path(vectors).rename(tmp_path / "moved.txt")
    assert address(moved) == first
    moved.write_text("a 1 0\nb 0 2\n", "utf-8")
    assert address(moved) != first


def test_the_protocol_decides_whose_regions_are_used(mnre):
    regions = {"protocol": "label_free", "regions": str(mnre / "regions.jsonl")}
    for options, expected in (({"protocol": "none"}, "none"), (regions, str(mnre / "regions.jsonl"))):
        rows = plan("focalmre_table3", mnre, **options)
        assert {run.settings["data"]["regions"] for row in rows.values() for run in row.runs} == {expected}
    without = plan("focalmre_table2", mnre, protocol="none")
    nothing = [name for name, row in without.items() if row.reason == "means nothing without regions"]
    assert nothing == [f"{name}, Aug-Noise {n}%" for n in (10, 30, 50, 100) for name in ("MKGformer", "FocalMRE")]
    for suite, expected in (("focalmre_fig3", "detected"), ("baselines", "none")):  # the baselines read no picture
        rows = plan(suite, mnre, protocol="detected", captions=[captions(mnre)])
        assert {run.settings["data"]["regions"] for row in rows.values() for run in row.runs} == {expected}
        assert [name for name, row in rows.items() if row.reason] == [
            name for name, row in rows.items() if not row.runs
        ]
    for cell in (cell for suite in SUITES.values() for cell in suite.cells):
        grounded = cell.arguments.get("num_grounded_regions", 0) > 0 or "region_count_as_caption" in cell.arguments
        assert lacking(cell, "detected") == ("means nothing without grounded regions" if grounded else "")
        assert lacking(cell, "none") == ("means nothing without regions" if cell.needs_regions else ""), cell
        assert lacking(cell, "released") == "", cell
    rows = plan("baselines", mnre, captions=[captions(mnre)], **regions)
    count = rows["text + number of grounded regions"].runs[0]
    assert count.settings["data"]["regions"] == str(mnre / "regions.jsonl")


def test_the_address_is_of_the_recipe_and_of_what_the_data_are_not_of_where_they_lie(mnre, tmp_path):
    def addresses(folder: Path, **options) -> list[str]:
        post_counts._read.cache_clear()
        rows = plan(THREE, folder, captions=[captions(folder)], **options)
        return [rows[name].runs[0].address for name in ("text only", "FocalMRE", "TGDI")]

    text, focalmre, tgdi = addresses(mnre)
    assert addresses(mnre.rename(tmp_path / "moved")) == [text, focalmre, tgdi]
    mnre = tmp_path / "moved"
    no_regions = addresses(mnre, protocol="none")
    assert no_regions[0] == text and no_regions[1] != focalmre and no_regions[2] != tgdi
    changed = addresses(mnre, train={"learning_rate": "0.5"})
    assert not {*changed} & {text, focalmre, tgdi}

    (mnre / "0.jpg").write_bytes(b"another picture")
    other_picture = addresses(mnre)
    assert other_picture[0] == text and other_picture[1] != focalmre and other_picture[2] != tgdi
    (mnre / "0.jpg").write_bytes(b"a picture")
    for path in mnre.glob("blip2_*.txt"):
        path.write_text(path.read_text("utf-8").replace("a picture", "another caption"), "utf-8")
    assert [new == old for new, old in zip(addresses(mnre), (text, focalmre, tgdi))] == [True, True, False]
    text_file = mnre / "mnre_test.txt"
    text_file.write_text(text_file.read_text("utf-8").replace("None", "/per/per/peer", 1), "utf-8")
    assert not {*addresses(mnre)} & {text, focalmre, tgdi}


def test_pictures_are_kept_for_the_systems_that_read_them(tmp_path):
    folder = str(tmp_path / "pictures")
    rows = plan(THREE, train={"picture_cache": folder})
    kept = {name: row.runs[0].settings["data"]["picture_cache"] for name, row in rows.items()}
    assert kept == {"text only": None, "FocalMRE": folder, "TGDI": folder}
    with pytest.raises(ValueError, match="^--picture_cache keeps pictures, and no system of 'three systems' reads any"):
        plan(THREE._replace(cells=THREE.cells[:1]), train={"picture_cache": folder})


def test_one_run_stands_in_all_tables_that_show_it(mnre, vectors):
    whole = {"focalmre_table1": "FocalMRE", "focalmre_table3": "FocalMRE", "focalmre_table4": "FocalMRE"}
    whole |= {"focalmre_table5": "Focal augmented", "focalmre_fig3": "4 VG, 3 OD"}
    options = {"captions": [captions(mnre)], "train": {"word_vectors": vectors}}
    assert len({plan(suite, mnre, **options)[name].runs[0].address for suite, name in whole.items()}) == 1


def test_captions_of_two_sources_are_two_rows(mnre):
    rows = plan("baselines", mnre, captions=[captions(mnre), captions(mnre, "llava")])
    assert list(rows) == [
        "text only",
        "text + caption (blip2)",
        "text + caption (llava)",
        "text + number of grounded regions",
    ]
    assert len({row.runs[0].address for row in rows.values()}) == 4


def test_a_cell_reads_what_its_configuration_class_says():
    tgdi = Cell("TGDI", "tgdi")
    assert inputs_of(tgdi, {}) == {"text", "caption", "image", "regions"}
    for value in (False, "false"):
        assert inputs_of(tgdi, {"use_caption": value, "learning_rate": "1e-3"}) == {"text", "image", "regions"}
    counting = Cell("count", "mtb", {"use_caption": True, "region_count_as_caption": True})
    assert inputs_of(counting, counting.arguments) == {"text"}


def test_recipes_are_shipped_or_given(tmp_path):
    assert plan(THREE)["TGDI"].runs[0].recipe == "tgdi_quickstart"
    assert {plan(THREE)[name].runs[0].recipe for name in ("text only", "FocalMRE")} == {"quickstart"}
    digits = [row.runs[0] for row in plan(THREE, "digits").values()]
    assert {(run.recipe, run.settings["data"]["dataset"]) for run in digits} == {("digits", "digits")}
    own = tmp_path / "own.yaml"
    own.write_text("model: {model_type: mtb, dropout: 0.25, new_text_encoder: {hidden_size: 16}}", "utf-8")
    rows = plan(THREE, config=[str(own)])
    assert [rows[name].runs[0].recipe for name in ("text only", "TGDI")] == ["own", "tgdi_quickstart"]
    assert rows["text only"].runs[0].settings["model"]["dropout"] == 0.25


def test_mistakes_are_found_before_anything_is_run(tiny, mnre, tmp_path, capsys):
    wrong = [
        (["--use_gate", "true"], "--use_gate is what 'w/o gate' of 'an ablation' is about"),
        (["--config", str(TINY), "quickstart"], "both recipes of focalmre"),
        (["--config", "cnn_mnre"], "--config: cnn_mnre is a recipe of cnn, which is not measured here: leave it out"),
        (["--config", str(tmp_path / "own.yaml")], "own.yaml: unknown model_type 'cn'; did you mean 'cnn'?"),
    ]
    (tmp_path / "own.yaml").write_text("model: {model_type: cn}", "utf-8")
    for arguments, message in wrong:
        assert tiny(FAKE, *arguments) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match="^2$"):
        tiny(FAKE, "--learning_rte", "1")
    assert "unknown option '--learning_rte'; did you mean '--learning_rate'?" in capsys.readouterr().err
    assert main(["benchmark", "tgdi_table3", "--data", str(mnre)]) == 2
    message = "mmre benchmark: error: 'TGDI' of 'F1 by relation' reads captions of the pictures: give --captions"
    assert message in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    assert tiny(FAKE, data=str(tmp_path / "out")) == 1
    assert "no text file of MNRE" in capsys.readouterr().err
    assert not (tmp_path / "started").exists()
