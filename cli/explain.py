"""Explain what a trained model says of the test posts of its own run: one HTML page, the errors first.

RUN is the output folder of `mmre train`, with the model. For posts in a file there is `mmre predict --explain`. A
killed run goes on where it was.
"""

HELP = "a page of a run's test posts: the errors first, and why"
STOPPED = "the same command goes on where it was"


def add_arguments(parser) -> None:
    """Add the run, where the page goes, the method and the posts."""
    parser.usage = "mmre explain RUN --out FOLDER [options]"
    parser.add_argument("run", metavar="RUN", help="Output folder of mmre train, with the model.")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="New folder of the page and its pictures.")
    parser.add_argument(
        "--method",
        choices=("occlusion", "integrated_gradients", "attention"),
        default="occlusion",
        help="Take parts of the post away in turn (many runs of the model), gradients (needs mmre[explain]), or the "
        "model's own attention (one run, of the systems that have one).",
    )
    parser.add_argument("--posts", nargs="+", default=[], metavar="ID", help="These test posts; all by default.")


def run(args) -> int:
    """Write the page."""
    from mmre.benchmark.explained import explain_run

    print(f"Written: {explain_run(args.run, args.out, args.posts, args.method)}")
    return 0
