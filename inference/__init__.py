"""A model over raw posts."""
