"""Measure how well the relation can be told from what is not content: from numbers and sizes of boxes and pictures,
lengths, orders, repetitions. The exit status is 1 if a feature leaks the relation.
"""

import json
from pathlib import Path

from .parser import UsageError, wrong_usage

HELP = "measure what gives the relation away"


def add_arguments(parser) -> None:
    """Add which posts to audit, and by which features."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="A folder of MNRE's files, 'synthetic', 'digits', or a data set of posts: a folder that `save_to_disk` "
        "wrote or of parquet files, or a name on the Hub.",
    )
    parser.add_argument(
        "--regions",
        metavar="SOURCE",
        help="An annotation file or 'none'; of MNRE also 'released' (its default) or 'detected' (the detected ones of "
        "these), of other posts 'as given' (theirs).",
    )
    parser.add_argument("--captions", nargs="+", metavar="FILE", help="An annotation file, or caption files of MNRE.")
    parser.add_argument(
        "--image_dir", metavar="FOLDER", help="Of MNRE: where the pictures are, if not below its folder."
    )
    sources = ("regions", "pictures", "captions", "texts")
    parser.add_argument("--sources", nargs="+", choices=sources, default=sources, help="What to audit.")
    parser.add_argument(
        "--threshold", type=float, default=0.1, metavar="NUMBER", help="A feature leaks from here on, in (0, 1]."
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the figures here, too.")


def run(args) -> int:
    """Audit the posts, and print the report."""
    if args.json and not args.json.absolute().parent.is_dir():
        raise UsageError(f"--json {args.json}: there is no folder {args.json.parent}")
    if not 0 < args.threshold <= 1:
        raise UsageError(f"--threshold {args.threshold:g}; expected a number in (0, 1]")
    from mmre.evaluation.leak_audit import audit
    from mmre.evaluation.leak_report import audit_report
    from mmre.posts.sources import check_places, kind_of_data, open_posts
    from mmre.posts.whole_file import whole_file

    is_mnre = kind_of_data(args.data) == "mnre"
    if args.image_dir and not is_mnre:
        raise UsageError(f"--image_dir: only for a folder of MNRE's files, which {args.data!r} is not")
    places = {"regions": args.regions, "captions": args.captions, "image_dir": args.image_dir}
    with wrong_usage():
        check_places(args.data, **places)
    posts = open_posts(args.data, **places, on_missing_image="keep")
    given = {"regions": args.regions, "captions": args.captions}
    if is_mnre:
        given["regions"] = args.regions or "released"
    else:
        given = {name: value for name, value in given.items() if value is not None}
    result = {"data": args.data} | given | audit(posts, args.threshold, args.sources)
    print(audit_report(result), end="")
    if args.json:
        with whole_file(args.json) as file:
            file.write(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return int(any(row["leaks"] for row in result["features"]))
