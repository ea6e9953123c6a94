"""The manner of `mmre`: exit statuses, one line per error, nearest names, help without torch."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmre.cli import main as command
from mmre.cli.parser import Parser, UsageError, add_dataclass, read_dataclass

WITHOUT_TORCH = sorted(set(command.COMMANDS) - {"train"})


def fresh(code: str) -> str:
    """Return what Python code prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@dataclass(kw_only=True)
class Words:
    """Arguments of a made-up sub-command."""

    out: str = field(metadata={"help": "The file to write."})
    note: str | None = field(default=None, metadata={"help": "A note."})
    shares: list[float] = field(default_factory=lambda: [0.5, 1.0], metadata={"help": "Shares of 100 %."})
    loud: bool = field(default=False, metadata={"help": "Say more."})
    kind: str = field(default="a", metadata={"help": "Which.", "choices": ("aardvark", "a")})

    def __post_init__(self):
        if self.out == "nowhere":
            raise ValueError("--out nowhere; expected a file")


@pytest.fixture
def do(monkeypatch):
    """Make a sub-command `train` of a function; the function to call is `mmre train WORDS`."""

    def make(work=lambda args: 0, **more):
        def add_arguments(parser):
            parser.add_argument("data", help="posts")
            add_dataclass(parser, Words)

        module = SimpleNamespace(__doc__="Do it.", HELP="do it", add_arguments=add_arguments, run=work, **more)
        monkeypatch.setattr(command, "import_module", lambda *_: module)
        return lambda *words: command.main(["train", *words])

    return make


def test_the_command_lists_its_sub_commands_and_its_version(capsys):
    with pytest.raises(SystemExit, match="^0$"):
        command.main(["--help"])
    shown = capsys.readouterr().out
    for name in command.COMMANDS:
        assert f"\n  {name} " in shown
    with pytest.raises(SystemExit, match="^0$"):
        command.main(["--version"])
    assert capsys.readouterr().out.startswith("mmre 0.")
    assert command.main([]) == 2 and "commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "mmre: error: unknown command 'trian'; did you mean 'train'?"),
        (["--vresion"], "mmre: error: unknown option '--vresion'; did you mean '--version'?"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(words, message, capsys):
    try:
        status = command.main(words)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2 and capsys.readouterr().err == f"{message}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["posts", "--out", "x", "--laud"], "unknown option '--laud'; did you mean '--loud'?"),
        (["posts", "--ou", "x"], "unknown option '--ou'; did you mean '--out'?"),
        (["--laud=1"], "unknown option '--laud'; did you mean '--loud'?"),
        (["posts", "--out", "x", "--kind", "ardvark"], "unknown --kind 'ardvark'; did you mean 'aardv"),
        (["posts", "--out", "x", "--shares", "many"], "argument --shares: invalid float value: 'many'"),
        (["posts", "--out", "x", "--loud", "maybe"], "argument --loud: 'maybe'; expected true or false"),
        (["posts", "more", "--out", "x"], "unexpected 'more'; see mmre train --help"),
        (["posts"], "the following arguments are required: --out"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(do, words, message, capsys):
    with pytest.raises(SystemExit, match="^2$"):
        do()(*words)
    error = capsys.readouterr().err
    assert error.startswith(f"mmre train: error: {message}") and error.count("\n") == 1


def test_a_dataclass_declares_arguments(do):
    seen = []
    call = do(lambda args: seen.append(read_dataclass(Words, args)) or 0)
    assert call("posts", "--out", "x", "--shares", "0.1", "0.2", "--loud") == 0
    assert call("posts", "--out", "x", "--loud", "false", "--note", "n") == 0
    assert seen == [Words(out="x", shares=[0.1, 0.2], loud=True), Words(out="x", note="n")]


def test_help_shows_defaults_that_say_something(do, capsys):
    with pytest.raises(SystemExit, match="^0$"):
        do()("--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "(default: 0.5 1.0)" in shown and "(default: false)" in shown and "Shares of 100 %." in shown
    assert "None" not in shown and "The file to write. --note" in shown


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("bad"), 1), (FileNotFoundError("bad"), 1), (UsageError("bad"), 2)]
)
def test_an_expected_error_is_one_line(do, error, status, capsys):
    def work(args):
        raise error

    assert do(work)("posts", "--out", "x") == status
    assert capsys.readouterr().err == "mmre train: error: bad\n"


def test_a_dataclass_that_refuses_its_values_is_wrong_usage(do, capsys):
    assert do(lambda args: read_dataclass(Words, args))("posts", "--out", "nowhere") == 2
    assert capsys.readouterr().err == "mmre train: error: --out nowhere; expected a file\n"


def test_a_bug_keeps_its_traceback(do):
    with pytest.raises(KeyError):
        do(lambda args: {}["missing"])("posts", "--out", "x")


def test_the_work_says_how_it_ended(do):
    assert do(lambda args: 1)("posts", "--out", "x") == 1


def test_ctrl_c_says_how_to_go_on(do, capsys):
    def work(args):
        raise KeyboardInterrupt

    assert do(work)("posts", "--out", "x") == 130
    assert capsys.readouterr().err == "\nmmre train: stopped; the same command starts over\n"
    assert do(work, STOPPED="the same command goes on")("posts", "--out", "x") == 130
    assert capsys.readouterr().err == "\nmmre train: stopped; the same command goes on\n"


def test_a_command_may_take_options_that_its_parser_does_not_know(do):
    seen = []
    call = do(lambda args: seen.extend(args.rest) or 0, further_options=lambda: ["--seed"])
    assert call("posts", "--out", "x", "--seed", "1") == 0
    assert seen == ["--seed", "1"]


def test_a_misspelt_option_is_compared_with_the_command_s_own_and_the_further_ones(do, capsys):
    call = do(further_options=lambda: ["--seed"])
    for words, message in {
        ("posts", "--outt", "x"): "unknown option '--outt'; did you mean '--out'?",
        ("--out", "x", "--sed", "1"): "unknown option '--sed'; did you mean '--seed'?",
    }.items():
        with pytest.raises(SystemExit, match="^2$"):
            call(*words)
        assert capsys.readouterr().err == f"mmre train: error: {message}\n"


def test_what_looks_like_an_option_may_be_a_value(do):
    seen = []
    call = do(lambda args: seen.append(read_dataclass(Words, args)) or 0)
    assert call("posts", "--out", "x", "--shares", "-1", "-.5", "--note=--loud noise") == 0
    assert call("--out", "x", "--", "--posts") == 0
    assert seen == [Words(out="x", shares=[-1.0, -0.5], note="--loud noise"), Words(out="x")]


def test_every_command_shows_the_version(do, capsys):
    with pytest.raises(SystemExit, match="^0$"):
        do()("--version")
    assert capsys.readouterr().out.startswith("mmre 0.")


def test_an_error_of_the_system_is_shown_as_people_write_it(do, capsys):
    assert do(lambda args: Path("nowhere.txt").read_text("utf-8"))("posts", "--out", "x") == 1
    assert capsys.readouterr().err == "mmre train: error: nowhere.txt: No such file or directory\n"


def test_an_option_is_not_shortened():
    parser = Parser(prog="x")
    parser.add_argument("--image_dir")
    assert parser.parse_known_args(["--image", "a"])[1] == ["--image", "a"]


def test_a_reader_that_has_seen_enough_is_no_error():
    code = "import sys; from mmre.cli import main as m; from types import SimpleNamespace as N; "
    code += "m.import_module = lambda *_: N(__doc__='', add_arguments=lambda p: None, run=lambda a: print('x' * 10**6) "
    code += "or 0); sys.exit(m.main(['train']))"
    done = subprocess.run(f'{sys.executable} -c "{code}" | head -c 1', shell=True, capture_output=True, text=True)  # noqa: S602
    assert done.stdout == "x" and done.stderr == ""


def test_the_list_of_commands_is_shown_without_torch():
    code = "import sys\nfrom mmre.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
    assert fresh(code + "print('torch' in sys.modules)").endswith("False\n")


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_the_help_of_a_command_is_shown_without_torch(name):
    code = (
        f"import sys\nfrom mmre.cli.main import main\ntry:\n    main([{name!r}, '--help'])\nexcept SystemExit as end:\n"
    )
    code += "    assert end.code == 0\nprint('torch' in sys.modules)"
    shown = fresh(code)
    assert shown.endswith("False\n") and f"usage: mmre {name}" in shown and "default: None" not in shown


@pytest.mark.parametrize(
    "words", [["audit"], ["annotate", "--out", "x"], ["prompt", "m", "--output_dir", "x"]], ids=lambda words: words[0]
)
def test_data_of_an_unknown_name_is_wrong_usage(words, capsys):
    assert command.main([*words, "synthetc"]) == 2
    message = "unknown data 'synthetc'; did you mean 'synthetic'?"
    assert capsys.readouterr().err == f"mmre {words[0]}: error: {message}\n"


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_the_help_of_a_command_is_in_sentences_and_names_what_an_option_takes(name):
    parser = Parser(prog=name)
    command.import_module(f".{name}", "mmre.cli").add_arguments(parser)
    for action in parser._actions:
        assert action.help.endswith(".") and not action.help[0].islower(), action.help
        assert action.nargs == 0 or action.metavar or action.choices, action.dest
    usage = parser.format_usage().splitlines()
    assert len(usage) <= 7, usage


@pytest.mark.parametrize("name", command.COMMANDS)
def test_a_command_says_in_a_line_what_it_is_for(name):
    module = command.import_module(f".{name}", "mmre.cli")
    assert module.HELP and "\n" not in module.HELP and module.__doc__ and callable(module.run)
