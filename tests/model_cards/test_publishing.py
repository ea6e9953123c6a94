"""Publishing: a folder is assembled, checked in a fresh process and uploaded; and what others load from there."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_clients import POST, PUBLISH, WITH_MMRE, WITHOUT_MMRE, last_line
from huggingface_hub import HfApi, ModelCard
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor

from mmre.model_cards import publishing as module
from mmre.model_cards.publishing import assemble, check


def logits_of(folder) -> tuple[torch.Tensor, dict[str, float]]:
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    with torch.no_grad():
        logits = model(**processor(images=Image.new("RGB", (64, 48), "gray"), **POST)).logits[0]
    scores = (logits / model.config.score_temperature).softmax(-1).tolist()
    return logits, {model.config.id2label[i]: score for i, score in enumerate(scores)}


def agrees(output: str, folder) -> None:
    logits, scores = logits_of(folder)
    found = json.loads(last_line(output))
    torch.testing.assert_close(torch.tensor(found["logits"]), logits, atol=1e-5, rtol=0)
    if found["scores"] is not None:
        assert found["scores"] == pytest.approx(scores, abs=1e-5)


def test_an_output_folder_loads_elsewhere_as_it_is(run_client, run):
    """Somebody may upload it by hand."""
    agrees(run_client(WITHOUT_MMRE, run, json.dumps(POST), "{}", "pipeline"), run)
    agrees(run_client(WITH_MMRE, run, json.dumps(POST)), run)


def changed_copy(folder: Path, target: Path) -> Path:
    """The same model with another classifier."""
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    name = next(name for name in weights if name.startswith("classifier") and name.endswith("weight"))
    weights[name] = weights[name] * -3
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    return target


@pytest.mark.parametrize("system", ["run", pytest.param("tgdi_run", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_others_load_what_was_published(request, hub, run_client, system):
    folder, repo = request.getfixturevalue(system), f"someone/{system}"
    run_client(PUBLISH, folder, repo, "public", "", token=hub.write_token)
    agrees(run_client(WITHOUT_MMRE, repo, json.dumps(POST), "{}", "pipeline"), folder)
    agrees(run_client(WITH_MMRE, repo, json.dumps(POST)), folder)

    files = hub.files(repo)
    assert {"model.safetensors", "config.json", "processor_config.json", "tokenizer.json", "README.md"} <= set(files)
    assert {"pipeline_relation_extraction.py", "learning_curve.png", "confusion_matrix.png"} <= set(files)
    everything = b"".join(content for name, content in files.items() if not name.endswith((".safetensors", ".png")))
    assert str(folder).encode() not in everything and str(Path.home()).encode() + b"/" not in everything
    assert not {"metrics.json", "resolved_config.yaml", "training_args.bin"} & set(files)
    card = ModelCard(files["README.md"].decode())
    assert card.data.library_name == "transformers" and card.data.eval_results
    assert f'"{repo}"' in card.content


@pytest.mark.slow
def test_a_private_repository_needs_a_token_and_revisions_stay(hub, run_client, run, tmp_path):
    """One commit on a branch, a second one after it; the first is loaded by its hash."""
    first = last_line(run_client(PUBLISH, run, "someone/private", "private", "trial", token=hub.write_token))
    other = changed_copy(run, tmp_path / "other")
    second = last_line(run_client(PUBLISH, other, "someone/private", "private", "trial", token=hub.write_token))
    assert first != second
    for revision, folder in ((first, run), ("trial", other)):
        arguments = json.dumps({"revision": revision})
        output = run_client(
            WITHOUT_MMRE, "someone/private", json.dumps(POST), arguments, "pipeline", token=hub.read_token
        )
        agrees(output, folder)
    with pytest.raises(AssertionError, match="someone/private is not a local folder|RepositoryNotFound|not a valid"):
        run_client(WITHOUT_MMRE, "someone/private", json.dumps(POST), arguments, "")
    assert "model.safetensors" not in hub.files("someone/private")


@pytest.mark.slow
def test_models_and_processors_push_themselves_too(hub, run_client, tgdi_run):
    code = """
import sys
from transformers import AutoModel, AutoProcessor
from huggingface_hub import HfApi, ModelCard
import mmre.modeling, mmre.processing
AutoModel.from_pretrained(sys.argv[1]).push_to_hub(sys.argv[2])
AutoProcessor.from_pretrained(sys.argv[1]).push_to_hub(sys.argv[2])
ModelCard.load(sys.argv[1] + "/README.md").validate()
"""
    run_client(code, tgdi_run, "someone/by-hand", token=hub.write_token)
    agrees(run_client(WITHOUT_MMRE, "someone/by-hand", json.dumps(POST), "{}", ""), tgdi_run)
    assert any(request.path == "/api/validate-yaml" and request.status == 200 for request in hub.requests)


@pytest.mark.slow
def test_training_publishes_at_its_end(hub, run_client, tmp_path):
    config = (
        (Path(__file__).resolve().parents[1] / "tiny_training.yaml")
        .read_text("utf-8")
        .replace("epochs: 2", "epochs: 1")
    )
    (tmp_path / "config.yaml").write_text(config + f"  output_dir: {tmp_path / 'outputs'}\n", "utf-8")
    code = "import sys; from mmre.cli.main import main; assert main(['train', *sys.argv[1:]]) == 0"
    arguments = ["--push_to_hub", "true", "--hub_model_id", "someone/trained", "--num_synthetic_posts", "8"]
    with pytest.raises(AssertionError, match="`push_to_hub`: the Hub refuses someone/trained: log in"):
        run_client(code, tmp_path / "config.yaml", *arguments)
    assert not (tmp_path / "outputs").exists()  # found out before anything was trained
    output = run_client(code, tmp_path / "config.yaml", *arguments, token=hub.write_token)
    assert "Published: " in output and hub.write_token not in output
    files = hub.files("someone/trained")
    assert files["README.md"].decode().count("FocalMRE") and not any(name.startswith("checkpoint-") for name in files)
    agrees(run_client(WITHOUT_MMRE, "someone/trained", json.dumps(POST), "{}", ""), tmp_path / "outputs")
    for path in (tmp_path / "outputs").rglob("*"):
        assert path.is_dir() or hub.write_token.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_what_an_earlier_publication_left_is_replaced_and_the_licence_stays(hub, run_client, run, tmp_path):
    code = """
import json, sys
from huggingface_hub import HfApi, ModelCard
from mmre.model_cards import publishing as module

repo, licensed, folder, read_token = sys.argv[1:]
HfApi().create_repo(repo)
for name in ("adapter_config.json", "adapter_model.safetensors", "notes.txt", "notes.json", "demo.py"):
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo=name, repo_id=repo)
module.publish(licensed, repo)
module.check = lambda folder: None  # done above
commits = [module.publish(folder, repo).oid, module.publish(folder, repo, license="mit").oid]
errors = []
for arguments in ({"private": True}, {"token": read_token}):
    try:
        module.publish(folder, repo, **arguments)
    except (OSError, ValueError) as error:
        errors.append(str(error))
print(json.dumps({
    "licences": [
        ModelCard.load(HfApi().hf_hub_download(repo, "README.md", revision=commit)).data.license for commit in commits
    ],
    "errors": errors,
}))
"""
    licensed = tmp_path / "outputs"
    shutil.copytree(run, licensed)
    module.render_model_card(licensed, license="apache-2.0").save(licensed / "README.md")
    output = run_client(code, "someone/used", licensed, run, hub.read_token, token=hub.write_token)
    found = json.loads(last_line(output))
    files = hub.files("someone/used")
    assert not {"adapter_config.json", "adapter_model.safetensors"} & set(files)
    assert {"notes.txt", "notes.json", "demo.py"} <= set(files)
    # The card of `run` has none: that of the repository stays, unless another is given.
    assert found["licences"] == ["apache-2.0", "mit"]
    assert "someone/used is there already, and public" in found["errors"][0]
    assert "someone/used could not be uploaded to http" in found["errors"][1]


def test_a_hub_that_does_not_answer_is_an_error_with_its_address(run, monkeypatch):
    monkeypatch.setattr(module, "HfApi", lambda token: HfApi(endpoint="http://127.0.0.1:9", token="hf_x"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(OSError, match="the Hub at http://127.0.0.1:9 cannot be reached"):
        module.create_repository("someone/nothing")


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no model in"):
        assemble(tmp_path, tmp_path / "target")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_in_one_line(run, tmp_path, monkeypatch, value):
    broken = shutil.copytree(run, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    name = next(name for name in weights if name.startswith("classifier"))
    weights[name][0] = value
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(module, "create_repository", lambda *_: pytest.fail("a repository is made"))
    with pytest.raises(ValueError, match="1 of .* weights are not finite, first classifier.*: ") as error:
        module.publish(broken, "someone/broken")
    assert str(error.value).startswith(f"{broken}: ") and "\n" not in str(error.value)


@pytest.mark.slow
def test_what_does_not_load_or_says_something_else_elsewhere_is_not_published(run, tmp_path, monkeypatch):
    assemble(run, tmp_path / "good")
    shutil.copytree(tmp_path / "good", tmp_path / "broken")
    (tmp_path / "broken" / "focal_augmentation.py").unlink()
    with pytest.raises(RuntimeError, match="does not load in a fresh process"):
        check(tmp_path / "broken")
    code = tmp_path / "good" / "modeling_focalmre.py"
    code.write_text(code.read_text("utf-8").replace("(1 - gate) * text + gate * image", "text + image"), "utf-8")
    with pytest.raises(RuntimeError, match="gives other logits in a fresh process"):
        check(tmp_path / "good")
    uploads = []
    monkeypatch.setattr(module, "create_repository", lambda repo_id, *_: uploads.append(repo_id) or repo_id)
    monkeypatch.setattr(module.HfApi, "upload_folder", lambda *_, **__: uploads.append(1))
    monkeypatch.setattr(
        module, "assemble", lambda _, target, *__: shutil.copytree(tmp_path / "good", target, dirs_exist_ok=True)
    )
    with pytest.raises(RuntimeError):
        module.publish(run, "someone/wrong")
    monkeypatch.undo()
    monkeypatch.setattr(module, "create_repository", lambda repo_id, *_: uploads.append(repo_id) or repo_id)
    with pytest.raises(FileNotFoundError):
        module.publish(tmp_path / "mistyped", "someone/wrong")
    assert uploads == []  # not even an empty repository


def test_a_full_disk_is_named_with_its_folder_before_anything_is_published(run, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("transformers.modeling_utils.safe_save_file", fail)
    with pytest.raises(OSError, match=f"^model.safetensors in {tmp_path / 'target'} cannot be written, for the disk"):
        assemble(run, tmp_path / "target")
