"""The comparison of systems: any list of them, one budget, their cost, and each pair tested."""

import pytest
from benchmark_helpers import FAKE, captions, plan, table

from mmre.benchmark.arguments import BenchmarkArguments
from mmre.benchmark.systems import systems_suite
from mmre.cli.main import main
from mmre.evaluation.run_record import read_predictions
from mmre.evaluation.significance import f1_difference
from mmre.modeling import MODELS


def test_systems_go_by_their_model_types_the_papers_names_or_with_arguments():
    cells = systems_suite(["cnn", "PCNN", "tgdi:use_caption=false,dropout=0.1", "Focal MRE"]).cells
    assert [(cell.name, cell.model_type, cell.arguments) for cell in cells] == [
        ("cnn", "cnn", {}),
        ("PCNN", "cnn", {"pooling": "piecewise"}),
        ("tgdi:use_caption=false,dropout=0.1", "tgdi", {"use_caption": False, "dropout": 0.1}),
        ("Focal MRE", "focalmre", {}),
    ]
    assert [cell.model_type for cell in systems_suite([]).cells] == sorted(MODELS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cnn", "mtb", "cnn"], "each system once, got cnn 2 times"),
        (["pcn"], "unknown system 'pcn'.*did you mean 'PCNN'"),
        (["qwen-vl-chat"], "qwen-vl-chat is a chat model, which `mmre prompt` asks"),
        (["PCNN:dropout=0.1"], "unknown system 'PCNN'"),
        (["cnn:pooling"], "cnn:pooling: expected SYSTEM:ARGUMENT=VALUE"),
        (["cnn:"], "expected SYSTEM:ARGUMENT=VALUE"),
        (["cnn:seed=3"], "seed is set for each run"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused(names, message):
    with pytest.raises(ValueError, match=message):
        systems_suite(names)


def test_systems_share_recipe_data_and_budget(mnre, tmp_path):
    rows = plan("systems", systems=["focalmre", "tgdi", "mtb"])
    assert {row.runs[0].recipe for row in rows.values()} == {"quickstart"}
    assert len({(row.runs[0].posts, row.runs[0].epochs, row.runs[0].steps) for row in rows.values()}) == 1
    rows = plan("systems", mnre, systems=["focalmre", "tgdi", "mtb"], captions=[captions(mnre)], protocol="none")
    assert [row.runs[0].recipe for row in rows.values()] == ["focalmre_mnre", "tgdi_mnre", "mtb_mnre"]
    assert {row.runs[0].epochs for row in rows.values()} == {20}
    assert len({row.runs[0].steps for row in rows.values()}) == 1
    own = tmp_path / "own.yaml"
    own.write_text("training: {num_train_epochs: 2}\nmodel: {text_encoder: a, vision_encoder: b}\n", "utf-8")
    rows = plan("systems", systems=["focalmre", "mtb"], config=[str(own)])
    assert {(row.runs[0].recipe, row.runs[0].epochs) for row in rows.values()} == {("own", 2)}


def test_a_spacy_model_goes_to_the_systems_that_have_one():
    rows = plan("systems", "digits", systems=["mega_mre", "mtb"], train={"spacy_model": "my_model"})
    assert rows["mega_mre"].runs[0].settings["model"]["spacy_model"] == "my_model"
    assert "spacy_model" not in rows["mtb"].runs[0].settings["model"]


def test_a_system_is_not_compared_with_itself():
    with pytest.raises(ValueError, match="mtb:dropout=0.1 and mtb:dropout=.1 are the same system"):
        plan("systems", systems=["mtb:dropout=0.1", "mtb:dropout=.1"])
    with pytest.raises(ValueError, match="--systems belongs to mmre benchmark systems, not to focalmre_table1"):
        BenchmarkArguments("focalmre_table1", "synthetic", systems=["cnn"])


def test_each_pair_is_tested_on_the_seeds_that_both_have(tiny, known, tmp_path, capsys):
    # The program in place of the training fails for a gate that is off, with seed 2.
    systems = ["--systems", "focalmre", "focalmre:use_gate=false", "focalmre:use_focal_attention=false"]
    assert tiny(FAKE, *systems, "--seeds", "1", "2", suite="systems") == 1
    made = table(tmp_path, "systems_drawn")
    assert [(pair["a"], pair["b"], pair["seeds"]) for pair in made["pairs"]] == [
        ("focalmre", "focalmre:use_gate=false", [1]),
        ("focalmre", "focalmre:use_focal_attention=false", [1, 2]),
        ("focalmre:use_gate=false", "focalmre:use_focal_attention=false", [1]),
    ]
    folders = [tmp_path / "out/cells" / row["runs"]["1"] for row in made["rows"]]
    first, second = (read_predictions(folder) for folder in folders[:2])
    assert made["pairs"][0]["difference"] == pytest.approx(100 * f1_difference([first], [second])["value"])
    assert all(pair["corrected_p_value"] >= pair["p_value"] for pair in made["pairs"])
    row = made["rows"][0]["measured"]
    assert row["parameters"]["mean"] == 1000 and row["train_seconds_per_post"]["mean"] == 0.25
    printed = capsys.readouterr().out
    assert "Corrected: by Holm, for the 3 comparisons of this table" in printed
    assert "| 1,000 |" in printed and "| 250.00 |" in printed and "CPU, 1 thread" in printed
    assert "Budget of each system and seed" in printed


def test_wrong_usage_ends_in_one_line(capsys):
    for arguments, message in (
        (["systems", "cnn", "--data", "synthetic"], "systems follow --systems"),
        (["systems", "--data", "synthetic", "--systems", "cnm"], "did you mean 'cnn'"),
        (["baselines", "--data", "synthetic", "--systems", "cnn"], "belongs to mmre benchmark systems"),
    ):
        assert main(["benchmark", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
