"""`python -m mmre.training CONFIG [--name value ...]`: one run, as `mmre train` does it, with its results alone."""

import sys

from .processes import start_processes
from .publishing import publish_run
from .run import run_experiment
from .settings import read_config, resolve


def main(words: list[str]) -> None:
    """Run one experiment, and print its tables."""
    config, names, values = words[0], words[1::2], words[2::2]
    given = {name.removeprefix("--"): value for name, value in zip(names, values, strict=True)}
    settings = resolve(read_config(config), given)
    report = run_experiment(settings)
    if report is not None:
        print(report.tables)
        if report.repo_id is not None:
            print(f"Published: {publish_run(report.output_dir, report.repo_id, settings.training)}")


if __name__ == "__main__":
    start_processes()
    try:
        main(sys.argv[1:])
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"mmre.training: error: {error}")
