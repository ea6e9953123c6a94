"""Plans of a benchmark: the runs that suites need, their settings and their addresses."""

from pathlib import Path

import pytest
from benchmark_helpers import FAKE, TINY, captions, plan

from mmre.benchmark import post_counts
from mmre.benchmark.plan import inputs_of
from mmre.benchmark.suites import SUITES, Cell
from mmre.cli.main import main


@pytest.mark.parametrize("suite", SUITES)
def test_train_understands_every_cell_of_every_suite(suite, mnre):
    for data, options in (("synthetic", {}), (mnre, {"captions": [captions(mnre)]})):
        rows = plan(suite, data, **options)
        assert list(rows) == [cell.name for cell in SUITES[suite].cells]
        for row in rows.values():
            (run,) = row.runs
            settings = run.settings["model"] | run.settings["data"]
            assert {name: settings[name] for name in row.cell.arguments} == row.cell.arguments
            assert settings["model_type"] == row.cell.model_type
            reads_captions = row.cell.model_type == "tgdi" and row.name != "w/o caption" or row.name == "text + caption"
            assert (settings["captions"] is not None) == (data != "synthetic" and reads_captions)
            assert settings["use_images"] == (row.cell.model_type != "mtb")
            if data == "synthetic":
                assert settings["regions"] == "drawn"
            else:
                assert settings["regions"] == (
                    "released" if row.name not in ("text only", "text + caption") else "none"
                )


def test_the_protocol_decides_whose_regions_are_used(mnre):
    regions = {"protocol": "label_free", "regions": str(mnre / "regions.jsonl")}
    for options, expected in (({"protocol": "none"}, "none"), (regions, str(mnre / "regions.jsonl"))):
        rows = plan("focalmre_table3", mnre, **options)
        assert {run.settings["data"]["regions"] for row in rows.values() for run in row.runs} == {expected}
    without = plan("focalmre_table2", mnre, protocol="none")
    assert [name for name, row in without.items() if not row.runs] == [f"Aug-Noise {n}%" for n in (10, 30, 50, 100)]
    rows = plan("baselines", mnre, captions=[captions(mnre)], **regions)
    count = rows["text + number of grounded regions"].runs[0]
    assert count.settings["data"]["regions"] == str(mnre / "regions.jsonl")


def test_the_address_is_of_the_recipe_and_of_what_the_data_are_not_of_where_they_lie(mnre, tmp_path):
    def addresses(folder: Path, **options) -> list[str]:
        post_counts._read.cache_clear()
        rows = plan("tgdi_fig3", folder, captions=[captions(folder)], **options)
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


def test_one_run_stands_in_all_tables_that_show_it(mnre):
    whole = {"focalmre_table1": "FocalMRE", "focalmre_table3": "FocalMRE", "focalmre_table4": "FocalMRE"}
    whole |= {"focalmre_table5": "Focal augmented", "focalmre_fig3": "4 VG, 3 OD"}
    assert len({plan(suite, mnre)[name].runs[0].address for suite, name in whole.items()}) == 1


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
    assert plan("tgdi_fig3")["TGDI"].runs[0].recipe == "tgdi_quickstart"
    assert {plan("tgdi_fig3")[name].runs[0].recipe for name in ("text only", "FocalMRE")} == {"quickstart"}
    digits = [row.runs[0] for row in plan("tgdi_fig3", "digits").values()]
    assert {(run.recipe, run.settings["data"]["dataset"]) for run in digits} == {("digits", "digits")}
    own = tmp_path / "own.yaml"
    own.write_text("model: {model_type: mtb, dropout: 0.25, new_text_encoder: {hidden_size: 16}}", "utf-8")
    rows = plan("tgdi_fig3", config=[str(own)])
    assert [rows[name].runs[0].recipe for name in ("text only", "TGDI")] == ["own", "tgdi_quickstart"]
    assert rows["text only"].runs[0].settings["model"]["dropout"] == 0.25


def test_mistakes_are_found_before_anything_is_run(tiny, mnre, tmp_path, capsys):
    wrong = [
        (["--use_gate", "true"], "--use_gate is what 'w/o gate' of 'an ablation' is about"),
        (["--learning_rte", "1"], "unknown argument 'learning_rte'; did you mean 'learning_rate'?"),
        (["--config", str(TINY), "quickstart"], "both recipes of focalmre"),
    ]
    for arguments, message in wrong:
        assert tiny(FAKE, *arguments) == 1
        assert message in capsys.readouterr().err
    assert main(["benchmark", "tgdi_table3", "--data", str(mnre)]) == 1
    message = (
        "mmre benchmark: error: 'TGDI' of 'F1 of TGDI by relation' reads captions of the pictures: give --captions"
    )
    assert message in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    assert tiny(FAKE, data=str(tmp_path / "out")) == 1
    assert "no text file of MNRE" in capsys.readouterr().err
    assert not (tmp_path / "started").exists()
