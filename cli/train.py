"""Train a model, keep its best checkpoint by validation F1, and test it.

CONFIG is the path of a YAML file with the sections `model`, `data` and `training`, or the name of one that is shipped:
`mmre train quickstart`. Every argument can stand there or on the command line, which wins. Several processes:
`accelerate launch -m mmre.cli.main train CONFIG`.
"""

HELP = "train a model and test it"
STOPPED = "`--resume_from_checkpoint true` goes on from the last checkpoint, if there is one"


def add_arguments(parser) -> None:
    """Add CONFIG and all arguments of a run, by the section of a configuration file that they belong to."""
    import argparse

    from mmre.training.settings import list_arguments, shipped_configurations

    from .parser import show_default

    parser.usage = "mmre train [CONFIG] [--any_argument value ...]"
    parser.add_argument("--config", dest="config_option", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    shipped = ", ".join(shipped_configurations())
    parser.add_argument("config", nargs="?", metavar="CONFIG", help=f"a YAML file, or one that is shipped: {shipped}")
    groups = {}
    for argument in list_arguments():
        if argument.group not in groups:
            groups[argument.group] = parser.add_argument_group(argument.group)
        # The defaults are those of the run: what is not given here may stand in the file.
        text = argument.help
        if argument.default not in (None, "", [], (), {}) and "efault" not in text:
            text = f"{text} (default: {show_default(argument.default)})"
        is_switch = isinstance(argument.default, bool) or argument.nargs == "?"
        groups[argument.group].add_argument(
            f"--{argument.name}",
            nargs=argument.nargs,
            const="true" if argument.nargs == "?" else None,
            default=argparse.SUPPRESS,
            metavar="true|false" if is_switch else "VALUE",
            help=text.replace("%", "%%"),
        )


def run(args) -> int:
    """Run one experiment, and print its results and what to try next."""
    from mmre.training.processes import start_processes
    from mmre.training.publishing import publish_run
    from mmre.training.run import run_experiment
    from mmre.training.settings import read_config, resolve
    from mmre.training.splits import check_data

    from .parser import UsageError

    if "config_option" in args:
        raise UsageError(f"--config is no option: mmre train {args.config_option}")
    start_processes()
    given = {name: value for name, value in vars(args).items() if name not in ("config", "rest")}
    try:
        settings = resolve(read_config(args.config) if args.config else {}, given)
        model = settings.model
        check_data(settings.data, model.model_name_or_path is not None and not model.new_classifier)
    except ValueError as error:
        hint = "" if args.config else " (no CONFIG is given: a YAML file, or a name such as `mmre train quickstart`)"
        raise UsageError(f"{error}{hint}") from error
    report = run_experiment(settings)
    if report is None:
        return 0
    print(f"\n{report.tables}")
    if settings.training.do_train:
        print(what_next(report.output_dir, report.model_type))
    if report.repo_id is not None:
        print(f"Published: {publish_run(report.output_dir, report.repo_id, settings.training)}")
    return 0


def what_next(output_dir, model_type: str) -> str:
    """Describe what a user may want to do after a training."""
    from mmre.modeling import MODELS
    from mmre.training.arguments import encoders_of

    words = "" if "text" in encoders_of(MODELS[model_type].config_class) else " --word_vectors glove.6B.50d.txt"
    return "\n".join(
        [
            f"Results are in {output_dir}: metrics.json, predictions.jsonl, results.md.",
            "What to try next:",
            "  load it:            import mmre.modeling, mmre.processing",
            f"                      model = AutoModel.from_pretrained({str(output_dir)!r})",
            f"                      processor = AutoProcessor.from_pretrained({str(output_dir)!r})",
            f"  run it again:       mmre train {output_dir / 'resolved_config.yaml'}",
            "  change one thing:   ... --seed 1 --output_dir another/folder",
            f"  train on MNRE:      mmre train {model_type}_mnre --data_dir path/of/mnre{words}",
        ]
    )
