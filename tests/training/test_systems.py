"""Every system trains by the configurations that all share."""

import pytest
from run_helpers import metrics, settings_of, train
from transformers import AutoModel, AutoProcessor

from mmre.modeling import MODELS


@pytest.mark.parametrize("model_type", MODELS)
def test_every_system_is_trained_by_the_quickstart(model_type, tmp_path, one_thread):
    report = train(
        [
            *("quickstart", "--model_type", model_type, "--output_dir", str(tmp_path / "run")),
            *("--num_synthetic_posts", "16", "--max_steps", "2", "--max_eval_samples", "8"),
            *("--max_predict_samples", "8", "--use_cpu", "true", "--disable_tqdm", "true"),
        ]
    )
    assert report.model_type == model_type and "| test | 8 |" in report.tables
    model, processor = AutoModel.from_pretrained(report.output_dir), AutoProcessor.from_pretrained(report.output_dir)
    assert type(model) is MODELS[model_type]
    assert tuple(processor.inputs) == tuple(model.config.reads())
    reads_pictures = not {"image", "regions"}.isdisjoint(processor.inputs)
    assert metrics(report.output_dir)["posts"]["images"] == ("used" if reads_pictures else "unused")


@pytest.mark.parametrize("model_type", MODELS)
def test_every_system_takes_the_configuration_of_the_digits(model_type):
    settings = settings_of(["digits", "--model_type", model_type])
    assert (settings.model.model_type, settings.data.dataset, settings.data.regions) == (model_type, "digits", "drawn")
    with pytest.raises(ValueError, match="not 'digits'"):
        settings_of(["digits", "--model_type", model_type, "--train_file", "posts.csv"])
