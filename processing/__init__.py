"""Posts to tensors: processors and data sets. Importing this package registers the processors with `AutoProcessor`."""

from transformers import AutoProcessor

from .posts import NEGATIVE_RELATION, PostCollator, post_features
from .processing_focalmre import FocalMREProcessor

# By model type. Processors do not know the configuration classes: `AutoProcessor` finds them by their names.
PROCESSORS = {"focalmre": FocalMREProcessor}

for _model_type, _processor in PROCESSORS.items():
    AutoProcessor.register(_model_type, _processor)
    _processor.register_for_auto_class()

__all__ = ["NEGATIVE_RELATION", "PROCESSORS", "FocalMREProcessor", "PostCollator", "post_features"]
