"""Search the values of a recipe on the validation split: learning rate, schedule, epochs, dropout and others.

    mmre search CONFIG --data FOLDER|synthetic|digits --try NAME VALUE ... [--any_argument_of_mmre_train value ...]

Each combination of the values is a run of `mmre train` for each seed, in a process of its own; the test split is not
looked at. The runs go by the addresses of `mmre benchmark`: one that is there is not done again, one that was stopped
goes on. Started twice, the same command shares the runs between both processes. `search.md` has the ranking,
`best.yaml` the recipe with the best values, for `mmre train` and `mmre benchmark --config`. The exit status is 1 if a
run is missing at the end.
"""

from pathlib import Path

from mmre.benchmark.arguments import PROTOCOLS, SHARED_RECIPES, BenchmarkArguments, arguments_by_name, training_options

from .parser import UsageError, unknown, wrong_usage

HELP = "search the values of a recipe on the validation split"
STOPPED = "the same command goes on"
further_options = training_options


def add_arguments(parser) -> None:
    """Add the recipe, the values and the data."""
    parser.add_argument("config", metavar="CONFIG", help="YAML file, or the name of a shipped one, to start from.")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help=f"A folder of MNRE files, {' or '.join(map(repr, SHARED_RECIPES))}.",
    )
    parser.add_argument(
        "--try",
        dest="tried",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="An argument of mmre train and its values; given several times, all combinations are tried.",
    )
    parser.add_argument("--model_type", metavar="NAME", help="The system, if not the recipe's.")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1], metavar="N", help="A run of each combination for each."
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, help="Of MNRE, whose regions, as in mmre benchmark.")
    parser.add_argument("--regions", metavar="FILE", help="Annotation file of mmre annotate, for label_free.")
    parser.add_argument("--captions", nargs="+", metavar="FILE", help="Of MNRE: caption files, or an annotation file.")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/search"), metavar="FOLDER", help="Folder of the ranking and the runs."
    )
    parser.add_argument("--dry_run", action="store_true", help="Only list the combinations.")


def run(args) -> int:
    """Do the runs that are not there, and rank the combinations."""
    import json

    from mmre.benchmark.plan import different_runs
    from mmre.benchmark.runs import do_runs
    from mmre.benchmark.search import best_recipe, plan_search, ranking, search_table
    from mmre.posts.whole_file import whole_file
    from mmre.training.settings import read_value

    values = {}
    for name, *words in args.tried:
        if not words or name in values:
            raise UsageError(f"--try {name}: expected a name, each once, and its values")
        known = [option.removeprefix("--") for option in training_options()]
        if name not in known:
            raise UsageError(f"--try: {unknown('argument', name, known)}")
        with wrong_usage():
            values[name] = [read_value(name, word) for word in words]
    if not values:
        raise UsageError("--try is missing; expected the name of an argument of mmre train and its values")
    with wrong_usage():
        arguments = BenchmarkArguments(
            None,
            args.data,
            seeds=args.seeds,
            protocol=args.protocol,
            regions=args.regions,
            captions=[args.captions] if args.captions else [],
            out=args.out,
            train=arguments_by_name(args.rest),
        )
        rows = plan_search(args.config, values, arguments, args.model_type)
    runs = different_runs({"search": rows}, arguments.seeds)
    if args.dry_run:
        print("".join(f"{row.name}: {len(row.runs)} runs of {row.runs[0].steps} steps\n" for row in rows), end="")
        return 0
    try:
        for words in do_runs(runs):
            print(words, end="", flush=True)
    finally:
        lines = ranking(rows)
        arguments.out.mkdir(parents=True, exist_ok=True)
        files = {"search.md": search_table(lines, args.config), "search.json": json.dumps(lines, indent=2) + "\n"}
        if lines[0]["f1"] is not None:
            data = rows[0].runs[0].settings["data"]
            files["best.yaml"] = best_recipe(args.config, lines[0], arguments.train, data, args.model_type)
        for name, text in files.items():
            with whole_file(arguments.out / name) as file:
                file.write(text)
        print(f"\n{files['search.md']}\nWritten: {', '.join(str(arguments.out / name) for name in files)}")
    return int(any(run.state != "done" for run in runs))
