"""Find regions and captions in the pictures of posts, with pretrained models and without a look at the label.

DATA is a folder of MNRE, a data set of posts (a folder or a name on the Hub), `files` (with --train_file and the
others), `synthetic` or `digits`. A killed run goes on where it was; `--ray` shares the work among workers of Ray.
"""

from mmre.annotation.arguments import AnnotationArguments

from .parser import UsageError, add_dataclass, read_dataclass, wrong_usage

HELP = "find regions and captions in pictures, without a look at the label"
STOPPED = "the same command goes on where it was"


def add_arguments(parser) -> None:
    """Add the data and the fields of [`AnnotationArguments`]."""
    parser.usage = "mmre annotate DATA --out FILE [options]"
    parser.add_argument("data", metavar="DATA", help="A folder of posts, a name on the Hub, files, synthetic, digits.")
    add_dataclass(parser, AnnotationArguments)


def run(args) -> int:
    """Write an annotation file, or go on writing it."""
    arguments = read_dataclass(AnnotationArguments, args)
    files = {split: getattr(args, f"{split}_file") for split in ("train", "validation", "test")}
    if any(files.values()) and args.data != "files":
        raise UsageError(f"--train_file and the others belong to the data 'files', not to {args.data!r}")

    from mmre.annotation.plan import open_unlabelled_posts
    from mmre.annotation.run import annotate
    from mmre.posts.sources import check_places

    with wrong_usage():
        check_places(args.data, files=files, image_dir=args.image_dir)
    report = annotate(open_unlabelled_posts(args.data, files=files, image_dir=args.image_dir), arguments)
    if report:
        print(report)
    return 0
