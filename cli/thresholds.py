"""Find for each relation the lowest score from which on a wanted share of its answers is right.

RUN is the output folder of `mmre train`. The thresholds are fitted on its validation posts, and go to
`mmre predict --thresholds` and `mmre serve --thresholds`. If the run has test posts, what the thresholds keep of these
is shown beside.
"""

from pathlib import Path

from .parser import UsageError

HELP = "find thresholds for the scores of relations, for a wanted precision"


def add_arguments(parser) -> None:
    """Add the run, the wanted precision and the file to write."""
    parser.usage = "mmre thresholds RUN --out FILE [--precision NUMBER] [--min_posts N]"
    parser.add_argument("run", metavar="RUN", type=Path, help="Output folder of mmre train.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="The file to write, JSON.")
    parser.add_argument(
        "--precision",
        type=float,
        default=0.9,
        metavar="NUMBER",
        help="Share of the answers that shall be right, of each relation, in (0, 1].",
    )
    parser.add_argument(
        "--min_posts",
        type=int,
        default=10,
        metavar="N",
        help="So many validation posts at least a threshold keeps; a relation with fewer has none, and is left out.",
    )


def run(args) -> int:
    """Fit the thresholds, write them, and print what they keep."""
    if not 0 < args.precision <= 1:
        raise UsageError(f"--precision {args.precision:g}; expected a number above 0 to 1")
    if args.min_posts < 1:
        raise UsageError(f"--min_posts {args.min_posts}; expected at least 1")
    if not args.out.absolute().parent.is_dir():
        raise UsageError(f"--out {args.out}: there is no folder {args.out.parent}")
    if args.out.exists():
        raise FileExistsError(f"{args.out} is there already; give another --out, or delete it")
    from mmre.evaluation.run_record import PREDICTIONS_FILE, VALIDATION_FILE, read_metrics, read_predictions
    from mmre.evaluation.thresholds import count_kept, fit_thresholds, thresholds_report, write_thresholds

    if not (args.run / VALIDATION_FILE).is_file():
        raise FileNotFoundError(
            f"{args.run} has no {VALIDATION_FILE}; give an output folder of mmre train with validation posts, or test "
            "a model into one: mmre train CONFIG --do_train false --model_name_or_path MODEL --output_dir FOLDER"
        )
    metrics = read_metrics(args.run)
    if "calibration" not in metrics:
        raise ValueError(f"{args.run}: metrics.json has no `calibration`: test the model anew, by this version")
    temperature = metrics["calibration"]["temperature"]
    predictions = {"validation": read_predictions(args.run / VALIDATION_FILE)}
    if (args.run / PREDICTIONS_FILE).is_file():
        predictions["test"] = read_predictions(args.run)
    thresholds = fit_thresholds(predictions["validation"], args.precision, temperature, args.min_posts)
    write_thresholds(args.out, thresholds)
    print(thresholds_report(thresholds, {split: count_kept(rows, thresholds) for split, rows in predictions.items()}))
    reached = sum(threshold is not None for threshold in thresholds.relations.values())
    print(f"{args.out}: thresholds of {reached} of {len(thresholds.relations)} relations")
    return 0
