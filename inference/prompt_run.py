"""One run of a chat model over the posts of a data set, from its prompts to the same record as a training's.

What is answered is appended to `answers.part`, a batch a line, so that a killed run goes on where it was.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
import transformers
import yaml
from transformers import set_seed
from transformers.trainer_utils import PredictionOutput
from transformers.utils import logging

from mmre.annotation.model_files import files_fingerprint
from mmre.annotation.unfinished import append_line, list_differences, read_batches
from mmre.evaluation.cost import count_parameters, measure_cost
from mmre.evaluation.output_lock import only_run
from mmre.evaluation.plots import plot_confusion_matrix
from mmre.evaluation.protocol import describe_posts
from mmre.evaluation.relation_f1 import NO_ANSWER
from mmre.evaluation.run_record import (
    METRICS_FILE,
    SETTINGS_FILE,
    posts_in_short,
    write_environment,
    write_metrics,
    write_predictions,
    write_results,
)
from mmre.evaluation.scores import heads_first, score_answers, score_split
from mmre.posts.fingerprint import picture_keys, posts_fingerprint
from mmre.posts.sources import kind_of_data, open_posts
from mmre.posts.whole_file import whole_file

from .chat_models import ChatModel, reads_pictures
from .chat_posts import check_named_relations
from .chat_servers import ChatServer
from .demonstrations import Demonstrations
from .in_context import Answer, InContextRelationClassifier
from .prompt_arguments import PromptArguments
from .prompts import PromptPost
from .relation_lists import read_relations

logger = logging.get_logger("mmre.prompt")

PROMPT_VERSION = 3
PART_FILE = "answers.part"
ANSWERS_FILE = "answers.jsonl"
PROMPT_FILE = "prompt.txt"


class PromptReport(NamedTuple):
    """Report of a finished run: where all of it is, and the results in Markdown."""

    output_dir: Path
    tables: str


def prompt(model: str, data: str, args: PromptArguments) -> PromptReport:
    """Ask a chat model for the relations of posts, or go on asking.

    Args:
        model: folder of a chat model, or its name on the Hub, or on the server of `args.base_url`.
        data: as [`~mmre.posts.sources.open_posts`] takes it.
        args: which posts, and how to ask.

    Returns:
        What there is to say. In the output folder are `metrics.json`, `predictions.jsonl`, `results.md`,
        `answers.jsonl` (what was answered to each post, and after which demonstrations), `prompt.txt` (the prompt of
        the first post), the settings and the environment.

    Raises:
        OSError: posts, pictures, the model or the server are not there.
        ValueError: the posts are bad, the model does not answer, or the folder is of another run.
        ImportError: the client of servers is not installed.
    """
    output_dir = Path(args.output_dir)
    with only_run(output_dir):
        if (output_dir / METRICS_FILE).is_file():
            raise ValueError(_say_finished(output_dir, model, data, args))
        return _prompt(model, data, args, output_dir)


def _say_finished(output_dir: Path, model: str, data: str, args: PromptArguments) -> str:
    """Say that a folder has the results of a run, and in what its settings differ from these."""
    settings, differences = output_dir / SETTINGS_FILE, ["not of mmre prompt"]
    found = yaml.safe_load(settings.read_text("utf-8")) if settings.is_file() else {}
    if "prompt" in found:
        expected = {"MODEL": model, "DATA": data} | _options(dataclasses.asdict(args))
        found = {"MODEL": found["model"], "DATA": found["data"]} | _options(found["prompt"])
        differences = list_differences(found, expected | {"--output_dir": found["--output_dir"]})
    if not differences:
        return f"{output_dir} holds the results of this command already: delete it, or set another --output_dir"
    return f"{output_dir} holds the results of another run ({'; '.join(differences)}): set another --output_dir"


def _options(values: dict[str, Any]) -> dict[str, Any]:
    """Name values as the options of the command are called."""
    return {f"--{name}": value for name, value in values.items()}


def _prompt(model: str, data: str, args: PromptArguments, output_dir: Path) -> PromptReport:
    set_seed(args.seed)
    descriptions = {} if args.descriptions is None else read_relations(args.descriptions, needs_description=True)
    # Whether the model reads pictures decides whether there must be any; its weights come last, they take the longest.
    if args.base_url is None:
        can_see = reads_pictures(model, args.revision)
        show_images = can_see if args.use_images is None else args.use_images
    else:
        chat = ChatServer(model, args.base_url, args.timeout, args.seed)
        can_see, show_images = chat.reads_pictures, bool(args.use_images)
    if show_images and not can_see:
        raise ValueError(f"--use_images: {model} reads no pictures; give --captions in their place")
    posts = _open(data, args, show_images)
    asked, relations = posts[args.split], posts[args.split].features["relation"].names
    train = posts.get("train")
    demonstrations = None
    if args.shots:
        demonstrations = Demonstrations(_rows(train), picture_keys(train), args.shots, args.seed, args.stratified)
        for post, key in zip(_rows(asked), picture_keys(asked)):
            demonstrations.draw(post, key)  # refuses, before anything is asked, what some post cannot be shown
    check_named_relations(relations, descriptions)
    if args.base_url is None:
        chat = ChatModel.from_pretrained(model, args.revision, args.dtype)
    shown = "none" if not show_images else "all" if args.demonstration_images else "post"
    classifier = InContextRelationClassifier(
        chat, relations, demonstrations, args.answer, args.seed, descriptions, shown, args.max_prompt_tokens
    )
    fingerprint = posts_fingerprint(posts)
    settings = {"model": model, "data": data, "prompt": dataclasses.asdict(args)}
    header = {
        "mmre_prompt": PROMPT_VERSION,
        "MODEL": model,
        "DATA": data,
        "posts_sha256": fingerprint,
        "files_sha256": None if args.base_url else files_fingerprint(model),
        "descriptions": descriptions,
        "transformers": transformers.__version__,
    }
    header |= _options({**settings["prompt"], "output_dir": None, "timeout": None})
    rows = _ask(classifier, asked, header, output_dir, args)

    with whole_file(output_dir / SETTINGS_FILE) as file:
        file.write(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    device = torch.device("cpu") if args.base_url else chat.device
    names = [] if args.base_url or Path(model).is_dir() else [model]
    where = "a server" if args.base_url else str(device)
    write_environment(
        output_dir, seed=args.seed, posts_sha256=fingerprint, device=where, processes=1, base_models=names
    )
    inputs = ["text", *(["image"] if show_images else []), *([] if show_images else ["caption"])]
    facts = describe_posts(
        posts, dataset=data, inputs=inputs, regions="none", captions=args.captions, use_images=show_images
    )
    results = {"posts": facts} | _results(rows, asked, relations, classifier, args, model)
    if args.base_url is None:
        seconds = sum(row["seconds"] for row in rows)
        results["cost"] = measure_cost(count_parameters(chat.model), device, None, (seconds, len(rows)))
    return PromptReport(output_dir, _write(results, rows, asked, relations, output_dir, args))


def _open(data: str, args: PromptArguments, show_images: bool) -> datasets.DatasetDict:
    """Open the posts to ask about, and those to show."""
    kind = kind_of_data(data)
    files = {split: getattr(args, f"{split}_file") for split in ("train", "validation", "test")}
    if data == "mnre":
        raise ValueError("DATA mnre; expected the folder of its files")
    posts = open_posts(
        data,
        files=files,
        image_dir=args.image_dir,
        regions="none" if kind != "saved" or args.captions else None,
        captions=args.captions,
        # Also where no picture is shown, posts of one picture are known by its path.
        on_missing_image=args.on_missing_image if show_images else "keep",
        num_synthetic_posts=args.num_synthetic_posts,
    )
    for split in (args.split, *(["train"] if args.shots else [])):
        if split not in posts or not len(posts[split]):
            why = "" if split == args.split else f", and --shots {args.shots} shows some"
            raise FileNotFoundError(f"DATA {data} has no posts of {split}{why}")
    asked = posts[args.split]
    if args.max_posts is not None:
        asked = asked.select(range(min(args.max_posts, len(asked))))
    posts = {args.split: asked} | ({"train": posts["train"]} if args.shots else {})
    return datasets.DatasetDict(
        {split: rows.cast_column("image", datasets.Image(decode=False)) for split, rows in posts.items()}
    )


def _rows(posts: datasets.Dataset) -> list[PromptPost]:
    """Read the posts of a data set, their pictures undecoded."""
    spans = {name: [(span["start"], span["end"]) for span in posts[name][:]] for name in ("head", "tail")}
    columns = [posts[name][:] for name in ("id", "text", "caption", "image", "relation")]
    return [
        PromptPost(id, text, head, tail, caption, image, relation)
        for (id, text, caption, image, relation), head, tail in zip(zip(*columns), spans["head"], spans["tail"])
    ]


def _ask(
    classifier: InContextRelationClassifier,
    posts: datasets.Dataset,
    header: dict[str, Any],
    output_dir: Path,
    args: PromptArguments,
) -> list[dict]:
    """Ask about all posts that were not asked about yet, and return what was answered to all."""
    part, asked, keys = output_dir / PART_FILE, _rows(posts), picture_keys(posts)
    rows, end = [], 0
    if part.exists():
        for _, batch, end in read_batches(part, header, "--output_dir"):  # noqa: B007, the last one counts
            rows += batch
    with open(part, "ab", buffering=0) as file, logging.tqdm(total=len(asked), initial=len(rows), unit="post") as bar:
        file.truncate(end)
        if not end:
            append_line(file, header)
        for start in range(len(rows), len(asked), args.batch_size):
            batch = asked[start : start + args.batch_size]
            before = time.perf_counter()
            answers = classifier.answer(batch, keys[start : start + args.batch_size])
            seconds = (time.perf_counter() - before) / len(batch)
            found = [{"id": post.id, **answer._asdict(), "seconds": seconds} for post, answer in zip(batch, answers)]
            if not start:
                _write_prompt(classifier, batch[0], answers[0], output_dir)
            append_line(file, {"batch": start // args.batch_size, "rows": found})
            rows += found
            bar.update(len(batch))
    left_out = sum(row["left_out"] > 0 for row in rows)
    if left_out or any(row["is_cut"] for row in rows):
        logger.warning(
            f"{left_out} of {len(rows)} prompts were too long: their oldest demonstrations were left out; "
            f"{sum(row['is_cut'] for row in rows)} posts were cut themselves"
        )
    return rows


def _write_prompt(classifier: InContextRelationClassifier, post: PromptPost, answer: Answer, output_dir: Path) -> None:
    """Write the prompt of a post in full, as the model reads it."""
    by_id = {}
    if classifier.demonstrations:
        by_id = {shown.id: shown for shown in classifier.demonstrations.posts}
    _, _, turns = classifier.fit(post, [by_id[id] for id in answer.demonstrations])
    with whole_file(output_dir / PROMPT_FILE) as file:
        file.write(classifier.chat.render(turns) + "\n")


def _results(
    rows: list[dict],
    posts: datasets.Dataset,
    relations: list[str],
    classifier: InContextRelationClassifier,
    args: PromptArguments,
    model: str,
) -> dict[str, Any]:
    """Score the answers, and sum up how they were obtained."""
    probabilities, gold, is_first = (
        np.array([row["probabilities"] for row in rows]),
        posts["relation"][:],
        heads_first(posts),
    )
    if classifier.answer_by == "generate":
        predicted = [int(row.argmax()) if row.any() else NO_ANSWER for row in probabilities]
        scores = score_answers(predicted, gold, relations, is_first)
    else:
        logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        scores = score_split(PredictionOutput(logits, np.array(gold), {}), relations, is_first)
    number = len(rows)
    asked = {
        "model": model,
        "server": args.base_url is not None,
        "answer": classifier.answer_by,
        "shots": args.shots,
        "stratified": args.stratified,
        "demonstration_images": classifier.show_images == "all" and args.shots > 0,
        "descriptions": args.descriptions is not None,
        "seed": args.seed,
        "relations_in_order": [relations[relation] for relation in classifier.options.order],
        "unparsable": sum(not any(row["probabilities"]) for row in rows) / number,
        "prompts_shortened": sum(row["left_out"] > 0 for row in rows) / number,
        "posts_cut": sum(row["is_cut"] for row in rows) / number,
        "prompt_tokens_per_post": sum(row["prompt_tokens"] for row in rows) / number,
        "answer_tokens_per_post": sum(row["answer_tokens"] for row in rows) / number,
        "seconds_per_post": sum(row["seconds"] for row in rows) / number,
    }
    return {args.split: scores, "prompt": asked}


def _write(
    results: dict[str, Any],
    rows: list[dict],
    posts: datasets.Dataset,
    relations: list[str],
    output_dir: Path,
    args: PromptArguments,
) -> str:
    """Write the record of a run, `metrics.json` last: it says that the run is whole."""
    probabilities, gold = [row["probabilities"] for row in rows], posts["relation"][:]
    with whole_file(output_dir / ANSWERS_FILE) as file:
        for row in rows:
            line = {name: value for name, value in row.items() if name != "probabilities"}
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    write_predictions(
        output_dir, posts["id"][:], relations, gold, probabilities, heads_first(posts), posts_in_short(posts)
    )
    tables = write_results(output_dir, results)
    pairs = [(label, int(np.argmax(row))) for label, row in zip(gold, probabilities) if any(row)]
    if pairs:
        title = f"{args.split} F1 {100 * results[args.split]['f1']:.2f} %"
        plot_confusion_matrix(*zip(*pairs), relations, output_dir / "confusion_matrix.png", title)
    write_metrics(output_dir, results)
    (output_dir / PART_FILE).unlink()
    return tables


__all__ = ["PromptReport", "prompt"]
