"""Posts to tensors: processors and data sets. Importing this package registers the processors with `AutoProcessor`."""

from transformers import AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .pipeline_relation_extraction import TASK, RelationExtractionPipeline
from .processing_focalmre import FocalMREProcessor
from .processing_tgdi import TGDIProcessor
from .spacy_entities import find_entities, find_nouns, load_spacy

# By model type. Processors do not know the configuration classes: `AutoProcessor` finds them by their names.
PROCESSORS = {"focalmre": FocalMREProcessor, "tgdi": TGDIProcessor}

for _model_type, _processor in PROCESSORS.items():
    AutoProcessor.register(_model_type, _processor)
    _processor.register_for_auto_class()

PIPELINE_REGISTRY.register_pipeline(TASK, RelationExtractionPipeline, pt_model=AutoModel, type="multimodal")

__all__ = [
    "PROCESSORS",
    "FocalMREProcessor",
    "RelationExtractionPipeline",
    "TGDIProcessor",
    "find_entities",
    "find_nouns",
    "load_spacy",
]
