"""`mmre predict --onnx`: a program in the place of a model, and what is refused."""

import json
import sys

import pytest
import torch
from prediction_helpers import NADAL, PERELLO, TEXT, read, write
from transformers import AutoModel, AutoProcessor

from mmre.cli.main import main
from mmre.inference import export_program, run
from mmre.inference.run import predict

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

POST = {"text": TEXT, "head": NADAL, "tail": PERELLO}
REGIONS = {"grounded_regions": [[0, 0, 0.5, 1]], "detected_regions": [[0.5, 0, 1, 1]]}
POSTS = [
    POST | REGIONS | {"image": "a.png"},
    {"text": f"Rafael Nadal , {TEXT}", "pairs": [[NADAL, PERELLO], [PERELLO, NADAL]], "image": "b.png"},
    POST,
    POST | REGIONS | {"image": "a.png", "head": PERELLO, "tail": NADAL},
]
WRITTEN = {}


@pytest.fixture
def program(focalmre, tmp_path) -> str:
    """The program of the random FocalMRE, whose weights are the same in each test: exported once."""
    path = tmp_path / "model.onnx"
    if not WRITTEN:
        exported = export_program(AutoModel.from_pretrained(focalmre), AutoProcessor.from_pretrained(focalmre))
        torch.onnx.export(exported, f=path, output_names=["logits"], dynamo=True, external_data=False)
        WRITTEN["focalmre"] = path.read_bytes()
    path.write_bytes(WRITTEN["focalmre"])
    return str(path)


def test_a_program_writes_what_its_model_writes(focalmre, program, folder, arguments, monkeypatch):
    path = write(folder / "raw.jsonl", POSTS)
    with_model, with_program = arguments("model.jsonl"), arguments("program.jsonl", onnx=program)
    predict(focalmre, path, with_model)

    def open_pipeline(*given):
        extract = opened(*given)
        forward, extract.model.batches = extract.model.forward, []
        extract.model.forward = lambda **inputs: extract.model.batches.append(1) or forward(**inputs)
        models.append(extract.model)
        return extract

    models, opened = [], run.open_pipeline
    monkeypatch.setattr(run, "open_pipeline", open_pipeline)
    predict(focalmre, path, with_program)
    assert len(models[0].batches) == 2  # of the check alone
    expected = read(with_model)
    assert len(expected) > 2 and len({row["score"] for row in expected}) > 2
    for row in expected:
        row |= {name: pytest.approx(row[name], abs=1e-5) for name in ("score", "ruled_out") if name in row}
    assert read(with_program) == expected


def test_a_program_of_another_model_is_refused(focalmre, mtb, tgdi, program, folder, arguments, tmp_path):
    path = write(folder / "raw.jsonl", [POST])
    with pytest.raises(ValueError, match=r"reads 'image_mask', which .*mtb \(MTBFor.*\) does not: it is a program of"):
        predict(mtb, path, arguments(onnx=program))
    with pytest.raises(ValueError, match=r"--onnx .*/model.onnx (does not run|gives other logits)"):
        predict(tgdi, path, arguments(onnx=program))
    model = AutoModel.from_pretrained(focalmre)
    with torch.no_grad():
        model.classifier[-1].bias[2] += 0.01
    model.save_pretrained(focalmre)
    with pytest.raises(ValueError, match="gives other logits than .*focalmre, by 0.01 on a made post"):
        predict(focalmre, path, arguments(onnx=program))


def test_a_prediction_does_not_go_on_with_another_program(focalmre, program, folder, arguments):
    path, args = write(folder / "raw.jsonl", [POST]), arguments(onnx=program)
    predict(focalmre, path, args)
    header = json.dumps({"mmre_predictions": 3, "onnx_sha256": "0" * 64})
    with open(f"{args.out}.part", "w") as file:
        file.write(header + "\n")
    with pytest.raises(ValueError, match=f"onnx_sha256: '{'0' * 64}' there, '[0-9a-f]+' now"):
        predict(focalmre, path, args)


def test_what_does_not_go_with_a_program_ends_with_a_line(focalmre, folder, tmp_path, capsys, monkeypatch):
    path = write(folder / "raw.jsonl", [POST])

    def ends(*options, status: int = 1) -> str:
        try:
            ended = main(["predict", focalmre, path, "--out", str(tmp_path / "t.jsonl"), *map(str, options)])
        except SystemExit as stopped:
            ended = stopped.code
        message = capsys.readouterr().err.splitlines()[-1]
        assert ended == status and message.startswith("mmre predict: error: ")
        return message

    nothing, wrong = tmp_path / "no.onnx", folder / "a.png"
    assert f"--onnx {nothing}: there is no such file" in ends("--onnx", nothing)
    assert f"--onnx {wrong} is no program that ONNX Runtime opens" in ends("--onnx", wrong)
    for options, words in (
        (["--dtype", "bfloat16"], "--dtype bfloat16; the program of --onnx has a type of its own"),
        (["--explain", "page"], "--explain looks into MODEL, and a program gives its logits alone"),
        (["--output_fusion"], "--output_fusion looks into MODEL"),
        (["--relations", "list.txt"], "--relations asks a chat model in words"),
    ):
        assert words in ends("--onnx", wrong, *options, status=2)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert '--onnx needs ONNX Runtime: pip install "mmre[onnx]"' in ends("--onnx", wrong)
