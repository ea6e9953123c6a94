"""Publishing of what a run has trained: the repository before the training, the model after it."""

from pathlib import Path

from accelerate import PartialState

from mmre.model_cards.publishing import create_repository, publish

from .arguments import RelationTrainingArguments


def prepare_repository(training: RelationTrainingArguments) -> str:
    """Make the repository to publish to, before a training that a bad token would make worthless.

    Args:
        training: `output_dir`, and `hub_model_id` and the other arguments of transformers about the Hub.

    Returns:
        The name of the repository.

    Raises:
        OSError: if the Hub refuses it.
        ValueError: if the name cannot be right, or nothing is trained that could be published.
    """
    if not training.do_train:
        raise ValueError("`push_to_hub` publishes what was trained; of a folder: mmre publish FOLDER NAME")
    name = training.hub_model_id or Path(training.output_dir).absolute().name
    if not PartialState().is_main_process:
        return name
    try:
        return create_repository(name, training.hub_private_repo, training.hub_token)
    except (OSError, ValueError) as error:  # of the connection, the Hub, or the name
        raise type(error)(f"`push_to_hub`: {error}") from error


def publish_run(output_dir: Path, repo_id: str, training: RelationTrainingArguments) -> str:
    """Publish the trained model.

    Args:
        output_dir: the output folder of the run.
        repo_id: the repository, see [`prepare_repository`].
        training: `hub_private_repo`, `hub_revision` and `hub_token`.

    Returns:
        The address of the commit.

    Raises:
        OSError: if that fails; the message has the command that tries again.
    """
    try:
        commit = publish(output_dir, repo_id, training.hub_private_repo, training.hub_revision, training.hub_token)
    except (OSError, RuntimeError, ValueError) as error:
        raise OSError(
            f"the results are in {output_dir}, but publishing them failed: {error}; try again: mmre publish "
            f"{output_dir} {repo_id}"
        ) from error
    return commit.commit_url


__all__ = ["prepare_repository", "publish_run"]
