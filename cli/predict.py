"""Extract the relations of raw posts, as triples: JSON lines, CSV, parquet, RDF, or CSV for Neo4j.

MODEL is a folder, or a name on the Hub; POSTS are JSON lines, CSV or parquet (a file, a folder of them, or an address
as s3://bucket/posts), or a folder with a.txt beside a.jpg. All posts are checked before a model is loaded. A killed run
goes on where it was.
"""

from mmre.inference.arguments import PredictionArguments

from .parser import add_dataclass, read_dataclass

HELP = "extract relations from raw posts, as triples"
STOPPED = "the same command goes on where it was"


def add_arguments(parser) -> None:
    """Add the model, the posts and the fields of [`PredictionArguments`]."""
    parser.usage = "mmre predict MODEL POSTS --out FILE [options]"
    parser.when_missing["POSTS"] = (
        "give a file of posts, or, to explain the test posts of a run of mmre train: mmre explain RUN --out FOLDER"
    )
    parser.add_argument("model", metavar="MODEL", help="Folder of a model, or its name on the Hub.")
    parser.add_argument(
        "posts",
        metavar="POSTS",
        help="Posts: .jsonl, .csv, .parquet, a folder of such files, an address, or a folder with a.txt beside a.jpg.",
    )
    add_dataclass(parser, PredictionArguments)


def run(args) -> int:
    """Write a file of triples, or go on writing it; status 1 if no post could be predicted."""
    arguments = read_dataclass(PredictionArguments, args)

    from mmre.inference.run import predict

    report = predict(args.model, args.posts, arguments)
    print(report.text)
    return 1 if report.failed == report.posts else 0
