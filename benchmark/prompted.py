"""Rows of chat models: runs of `mmre prompt`, read and put below the papers' rows under the names of their models."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmre.evaluation.protocol import file_names
from mmre.evaluation.run_record import Predictions, read_metrics, read_predictions
from mmre.evaluation.significance import check_same_posts
from mmre.posts.sources import MADE_DATA, open_posts


class PromptedSystem(NamedTuple):
    """Chat model that was asked in one way, with a run for each seed.

    Args:
        name: of the model, and how it was asked.
        folders: of its runs, by seed.
        records: their `metrics.json`.
        predictions: of its runs.
    """

    name: str
    folders: dict[int, Path]
    records: list[dict[str, Any]]
    predictions: list[Predictions]


def read_prompt_runs(folders: Sequence[str], data: str) -> list[PromptedSystem]:
    """Read runs of `mmre prompt`; those that differ in the seed alone are one system.

    Args:
        folders: output folders of the command.
        data: a folder of MNRE's files, or one of `MADE_DATA`, whose test posts all were asked about.

    Raises:
        FileNotFoundError: a folder has no record.
        ValueError: a run is a training, is of other posts, or has the seed of another of its system.
    """
    runs = []
    for folder in map(Path, folders):
        record = read_metrics(folder)
        if "prompt" not in record:
            raise ValueError(
                f"--prompts {folder} is the record of a training; expected an output folder of mmre prompt"
            )
        if "test" not in record:
            raise ValueError(
                f"--prompts {folder} asked about the validation posts, and the tables are of the test posts: ask again "
                "with --split test"
            )
        runs.append((folder, record, read_predictions(folder)))
    if not runs:
        return []
    expected = _test_posts(data)
    systems = {}
    for folder, record, predictions in runs:
        found = dict(zip(predictions.post_ids, [predictions.relations[label] for label in predictions.gold]))
        if found != expected:
            same = sum(expected.get(post_id) == relation for post_id, relation in found.items())
            raise ValueError(
                f"--prompts {folder} asked about {len(found)} posts, of which {same} are test posts of {data}: ask "
                f"about all {len(expected)} of these, without --max_posts"
            )
        seed, name = record["prompt"]["seed"], _name(record)
        system = systems.setdefault(name, PromptedSystem(name, {}, [], []))
        if seed in system.folders:
            raise ValueError(
                f"--prompts: {system.folders[seed]} and {folder} are both {name} with seed {seed}: give one"
            )
        system.folders[seed] = folder
        system.records.append(record)
        system.predictions.append(predictions)
        check_same_posts(system.predictions, [*system.folders.values()])
    return list(systems.values())


def _test_posts(data: str) -> dict[str, str]:
    """Return the relation of each test post, by its id."""
    made = data in MADE_DATA
    posts = open_posts(data) if made else open_posts("mnre", data_dir=data, regions="none", on_missing_image="keep")
    test = posts["test"]
    names = test.features["relation"].names
    return dict(zip(test["id"][:], [names[label] for label in test["relation"][:]]))


def _name(record: dict[str, Any]) -> str:
    """Name a chat model as what it is, with all that it was asked with but the seed."""
    asked, posts = record["prompt"], record["posts"]
    words = [PurePosixPath(asked["model"]).name, asked["answer"]]
    words.append(f"{asked['shots']} {'stratified ' if asked['stratified'] else ''}shots")
    if posts["images"] == "used":
        words.append("pictures" if asked["demonstration_images"] or not asked["shots"] else "the post's picture")
    if posts["captions"]:
        words.append(f"captions {file_names(posts['captions'])}")
    words += ["descriptions"] if asked["descriptions"] else []
    words += ["on a server"] if asked["server"] else []
    return ", ".join(words)


__all__ = ["PromptedSystem", "read_prompt_runs"]
