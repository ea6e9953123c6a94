"""Networks and their configurations; importing this package registers them with the Auto classes."""

from transformers import AutoConfig, AutoModel

from .configuration_cnn import CNNConfig
from .configuration_focalmre import FocalMREConfig
from .configuration_mtb import MTBConfig
from .configuration_tgdi import TGDIConfig
from .modeling_cnn import CNNForRelationClassification, CNNPreTrainedModel
from .modeling_focalmre import FocalMREForRelationClassification, FocalMREOutput, FocalMREPreTrainedModel
from .modeling_mtb import MTBForRelationClassification, MTBPreTrainedModel
from .modeling_tgdi import TGDIForRelationClassification, TGDIOutput, TGDIPreTrainedModel

MODELS = {
    model.config_class.model_type: model
    for model in (
        CNNForRelationClassification,
        FocalMREForRelationClassification,
        MTBForRelationClassification,
        TGDIForRelationClassification,
    )
}

for _model in MODELS.values():
    AutoConfig.register(_model.config_class.model_type, _model.config_class)
    AutoModel.register(_model.config_class, _model)
    # So that `save_pretrained` and `push_to_hub` put the code beside the weights.
    _model.config_class.register_for_auto_class()
    _model.register_for_auto_class("AutoModel")

__all__ = [
    "MODELS",
    "CNNConfig",
    "CNNForRelationClassification",
    "CNNPreTrainedModel",
    "FocalMREConfig",
    "FocalMREForRelationClassification",
    "FocalMREOutput",
    "FocalMREPreTrainedModel",
    "MTBConfig",
    "MTBForRelationClassification",
    "MTBPreTrainedModel",
    "TGDIConfig",
    "TGDIForRelationClassification",
    "TGDIOutput",
    "TGDIPreTrainedModel",
]
