"""Draws `explanation.png`: why the model of `make quickstart` names a relation for a synthetic post."""

from pathlib import Path

from transformers import AutoModel, AutoProcessor

import mmre.modeling
import mmre.processing  # noqa: F401, both register the systems with transformers
from mmre.inference import explain
from mmre.posts import make_synthetic_posts

POST = 35  # of the test posts; models of several seeds and machines are sure of it

posts = make_synthetic_posts(num_train=0, num_validation=0, num_test=POST + 1, image_size=(640, 480))
model, processor = (kind.from_pretrained("outputs/quickstart") for kind in (AutoModel, AutoProcessor))
explain(model, processor, posts["test"][POST]).save(Path(__file__).with_name("explanation.png"))
