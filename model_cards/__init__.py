"""What the Hub is given: model cards, publishing, converting."""

from .model_card import render_model_card

__all__ = ["render_model_card"]
