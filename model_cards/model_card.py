"""The model card, rendered from the record of a run in its output folder."""

import dataclasses
import json
import os
import re
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
from mmre.evaluation.calibration import calibration_lines
from mmre.evaluation.markdown import as_cell, as_code
from mmre.evaluation.protocol import file_names, protocol_title, region_protocol
from mmre.evaluation.relation_f1 import METRICS
from mmre.evaluation.run_record import METRICS_FILE, order_lines, read_metrics
from mmre.posts.mnre import MNRE_REGIONS
from mmre.posts.schema import NEGATIVE_RELATION
from mmre.posts.sources import MADE_DATA

from .citation import bibtex

DATASET_NAMES = {
    "mnre": "MNRE",
    "synthetic": "synthetic posts",
    "digits": "posts with scanned digits",
    "files": "posts of the author's own",
}
DATASET_LANGUAGES = {"mnre": "en", "synthetic": "en", "digits": "en"}
RUN_FILES = ("processor_config.json", METRICS_FILE, "resolved_config.yaml", "environment.json")
RARE_SUPPORT = 10

# Arguments whose values name a place on the author's machine: a folder or a checkpoint, and files.
FOLDER_ARGUMENTS = ("data_dir", "image_dir", "model_name_or_path", "text_encoder", "vision_encoder")
FILE_ARGUMENTS = ("regions", "captions", "train_file", "validation_file", "test_file")
# Arguments of the author's logging and publishing, which do not change the run.
UNTOLD_ARGUMENTS = re.compile(r"hub_\w+|push_to_hub|report_to|run_name|project|trackio_\w+|logging_dir|disable_tqdm")


def render_model_card(
    output_dir: str | Path,
    repo_id: str | None = None,
    license: str | None = None,
    language: str | list[str] | None = None,
) -> ModelCard:
    """Render the model card of a trained or tested model.

    Args:
        output_dir: the output folder of `mmre train`: the model, its processor, and the record of the run.
        repo_id: the model's name on the Hub, for the code that loads it; the name of the folder if not given.
        license: the licence under which the model is published, as the Hub names it; left out if not given.
        language: language codes; those of the data set, where they are known, if not given.

    Returns:
        The card. It says what the files in the folder say, and names no path of this machine.

    Raises:
        FileNotFoundError: if a file of the model or of the record is not there.
    """
    output_dir = Path(output_dir)
    is_adapter = (output_dir / "adapter_config.json").is_file()
    for name in ("adapter_config.json" if is_adapter else "config.json", *RUN_FILES):
        if not (output_dir / name).is_file():
            raise FileNotFoundError(
                f"{output_dir} has no {name}, which the card is made from: give the output folder of a training, or "
                "test a checkpoint into its own folder by `mmre train --do_train false --model_name_or_path FOLDER "
                "--output_dir FOLDER`"
            )
    metrics = read_metrics(output_dir)
    environment, processor = (
        json.loads((output_dir / name).read_text("utf-8")) for name in ("environment.json", "processor_config.json")
    )
    settings = yaml.safe_load((output_dir / "resolved_config.yaml").read_text("utf-8"))
    base_model = output_dir
    if is_adapter:
        # The model below the adapter lies in its output folder, or came from elsewhere.
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
    protocol, regions = protocol_title(posts), region_protocol(posts["regions"])
    reads = config.reads()
    reads_pictures = "image" in reads or "regions" in reads
    uses_images = reads_pictures and posts.get("images") != "unused"
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
        tags=["mmre", "multimodal-relation-extraction", config.model_type, f"regions-{regions.name}"],
    )
    return ModelCard.from_template(
        card_data,
        template_str=resources.files("mmre.model_cards").joinpath("relation_extraction.md").read_text("utf-8"),
        title=config.system + (f" on {dataset_name} ({protocol})" if trained else ""),
        system=config.system,
        summary=config.summary,
        citation=bibtex(config.model_type, config.paper),
        model_id=model_id,
        is_adapter=is_adapter,
        lora_rank=settings["model"].get("lora_rank"),
        relations=[config.id2label[label] for label in sorted(config.id2label)],
        negative_relation=NEGATIVE_RELATION,
        encoders={
            kind: _encoder(kind, getattr(config, name), settings, base_models)
            for name in config.sub_configs
            for kind in [name.removesuffix("_config")]
        },
        base_checkpoint=settings["model"]["model_name_or_path"] in base_models and base_models[0],
        switched_off=_switched_off(config),
        processor=processor,
        trained=trained,
        best_step=best_checkpoint and best_checkpoint[1],
        posts=posts,
        dataset_name=dataset_name,
        protocol=protocol,
        leak_warning=regions.note if regions.leaks else None,
        reads_pictures=reads_pictures,
        uses_images=uses_images,
        uses_regions=uses_images and "regions" in reads and posts["regions"] != "none",
        region_column="detected_regions" if regions.name == "detected" else "grounded_regions",
        captions=file_names(posts["captions"]) if "caption" in reads else None,
        results=results,
        order_lines=order_lines(results),
        calibration_lines=calibration_lines(metrics),
        has_reliability=(output_dir / "reliability.png").is_file(),
        trained_without_none=metrics.get("calibration", {}).get("trained_without_none"),
        relation_rows=relation_rows,
        rare_relations=[name for name, row in relation_rows.items() if row["support"] < RARE_SUPPORT],
        rare_support=RARE_SUPPORT,
        has_learning_curve=trained and (output_dir / "learning_curve.png").is_file(),
        has_confusion_matrix="test" in results and (output_dir / "confusion_matrix.png").is_file(),
        configuration=_portable_configuration(settings, posts, trained, model_id, base_models),
        environment=environment,
        as_cell=as_cell,
        as_code=as_code,
        percent=lambda ratio: f"{100 * ratio:.2f}",
    )


def is_hub_name(name: str) -> bool:
    """Tell whether a name is one of the Hub, not a place on this machine."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not os.path.exists(name)


def _switched_off(config: PreTrainedConfig) -> list[str]:
    """List the parts of a system that are there by default and that this configuration switches off."""
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    own = set(fields) - {field.name for field in dataclasses.fields(PreTrainedConfig)}
    return sorted(name for name in own if name.startswith("use_") and fields[name] and not getattr(config, name))


def _eval_results(results: dict[str, Any], dataset: str, dataset_name: str) -> list[EvalResult] | None:
    """Return the results in the form of the Hub's `model-index`."""
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
    """Describe an encoder: its name on the Hub, if it came from there, its kind and its size."""
    model = settings["model"]
    size = _size(config)
    if model[f"{kind}_encoder"] in base_models:
        name = model[f"{kind}_encoder"]
        return f"[{name}](https://huggingface.co/{name}) ({size})"
    is_new = model[f"new_{kind}_encoder"] is not None and model["model_name_or_path"] is None
    return f"a {'new ' if is_new else ''}`{config.model_type}` ({size})"


def _size(config: PreTrainedConfig) -> str:
    """Describe the size of an encoder, of one width or a pyramid."""
    if hasattr(config, "hidden_sizes"):
        return f"{sum(config.depths)} blocks, up to {config.hidden_sizes[-1]} wide"
    return f"{config.num_hidden_layers} layer{'s' if config.num_hidden_layers > 1 else ''}, {config.hidden_size} wide"


def _portable_configuration(
    settings: dict[str, Any], posts: dict[str, Any], trained: dict | None, model_id: str, base_models: list[str]
) -> str:
    """Write the settings of the run as a configuration file for `mmre train` that names no place on this machine."""
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
        portable["data"].pop("regions", None)  # it stands for MNRE's
    if posts["dataset"] not in MADE_DATA:
        portable["data"].pop("num_synthetic_posts", None)
    return yaml.safe_dump(portable, sort_keys=False, allow_unicode=True)


def _portable(name: str, value: Any, base_models: list[str]) -> Any:
    """Replace places on this machine in the value of an argument by `path/of/...`."""
    if isinstance(value, dict):
        return {key: _portable(key, item, base_models) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(name, item, base_models) for item in value]
    if not isinstance(value, str) or value in base_models or name == "entity_markers":
        return value
    if name == "dataset":
        return value if value in DATASET_NAMES or is_hub_name(value) else f"path/of/{PurePosixPath(value).name}"
    if name in FILE_ARGUMENTS and value not in (*MNRE_REGIONS, "as given"):
        return f"path/of/{file_names(value)}"
    is_path = PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute() or value.startswith("~")
    return f"path/of/{name}" if name in FOLDER_ARGUMENTS or is_path else value


__all__ = ["render_model_card"]
