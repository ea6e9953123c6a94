"""The vision encoder: of patches or of maps, frozen or not; and the images that it is given.

The smallest model that reads maps is defined here.
"""

import pytest
import torch
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from model_helpers import ENCODERS, IMAGE_SIZE
from torch import nn
from transformers import AutoConfig, AutoModel, ResNetForImageClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from mmre.modeling.configuration_relation_extraction import MultimodalRelationExtractionConfig
from mmre.modeling.image_tower import (
    encode_images,
    existing_images,
    given_image_mask,
    scatter_images,
    select_patches,
)
from mmre.modeling.modeling_relation_extraction import (
    MultimodalRelationExtractionPreTrainedModel,
    gather_tokens,
    relation_loss,
)

NUM_SLOTS = 3


@strict
class MapsConfig(MultimodalRelationExtractionConfig):
    model_type = "maps_of_a_test"
    vision_features = "maps"
    inputs = ("text", "image", "regions")


class MapsModel(MultimodalRelationExtractionPreTrainedModel):
    """Classifies by the two entities and the mean over the last feature map of each image."""

    config: MapsConfig
    base_model_prefix = "maps"

    def __init__(self, config: MapsConfig):
        super().__init__(config)
        self._build_encoders()
        size = 2 * config.text_config.hidden_size + NUM_SLOTS * self.vision_model.channels[-1]
        self.classifier = nn.Linear(size, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids, entity_positions, attention_mask=None, pixel_values=None, image_mask=None, labels=None
    ) -> SequenceClassifierOutput:
        text = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        shape = (len(input_ids), NUM_SLOTS)
        images, image_mask = existing_images(pixel_values, image_mask, shape, "images", self.vision_model.dtype)
        if images is None:
            means = text.new_zeros(*shape, self.vision_model.channels[-1])
        else:
            maps = self.vision_model(pixel_values=images).feature_maps
            means = scatter_images(maps[-1].mean(dim=(2, 3)), image_mask)
        entities = gather_tokens(text, entity_positions).flatten(1)
        logits = self.classifier(torch.cat([entities, means.flatten(1)], dim=1))
        return SequenceClassifierOutput(loss=relation_loss(logits, labels, None), logits=logits)


def make_model() -> MapsModel:
    torch.manual_seed(0)
    return MapsModel(MapsConfig(text_config=ENCODERS["text"], vision_config=ENCODERS["maps"]))


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image_mask = torch.tensor([[True, True, True], [False, True, False], [False, False, False]])
    pixel_values = torch.randn(3, NUM_SLOTS, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    pixel_values[~image_mask] = float("nan")
    return {
        "input_ids": torch.randint(5, 250, (3, 8), generator=generator),
        "entity_positions": torch.tensor([[1, 4], [2, 1], [0, 6]]),
        "pixel_values": pixel_values,
        "image_mask": image_mask,
        "labels": torch.tensor([0, 1, 1]),
    }


def statistics(encoder) -> dict[str, torch.Tensor]:
    found = {name: values.clone() for name, values in encoder.state_dict().items() if "running" in name}
    assert len(found) > 10
    return found


def test_the_statistics_of_a_frozen_encoder_stay_as_they_are_and_those_of_a_trained_one_move(batch):
    model = make_model().train()
    before = statistics(model.vision_model)
    model(**batch).loss.backward()
    trained = statistics(model.vision_model)
    assert all(not torch.equal(trained[name], values) for name, values in before.items())

    model.vision_model.requires_grad_(False)
    model.train()
    assert model.training and model.text_model.training and not model.vision_model.training
    assert not any(module.training for module in model.vision_model.modules())
    model(**batch).loss.backward()
    frozen = statistics(model.vision_model)
    assert all(torch.equal(frozen[name], values) for name, values in trained.items())


@torch.no_grad()
def test_maps_of_all_stages_are_there_and_absent_images_are_never_read(batch):
    model = make_model().eval()
    maps = model.vision_model(pixel_values=batch["pixel_values"][0]).feature_maps
    assert [tuple(each.shape) for each in maps] == [(3, 8, 8, 8), (3, 8, 4, 4), (3, 12, 2, 2), (3, 16, 1, 1)]
    logits = model(**batch).logits
    assert logits.isfinite().all()
    for post in range(3):
        alone = {name: values[[post]] for name, values in batch.items()}
        torch.testing.assert_close(model(**alone).logits[0], logits[post], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_model_that_reads_maps_is_built_from_a_pretrained_classifier_of_images(tmp_path, batch):
    text = AutoModel.from_config(AutoConfig.for_model(**ENCODERS["text"]))
    text.save_pretrained(tmp_path / "text")
    torch.manual_seed(5)
    pretrained = ResNetForImageClassification(AutoConfig.for_model(**ENCODERS["maps"])).eval()
    for name, values in pretrained.state_dict().items():
        if "running_mean" in name:
            values.normal_()
    pretrained.save_pretrained(tmp_path / "vision")
    model = MapsModel.from_encoders(str(tmp_path / "text"), str(tmp_path / "vision"), vocab_size=254)
    weights = pretrained.resnet.state_dict()
    assert not model.training
    assert set(model.vision_model.state_dict()) == set(weights)
    for name, values in model.vision_model.state_dict().items():
        assert torch.equal(values, weights[name]), name
    images = batch["pixel_values"][0]
    expected = pretrained.resnet(pixel_values=images).last_hidden_state
    torch.testing.assert_close(model.vision_model(pixel_values=images).feature_maps[-1], expected)
    model.save_pretrained(tmp_path / "model")
    assert torch.equal(MapsModel.from_pretrained(tmp_path / "model")(**batch).logits, model(**batch).logits)


@torch.no_grad()
@pytest.mark.parametrize("asked", ["sdpa", "eager", {"text_config": "eager", "vision_config": "sdpa"}], ids=str)
def test_an_encoder_without_attention_is_asked_for_none(tmp_path, batch, asked):
    model = make_model().eval()
    model.save_pretrained(tmp_path)
    logits = model(**batch).logits
    loaded = MapsModel.from_pretrained(tmp_path, attn_implementation=asked if isinstance(asked, str) else "sdpa")
    for each in (model, loaded):
        each.set_attn_implementation(asked)
        found = each.text_model.config._attn_implementation, each.vision_model.config._attn_implementation
        assert found == (asked if isinstance(asked, str) else "eager", "eager")
        torch.testing.assert_close(each(**batch).logits, logits, atol=1e-5, rtol=1e-5)


def test_a_system_that_reads_maps_takes_a_resnet_by_default_and_no_encoder_without_maps():
    assert MapsConfig().vision_config.model_type == "resnet"
    for name in ("convnext", "swin", "dinov2"):
        MapsConfig(vision_config={"model_type": name})
    for name in ("clip_vision_model", "vit", "bert"):
        with pytest.raises(StrictDataclassError, match=f"`vision_config` must be .* feature maps, .* but '{name}' is"):
            MapsConfig(vision_config={"model_type": name})


@pytest.mark.parametrize("special_tokens", [0, 1, 5])
def test_patches_are_what_stands_after_the_special_tokens_of_images_of_any_shape(special_tokens):
    images = torch.zeros(2, 3, 40, 24)
    features = torch.randn(2, special_tokens + 15, 7)
    assert torch.equal(select_patches(features, images, 8), features[:, special_tokens:])
    assert torch.equal(select_patches(features, images, [8, 12]), features[:, -10:])
    for wrong in (features[:, :14], features[0], features[:1]):
        with pytest.raises(ValueError, match="must be ViT-like: for 2 images it should give features of shape"):
            select_patches(wrong, images, 8)


def test_what_comes_of_the_existing_images_goes_back_to_their_slots(batch):
    pixel_values, mask = batch["pixel_values"], batch["image_mask"]
    images, found = existing_images(pixel_values, mask.long(), (3, NUM_SLOTS), "images", torch.float64)
    assert images.dtype == torch.float64 and len(images) == 4
    assert torch.equal(found, mask)
    assert torch.equal(scatter_images(images, found), pixel_values.nan_to_num().double())


def test_without_a_mask_all_images_exist_and_without_images_none(batch):
    shape = (3, NUM_SLOTS)
    assert given_image_mask(batch["pixel_values"], None, shape).all()
    assert not given_image_mask(None, None, shape).any()
    assert given_image_mask(None, None, shape).shape == shape
    assert torch.equal(given_image_mask(batch["pixel_values"], batch["image_mask"].int(), shape), batch["image_mask"])


def count_images(encoder, images, **arguments) -> tuple[int, torch.Tensor]:
    """Return how many images an encoder was given, and its last hidden state of all of them."""
    seen = []
    hook = encoder.register_forward_pre_hook(
        lambda module, arguments, keywords: seen.append(len(keywords["pixel_values"])), with_kwargs=True
    )
    outputs = encode_images(encoder, images, **arguments)
    hook.remove()
    (number,) = seen
    return number, outputs


def make_vit(**values):
    torch.manual_seed(2)
    config = ENCODERS["patches"] | {"model_type": "vit", "hidden_dropout_prob": 0.0} | values
    return AutoModel.from_config(AutoConfig.for_model(**config)).eval()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_each_different_image_is_encoded_once_and_answers_for_all_its_like(dtype):
    encoder = make_vit().to(dtype)
    images = torch.randn(7, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=dtype)
    images[2] = images[6] = images[0]
    images[5] = images[3]
    images[4] = images[0]
    images[4, 2, -1, -1] += 1.0  # a pixel makes another picture
    number, outputs = count_images(encoder, images, output_hidden_states=True)
    assert number == 4
    plain = encoder(pixel_values=images, output_hidden_states=True)
    torch.testing.assert_close(outputs.last_hidden_state, plain.last_hidden_state)
    assert len(outputs.hidden_states) == 3
    for level, expected in zip(outputs.hidden_states, plain.hidden_states):
        torch.testing.assert_close(level, expected)


@torch.no_grad()
def test_images_of_nan_are_equal_too_and_zero_is_not_minus_zero():
    images = torch.zeros(4, 3, IMAGE_SIZE, IMAGE_SIZE)
    images[:2, 0, 0, 0] = float("nan")
    images[3] = -images[3]
    assert count_images(make_vit(), images)[0] == 3


@pytest.mark.parametrize("name", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_an_encoder_that_drops_at_random_is_given_every_image(name):
    images = torch.ones(3, 3, IMAGE_SIZE, IMAGE_SIZE)
    encoder = make_vit(**{name: 0.5})
    assert count_images(encoder, images)[0] == 1
    number, outputs = count_images(encoder.train(), images)
    assert number == 3
    assert not torch.equal(outputs.last_hidden_state[0], outputs.last_hidden_state[1])
    assert count_images(make_vit().train(), images)[0] == 1


def test_an_encoder_with_statistics_of_the_batch_is_given_every_image(batch):
    encoder = make_model().vision_model
    images = torch.ones(3, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert count_images(encoder.train(), images)[0] == 3
    assert count_images(encoder.eval(), images)[0] == 1


def test_gradients_of_images_are_those_of_each_image():
    encoder = make_vit()
    images = torch.ones(2, 3, IMAGE_SIZE, IMAGE_SIZE, requires_grad=True)
    number, outputs = count_images(encoder, images)
    outputs.last_hidden_state[1].sum().backward()
    assert number == 2 and not images.grad[0].any() and images.grad[1].any()
