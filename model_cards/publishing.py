"""Publish a trained model on the Hub: assemble one folder, check it in a fresh process, upload it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from huggingface_hub import CommitInfo, HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from peft import PeftConfig, PeftModel
from PIL import Image
from transformers import AutoProcessor
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import find_adapter_config_file

from mmre.evaluation.run_record import METRICS_FILE, is_prompt_run
from mmre.evaluation.scores import check_finite_weights
from mmre.inference.adapter_scores import save_score_values
from mmre.inference.loading import adapter_config, load_model
from mmre.posts.full_disk import naming_full_disk
from mmre.posts.whole_file import whole_file
from mmre.processing import RelationExtractionPipeline
from mmre.processing.pipeline_relation_extraction import TASK

from .model_card import is_hub_name, render_model_card

# Files of an output folder that its card shows.
PICTURES = ("learning_curve.png", "confusion_matrix.png", "reliability.png")

# Files of an earlier publication that must go: an adapter left beside a whole model would be loaded onto it. The
# author's own files are not among these.
REPLACED = [
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "adapter_model.bin"),
    *("config.json", "adapter_config.json", *PICTURES),
]

# Loads a folder as its users will, with the code that lies in it, and prints the logits of a post.
CHECK = """
import json, sys
import torch
from PIL import Image
from transformers import AutoConfig, AutoModel, AutoProcessor, pipeline

folder, base, post = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
AutoConfig.from_pretrained(base, trust_remote_code=True)
model = AutoModel.from_pretrained(base, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
image = Image.new("RGB", (64, 48), "gray")
if base != folder:
    from peft import PeftModel
    model = PeftModel.from_pretrained(model, folder)
else:
    extract = pipeline("multimodal-relation-extraction", model=folder, trust_remote_code=True, device="cpu")
    extract(post | {"image": image})
with torch.no_grad():
    logits = model(**processor(images=image, **post)).logits[0].float().tolist()
imported = [name for name in sys.modules if name.split(".")[0] == "mmre"]
assert not imported, f"the code in the folder needs mmre: it imports {imported}"
print(json.dumps(logits))
"""
# Any post does: the check is that the model says the same of it everywhere.
POST = {"text": "A post about one thing and another", "head": [13, 22], "tail": [27, 34]}
TOLERANCE = 1e-4

# Raised by the Hub's HTTP client where it gets no answer; which client that is depends on huggingface_hub.
NO_CONNECTION = HfHubHTTPError.__bases__[0]


class NotLoadableError(RuntimeError):
    """Raised for a folder that does not load in a fresh process, or gives other logits there."""


def assemble(folder: str | os.PathLike, target: str | os.PathLike) -> None:
    """Collect the content of a repository but its card: weights, configurations, processor, code.

    Args:
        folder: an output folder of `mmre train`, or any folder with a model and its processor; of a LoRA adapter, the
            adapter alone is collected.
        target: an empty or a new folder.

    Raises:
        FileNotFoundError: if there is no model in the folder.
        ValueError: if a weight is not finite.
    """
    folder, target = Path(folder), Path(target)
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        if is_prompt_run(folder):
            raise FileNotFoundError(
                f"{folder} is the record of mmre prompt: it has no weights that anyone could load. Share what was "
                f"answered as a data set, with its card, without places on this machine: hf upload NAME {folder} "
                "--repo-type dataset --exclude resolved_config.yaml .lock"
            )
        raise FileNotFoundError(
            f"There is no model in {folder}: no config.json and no adapter_config.json; give an output folder of mmre "
            "train"
        )
    model, processor = load_model(folder), AutoProcessor.from_pretrained(folder)
    check_finite_weights(model.state_dict(), folder)
    for name in model.config.sub_configs:
        encoder_config = getattr(model.config, name)
        if not is_hub_name(encoder_config._name_or_path):
            encoder_config._name_or_path = ""  # a place on this machine
    if isinstance(model, PeftModel):
        model.peft_config["default"].base_model_name_or_path = adapter_config(folder).base_model_name_or_path
    with naming_full_disk(target, "make room in it, or in another place by the variable TMPDIR"):
        model.save_pretrained(target)
        processor.save_pretrained(target)
        complete(target)
        if isinstance(model, PeftModel):
            save_score_values(model, target)
    for name in PICTURES:
        if (folder / name).is_file():
            shutil.copy(folder / name, target)


def _card(folder: Path, repo_id: str, license: str | None, token: str | bool | None) -> ModelCard:
    """Make the card: of the run, if the folder has its record.

    Licence and language are those of the card in the folder, or else of the repository's, unless given.
    """
    olds = []
    if (folder / "README.md").is_file():
        olds.append(ModelCard.load(folder / "README.md").data)
    with contextlib.suppress(EntryNotFoundError):
        olds.append(ModelCard.load(repo_id, token=token, ignore_metadata_errors=True).data)
    license = license or next((old.license for old in olds if old.license), None)
    language = next((old.language for old in olds if old.language), None)
    if (folder / METRICS_FILE).is_file():
        return render_model_card(folder, repo_id, license=license, language=language)
    data = ModelCardData(library_name="transformers", license=license, language=language, tags=["mmre", TASK])
    text = f"# {repo_id.split('/')[-1]}\n\nA model of multimodal relation extraction, of mmre."
    if folder.name == "base_model":
        text += " **It is not trained**: pretrained encoders and new layers, to load LoRA adapters on."
    return ModelCard(f"---\n{data}\n---\n\n{text}\n")


def complete(folder: str | os.PathLike) -> None:
    """Write into the folder of a saved model what `pipeline` loads it by, into that of an adapter what PEFT does.

    PEFT writes the module of the model's class beside an adapter. It refuses modules that are not in a list of its
    own, and where the code comes from the Hub there is no such module; so `AutoModel` is named instead.
    """
    if find_adapter_config_file(str(folder)) is not None:
        adapter = PeftConfig.from_pretrained(folder)
        adapter.auto_mapping = {"base_model_class": "AutoModel", "parent_library": "transformers"}
        adapter.save_pretrained(folder)
        return
    custom_object_save(RelationExtractionPipeline, folder)
    options = dict(RelationExtractionPipeline._registered_impl[TASK])
    options["impl"] = f"{RelationExtractionPipeline.__module__.split('.')[-1]}.{RelationExtractionPipeline.__name__}"
    options["pt"] = [auto_class.__name__ for auto_class in options["pt"]]
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text("utf-8")) | {"custom_pipelines": {TASK: options}}
    with whole_file(path) as file:
        file.write(json.dumps(config, indent=2, sort_keys=True) + "\n")


def check(folder: str | os.PathLike) -> None:
    """Load an assembled folder in a fresh process, with the code in it, and compare its logits with those of this one.

    Raises:
        NotLoadableError: if the folder does not load there, or its logits differ.
    """
    folder = Path(folder).absolute()
    model, processor = load_model(folder), AutoProcessor.from_pretrained(folder)
    adapter = adapter_config(folder)
    base = folder if adapter is None else adapter.base_model_name_or_path
    with torch.no_grad():
        expected = model(**processor(images=Image.new("RGB", (64, 48), "gray"), **POST)).logits[0].float()
    with tempfile.TemporaryDirectory() as empty:
        # In an empty folder, with an empty cache of code.
        result = subprocess.run(  # noqa: S603
            [sys.executable, "-c", CHECK, str(folder), str(base), json.dumps(POST)],
            env=os.environ | {"HF_MODULES_CACHE": empty},
            cwd=empty,
            capture_output=True,
            text=True,
        )
    if result.returncode:
        raise NotLoadableError(f"{folder} does not load in a fresh process:\n{result.stderr.strip()}")
    difference = (torch.tensor(json.loads(result.stdout.splitlines()[-1])) - expected).abs().max().item()
    if not difference < TOLERANCE:
        raise NotLoadableError(f"{folder} gives other logits in a fresh process than here: they differ by {difference}")


def create_repository(repo_id: str, private: bool | None = None, token: str | bool | None = None) -> str:
    """Make a repository, unless it is there.

    Returns:
        Its whole name, `"owner/name"`.

    Raises:
        OSError: if the Hub refuses the repository or cannot be reached; the message says what to do.
        ValueError: if the name cannot be one, or the repository is public and was to be private.
    """
    api = HfApi(token=token)
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if private and not api.model_info(repo_id).private:
            raise ValueError(f"{repo_id} is there already, and public: make it private first, or give another name")
    except HfHubHTTPError as error:
        mend = "log in by `hf auth login`, or set HF_TOKEN to a token that may write"
        raise OSError(f"the Hub refuses {repo_id}: {mend}. It says: {error}") from error
    except NO_CONNECTION as error:
        raise OSError(f"the Hub at {api.endpoint} cannot be reached: {error}") from error
    return repo_id


def publish(
    folder: str | os.PathLike,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    license: str | None = None,
) -> CommitInfo:
    """Assemble, check and upload a model, or a LoRA adapter and the model that it was trained on.

    Weights, configurations and pictures of an earlier publication are replaced, other files of the repository stay. The
    card is rendered anew; it keeps the licence and the language of the card in the folder, or of the repository's.

    Args:
        folder: an output folder of `mmre train`.
        repo_id: `"name"` or `"organization/name"`. The model that an adapter was trained on goes to `"...-base"`,
            unless it came from the Hub itself.
        private: make a new repository private; by default the account's settings decide.
        revision: the branch, which is made if it is not there; the main one by default.
        token: a token in place of the stored one.
        license: the licence, for the card; that of an earlier card by default.

    Returns:
        The commit; its `commit_url` and its `oid` say where the model is.

    Raises:
        FileNotFoundError: if there is no model in the folder.
        NotLoadableError: if the model does not load in a fresh process, or gives other logits there.
        OSError, ValueError: if the Hub refuses the repository or cannot be reached, or a weight is not finite.
    """
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as target:
        assemble(folder, target)
        check(target)
        # Not before: nobody wants an empty repository for a mistyped folder.
        repo_id = create_repository(repo_id, private, token)
        card = _card(Path(folder), repo_id, license, token)
        config = adapter_config(target)
        if config is not None:
            if os.path.isdir(config.base_model_name_or_path):
                base = publish(config.base_model_name_or_path, f"{repo_id}-base", private, None, token, license)
                config.base_model_name_or_path, config.revision = base.repo_url.repo_id, base.oid
                config.save_pretrained(target)
            card.data.base_model = config.base_model_name_or_path
        with whole_file(Path(target) / "README.md") as file:
            file.write(str(card))
        try:
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            return api.upload_folder(
                repo_id=repo_id,
                folder_path=target,
                revision=revision,
                commit_message="Publish a trained model",
                delete_patterns=REPLACED,
            )
        except NO_CONNECTION as error:
            raise OSError(f"{repo_id} could not be uploaded to {api.endpoint}: {error}") from error


__all__ = ["NotLoadableError", "assemble", "check", "complete", "create_repository", "publish"]
