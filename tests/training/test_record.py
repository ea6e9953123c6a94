"""What a run writes to be repeated."""

from run_helpers import predictions, settings_of, train

from mmre.training.record import sections_of


def test_the_resolved_configuration_repeats_the_run(run, tmp_path):
    train([str(run / "resolved_config.yaml"), "--output_dir", str(tmp_path / "again")])
    assert predictions(tmp_path / "again") == predictions(run)


def test_what_was_set_for_the_scheduler_is_in_the_resolved_configuration(config_file):
    arguments = [config_file(), "--lr_scheduler_type=cosine_with_restarts", '--lr_scheduler_kwargs={"num_cycles": 2}']
    settings = settings_of(arguments)
    training = sections_of(settings)["training"]
    assert training["lr_scheduler_kwargs"] == {"num_cycles": 2}
    assert training["lr_scheduler_type"] == "cosine_with_restarts"
