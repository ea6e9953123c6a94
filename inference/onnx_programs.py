"""Programs in ONNX in the place of a model: `mmre predict --onnx`."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from transformers import Pipeline
from transformers.modeling_outputs import SequenceClassifierOutput

from mmre.annotation.model_files import CHUNK

from .exporting import made_inputs, program_inputs

# ONNX Runtime's float32 differs from torch's by about 1e-5; another model's logits by far more.
MOST_DIFFERENCE = 1e-3


class OnnxProgram:
    """A program that is run by ONNX Runtime, called as the model that it was exported from.

    Args:
        session: of ONNX Runtime; its output `logits` is read.
    """

    def __init__(self, session: Any):
        self.session = session
        self.names = [each.name for each in session.get_inputs()]

    def __call__(self, **inputs: torch.Tensor) -> SequenceClassifierOutput:
        """Return the logits of posts, on the device of the inputs."""
        device = inputs["input_ids"].device
        given = program_inputs(inputs) if "picture_index" in self.names else inputs
        values = {name: given[name].cpu().numpy() for name in self.names}
        (logits,) = self.session.run(["logits"], values)
        return SequenceClassifierOutput(logits=torch.from_numpy(logits).to(device))


def use_program(extract: Pipeline, model: str, file: str) -> None:
    """Have a pipeline compute its logits with a program in ONNX.

    Args:
        extract: of the model that the program was exported from.
        model: its name, for errors.
        file: of the program.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: ONNX Runtime is not installed; the message has the command that installs it.
        ValueError: the file is no program, or one of another model.
    """
    program = OnnxProgram(_open_session(file))
    check_program(program, extract, model, file)
    extract.model.forward = program


def check_program(program: OnnxProgram, extract: Pipeline, model: str, file: str) -> None:
    """Compare a program with its model on made posts, one and then three, of several lengths.

    Raises:
        ValueError: the program reads other inputs, takes no other number of posts, or has other logits.
    """
    advice = "export MODEL anew, as the guide on export says"
    for number in (1, 3):
        inputs = made_inputs(extract.processor, number)
        inputs = {name: values.to(extract.device) for name, values in inputs.items()}
        lacking = sorted({*program.names} - {*inputs, "picture_index"})
        if lacking:
            raise ValueError(
                f"--onnx {file} reads {lacking[0]!r}, which {model} ({type(extract.model).__name__}) does not: "
                f"it is a program of another model; {advice}"
            )
        with torch.no_grad():
            expected = extract.model(**inputs).logits
        try:
            found = program(**inputs).logits
        except Exception as error:  # ONNX Runtime's errors have no common class but this one
            raise ValueError(
                f"--onnx {file} does not run with {number} posts as {model} reads them, {_first_line(error)}: it is of "
                f"another model, or was exported for one number of posts; {advice}"
            ) from error
        if found.shape != expected.shape:
            raise ValueError(
                f"--onnx {file} gives logits {tuple(found.shape)} for {number} posts, and {model} gives "
                f"{tuple(expected.shape)}: it is a program of another model; {advice}"
            )
        difference = (found.float() - expected.float()).abs().max().item()
        if not difference <= MOST_DIFFERENCE:
            raise ValueError(
                f"--onnx {file} gives other logits than {model}, by {difference:.2g} on a made post; at most "
                f"{MOST_DIFFERENCE} is rounding. It is a program of another model, or of other weights or another "
                f"dtype; {advice}"
            )


def program_fingerprint(file: str) -> str:
    """Hash a program, and the file of its weights where these stand beside it."""
    digest = hashlib.sha256()
    for path in (Path(file), Path(f"{file}.data")):
        if path.exists():
            with open(path, "rb") as opened:
                while chunk := opened.read(CHUNK):
                    digest.update(chunk)
    return digest.hexdigest()


def _open_session(file: str) -> Any:
    if not Path(file).is_file():
        raise FileNotFoundError(f"--onnx {file}: there is no such file")
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise ImportError('--onnx needs ONNX Runtime: pip install "mmre[onnx]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"--onnx {file} is no program that ONNX Runtime opens: {_first_line(error)}") from error
    names = [each.name for each in session.get_outputs()]
    if "logits" not in names:
        raise ValueError(
            f"--onnx {file} has the outputs {', '.join(names)}; expected logits: give `torch.onnx.export` "
            '`output_names=["logits"]`'
        )
    return session


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


__all__ = ["use_program"]
