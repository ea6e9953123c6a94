"""The address of a run: a hash of what its result comes from, the recipe, the data and the code."""

import ast
import hashlib
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmre.modeling import MODELS
from mmre.training.system_values import processor_class

# The command of a run; its imports are the code that every run depends on.
START = ("training", "__main__")
# These know all systems: a run depends on its own system's files, which are named one by one.
ALL_SYSTEMS = {("modeling", "__init__"), ("processing", "__init__")}
# The other rooms are after the result (cards, publishing) or around it (this room, the command line).
ROOMS = ("modeling", "processing", "posts", "evaluation", "annotation", "inference", "training")


def digest(content: Any) -> str:
    """Return a short hash of bytes, or of any value that JSON can hold."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


@lru_cache
def file_digest(path: str) -> str:
    """Return a short hash of a file's content."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()[:16]


@lru_cache
def rooms() -> Mapping[str, Path]:
    """Return the folders of the installed package that results come from."""
    return {name: Path(find_spec(f"mmre.{name}").origin).parent for name in ROOMS}


def source_files(model_type: str, folders: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """List the files of code that a run of a system depends on.

    These are the files of its configuration, model and processor, those of a run of `mmre.training`, and whatever
    these import of the package. Files of other systems are not among them.

    Args:
        model_type: one of `MODELS`.
        folders: the folder of each room; those of the installed package by default.

    Returns:
        The path of each file by its name, `"room/file.py"`, sorted.
    """
    folders = rooms() if folders is None else folders
    model = MODELS[model_type]
    classes = (model, model.config_class, processor_class(model_type))
    todo = [START, *(tuple(cls.__module__.split(".")[1:]) for cls in classes)]
    found = {}
    while todo:
        room, name = todo.pop()
        key = f"{room}/{name}.py"
        if key in found or (room, name) in ALL_SYSTEMS:
            continue
        found[key] = folders[room] / f"{name}.py"
        todo += _imports(room, found[key], folders)
    return dict(sorted(found.items()))


def _imports(room: str, path: Path, folders: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield the files that a file imports of the package, as pairs of room and name."""
    for module, names, level in _import_statements(path.read_text("utf-8")):
        module = f"mmre.{room}.{module}".rstrip(".") if level else module
        package, *parts = module.split(".")
        if package != "mmre" or not parts or parts[0] not in folders:
            continue
        files = [parts[1]] if len(parts) > 1 else [n for n in names if (folders[parts[0]] / f"{n}.py").is_file()]
        for name in files or ["__init__"]:
            yield parts[0], name


@cache
def _import_statements(source: str) -> list[tuple[str, list[str], int]]:
    """List the module, the names and the level of each import; reading a file as Python takes longest in a plan."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, [], 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", [alias.name for alias in node.names], node.level))
    return found


def code_version(model_types: Iterable[str]) -> dict[str, Any]:
    """Return the version of the code that results come from.

    Args:
        model_types: the systems that are run.

    Returns:
        The `version` of the package; the `commit` if the package is a clone, else None; and `sources`, a hash for each
        system of the code that its runs depend on.
    """
    return {
        "version": metadata.version("mmre"),
        "commit": _commit(Path(__file__).resolve().parents[1]),
        "sources": {model_type: sources_digest(model_type) for model_type in sorted(model_types)},
    }


def sources_digest(model_type: str, folders: Mapping[str, Path] | None = None) -> str:
    """Hash the files of [`source_files`]."""
    files = source_files(model_type, folders)
    return digest([(name, digest(path.read_bytes().replace(b"\r\n", b"\n"))) for name, path in files.items()])


def _commit(root: Path) -> str | None:
    if not (root / ".git").exists():  # an installed package, which may lie in someone else's clone
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):  # no git, or no commit
        return None


__all__ = ["code_version", "digest", "file_digest", "source_files", "sources_digest"]
