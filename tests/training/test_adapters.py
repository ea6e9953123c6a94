"""LoRA adapters and frozen encoders: what is trained and saved, and that it says the same wherever it is loaded."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import yaml
from hub_clients import POST, PREDICT, PUBLISH, last_line
from huggingface_hub import ModelCard
from model_helpers import CASES, new_parameters, tiny_model
from peft import AutoPeftModel, PeftModel
from PIL import Image
from run_helpers import CPU, launch, settings_of, train
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, AutoProcessor

from mmre.inference.arguments import PredictionArguments
from mmre.inference.loading import load_model
from mmre.inference.run import open_pipeline
from mmre.training.adapters import add_adapters

LOAD_ADAPTER = """
import json, sys
sys.modules["mmre"] = None
import torch
from peft import AutoPeftModel, PeftModel
from PIL import Image
from transformers import AutoModel, AutoProcessor

repo, post = sys.argv[1], json.loads(sys.argv[2])
processor = AutoProcessor.from_pretrained(repo, trust_remote_code=True)
inputs = processor(images=Image.new("RGB", (64, 48), "gray"), **post)
one = AutoPeftModel.from_pretrained(repo, trust_remote_code=True).eval()
base = one.peft_config["default"].base_model_name_or_path
other = PeftModel.from_pretrained(AutoModel.from_pretrained(base, trust_remote_code=True), repo).eval()
with torch.no_grad():
    print(json.dumps([model(**inputs).logits[0].tolist() for model in (one, other)]))
"""


def config_of(run, folder, **changes) -> str:
    config = yaml.safe_load((run / "resolved_config.yaml").read_text("utf-8"))
    config["data"] |= {"num_synthetic_posts": 16, "max_eval_samples": 8, "max_predict_samples": 8}
    config["training"] |= {"output_dir": str(folder), "num_train_epochs": 1, "use_cpu": True}
    config["model"] |= changes
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config), "utf-8")
    return str(path)


@pytest.fixture(scope="module", params=["run", pytest.param("tgdi_run", marks=pytest.mark.slow)])
def adapter(request, tmp_path_factory):
    """The output folder of a training of adapters."""
    run = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("lora") / "adapter"
    with pytest.MonkeyPatch.context() as patch:
        # Eight posts and one epoch teach nothing, so that no temperature would fit.
        patch.setattr("mmre.training.score_values.fit_temperature", lambda logits, labels: 2.5)
        train([config_of(run, folder, lora_rank=2)])
    return folder


def gray_logits(model, processor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**processor(images=Image.new("RGB", (64, 48), "gray"), **POST)).logits[0]


def test_adapters_are_trained_in_the_encoders_and_the_layers_between_them_in_full(adapter):
    base = load_file(adapter / "base_model" / "model.safetensors")
    model = AutoPeftModel.from_pretrained(adapter)
    names = [
        name.removeprefix("base_model.model.") for name, _ in model.named_modules() if name.endswith("lora_A.default")
    ]
    assert names and all(name.startswith(("text_model.", "vision_model.")) for name in names)
    assert {name.split(".")[0] for name in names} == {"text_model", "vision_model"}
    linear = [
        name
        for name, module in AutoModel.from_pretrained(adapter / "base_model").named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith(("text_model.", "vision_model."))
    ]
    assert sorted(name.removesuffix(".lora_A.default") for name in names) == sorted(linear)

    merged = model.merge_and_unload().state_dict()
    assert set(merged) == set(base)
    head = [name for name in base if not name.startswith(("text_model.", "vision_model."))]
    trained = [name for name in head if name.endswith("weight") and not torch.equal(merged[name], base[name])]
    assert "classifier.weight" in trained or "classifier.0.weight" in trained
    assert len(trained) > 3


def test_the_embeddings_of_the_entity_markers_are_trained_and_no_others(adapter):
    processor = AutoProcessor.from_pretrained(adapter)
    markers = processor.tokenizer.convert_tokens_to_ids(processor.entity_markers)
    name = "text_model.embeddings.word_embeddings.weight"
    before = load_file(adapter / "base_model" / "model.safetensors")[name]
    after = AutoPeftModel.from_pretrained(adapter).merge_and_unload().state_dict()[name]
    changed = (before != after).any(dim=1).nonzero().flatten().tolist()
    assert changed and set(changed) <= set(markers)


def test_merged_and_unmerged_logits_agree_with_those_of_the_training(adapter):
    processor = AutoProcessor.from_pretrained(adapter)
    logits = gray_logits(AutoPeftModel.from_pretrained(adapter), processor)
    by_hand = PeftModel.from_pretrained(AutoModel.from_pretrained(adapter / "base_model"), adapter)
    torch.testing.assert_close(gray_logits(by_hand, processor), logits)
    merged = AutoPeftModel.from_pretrained(adapter).merge_and_unload()
    torch.testing.assert_close(gray_logits(merged, processor), logits, atol=1e-5, rtol=1e-4)
    plain = gray_logits(AutoModel.from_pretrained(adapter / "base_model"), processor)
    assert (plain - logits).abs().max() > 1e-3


def test_an_adapter_is_tested_and_trained_further_like_any_checkpoint(adapter, tmp_path):
    config = yaml.safe_load((adapter / "resolved_config.yaml").read_text("utf-8"))
    arguments = ["--model_name_or_path", str(adapter)]
    data = [
        "--dataset",
        "synthetic",
        "--num_synthetic_posts",
        "16",
        "--max_eval_samples",
        "8",
        "--max_predict_samples",
        "8",
    ]
    rest = ["--use_cpu", "true", "--disable_tqdm", "true", "--per_device_eval_batch_size", "7"]
    train([*arguments, *data, *rest, "--do_train", "false", "--output_dir", str(tmp_path / "test")])
    trained = json.loads((adapter / "metrics.json").read_text("utf-8"))
    tested = json.loads((tmp_path / "test" / "metrics.json").read_text("utf-8"))
    assert tested["test"]["loss"] == pytest.approx(trained["test"]["loss"], abs=1e-5)
    assert config["model"]["lora_rank"] == 2
    train([*arguments, *data, *rest, "--max_steps", "1", "--output_dir", str(tmp_path / "more")])
    assert (tmp_path / "more" / "adapter_model.safetensors").is_file()
    with pytest.raises((OSError, ValueError), match="is an adapter already"):
        train([*arguments, *data, *rest, "--lora_rank", "2", "--output_dir", str(tmp_path / "again")])


def test_a_moved_adapter_finds_the_model_it_belongs_to(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "moved")
    config = json.loads((tmp_path / "moved" / "adapter_config.json").read_text("utf-8"))
    config["base_model_name_or_path"] = "/no/such/folder/base_model"
    (tmp_path / "moved" / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    processor = AutoProcessor.from_pretrained(adapter)
    expected = gray_logits(AutoPeftModel.from_pretrained(adapter), processor)
    torch.testing.assert_close(gray_logits(load_model(tmp_path / "moved"), processor), expected)


def gray_scores(adapter) -> dict:
    model = AutoPeftModel.from_pretrained(adapter)
    temperature = json.loads((adapter / "scores_config.json").read_text("utf-8"))["score_temperature"]
    scores = (gray_logits(model, AutoProcessor.from_pretrained(adapter)) / temperature).softmax(-1).tolist()
    return pytest.approx({model.config.id2label[index]: score for index, score in enumerate(scores)}, abs=1e-5)


def test_the_output_folder_of_an_adapter_predicts(adapter, tmp_path):
    extract = open_pipeline(str(adapter), PredictionArguments(out=str(tmp_path / "triples.jsonl")))
    results = extract(POST | {"image": Image.new("RGB", (64, 48), "gray")}, top_k=100)
    assert {row["label"]: row["score"] for row in results} == gray_scores(adapter)


def test_an_adapter_keeps_its_temperature_beside_it(adapter, tmp_path):
    metrics = json.loads((adapter / "metrics.json").read_text("utf-8"))
    assert load_model(adapter).config.score_temperature == metrics["calibration"]["temperature"] == 2.5
    assert json.loads((adapter / "base_model" / "config.json").read_text("utf-8"))["score_temperature"] == 1
    shutil.copytree(adapter, tmp_path / "old")
    (tmp_path / "old" / "scores_config.json").unlink()
    assert load_model(tmp_path / "old").config.score_temperature == 1
    (tmp_path / "old" / "scores_config.json").write_text("{}")
    with pytest.raises(ValueError, match="scores_config.json: .*expected JSON with score_temperature, trained_"):
        load_model(tmp_path / "old")


@pytest.mark.slow
def test_adapters_are_trained_by_several_processes(run, tmp_path):
    config = config_of(run, tmp_path / "lora", lora_rank=2)
    done = launch("--config_file", CPU, "--num_processes", 2, "train.py", config)
    assert done.returncode == 0, done.stderr[-3000:]
    assert type(load_model(tmp_path / "lora")).__name__ == "PeftModel"


@pytest.mark.slow
def test_an_adapter_is_published_with_the_model_it_belongs_to(adapter, hub, run_client, tmp_path):
    repo = f"someone/lora-{json.loads((adapter / 'metrics.json').read_text('utf-8'))['test']['loss']:.6f}"
    run_client(PUBLISH, adapter, repo, "public", "", token=hub.write_token)
    expected = gray_logits(AutoPeftModel.from_pretrained(adapter), AutoProcessor.from_pretrained(adapter))
    for logits in json.loads(last_line(run_client(LOAD_ADAPTER, repo, json.dumps(POST)))):
        torch.testing.assert_close(torch.tensor(logits), expected, atol=1e-5, rtol=1e-4)
    assert json.loads(last_line(run_client(PREDICT, repo, json.dumps(POST)))) == gray_scores(adapter)
    files = hub.files(repo)
    assert json.loads(files["scores_config.json"]) == json.loads((adapter / "scores_config.json").read_text("utf-8"))
    assert "model.safetensors" not in files and "model.safetensors" in hub.files(f"{repo}-base")
    config = json.loads(files["adapter_config.json"])
    assert config["base_model_name_or_path"] == f"{repo}-base" and len(config["revision"]) == 40
    card = ModelCard(files["README.md"].decode())
    assert "AutoPeftModel" in card.content and card.data.base_model == f"{repo}-base"
    assert "**It is not trained**" in hub.files(f"{repo}-base")["README.md"].decode()
    everything = b"".join(content for name, content in files.items() if not name.endswith((".safetensors", ".png")))
    assert str(adapter).encode() not in everything


@pytest.mark.parametrize(("frozen", "trained"), [("text", "vision"), ("vision", "text")])
def test_a_frozen_encoder_is_left_as_it_is(run, tmp_path, frozen, trained):
    before = AutoModel.from_pretrained(run).state_dict()
    shutil.copytree(run, tmp_path / "checkpoint")
    train(
        [
            *("--model_name_or_path", str(tmp_path / "checkpoint"), "--dataset", "synthetic"),
            *("--num_synthetic_posts", "16", "--max_steps", "2", "--learning_rate", "1e-2", "--use_cpu", "true"),
            *("--max_eval_samples", "8", "--max_predict_samples", "8", "--disable_tqdm", "true"),
            *(f"--freeze_{frozen}", "true", "--output_dir", str(tmp_path / "frozen")),
        ]
    )
    after = AutoModel.from_pretrained(tmp_path / "frozen").state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert f"{frozen}_model" not in changed and {f"{trained}_model", "classifier"} <= changed


def test_adapters_need_an_encoder_that_is_not_frozen(run, tmp_path):
    with pytest.raises((OSError, ValueError), match="`lora_rank` puts adapters into the encoders"):
        settings_of([config_of(run, tmp_path / "a", lora_rank=2, freeze_text=True, freeze_vision=True)])
    with pytest.raises((OSError, ValueError), match="`lora_rank` is 0; expected at least 1"):
        settings_of([config_of(run, tmp_path / "b", lora_rank=0)])


MARKERS = SimpleNamespace(
    entity_markers=("a", "b", "c", "d"), tokenizer=SimpleNamespace(convert_tokens_to_ids=lambda names: [5, 6, 7, 8])
)
BOTH = SimpleNamespace(lora_rank=2, freeze_text=False, freeze_vision=False)


@pytest.mark.parametrize("case", [case for case, (name, *_) in CASES.items() if name != "cnn"])
def test_of_every_system_the_encoders_have_adapters_and_all_else_is_trained_in_full(case):
    model = tiny_model(case)
    new = set(new_parameters(model))
    new |= {name for name, _ in model.named_parameters() if name.startswith(tuple(model.new_in_encoders))}
    linear = {
        name for name, module in model.named_modules() if isinstance(module, nn.Linear) and f"{name}.weight" not in new
    }
    adapted = add_adapters(model, MARKERS, BOTH, "base")
    trained = [n.removeprefix("base_model.model.") for n, weight in adapted.named_parameters() if weight.requires_grad]
    in_full = {name.replace(".modules_to_save.default", "") for name in trained if "modules_to_save" in name}
    assert in_full == new
    assert {name.split(".lora_")[0] for name in trained if ".lora_" in name} == linear
    (markers,) = (name for name in trained if "modules_to_save" not in name and ".lora_" not in name)
    assert "trainable_tokens" in markers


def test_a_module_that_is_called_as_one_of_an_encoder_is_refused():
    model = tiny_model("mtb")
    model.attention = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"PEFT takes text_model.encoder.layer.0.attention of an encoder for its own"):
        add_adapters(model, MARKERS, BOTH, "base")
