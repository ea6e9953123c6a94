"""The rooms and their order, and what lets a folder of code travel beside the weights."""

import ast
import re
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A room imports only rooms before it; the first two know nothing of each other.
ROOMS = ["modeling", "processing", "posts", "evaluation", "annotation", "inference", "model_cards", "training"]
ROOMS += ["benchmark", "cli"]
FILES = [path for room in ROOMS for path in sorted((ROOT / room).glob("*.py"))]
SHIPPED = {
    "modeling": {"torch", "transformers", "huggingface_hub"},
    "processing": {"torch", "transformers", "tokenizers", "numpy", "PIL"},
}
SHIPPED_FILES = [path for path in FILES if path.parent.name in SHIPPED]
LAZY_ROOMS = [room for room in ROOMS if room not in SHIPPED]
# Names that stand in several files for one role, which each of them plays.
SHARED_NAMES = {
    **dict.fromkeys(
        ("HELP", "STOPPED", "add_arguments", "further_options", "run"),
        "what `mmre` asks of each sub-command",
    ),
    "main": "the start of a command",
    "logger": "of its own file",
    "unknown": "`cli/parser.py` reads it from its file, so that help imports no PyTorch",
}
LINES_OF_A_FILE = 430  # "about 400"


def label(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def imports(path: Path) -> list[tuple[int, str]]:
    """Return the level (0 is absolute) and the module of each import statement, those within functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


def called_imports(code: str) -> list[tuple[int, str]]:
    """Return the level and the module of each import by a call, if the module is written there."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in ("import_module", "__import__"):
                name = node.args[0].value
                found.append((len(name) - len(name.lstrip(".")), name.lstrip(".")))
    return found


@pytest.mark.parametrize("path", FILES, ids=label)
def test_a_room_imports_only_rooms_before_it(path):
    room = path.parent.name
    before = ROOMS[: ROOMS.index(room)] if room != "processing" else []
    for level, module in imports(path) + called_imports(path.read_text("utf-8")):
        if level:
            assert level == 1 and (path.parent / f"{module}.py").is_file(), f"{'.' * level}{module}: not flat"
        elif module.split(".")[0] == "mmre":
            assert module.split(".")[1] in before, f"{module} stands after {room}, or is the room itself"
        assert module.split(".")[0] not in ("tests", "train")


def test_an_import_by_a_call_is_seen():
    code = "import importlib\ndef f():\n    importlib.import_module('mmre.cli.main')\n"
    assert (0, "mmre.cli.main") in called_imports(code)
    assert (0, "mmre.cli") in called_imports("__import__('mmre.cli')")
    assert (1, "checks") in called_imports("import_module('.checks', __package__)")


def test_no_circles_between_files():
    graph = {
        path: {path.parent / f"{module}.py" for level, module in imports(path) if level}
        for path in FILES
        if path.name != "__init__.py"
    }
    while graph:
        free = [path for path, needed in graph.items() if not needed & graph.keys()]
        assert free, f"a circle among {sorted(map(label, graph))}"
        for path in free:
            del graph[path]


def test_only_cli_knows_argparse():
    for path in FILES:
        if path.parent.name != "cli":
            assert (0, "argparse") not in imports(path), label(path)


@pytest.mark.parametrize("path", FILES, ids=label)
def test_a_file_is_of_one_subject(path):
    assert len(path.read_text("utf-8").splitlines()) <= LINES_OF_A_FILE
    assert path.stem not in ("utils", "helpers", "common")


@pytest.mark.parametrize("path", SHIPPED_FILES, ids=label)
def test_shipped_code_imports_few_packages(path):
    for level, module in imports(path):
        if not level:
            assert module.split(".")[0] in SHIPPED[path.parent.name] | sys.stdlib_module_names, module


def test_no_two_shipped_files_have_one_name():
    counts = Counter(path.name for path in SHIPPED_FILES if path.name != "__init__.py")
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("room", LAZY_ROOMS)
def test_a_room_lists_its_public_names_and_imports_them_when_asked(room):
    module = import_module(f"mmre.{room}")
    tree = ast.parse((ROOT / room / "__init__.py").read_text("utf-8"))
    typed = [
        (alias.asname or alias.name, node.module)
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in ast.walk(branch)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(typed) == sorted(getattr(module, "_FILES", {}).items())
    assert sorted(getattr(module, "__all__", [])) == sorted(name for name, _ in typed)
    for name, _ in typed:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


def test_importing_a_room_imports_none_of_its_files():
    code = "import sys\n" + "".join(f"import mmre.{room}\n" for room in LAZY_ROOMS)
    code += "print(sorted(name for name in sys.modules if name.count('.') > 1 and name.startswith('mmre.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_called_like_a_folder_of_the_repository_once_installed():
    import mmre

    assert not hasattr(mmre, "__file__") or mmre.__file__ is None  # a namespace
    for room in ROOMS:
        assert (ROOT / room / "__init__.py").is_file()


def definitions(path: Path) -> set[str]:
    """Return the public names that a file defines at its top level."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_one_name_is_one_thing_in_all_rooms():
    files = {}
    for path in FILES:
        for name in definitions(path):
            files.setdefault(name, []).append(label(path))
    several = {name: paths for name, paths in files.items() if len(paths) > 1}
    assert {name: paths for name, paths in several.items() if name not in SHARED_NAMES} == {}
    assert SHARED_NAMES.keys() <= several.keys(), "a name that is listed and no longer shared"


def docstrings(path: Path) -> list[tuple[type, str, list[str]]]:
    """Return the kind, the name and the first words of what has a docstring in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            found.append((type(node), getattr(node, "name", path.name), ast.get_docstring(node).split()))
    return found


IMPERATIVES = {
    words[0]
    for path in FILES
    for kind, _, words in docstrings(path)
    if kind is ast.FunctionDef and re.fullmatch("[A-Z][a-z]*([^s]|ss)", words[0].rstrip(","))
} - {"A", "An", "The", "Number", "What", "How", "Whether", "Which", "All"}


@pytest.mark.parametrize("path", FILES, ids=label)
def test_docstrings_of_functions_begin_with_an_imperative_and_others_do_not(path):
    for kind, name, words in docstrings(path):
        assert words[0] not in ("What", "How", "Whether", "Which", "All"), name
        if kind is ast.FunctionDef:
            assert words[0] in IMPERATIVES, f"{name}: {words[0]!r} is no imperative"
        elif kind is ast.ClassDef:  # "Report of a run" is a noun
            assert words[0] not in IMPERATIVES or words[1] in ("of", "about"), f"{name}: {words[0]!r} is an imperative"
