"""Record of a run beside its results: its settings, its environment, and the posts that it drew."""

import dataclasses
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from mmre.evaluation.run_record import ENVIRONMENT_FILE, SETTINGS_FILE, write_environment
from mmre.posts.whole_file import whole_file

from .arguments import MODALITIES, RelationTrainingArguments
from .settings import Settings

TRAIN_POSTS_FILE = "train_posts.json"
# Written whether set or not: the defaults are those of the transformers installed.
HYPERPARAMETERS = (
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "optim", "max_grad_norm"),
    *("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps"),
)


def sections_of(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return a configuration file's content that repeats the run.

    Returns:
        All values of `model` and `data`; of `training` the hyper-parameters of a run that trains, and what is not the
        default.
    """
    args = settings.training
    training = {"output_dir": args.output_dir, "seed": args.seed}
    values = args.to_dict()
    for argument in dataclasses.fields(args):
        name, default = argument.name, argument.default
        if not argument.init or name.endswith("_token") or name == "resume_from_checkpoint":
            continue
        if argument.default_factory is not dataclasses.MISSING:
            default = argument.default_factory()
        default = default.value if isinstance(default, Enum) else default
        value = values[name]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        # Empty values are what transformers puts in where nothing is the default.
        empty = not default or default == "none"
        filled_in = name in ("accelerator_config", "fsdp_config") or (empty and value in (False, [], {}))
        if (args.do_train and name in HYPERPARAMETERS) or (value != default and not filled_in):
            training[name] = value
    return {"model": vars(settings.model) | settings.values, "data": vars(settings.data), "training": training}


def write_settings(
    output_dir: Path, sections: Mapping[str, dict[str, Any]], training: RelationTrainingArguments, fingerprint: str
) -> None:
    """Write `resolved_config.yaml`, to be given to `mmre train` again, and `environment.json`.

    Args:
        output_dir: the output folder of the run; made if it is not there.
        sections: see [`sections_of`].
        training: `seed`, `device` and `world_size`.
        fingerprint: of the posts, see [`~mmre.posts.fingerprint.posts_fingerprint`].
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    with whole_file(output_dir / SETTINGS_FILE) as file:
        file.write(yaml.safe_dump(dict(sections), sort_keys=False))
    model = sections["model"]
    sources = [model["model_name_or_path"]] if model["model_name_or_path"] else []
    sources = sources or [model[f"{modality}_encoder"] for modality in MODALITIES]
    write_environment(
        output_dir,
        seed=training.seed,
        posts_sha256=fingerprint,
        device=str(training.device),
        processes=training.world_size,
        # What is no folder came from the Hub: so `from_pretrained` takes a name.
        base_models=[name for name in sources if name is not None and not Path(name).is_dir()],
    )


def read_settings(output_dir: Path) -> dict[str, dict[str, Any]]:
    """Read the `resolved_config.yaml` of a run."""
    return yaml.safe_load((output_dir / SETTINGS_FILE).read_text("utf-8"))


def read_environment(output_dir: Path) -> dict[str, Any]:
    """Read the `environment.json` of a run; nothing where there is none."""
    path = output_dir / ENVIRONMENT_FILE
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def write_train_posts(output_dir: Path, ids: list[str]) -> None:
    """Write which training posts were drawn, `train_posts.json`."""
    _write_json(output_dir / TRAIN_POSTS_FILE, {"ids": ids})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


__all__ = ["read_environment", "read_settings", "sections_of", "write_settings", "write_train_posts"]
