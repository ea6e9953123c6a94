"""The model card: what it says, what it leaves out, and that its code runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import transformers
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from run_helpers import settings_of, train
from transformers import AutoModel, AutoProcessor

from mmre.evaluation.run_record import write_metrics
from mmre.model_cards import render_model_card
from mmre.posts import make_synthetic_posts
from mmre.training.record import sections_of, write_settings
from mmre.training.run import protocol_facts
from mmre.training.trainer import RelationTrainer

ROOT = Path(__file__).resolve().parents[2]
OWN_FOLDER = "alices-own-folder"


@pytest.fixture(scope="module")
def tgdi_run(tmp_path_factory) -> Path:
    """The output folder of a tiny TGDI, without one of its parts, that was not tested."""
    folder = tmp_path_factory.mktemp("card") / "tgdi"
    config = yaml.safe_load((ROOT / "tests/tiny_training.yaml").read_text("utf-8"))
    for name in ("num_grounded_regions", "num_detected_regions"):
        del config["model"][name]
    config["model"] |= {"model_type": "tgdi", "num_object_images": 1, "use_matching_gate": False}
    config["data"]["num_synthetic_posts"] = 8
    config["training"] |= {"output_dir": str(folder), "num_train_epochs": 1, "do_predict": False}
    # Of an earlier run into this folder.
    folder.mkdir()
    (folder / "confusion_matrix.png").write_bytes(b"")
    (folder.parent / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    train([str(folder.parent / "config.yaml")])
    return folder


@pytest.fixture(scope="module")
def mtb_run(tmp_path_factory) -> Path:
    """The output folder of a tiny MTB."""
    folder = tmp_path_factory.mktemp("card") / "mtb"
    config = yaml.safe_load((ROOT / "tests/tiny_training.yaml").read_text("utf-8"))
    for name in ("num_grounded_regions", "num_detected_regions", "new_vision_encoder"):
        del config["model"][name]
    config["model"] |= {"model_type": "mtb"}
    config["data"]["num_synthetic_posts"] = 8
    config["training"] |= {"output_dir": str(folder), "num_train_epochs": 1}
    (folder.parent / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    train([str(folder.parent / "config.yaml")])
    return folder


@pytest.fixture(scope="module")
def posts() -> dict:
    """A few posts of each split."""
    return {split: rows.select(range(4)) for split, rows in make_synthetic_posts(num_train=4).items()}


@pytest.fixture
def record(run, posts, tmp_path):
    """Copies the tiny run's folder, with the record of a run with other arguments in place of its own."""

    def write(*arguments: str, **facts) -> Path:
        folder = tmp_path / OWN_FOLDER / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
        settings = settings_of([str(ROOT / "tests/tiny_training.yaml"), f"--output_dir={folder}", *arguments])
        write_settings(folder, sections_of(settings), settings.training, fingerprint="0" * 64)
        metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
        metrics["posts"] = protocol_facts(posts, settings.data, ("text", "caption", "image", "regions")) | facts
        write_metrics(folder, metrics)
        return folder

    return write


def mnre(regions: str, *more: str) -> list[str]:
    return ["--dataset=mnre", f"--data_dir=/home/{OWN_FOLDER}/mnre", f"--regions={regions}", *more]


def code_blocks(card: ModelCard, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", card.text, re.DOTALL)


def table(card: ModelCard, first_header: str) -> dict[str, list[str]]:
    """The rows of a table by their first cell."""
    lines = iter(card.text.splitlines())
    next(line for line in lines if line.startswith(f"| {first_header}"))
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        rows[name] = cells
    return {name: cells for name, cells in rows.items() if not name.startswith("---")}


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def assert_nothing_is_empty(card: ModelCard) -> None:
    """No heading without text, no field that nobody knows."""
    prose = re.sub(r"```.*?```", "code", card.text, flags=re.DOTALL)
    assert not re.search(r"^(#+ .*)\n\s*(#|\Z)", prose, re.MULTILINE)
    for filler in ("More Information Needed", " None", "null", "Undefined", "{", "}"):
        assert filler not in prose.replace("| None |", ""), filler
    assert "\n\n\n" not in card.text
    assert all(value not in (None, "", []) for value in card.data.to_dict().values())


def test_a_training_ends_with_a_card_that_the_hub_s_client_loads(run):
    card = ModelCard.load(run / "README.md")
    assert str(card) == str(render_model_card(run))
    assert card.data.library_name == "transformers"
    assert card.data.tags == ["mmre", "multimodal-relation-extraction", "focalmre", "regions-drawn"]
    assert card.data.language == "en"
    assert card.data.metrics == ["accuracy", "precision", "recall", "f1"]
    assert {"base_model", "license", "datasets", "pipeline_tag"} & card.data.to_dict().keys() == set()
    headings = re.findall(r"^## (.*)$", card.text, re.MULTILINE)
    assert headings == ["How to use it", "Data", "Results", "Training", "How to repeat it", "Limits", "Citation"]
    assert_nothing_is_empty(card)


def test_the_metadata_are_the_figures_of_metrics_json(run):
    card = ModelCard.load(run / "README.md")
    metrics = metrics_of(run)
    found = {(result.dataset_split, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert found == {
        (split, name): metrics[split][name]
        for split in ("validation", "test")
        for name in ("accuracy", "precision", "recall", "f1")
    }
    assert {result.dataset_name for result in card.data.eval_results} == {
        "synthetic posts (regions drawn with the posts)"
    }
    assert card.data.model_name == "run"


def test_the_tables_are_the_figures_of_metrics_json(run):
    card = ModelCard.load(run / "README.md")
    metrics = metrics_of(run)
    for split, cells in table(card, "split | posts | accuracy").items():
        scores = metrics[split]
        expected = [f"{100 * scores[name]:.2f}" for name in ("accuracy", "precision", "recall", "f1")]
        assert cells == [str(scores["samples"]), *expected]
    rows = table(card, "relation (test)")
    assert list(rows) == list(metrics["test"]["per_relation"])
    for relation, cells in rows.items():
        scores = metrics["test"]["per_relation"][relation]
        assert cells == [str(scores["support"]), *(f"{100 * scores[n]:.2f}" for n in ("precision", "recall", "f1"))]
    assert table(card, "split | posts | of these") == {
        "train": ["48", "0"],
        "validation": ["16", "0"],
        "test": ["24", "0"],
    }


def test_the_code_of_the_card_runs_where_only_the_folder_is(run, tmp_path):
    """A fresh process, which imports nothing of ours but the files beside the weights."""
    (tmp_path / "run").symlink_to(run)
    Image.effect_noise((80, 60), 90).convert("RGB").save(tmp_path / "post.jpg")
    auto, pipeline = code_blocks(ModelCard.load(run / "README.md"), "python")
    check = "\nimport sys\nassert not any(name.startswith('mmre') for name in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", auto + check], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    inputs = AutoProcessor.from_pretrained(run)(
        text="RT @cnnsport : Rafael Nadal gets engaged to Mery Perello",
        images=Image.open(tmp_path / "post.jpg"),
        head=(15, 27),
        tail=(44, 56),
        grounded_regions=[[0.1, 0.2, 0.5, 0.9]],
    )
    model = AutoModel.from_pretrained(run)
    assert result.stdout.split() == [model.config.id2label[model(**inputs).logits.argmax(-1).item()]]
    # The pipeline's block is run where the pipeline is tested.
    compile(pipeline, "card", "exec")
    assert 'pipeline("multimodal-relation-extraction", model="run", trust_remote_code=True)' in pipeline


def test_the_card_of_tgdi_reads_captions_and_says_what_is_switched_off(tgdi_run, tmp_path, monkeypatch, capsys):
    card = ModelCard.load(tgdi_run / "README.md")
    assert "# TGDI on synthetic posts (regions drawn with the posts)" in card.text
    assert "Trained on synthetic posts (regions drawn with the posts), captions: drawn." in card.text
    assert "Switched off here: `use_matching_gate`." in card.text
    assert "Yachuan Zhang" in card.text and "Focus \\& Gating" not in card.text
    (tmp_path / "tgdi").symlink_to(tgdi_run)
    Image.new("RGB", (32, 32)).save(tmp_path / "post.jpg")
    monkeypatch.chdir(tmp_path)
    auto, pipeline = code_blocks(card, "python")
    assert 'caption="a tennis player' in auto and '"caption": "a tennis player' in pipeline
    capsys.readouterr()
    exec(compile(auto, "card", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.strip() in AutoModel.from_pretrained(tgdi_run).config.label2id


def test_a_run_without_a_test_split_says_so(tgdi_run):
    card = ModelCard.load(tgdi_run / "README.md")
    assert {result.dataset_split for result in card.data.eval_results} == {"validation"}
    assert "It was not tested on a test split." in card.text
    assert list(table(card, "split | posts | accuracy")) == ["validation"]
    assert "| relation (validation) |" in card.text
    assert "confusion_matrix.png" not in card.text  # there is one in the folder, of another run
    assert "learning_curve.png" in card.text
    assert_nothing_is_empty(card)


@pytest.mark.parametrize(
    ("arguments", "leaks", "name", "tag"),
    [
        (mnre("released"), True, "MNRE (released regions, which give the label away)", "regions-released"),
        (mnre("none"), False, "MNRE (no regions)", "regions-none"),
        (
            mnre("annotated"),
            False,
            "MNRE (regions of found.jsonl)",
            "regions-annotated",
        ),
        (mnre("detected"), False, "MNRE (released detected regions alone)", "regions-detected"),
        (
            mnre("released", "--align_noise=0.5"),
            True,
            "MNRE (released regions, which give the label away, 50 % of the pictures swapped)",
            "regions-released",
        ),
        # `regions` is "released" there by default, and stands for nothing.
        (["--regions=released"], False, "synthetic posts (regions drawn with the posts)", "regions-drawn"),
        (
            ["--align_noise=1"],
            False,
            "synthetic posts (regions drawn with the posts, 100 % of the pictures swapped)",
            "regions-drawn",
        ),
    ],
)
def test_the_leak_warning_stands_where_the_regions_are_the_released_ones(record, arguments, leaks, name, tag):
    changes = {"regions": f"/home/{OWN_FOLDER}/found.jsonl"} if "--regions=annotated" in arguments else {}
    card = render_model_card(record(*arguments, **changes))
    assert ("[!WARNING]" in card.text) == leaks
    assert ("give the label away" in card.text) == leaks
    assert ("with the help of the gold relation" in card.text) == leaks
    assert {result.dataset_name for result in card.data.eval_results} == {name}
    assert f"# FocalMRE on {name}\n" in card.text
    assert tag in card.data.tags
    assert ("Align-Noise" in card.text) == any("align_noise" in argument for argument in arguments)
    assert ("Zheng" in card.text) == ("--dataset=mnre" in arguments)
    assert ("grounded_regions=" in card.text) == (tag not in ("regions-none", "regions-detected"))
    assert ("detected_regions=" in card.text) == ("regions: detected" in card.text) == (tag == "regions-detected")
    assert_nothing_is_empty(card)


def test_posts_without_a_picture_are_counted(record):
    without = {"train": 3, "validation": 2, "test": 1}
    card = render_model_card(record(samples_without_image=without))
    rows = table(card, "split | posts | of these")
    assert {split: int(cells[1]) for split, cells in rows.items()} == without


def test_no_path_of_this_machine_stands_on_the_card(record, tmp_path, monkeypatch):
    encoder = tmp_path / OWN_FOLDER / "encoder"
    encoder.mkdir(parents=True)
    monkeypatch.chdir(encoder.parent)
    annotation = tmp_path / OWN_FOLDER / "found.jsonl"
    annotation.write_text("{}")
    folder = record(
        *mnre(str(annotation), f"--image_dir=C:\\Users\\{OWN_FOLDER}\\images"),
        *("--captions", f"/home/{OWN_FOLDER}/blip2_train.txt", f"~/{OWN_FOLDER}/blip2_val.txt"),
        *("--text_encoder=encoder", "--vision_encoder=openai/clip-vit-base-patch32"),
        *("--new_text_encoder=null", "--new_vision_encoder=null"),
        *(f"--run_name={OWN_FOLDER}", f"--hub_model_id=alice/{OWN_FOLDER}"),
        *("--entity_markers", '["<s>", "</s>", "/o", "</o>"]'),
    )
    card = render_model_card(folder)
    assert OWN_FOLDER not in str(card)
    assert not re.search(r"/home|/tmp|C:\\", str(card))
    assert card.data.base_model == ["openai/clip-vit-base-patch32"]
    assert "[openai/clip-vit-base-patch32](https://huggingface.co/openai/clip-vit-base-patch32)" in card.text
    (configuration,) = (yaml.safe_load(text) for text in code_blocks(card, "yaml"))
    assert configuration["model"]["text_encoder"] == "path/of/text_encoder"
    assert configuration["model"]["entity_markers"] == ["<s>", "</s>", "/o", "</o>"]
    assert configuration["data"]["data_dir"] == "path/of/data_dir"
    assert configuration["data"]["image_dir"] == "path/of/image_dir"
    assert configuration["data"]["regions"] == "path/of/found.jsonl"
    assert configuration["data"]["captions"] == ["path/of/blip2_train.txt", "path/of/blip2_val.txt"]
    assert {"run_name", "hub_model_id"} & configuration["training"].keys() == set()
    assert "put your own paths in place of `path/of/...`" in card.text
    assert "path/of" not in render_model_card(record()).text


def test_two_encoders_of_the_hub_are_the_base_models(record):
    names = ["google-bert/bert-base-uncased", "openai/clip-vit-base-patch32"]
    towers = (f"--text_encoder={names[0]}", f"--vision_encoder={names[1]}")
    card = render_model_card(record(*towers, "--new_text_encoder=null", "--new_vision_encoder=null"))
    assert card.data.base_model == names
    (configuration,) = (yaml.safe_load(text) for text in code_blocks(card, "yaml"))
    assert [configuration["model"][f"{kind}_encoder"] for kind in ("text", "vision")] == names


def test_the_configuration_on_the_card_repeats_the_run(run, tmp_path):
    (text,) = code_blocks(ModelCard.load(run / "README.md"), "yaml")
    (tmp_path / "config.yaml").write_text(text, "utf-8")
    again = yaml.safe_load(yaml.safe_dump(sections_of(settings_of([str(tmp_path / "config.yaml")]))))
    before = yaml.safe_load((run / "resolved_config.yaml").read_text("utf-8"))
    assert again["training"].pop("output_dir") == "outputs/run"
    # Whether bars are drawn is no matter of the run; transformers counts it as set.
    assert before["training"].pop("output_dir") == str(run) and before["training"].pop("disable_tqdm")
    assert again == before


def test_name_licence_and_language_are_those_given(run):
    card = render_model_card(run, repo_id="alice/focalmre-posts", license="apache-2.0", language=["en", "de"])
    assert card.data.license == "apache-2.0"
    assert card.data.language == ["en", "de"]
    assert card.data.model_name == "focalmre-posts"
    assert card.text.rstrip().endswith("## Licence\n\napache-2.0")
    assert card.text.count('"alice/focalmre-posts"') == 3
    assert "Licence" not in render_model_card(run).text


def test_a_bare_checkpoint_tested_into_its_own_folder_gets_a_card_that_says_nothing_of_training(run, tmp_path):
    folder = tmp_path / "model"
    record = ("checkpoint-*", "metrics.json", "resolved_config.yaml", "environment.json", "*.png", "*.md", "*.jsonl")
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns(*record))
    arguments = [
        "--num_synthetic_posts=8",
        "--max_eval_samples=16",
        "--max_predict_samples=16",
        "--do_train=false",
        "--use_cpu=true",
        "--dataset=synthetic",
        "--report_to=none",
    ]
    train([*arguments, f"--model_name_or_path={folder}", f"--output_dir={folder}"])
    card = ModelCard.load(folder / "README.md")
    text = card.text.replace("training:", "")  # the section of the configuration file
    assert not re.search(r"\btrain(ed|ing)\b|epoch|learning_curve", text, re.IGNORECASE)
    assert "Tested on synthetic posts" in card.text
    assert "confusion_matrix.png" in card.text
    assert {result.dataset_split for result in card.data.eval_results} == {"validation", "test"}
    (configuration,) = (yaml.safe_load(text) for text in code_blocks(card, "yaml"))
    assert configuration["model"]["model_name_or_path"] == "model"
    assert_nothing_is_empty(card)

    elsewhere = tmp_path / "elsewhere"
    train([*arguments, f"--model_name_or_path={folder}", f"--output_dir={elsewhere}"])
    assert (elsewhere / "confusion_matrix.png").is_file()
    assert not (elsewhere / "README.md").exists()


def test_the_trainer_does_not_put_its_own_card_in_place_of_ours(run, tmp_path, monkeypatch):
    uploaded = []

    class Hub:
        def create_repo(self, name, **kwargs):
            return type("RepoUrl", (), {"repo_id": name})

        def upload_folder(self, folder_path, **kwargs):
            uploaded.append((Path(folder_path) / "README.md").read_text("utf-8"))

    folder = tmp_path / "model"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    before = (folder / "README.md").read_text("utf-8")
    args = settings_of([str(ROOT / "tests/tiny_training.yaml"), f"--output_dir={folder}"]).training
    trainer = RelationTrainer(model=AutoModel.from_pretrained(folder), args=args, eval_dataset=[0])
    monkeypatch.setattr(transformers.trainer, "hf_api", Hub)
    trainer.push_to_hub()
    assert uploaded == [before]
    # What is guarded against: transformers' own method does replace it.
    transformers.Trainer.create_model_card(trainer)
    assert (folder / "README.md").read_text("utf-8") != before


def test_the_card_of_a_system_that_reads_text_alone_has_no_vision_encoder_and_no_picture(mtb_run, tmp_path, capsys):
    card = ModelCard.load(mtb_run / "README.md")
    assert "# MTB on synthetic posts (" in card.text
    assert "The system is MTB. " in card.text and "Matching the Blanks" in card.text
    assert "The text encoder is a new `bert` (1 layer, 16 wide).\n" in card.text
    assert "vision encoder" not in card.text and "with one picture" not in card.text
    assert "Switched off" not in card.text  # captions are off unless asked for
    auto, pipeline = code_blocks(card, "python")
    for code in (auto, pipeline):
        assert not re.search("image|PIL|regions|caption", code, re.IGNORECASE)
    exec(compile(auto.replace('"mtb"', repr(str(mtb_run))), "card", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.strip() in AutoModel.from_pretrained(mtb_run).config.label2id
    assert_nothing_is_empty(card)


def test_the_record_of_an_earlier_version_makes_a_card(run, tmp_path):
    """Of 0.1.0: without what a run says of its pictures, its noise and its base models today."""
    folder = tmp_path / "model"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    metrics, environment = metrics_of(folder), json.loads((folder / "environment.json").read_text("utf-8"))
    for name in ("images", "aug_noise", "train_share", "samples_per_relation"):
        del metrics["posts"][name]
    del environment["base_models"]
    (folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    (folder / "environment.json").write_text(json.dumps(environment), "utf-8")
    card = render_model_card(folder)
    assert "# FocalMRE on synthetic posts (regions drawn with the posts)\n" in card.text
    assert_nothing_is_empty(card)


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "resolved_config.yaml", "environment.json"])
def test_a_folder_without_the_record_of_a_run_is_an_error_that_names_what_is_missing(record, name):
    folder = record()
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"model has no {name}.*--do_train false"):
        render_model_card(folder)
