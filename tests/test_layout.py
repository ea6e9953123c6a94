"""What lets a folder of code travel beside the weights: flat relative imports, unique names, few dependencies."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = {
    "modeling": {"torch", "transformers", "huggingface_hub"},
    "processing": {"torch", "transformers", "numpy", "PIL", "datasets"},
}
# What data sets and commands need besides; no processor or pipeline imports these files.
NOT_SHIPPED = {"annotate.py": {"accelerate", "filelock"}, "annotation_file.py": {"pyarrow"}}
FILES = [path for folder in SHIPPED for path in sorted((ROOT / folder).glob("*.py"))]


def imports(path: Path) -> list[tuple[int, str]]:
    """The level (0 is absolute) and the module of each import."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_code_imports_its_folder_flat_and_few_packages(path):
    import sys

    allowed = SHIPPED[path.parent.name] | NOT_SHIPPED.get(path.name, set())
    for level, module in imports(path):
        if level:
            assert level == 1 and (path.parent / f"{module}.py").is_file(), f"{'.' * level}{module}"
        else:
            package = module.split(".")[0]
            assert package in allowed | sys.stdlib_module_names, module


def test_no_two_shipped_files_have_one_name():
    counts = Counter(path.name for path in FILES if path.name != "__init__.py")
    assert [name for name, count in counts.items() if count > 1] == []


def test_nothing_is_called_like_a_folder_of_the_repository_once_installed():
    import mmre

    assert not hasattr(mmre, "__file__") or mmre.__file__ is None  # a namespace
    for folder in ("modeling", "processing", "evaluation"):
        assert (ROOT / folder / "__init__.py").is_file()
