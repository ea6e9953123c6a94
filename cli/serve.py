"""Serve a model over HTTP: posts in, triples out, as `mmre predict` writes them.

MODEL is a folder, or a name on the Hub. Posts that arrive together go through the model together. /docs has examples.
There is no login and no encryption: put a proxy in front for those. Ctrl-C and SIGTERM finish what was begun.
"""

from mmre.inference.serving_arguments import ServingArguments

from .parser import add_dataclass, read_dataclass

HELP = "serve a model over HTTP"
STOPPED = "what was begun has been answered"
EXTRA = ("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client", "h11", "anyio")


def add_arguments(parser) -> None:
    """Add the model and the fields of [`ServingArguments`]."""
    parser.usage = "mmre serve MODEL [options]"
    parser.add_argument("model", metavar="MODEL", help="Folder of a model, or its name on the Hub.")
    add_dataclass(parser, ServingArguments)


def run(args) -> int:
    """Serve until the process is told to end."""
    arguments = read_dataclass(ServingArguments, args)

    try:
        from mmre.inference.serving import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        raise ImportError('serving needs FastAPI and what goes with it: pip install "mmre[serve]"') from error

    serve(args.model, arguments, lambda line: print(line, flush=True))
    return 0
