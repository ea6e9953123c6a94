"""Templates of model cards, read by `mmre.evaluation.render_model_card`."""
