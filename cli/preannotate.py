"""Write what `mmre predict` found for a tool that people label with, who mend it there.

POSTS are those that were predicted, TRIPLES the JSON lines that came out. TOOL is label_studio (JSON, with predictions)
or doccano (JSONL with relations). `mmre import` reads what the tool exports.
"""

from pathlib import Path

from .parser import UsageError

HELP = "write predictions for Label Studio or doccano, to be mended there"
TOOL_NAMES = ("label_studio", "doccano")


def add_arguments(parser) -> None:
    """Add the tool, the posts, the triples and the file to write."""
    parser.usage = "mmre preannotate TOOL POSTS TRIPLES --out FILE"
    parser.add_argument("tool", metavar="TOOL", choices=TOOL_NAMES, help="The tool: label_studio or doccano.")
    parser.add_argument(
        "posts",
        metavar="POSTS",
        help="Posts: .jsonl, .csv, .parquet, a folder of such files, or one with a.txt beside a.jpg.",
    )
    parser.add_argument("triples", metavar="TRIPLES", help="JSON lines that mmre predict wrote of these posts.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="The file to write.")


def run(args) -> int:
    """Write the file, and say what is in it."""
    if not args.out.absolute().parent.is_dir():
        raise UsageError(f"--out {args.out}: there is no folder {args.out.parent}")
    if args.out.exists():
        raise FileExistsError(f"{args.out} is there already; give another --out, or delete it")
    from mmre.inference.pre_annotations import write_pre_annotations

    print(write_pre_annotations(args.tool, args.posts, args.triples, args.out))
    return 0
