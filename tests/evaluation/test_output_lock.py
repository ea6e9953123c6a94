"""The lock of an output, a folder or a file."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmre.evaluation.output_lock import is_in_use, only_run, only_writer

HOLD = """
import sys
from mmre.evaluation.output_lock import only_run
with only_run(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_in_use_by_one_process_until_it_ends_or_is_killed(tmp_path):
    folder = tmp_path / "out"
    assert not is_in_use(folder) and not folder.exists()
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    assert is_in_use(folder)
    with pytest.raises(ValueError, match="another process runs in .*out: wait for its end"), only_run(folder):
        raise AssertionError
    process.kill()
    process.wait()
    assert not is_in_use(folder)
    with only_run(folder):
        assert is_in_use(folder)


def test_a_folder_that_stays_empty_goes_again_and_another_stays(tmp_path):
    with pytest.raises(OSError, match="no posts"), only_run(tmp_path / "runs/empty"):
        raise OSError("no posts")
    assert not (tmp_path / "runs/empty").exists()
    with only_run(tmp_path / "runs/full"):
        (tmp_path / "runs/full/metrics.json").touch()
    assert (tmp_path / "runs/full/metrics.json").is_file()


def test_a_file_is_free_again_after_its_run(tmp_path):
    out = tmp_path / "new" / "out.jsonl"
    for _ in range(2):
        with only_writer(out), pytest.raises(ValueError, match="another run is writing"), only_writer(out):
            pass
    assert list(out.parent.iterdir()) == []


WRITE = """
import sys
from mmre.evaluation.output_lock import only_writer
from mmre.posts.whole_file import whole_file
with only_writer(sys.argv[1]), whole_file(sys.argv[1]), whole_file(sys.argv[2]):
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_the_next_run_removes_what_a_killed_one_left_of_its_files_and_nothing_else(tmp_path):
    out, beside = tmp_path / "out.jsonl", tmp_path / "out.jsonl.errors.jsonl"
    others = ["out.1.unfinished", "out.jsonl.csv.1.unfinished", "out.jsonl.unfinished", "out.jsonl.x.unfinished"]
    others += ["another.jsonl.1.unfinished", "outxjsonl.1.unfinished"]
    for name in others:
        (tmp_path / name).touch()
    command = [sys.executable, "-c", WRITE, out, beside]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    written = {f"{path.name}.{process.pid}.unfinished" for path in (out, beside)}
    with pytest.raises(ValueError, match="another run is writing"), only_writer(out, beside):
        raise AssertionError
    assert written <= {path.name for path in tmp_path.iterdir()}  # of a run that goes on, nothing is removed
    process.kill()
    process.wait()
    with only_writer(out):
        assert {path.name for path in tmp_path.iterdir()} & written == {f"{beside.name}.{process.pid}.unfinished"}
    with only_writer(out, beside):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {*others}


@pytest.mark.skipif(not Path("/proc/self/fdinfo").is_dir(), reason="needs a folder that takes no files")
def test_what_takes_no_files_is_not_blamed_on_another_run():
    folder = "/proc/self/fdinfo"
    with pytest.raises(OSError, match=f"{folder}/.lock"), only_run(folder):
        raise AssertionError
    assert not is_in_use(folder)
    with pytest.raises(FileNotFoundError, match="'/proc/out.jsonl.lock'"), only_writer("/proc/out.jsonl"):
        raise AssertionError
