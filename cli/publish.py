"""Publish a trained model on the Hub: assemble a folder, check it in a fresh process, upload it.

The token is that of `hf auth login`, or of the environment variable HF_TOKEN.
"""

HELP = "upload a model to the Hub, with its code and its card"


def add_arguments(parser) -> None:
    """Add the folder, the repository and how to publish."""
    parser.add_argument("folder", metavar="FOLDER", help="An output folder of mmre train.")
    parser.add_argument("repo_id", metavar="REPOSITORY", help="The repository: name or organization/name.")
    parser.add_argument("--private", action="store_true", default=None, help="Make a new repository a private one.")
    parser.add_argument("--revision", metavar="BRANCH", help="The branch to upload to, made if it is not there.")
    parser.add_argument("--license", metavar="NAME", help="The licence, as the Hub names it: apache-2.0, mit, ...")


def run(args) -> int:
    """Publish one folder."""
    from mmre.model_cards.publishing import NotLoadableError, publish

    try:
        commit = publish(args.folder, args.repo_id, private=args.private, revision=args.revision, license=args.license)
    except NotLoadableError as error:
        raise ValueError(str(error)) from error
    print(f"Published: {commit.commit_url}")
    return 0
