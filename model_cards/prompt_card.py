"""The card of a chat model's answers, rendered from the record in their folder."""

import json
import shlex
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData

from mmre.evaluation.markdown import as_code
from mmre.evaluation.protocol import file_names, protocol_title
from mmre.evaluation.run_record import ENVIRONMENT_FILE, read_metrics, results_tables
from mmre.posts.schema import NEGATIVE_RELATION

from .model_card import DATASET_LANGUAGES, DATASET_NAMES, is_hub_name

WAYS = {
    "letters": "The relations were lettered, and the answer is the letter that is most probable as the first token.",
    "likelihood": "The answer is the relation whose name is most probable as the whole answer.",
    "generate": "The answer is the relation that the model's own words name; nothing was sampled.",
}
# Arguments that name a place on the author's machine, or that say where and how fast.
PROMPT_PLACES = ("captions", "descriptions", "image_dir", "train_file", "validation_file", "test_file")
UNTOLD = ("output_dir", "base_url", "timeout", "batch_size")


def render_prompt_card(output_dir: str | Path) -> ModelCard:
    """Render the card of a run of `mmre prompt`.

    Args:
        output_dir: its output folder.

    Returns:
        The card. It says what the files in the folder say, and names no path and no server of this machine.

    Raises:
        FileNotFoundError: if a file of the record is not there.
    """
    output_dir = Path(output_dir)
    metrics, settings = (
        read_metrics(output_dir),
        yaml.safe_load((output_dir / "resolved_config.yaml").read_text("utf-8")),
    )
    environment = json.loads((output_dir / ENVIRONMENT_FILE).read_text("utf-8"))
    posts, asked = metrics["posts"], metrics["prompt"]
    asked = {**asked, "model": _name(asked["model"])}
    dataset = DATASET_NAMES.get(posts["dataset"], _name(posts["dataset"]))
    split = next(name for name in ("validation", "test") if name in metrics)
    card_data = ModelCardData(
        base_model=environment["base_models"] or None,
        language=DATASET_LANGUAGES.get(posts["dataset"]),
        library_name="mmre",
        tags=["mmre", "multimodal-relation-extraction", "in-context"],
    )
    shots = f"{asked['shots']} examples" if asked["shots"] else "no examples"
    return ModelCard.from_template(
        card_data,
        template_str=resources.files("mmre.model_cards").joinpath("in_context.md").read_text("utf-8"),
        title=f"{asked['model']}, asked with {shots}, on {dataset} ({protocol_title(posts)})",
        asked=asked,
        relations=list(metrics[split]["per_relation"]),
        negative_relation=NEGATIVE_RELATION,
        ways=WAYS,
        uses_images=posts["images"] == "used",
        captions=file_names(posts["captions"]),
        cost=metrics.get("cost"),
        prompt=_fenced((output_dir / "prompt.txt").read_text("utf-8")),
        tables=results_tables({**metrics, "posts": {**posts, "dataset": dataset}}),
        environment=environment,
        command=_command(settings),
        as_code=as_code,
        percent=lambda ratio: f"{100 * ratio:.2f}",
    )


def _name(name: str) -> str:
    """Return the last part of a path of this machine; other names as they are."""
    return name if is_hub_name(name) else PurePosixPath(name).name


def _fenced(text: str) -> str:
    """Put a text between fences that it does not have itself."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text.rstrip()}\n{fence}"


def _command(settings: dict[str, Any]) -> str:
    """Write the command that gives the result again, without places on this machine."""
    words = ["mmre", "prompt", _name(settings["model"]), _name(settings["data"])]
    for name, value in settings["prompt"].items():
        if value is None or value is False or name in UNTOLD:
            continue
        values = value if isinstance(value, list) else [value]
        if name in PROMPT_PLACES:
            values = [f"path/of/{file_names(str(one))}" for one in values]
        words += [f"--{name}", *(str(one).lower() if isinstance(one, bool) else str(one) for one in values)]
    return shlex.join([*words, "--output_dir", "outputs/prompt"])


__all__ = ["render_prompt_card"]
