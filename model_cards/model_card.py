"""The model card, rendered from what a run left in its output folder."""

import json
import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from peft import PeftConfig
from transformers import AutoConfig, PreTrainedConfig

import mmre.modeling  # noqa: F401, registers the models
from mmre.posts.mnre import LEAK
from mmre.posts.schema import NEGATIVE_RELATION

SYSTEM_NAMES = {"focalmre": "FocalMRE", "tgdi": "TGDI"}
DATASET_NAMES = {"mnre": "MNRE", "synthetic": "synthetic posts", "files": "posts of the author's own"}
DATASET_LANGUAGES = {"mnre": "en", "synthetic": "en"}
METRICS = ("accuracy", "precision", "recall", "f1")
RUN_FILES = ("processor_config.json", "metrics.json", "resolved_config.yaml", "environment.json")
FEW_POSTS = 10
REGION_COUNT = "number of grounded regions"  # what a baseline is given as the caption

# Arguments whose values are a place on the author's machine: a folder or a checkpoint, and files.
FOLDER_ARGUMENTS = ("data_dir", "image_dir", "model_name_or_path", "text_encoder", "vision_encoder")
FILE_ARGUMENTS = ("regions", "captions", "train_file", "validation_file", "test_file")
# Arguments that say where the author logged and published, not what was run.
UNTOLD_ARGUMENTS = re.compile(r"hub_\w+|push_to_hub|report_to|run_name|project|trackio_\w+|logging_dir|disable_tqdm")


def render_model_card(
    output_dir: str | Path,
    repo_id: str | None = None,
    license: str | None = None,
    language: str | list[str] | None = None,
) -> ModelCard:
    """Render the model card of a trained or tested model.

    Args:
        output_dir: what `train.py` wrote: the model, its processor, and the record of the run.
        repo_id: the model's name on the Hub, for the code that loads it; the name of the folder if not given.
        license: the licence under which the model is published, as the Hub names it; left out if not given.
        language: language codes; those of the data set, where they are known, if not given.

    Returns:
        The card. It tells what the files in the folder tell, and no path of this machine.

    Raises:
        FileNotFoundError: if a file of the model or of the record is not there.
    """
    output_dir = Path(output_dir)
    is_adapter = (output_dir / "adapter_config.json").is_file()
    for name in ("adapter_config.json" if is_adapter else "config.json", *RUN_FILES):
        if not (output_dir / name).is_file():
            raise FileNotFoundError(
                f"{output_dir} has no {name}, so no card can be made of it: give the output folder of a training, "
                "or test a checkpoint into its own folder by train.py --do_train false --model_name_or_path FOLDER "
                "--output_dir FOLDER."
            )
    metrics, environment, processor = (
        json.loads((output_dir / name).read_text("utf-8"))
        for name in ("metrics.json", "environment.json", "processor_config.json")
    )
    settings = yaml.safe_load((output_dir / "resolved_config.yaml").read_text("utf-8"))
    base_model = output_dir
    if is_adapter:
        # What it was trained on lies in its output folder, or came from elsewhere.
        base_model = output_dir / "base_model"
        base_model = (
            base_model if base_model.is_dir() else PeftConfig.from_pretrained(output_dir).base_model_name_or_path
        )
    config = AutoConfig.from_pretrained(base_model)

    posts, trained = metrics["posts"], metrics.get("train")
    results = {split: metrics[split] for split in ("validation", "test") if split in metrics}
    base_models = environment.get("base_models", [])  # not in the folders of earlier versions
    model_id = repo_id or output_dir.resolve().name
    dataset = posts["dataset"]
    if dataset not in DATASET_NAMES and not is_hub_name(dataset):
        dataset = PurePosixPath(dataset).name  # a folder of this machine
    dataset_name = DATASET_NAMES.get(dataset, dataset)
    leaks = posts["dataset"] == "mnre" and posts["regions"] == "released"
    protocol = _protocol(posts, leaks)
    uses_images = posts.get("images") != "unused"
    relation_rows = list(results.values())[-1]["per_relation"] if results else {}
    best_checkpoint = re.search(r"checkpoint-(\d+)$", (trained or {}).get("best_checkpoint") or "")
    card_data = ModelCardData(
        base_model=base_models or None,
        eval_results=_eval_results(results, dataset, f"{dataset_name} ({protocol})"),
        language=language or DATASET_LANGUAGES.get(posts["dataset"]),
        library_name="peft" if is_adapter else "transformers",
        license=license,
        metrics=list(METRICS) if results else None,
        model_name=model_id.split("/")[-1] if results else None,
        tags=["mmre", "multimodal-relation-extraction", config.model_type, f"regions-{_region_kind(posts)}"],
    )
    return ModelCard.from_template(
        card_data,
        template_str=resources.files("mmre.model_cards").joinpath("relation_extraction.md").read_text("utf-8"),
        title=SYSTEM_NAMES[config.model_type] + (f" on {dataset_name} ({protocol})" if trained else ""),
        model_type=config.model_type,
        model_id=model_id,
        is_adapter=is_adapter,
        lora_rank=settings["model"].get("lora_rank"),
        relations=[config.id2label[label] for label in sorted(config.id2label)],
        negative_relation=NEGATIVE_RELATION,
        text_encoder=_encoder("text", config.text_config, settings, base_models),
        vision_encoder=_encoder("vision", config.vision_config, settings, base_models),
        base_checkpoint=settings["model"]["model_name_or_path"] in base_models and base_models[0],
        switched_off=[name for name in _switches(config) if not getattr(config, name)],
        processor=processor,
        trained=trained,
        best_step=best_checkpoint and best_checkpoint[1],
        posts=posts,
        dataset_name=dataset_name,
        protocol=protocol,
        leak_warning=LEAK if leaks else None,
        uses_images=uses_images,
        uses_regions=uses_images and posts["regions"] != "none",
        captions=_file_names(posts["captions"]) if "use_caption" in _switches(config) and config.use_caption else None,
        results=results,
        relation_rows=relation_rows,
        rare_relations=[name for name, row in relation_rows.items() if row["support"] < FEW_POSTS],
        few_posts=FEW_POSTS,
        has_learning_curve=trained and (output_dir / "learning_curve.png").is_file(),
        has_confusion_matrix="test" in results and (output_dir / "confusion_matrix.png").is_file(),
        configuration=_portable_configuration(settings, posts, trained, model_id, base_models),
        environment=environment,
        percent=lambda ratio: f"{100 * ratio:.2f}",
    )


def is_hub_name(name: str) -> bool:
    """Whether a name is one of the Hub, not a place on this machine."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not os.path.exists(name)


def _switches(config: PreTrainedConfig) -> list[str]:
    """The parts of a system that its configuration can switch off."""
    fields = set(config.__dataclass_fields__) - set(PreTrainedConfig.__dataclass_fields__)
    return sorted(name for name in fields if name.startswith("use_"))


def _region_kind(posts: dict[str, Any]) -> str:
    """`released`, `none`, `drawn`, `given`, or `annotated`: then the data's regions are those of an annotation file."""
    kinds = {"released": "released", "none": "none", "drawn": "drawn", "as given": "given"}
    return kinds.get(posts["regions"], "annotated")


def _protocol(posts: dict[str, Any], leaks: bool) -> str:
    """What a result has to be told with."""
    kind = _region_kind(posts)
    regions = {
        "none": "no regions",
        "annotated": f"regions of {_file_names(posts['regions'])}",
        "given": "regions of unknown origin",
    }
    if posts["captions"] == REGION_COUNT:
        regions = {"released": f"{REGION_COUNT}, released", "annotated": f"{REGION_COUNT} of {posts['regions']}"}
    parts = [regions.get(kind, f"{kind} regions")]
    parts += ["leaking"] if leaks else []
    parts += ["no pictures"] if posts.get("images") == "unused" else []
    parts += [f"{100 * posts['align_noise']:g} % of the pictures swapped"] if posts["align_noise"] else []
    parts += [f"{100 * posts['aug_noise']:g} % of the regions replaced or deleted"] if posts.get("aug_noise") else []
    parts += [f"{100 * posts['train_share']:g} % of the training posts"] if posts.get("train_share", 1) != 1 else []
    number = posts.get("samples_per_relation")
    parts += [f"at most {number} training posts of each relation"] if number is not None else []
    return ", ".join(parts)


def _file_names(paths: str | Sequence[str] | None) -> str | None:
    """The names of files without their folders, which are the author's."""
    paths = [paths] if isinstance(paths, str) else paths
    return ", ".join(PurePosixPath(path).name for path in paths) if paths else None


def _eval_results(results: dict[str, Any], dataset: str, dataset_name: str) -> list[EvalResult] | None:
    """The results as the Hub's `model-index` has them."""
    return [
        EvalResult(
            task_type="multimodal-relation-extraction",
            task_name="Multimodal relation extraction",
            dataset_type=dataset,
            dataset_name=dataset_name,
            dataset_split=split,
            metric_type=metric,
            metric_value=scores[metric],
            metric_name=metric if metric == "accuracy" else f"micro {metric} without {NEGATIVE_RELATION}",
        )
        for split, scores in results.items()
        for metric in METRICS
    ] or None


def _encoder(kind: str, config: PreTrainedConfig, settings: dict[str, Any], base_models: list[str]) -> str:
    """What the card calls an encoder: its name on the Hub, if it came from there, and its kind and size."""
    model = settings["model"]
    layers = config.num_hidden_layers
    size = f"{layers} layer{'s' if layers > 1 else ''}, {config.hidden_size} wide"
    if model[f"{kind}_encoder"] in base_models:
        name = model[f"{kind}_encoder"]
        return f"[{name}](https://huggingface.co/{name}) ({size})"
    is_new = model[f"new_{kind}_encoder"] is not None and model["model_name_or_path"] is None
    return f"a {'new ' if is_new else ''}`{config.model_type}` ({size})"


def _portable_configuration(
    settings: dict[str, Any], posts: dict[str, Any], trained: dict | None, model_id: str, base_models: list[str]
) -> str:
    """What was set, as a configuration file of `train.py` in which nothing is a place on this machine."""
    portable = {
        section: {
            name: _portable(name, value, base_models)
            for name, value in values.items()
            if value is not None and not UNTOLD_ARGUMENTS.fullmatch(name)
        }
        for section, values in settings.items()
    }
    portable["training"]["output_dir"] = f"outputs/{model_id.split('/')[-1]}"
    if not trained:
        portable["model"]["model_name_or_path"] = model_id
    if posts["regions"] == "drawn":
        del portable["data"]["regions"]  # it stands for MNRE's
    if posts["dataset"] != "synthetic":
        portable["data"].pop("num_synthetic_posts", None)
    return yaml.safe_dump(portable, sort_keys=False, allow_unicode=True)


def _portable(name: str, value: Any, base_models: list[str]) -> Any:
    """A value of an argument, with places on this machine replaced by `path/of/...`."""
    if isinstance(value, dict):
        return {key: _portable(key, item, base_models) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(name, item, base_models) for item in value]
    if not isinstance(value, str) or value in base_models or name == "entity_markers":
        return value
    if name == "dataset":
        return value if value in DATASET_NAMES or is_hub_name(value) else f"path/of/{PurePosixPath(value).name}"
    if name in FILE_ARGUMENTS and value not in ("released", "none", "as given"):
        return f"path/of/{_file_names(value)}"
    is_path = PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute() or value.startswith("~")
    return f"path/of/{name}" if name in FOLDER_ARGUMENTS or is_path else value


__all__ = ["render_model_card"]
