"""Ask a chat model for the relations of posts, in words: with no examples, or with few from the training posts.

MODEL is a folder of a chat model or its name on the Hub, of text or of text and pictures; or, with --base_url, its name
on a server of OpenAI's protocol, whose key is read from the environment, OPENAI_API_KEY. DATA is a folder of MNRE, a
data set of posts (a folder or a name on the Hub), `files` (with --test_file and the others), `synthetic` or `digits`.
The record is that of a training, and the model is not changed. A killed run goes on where it was.
"""

from mmre.inference.prompt_arguments import PromptArguments

from .parser import UsageError, add_dataclass, read_dataclass, wrong_usage

HELP = "ask a chat model for the relations of posts, with few examples or none"
STOPPED = "the same command goes on where it was"


def add_arguments(parser) -> None:
    """Add the model, the data and the fields of [`PromptArguments`]."""
    parser.usage = "mmre prompt MODEL DATA --output_dir FOLDER [options]"
    parser.add_argument("model", metavar="MODEL", help="A chat model: a folder, or a name on the Hub or the server.")
    parser.add_argument("data", metavar="DATA", help="A folder of posts, a name on the Hub, files, synthetic, digits.")
    add_dataclass(parser, PromptArguments)


def run(args) -> int:
    """Ask about all posts, or go on asking, and write the record and its card."""
    arguments = read_dataclass(PromptArguments, args)
    files = {split: getattr(args, f"{split}_file") for split in ("train", "validation", "test")}
    if any(files.values()) and args.data != "files":
        raise UsageError(f"--train_file and the others belong to the data 'files', not to {args.data!r}")

    from mmre.inference.prompt_run import prompt
    from mmre.model_cards.prompt_card import render_prompt_card
    from mmre.posts.sources import check_places

    with wrong_usage():
        check_places(
            args.data,
            files=files,
            image_dir=arguments.image_dir,
            captions=arguments.captions,
            on_missing_image=arguments.on_missing_image,
        )
    report = prompt(args.model, args.data, arguments)
    render_prompt_card(report.output_dir).save(report.output_dir / "README.md")
    print(report.tables, end="")
    print(f"\nWritten: {report.output_dir}")
    return 0
