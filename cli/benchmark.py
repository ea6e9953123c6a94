"""Measure a table or a figure of the papers, and show what is measured beside what the paper reports.

    mmre benchmark SUITE --data FOLDER|synthetic|digits [--any_argument_of_mmre_train value ...]
    mmre benchmark systems --data FOLDER|synthetic|digits [--systems cnn PCNN tgdi:use_caption=false ...]
    mmre benchmark compare RUN_A RUN_B
    mmre benchmark faithfulness RUN ... [--posts ID ...] [--method METHOD]
    mmre benchmark focalmre_fig4|tgdi_fig5 RUN [--posts ID ...]

A suite is a table of cells. Each cell is a run of `mmre train` for each seed, in a process of its own. Its address is a
hash of what its result comes from: the recipe, the content of the data, the code. A run that is there is not done
again, one that was stopped goes on, and one that fails is recorded while the rest goes on. The exit status is 1 if a
run is missing at the end. The papers' chat models are listed with their figures and not run: `mmre prompt` asks such
models, and --prompts takes its output folders: each model is a row of its own, and none stands in a paper's row.

`systems` compares any list of systems under one protocol, one budget and the same seeds: scores, parameters, time and
memory, and each pair is tested, corrected for the number of pairs. The recipe of all is `quickstart` on synthetic posts
and `digits` on digits; on MNRE each has its own, with 20 epochs in batches of 16. --config and arguments win over that.

`compare` tests the difference of two runs on the same test posts: paired bootstrap, McNemar.

`faithfulness` asks of trained models whether their explanations are reasons: what the predicted relation loses without
the parts that they name, and without as many at random; over 100 test posts of each run. `focalmre_fig4` (FocalMRE,
Figure 4) and `tgdi_fig5` (TGDI, Figure 5) draw where a trained model looks in the pictures of chosen test posts.
"""

from pathlib import Path

from mmre.benchmark.arguments import (
    ALL,
    PROTOCOLS,
    SHARED_RECIPES,
    SYSTEMS,
    BenchmarkArguments,
    arguments_by_name,
    training_options,
)
from mmre.benchmark.suites import SUITES

from .parser import UsageError, wrong_usage

HELP = "measure the papers' tables and figures, compare systems, or two runs"
DATA_WORDS = f"a folder of MNRE files, {' or '.join(map(repr, SHARED_RECIPES))}"
STOPPED = "the same command goes on"
further_options = training_options
COMPARE, FAITHFULNESS = "compare", "faithfulness"
FIGURES_OF_RUNS = ("focalmre_fig4", "tgdi_fig5")


def add_arguments(parser) -> None:
    """Add the suite and its options, and those of `compare`."""
    parser.usage = (
        "mmre benchmark SUITE --data FOLDER|synthetic|digits [options] [--any_argument_of_mmre_train value ...]\n"
        "       mmre benchmark systems --data FOLDER|synthetic|digits [--systems SYSTEM ...] [the same options]\n"
        "       mmre benchmark compare RUN_A RUN_B [--json FILE]\n"
        "       mmre benchmark faithfulness RUN ... [--posts ID ...] [--method METHOD] [--json FILE]\n"
        "       mmre benchmark focalmre_fig4|tgdi_fig5 RUN [--posts ID ...]"
    )
    listing = "\n".join(f"  {name:16} {suite.source or 'no paper'}: {suite.title}" for name, suite in SUITES.items())
    listing += (
        f"\n  {ALL:16} all of them\n  {SYSTEMS:16} no paper: any list of systems, their cost, and a test of each pair"
    )
    parser.epilog = f"suites:\n{listing}\n"
    parser.add_argument(
        "suite",
        choices=[*SUITES, ALL, SYSTEMS, COMPARE, FAITHFULNESS, *FIGURES_OF_RUNS],
        metavar="SUITE",
        help="What to measure, see below.",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        default=[],
        metavar="RUN",
        help="Output folder of a run; of compare two, or predictions.jsonl.",
    )
    parser.add_argument("--data", metavar="DATA", help=f"The posts: {DATA_WORDS}; required of a suite.")
    parser.add_argument(
        "--systems",
        nargs="+",
        default=[],
        metavar="SYSTEM",
        help="Of systems: which to compare, by model_type (cnn), by the papers' names (PCNN), or with arguments that "
        "make a variant (cnn:pooling=piecewise,dropout=0.3); all that are built if not given.",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="A run of each cell for each."
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="Of MNRE, whose regions: 'released' (the default and the papers'; they leak the label), 'detected' "
        "(the detected ones of these alone), 'label_free' (those of --regions), or 'none'.",
    )
    parser.add_argument("--regions", metavar="FILE", help="Annotation file of mmre annotate, for label_free.")
    parser.add_argument(
        "--captions",
        nargs="+",
        action="append",
        default=[],
        metavar="FILE",
        help="Of MNRE: caption files, or an annotation file; given twice, cells with captions are measured with each.",
    )
    parser.add_argument(
        "--prompts",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="Of a suite with chat models: output folders of mmre prompt with --split test; those that differ in the "
        "seed alone are a row.",
    )
    parser.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="YAML",
        help="Recipes in place of the shipped ones, at most one of each system; with 'systems' one that names no "
        "model_type is for all.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/benchmark"), metavar="FOLDER", help="Folder of the tables and runs."
    )
    parser.add_argument("--dry_run", action="store_true", help="Only list the cells and what they cost.")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="Of compare and faithfulness: also write the figures here."
    )
    parser.add_argument(
        "--posts", nargs="+", default=[], metavar="ID", help="Of faithfulness, focalmre_fig4 and tgdi_fig5: test posts."
    )
    parser.add_argument(
        "--method",
        choices=("occlusion", "integrated_gradients"),
        default="occlusion",
        help="Of faithfulness: what is asked beside the models' own attention.",
    )


def run(args) -> int:
    """Measure a suite, or compare two runs."""
    if args.suite == COMPARE:
        return compare_runs(args)
    if args.suite in (FAITHFULNESS, *FIGURES_OF_RUNS):
        return explain_runs(args)
    if args.data is None:
        raise UsageError(f"--data is missing; expected {DATA_WORDS}")
    if args.runs:
        belong = "systems follow --systems" if args.suite == SYSTEMS else f"runs belong to mmre benchmark {COMPARE}"
        raise UsageError(f"unexpected {args.runs[0]!r}; {belong}")
    with wrong_usage():
        arguments = BenchmarkArguments(
            args.suite,
            args.data,
            seeds=args.seeds,
            protocol=args.protocol,
            regions=args.regions,
            captions=args.captions,
            config=args.config,
            systems=args.systems,
            prompts=args.prompts,
            out=args.out,
            train=arguments_by_name(args.rest),
        )
        _ = arguments.suites  # an unknown system is wrong usage
    return measure(arguments, args.dry_run)


def measure(arguments: BenchmarkArguments, dry_run: bool) -> int:
    """Do the runs that are not there, and show and write the tables, also if the runs are stopped."""
    import signal
    import sys

    from mmre.benchmark.plan import different_runs, load_parsers, plan_benchmark
    from mmre.benchmark.prompted import read_prompt_runs
    from mmre.benchmark.runs import do_runs
    from mmre.benchmark.tables import make_table
    from mmre.benchmark.writing import cost_table, markdown, write_table

    with wrong_usage():
        plan = plan_benchmark(arguments)
        prompted = read_prompt_runs(arguments.prompts, arguments.data)
    runs = different_runs(plan, arguments.seeds)
    if dry_run:
        print(cost_table(plan, runs, arguments.out), end="")
        return 0
    load_parsers(runs)
    default = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without the run's process
    try:
        for words in do_runs(runs):
            print(words, end="", flush=True)
    finally:
        signal.signal(signal.SIGTERM, default)
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name, suite in arguments.suites.items():
            table = make_table(name, suite, plan[name], arguments, prompted)
            files = write_table(table, suite, arguments.out / f"{name}_{arguments.table_protocol}")
            print(f"\n{markdown(table)}\nWritten: {', '.join(map(str, files))}")
    return int(any(run.state != "done" for run in runs))


def compare_runs(args) -> int:
    """Compare two runs."""
    import json

    from mmre.benchmark.writing import comparison
    from mmre.evaluation.run_record import read_predictions
    from mmre.evaluation.significance import compare
    from mmre.posts.whole_file import whole_file

    folders = [*args.runs, *args.rest]
    if len(folders) != 2 or any(folder.startswith("-") for folder in folders):
        raise UsageError(f"{COMPARE} takes two runs and --json FILE, got {' '.join(folders) or 'nothing'}")
    if args.json and not args.json.absolute().parent.is_dir():
        raise UsageError(f"--json {args.json}: there is no folder {args.json.parent}")
    result = compare(*map(read_predictions, folders))
    if args.json:
        with whole_file(args.json) as file:
            file.write(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    print(comparison(result, *folders), end="")
    return 0


def explain_runs(args) -> int:
    """Measure whether the explanations of trained models are faithful, or draw a figure of attention."""
    folders = [*args.runs, *args.rest]
    few = args.suite != FAITHFULNESS
    if not folders or (few and len(folders) > 1) or any(folder.startswith("-") for folder in folders):
        takes = "the folder of a run" if few else "folders of runs"
        raise UsageError(f"{args.suite} takes {takes} and --posts ID ..., got {' '.join(folders) or 'nothing'}")
    if args.json and not args.json.absolute().parent.is_dir():
        raise UsageError(f"--json {args.json}: there is no folder {args.json.parent}")

    import json

    from mmre.benchmark.explained import draw_figure, faithfulness_table, measure_runs
    from mmre.posts.whole_file import whole_file

    args.out.mkdir(parents=True, exist_ok=True)
    if few:
        path = args.out / f"{args.suite}.png"
        posts = draw_figure(args.suite, folders[0], args.posts, path)
        print(f"Written: {path}, of the posts {', '.join(posts)}")
        return 0
    rows = list(measure_runs(folders, args.posts, args.method))
    table, path = faithfulness_table(rows), args.out / f"{FAITHFULNESS}.md"
    with whole_file(path) as file:
        file.write(table)
    if args.json:
        with whole_file(args.json) as file:
            file.write(json.dumps(rows, indent=2, allow_nan=False) + "\n")
    print(f"{table}\nWritten: {path}")
    return 0
