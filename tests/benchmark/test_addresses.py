"""The code in an address: a run depends on the files of its own system, and on those that every run goes through."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmre.benchmark import addresses
from mmre.benchmark.addresses import code_version, rooms, source_files, sources_digest
from mmre.modeling import MODELS

SHARED = {
    "modeling/configuration_relation_extraction.py",
    "modeling/modeling_relation_extraction.py",
    "processing/entity_markers.py",
    "posts/collator.py",
    "posts/sources.py",
    "posts/synthetic.py",
    "posts/noise.py",
    "evaluation/relation_f1.py",
    "training/__main__.py",
    "training/run.py",
    "training/trainer.py",
}


@pytest.fixture
def folders(tmp_path) -> dict[str, Path]:
    """A copy of the rooms, to change."""
    for room, folder in rooms().items():
        shutil.copytree(folder, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    return {room: tmp_path / room for room in rooms()}


def digests(folders: dict[str, Path]) -> dict[str, str]:
    return {model_type: sources_digest(model_type, folders) for model_type in MODELS}


def changed(folders: dict[str, Path], file: str) -> set[str]:
    """The systems whose address another content of a file changes."""
    before = digests(folders)
    path = folders[file.split("/")[0]] / file.split("/")[1]
    content = path.read_bytes() if path.is_file() else None
    path.write_bytes((content or b"") + b"\nCHANGED = True\n")
    after = digests(folders)
    path.write_bytes(content) if content else path.unlink()
    return {model_type for model_type in MODELS if before[model_type] != after[model_type]}


@pytest.mark.parametrize("model_type", MODELS)
def test_a_run_depends_on_its_system_and_on_what_every_run_goes_through(model_type):
    files = {*source_files(model_type)}
    assert files >= SHARED
    own = {f"modeling/configuration_{model_type}.py", f"modeling/modeling_{model_type}.py"}
    others = {f"modeling/{kind}_{other}.py" for kind in ("configuration", "modeling") for other in MODELS}
    assert files & others == own
    assert not {"modeling/__init__.py", "processing/__init__.py"} & files
    assert not [file for file in files if file.split("/")[0] in ("model_cards", "benchmark", "cli")]


def test_the_files_of_other_systems_change_no_address(folders):
    assert changed(folders, "modeling/modeling_of_another.py") == set()  # a new one
    assert changed(folders, "modeling/__init__.py") == set()
    assert changed(folders, "modeling/modeling_focalmre.py") == {"focalmre"}
    assert changed(folders, "modeling/configuration_tgdi.py") == {"tgdi"}
    coupled = {"ifaformer", "mkgformer"}
    assert changed(folders, "modeling/prefix_attention.py") == {"tgdi", "hvpnet"} | coupled
    assert changed(folders, "modeling/coupled_encoders.py") == coupled
    assert changed(folders, "processing/processing_tgdi.py") == {"tgdi", "hvpnet"}


def test_the_files_of_every_run_change_all_addresses(folders):
    for file in ("modeling/modeling_relation_extraction.py", "posts/noise.py", "training/trainer.py"):
        assert changed(folders, file) == {*MODELS}


def test_the_ends_of_lines_are_no_change(folders):
    before = digests(folders)
    path = folders["training"] / "run.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert digests(folders) == before


def test_every_file_that_a_training_imports_counts():
    """The imports of a process that could train, without the rooms that know all systems."""
    code = (
        "import sys, mmre.training.__main__, mmre.model_cards\n"
        "print(*(n for n, m in sys.modules.items() if n.startswith('mmre.') and getattr(m, '__file__', None)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    imported = {"/".join(name.split(".")[1:]) for name in printed.split()}
    counted = {file.removesuffix(".py") for model_type in MODELS for file in source_files(model_type)}
    pipeline = ("pipeline_relation_extraction", "picture_addresses", "spacy_entities")
    registered = {f"processing/{name}" for name in pipeline}
    assert {f for f in imported if "/" in f and not f.startswith("model_cards/")} - registered <= counted


def test_the_version_names_the_commit_of_a_clone_alone(tmp_path):
    code = code_version(["tgdi"])
    assert code["sources"] == {"tgdi": sources_digest("tgdi")} and code["version"].startswith("0.")
    assert addresses._commit(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert addresses._commit(tmp_path) is None
