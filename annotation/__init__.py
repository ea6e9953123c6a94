"""Pretrained models that find regions and captions in pictures, without a look at the label."""
