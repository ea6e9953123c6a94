"""Read what was labelled with a tool, and write it as files that `mmre train` takes, with a file for each split.

FORMAT is doccano (JSONL with relations), label_studio (JSON), prodigy (JSONL), brat (a folder), opennre (JSON lines),
tacred (JSON) or docbin (spaCy's). Posts of one picture or one text go into one split. Pictures are named, not opened:
put their files into one folder, and give it by --image_dir.
"""

import shlex
from pathlib import Path

from .parser import UsageError

HELP = "import posts from doccano, Label Studio, Prodigy, brat and others"
IMPORT_FORMATS = ("doccano", "label_studio", "prodigy", "brat", "opennre", "tacred", "docbin")


def add_arguments(parser) -> None:
    """Add the format, the export, the folder to write, and how to draw and split."""
    parser.usage = "mmre import FORMAT PATH --out FOLDER [options]"
    parser.add_argument("format", metavar="FORMAT", choices=IMPORT_FORMATS, help=f"One of {', '.join(IMPORT_FORMATS)}.")
    parser.add_argument("path", metavar="PATH", type=Path, help="The exported file; of brat a folder.")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="A new folder.")
    parser.add_argument(
        "--image_dir",
        type=Path,
        metavar="FOLDER",
        help="Folder of the pictures, for the command that comes next; that of the export by default.",
    )
    parser.add_argument(
        "--none",
        default="all",
        metavar="all|N",
        help="Pairs of entities without a relation: all of a post, or so many drawn of each.",
    )
    parser.add_argument(
        "--validation", type=float, default=0.1, metavar="SHARE", help="Share of the posts for validation."
    )
    parser.add_argument("--test", type=float, default=0.1, metavar="SHARE", help="Share of the posts for test.")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="Of what is drawn and split.")


def run(args) -> int:
    """Import the posts, and say what there was and what comes next."""
    if args.none != "all" and not args.none.isdecimal():
        raise UsageError(f"--none {args.none}; expected all, or how many of each post")
    if min(args.validation, args.test) < 0 or not args.validation + args.test < 1:
        raise UsageError(
            f"--validation {args.validation:g} --test {args.test:g}; expected shares from 0, together below 1"
        )
    if not args.out.absolute().parent.is_dir():
        raise UsageError(f"--out {args.out}: there is no folder {args.out.parent}")
    if args.image_dir is not None and not args.image_dir.is_dir():
        raise UsageError(f"--image_dir {args.image_dir} is no folder")
    from mmre.posts.checks import some
    from mmre.posts.importing import import_posts

    none = None if args.none == "all" else int(args.none)
    report = import_posts(args.format, args.path, args.out, none, args.validation, args.test, args.seed)
    print(report.text)
    folder = args.image_dir or (args.path if args.path.is_dir() else args.path.parent)
    missing = [name for name in report.pictures if not (folder / name).is_file()]
    words = ["mmre", "train", "own_posts", "--dataset", str(args.out)]
    if missing and len(missing) == len(report.pictures) and args.image_dir is None:
        folder = args.out  # where they are looked for without the option
    elif report.pictures:
        words += ["--image_dir", str(folder)]
    if missing:
        count = f"{len(missing)} of {len(report.pictures)} pictures are not there"
        print(f"{count}: put them into {folder}: {some(missing)}")
    for split, option in (("validation", "--do_eval"), ("test", "--do_predict")):
        if split not in report.files:
            words += [option, "false"]
    print(f"next: {shlex.join(words)}")
    return 0
