"""Folders of random models, and posts with pictures."""

from prediction_helpers import focalmre, folder, mtb, prediction_arguments, tgdi  # noqa: F401, fixtures
