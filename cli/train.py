"""Train and test a model: CONFIG is the path of a YAML file."""

HELP = "train a model and test it"
STOPPED = "`--resume_from_checkpoint true` goes on from the last checkpoint, if one was written"
TAKES_REST = True


def add_arguments(parser) -> None:
    """Add nothing yet: `mmre.training` reads the command line itself."""


def run(args) -> int:
    """Run one experiment."""
    from mmre.training.run import main, start_processes

    start_processes()
    main(args.rest)
    return 0
