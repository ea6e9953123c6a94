"""Learn the schema of relations of labelled posts: the types of entities that each holds between, and its symmetry.

spaCy finds the types of heads and tails in the training posts. What is written are JSON lines, a relation on each, to
be looked through and given to `mmre predict --schema`.
"""

from pathlib import Path

from .parser import UsageError, wrong_usage

HELP = "learn which types of entities each relation holds between"


def add_arguments(parser) -> None:
    """Add the posts, the file to write, and the options."""
    parser.usage = "mmre schema DATA --out FILE [options]"
    parser.add_argument(
        "data",
        metavar="DATA",
        help="Labelled posts: .jsonl or .csv, a folder of MNRE's files, or a data set of posts: a folder that "
        "`save_to_disk` wrote or of parquet files, or a name on the Hub.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="The file to write.")
    parser.add_argument(
        "--symmetric", nargs="+", default=[], metavar="NAME", help="Relations that mean the same in both directions."
    )
    parser.add_argument(
        "--min_share",
        type=float,
        default=0.05,
        metavar="NUMBER",
        help="Smallest share of a relation's pairs that two types need, in [0, 1].",
    )
    parser.add_argument(
        "--spacy_model", default="en_core_web_sm", metavar="MODEL", help="Model of spaCy that finds entities."
    )


def run(args) -> int:
    """Learn a schema of the training posts, write it, and print it."""
    if not 0 <= args.min_share <= 1:
        raise UsageError(f"--min_share {args.min_share:g}; expected a number from 0 to 1")
    if not args.out.absolute().parent.is_dir():
        raise UsageError(f"--out {args.out}: there is no folder {args.out.parent}")
    if args.out.exists():
        raise FileExistsError(f"{args.out} is there already; give another --out, or delete it")
    from functools import partial

    from mmre.inference.relation_schema import schema_of_posts, write_schema
    from mmre.posts.row_readers import FILE_ENDINGS
    from mmre.posts.schema import NEGATIVE_RELATION
    from mmre.posts.sources import open_posts
    from mmre.processing import find_entities, load_spacy

    from .parser import unknown

    is_file = Path(args.data).suffix.lower() in FILE_ENDINGS
    given = {"data": "files", "files": {"train": args.data}} if is_file else {"data": args.data}
    posts = open_posts(**given, use_images=False, columns=["text", "head", "tail", "relation"])
    if "train" not in posts:
        raise ValueError(f"{args.data} has no training posts; it has {', '.join(posts)}")
    train, names = posts["train"], posts["train"].features["relation"].names
    relations = [name for name in names if name != NEGATIVE_RELATION]
    with wrong_usage():
        for name in args.symmetric:
            if name not in relations:
                raise ValueError(unknown("--symmetric", name, relations))
    rows = ({**post, "relation": names[post["relation"]]} for post in train)
    find = partial(find_entities, load_spacy(args.spacy_model))
    schema = schema_of_posts(rows, find, args.min_share, args.symmetric)
    write_schema(args.out, schema)
    for name, rule in schema.rules.items():
        types = "any types" if rule.types is None else ", ".join(map("-".join, rule.types))
        print(f"{name}: {types}{', symmetric' if rule.symmetric else ''}")
    print(f"{args.out}: {len(schema.rules)} relations of {len(train)} posts; look it through before you use it")
    return 0
