"""Full disks, however they are said, end in an error that names the file."""

import errno

import pytest
from safetensors import SafetensorError

from mmre.posts.full_disk import is_full, naming_full_disk

FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EFBIG, "File too large"),
    SafetensorError("Error while serializing: I/O error: File too large (os error 27)"),
    RuntimeError("PytorchStreamWriter failed writing file data/12: file write failed"),
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_what_could_not_be_written_is_named(tmp_path, error):
    (tmp_path / "config.json").write_text("{}")
    name = f"model.safetensors in {tmp_path}" if isinstance(error, SafetensorError) else f"{tmp_path}/config.json"
    with pytest.raises(OSError) as raised, naming_full_disk(tmp_path, "make room"):
        raise error
    expected = f"{name} cannot be written, for the disk is full or the file too large (`ulimit -f`): make room"
    assert str(raised.value) == expected


def test_an_empty_folder_is_named_itself(tmp_path):
    with pytest.raises(OSError, match=f"^model.safetensors in {tmp_path} cannot"), naming_full_disk(tmp_path, "-"):
        raise FULL[2]


@pytest.mark.parametrize(
    "error", [RuntimeError("a shape"), ValueError("No space"), SafetensorError("header too small")]
)
def test_other_errors_stay_as_they_are(tmp_path, error):
    assert not is_full(error)
    with pytest.raises(type(error)) as raised, naming_full_disk(tmp_path, "make room"):
        raise error
    assert raised.value is error
