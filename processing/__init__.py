"""Posts to tensors. Importing this package registers the processors with `AutoProcessor`, and the pipeline."""

from transformers import AutoModel, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .pipeline_relation_extraction import TASK, RelationExtractionPipeline
from .processing_focalmre import FocalMREProcessor
from .processing_mega import MegaProcessor
from .processing_multimodal import MultimodalProcessor
from .processing_text import TextProcessor
from .processing_tgdi import TGDIProcessor
from .processing_words import WordProcessor
from .spacy_entities import find_entities, find_nouns, load_spacy

# By the name that a configuration has as `processor_class`, and `processor_config.json` too.
PROCESSORS = {
    cls.__name__: cls
    for cls in (TextProcessor, WordProcessor, MultimodalProcessor, FocalMREProcessor, TGDIProcessor, MegaProcessor)
}

for _name, _processor in PROCESSORS.items():
    AutoProcessor.register(_name, _processor)
    _processor.register_for_auto_class()

PIPELINE_REGISTRY.register_pipeline(TASK, RelationExtractionPipeline, pt_model=AutoModel, type="multimodal")

__all__ = [
    "PROCESSORS",
    "FocalMREProcessor",
    "MegaProcessor",
    "MultimodalProcessor",
    "RelationExtractionPipeline",
    "TGDIProcessor",
    "TextProcessor",
    "WordProcessor",
    "find_entities",
    "find_nouns",
    "load_spacy",
]
