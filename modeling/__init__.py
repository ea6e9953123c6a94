"""Networks and their configurations; importing this package registers them with the Auto classes."""

from transformers import AutoConfig, AutoModel

from .configuration_bert_sg import BertSGConfig
from .configuration_cnn import CNNConfig
from .configuration_focalmre import FocalMREConfig
from .configuration_hvpnet import HVPNeTConfig
from .configuration_ifaformer import IFAformerConfig
from .configuration_mega_mre import MegaMREConfig
from .configuration_mkgformer import MKGformerConfig
from .configuration_mtb import MTBConfig
from .configuration_tgdi import TGDIConfig
from .configuration_umgf import UMGFConfig
from .configuration_umt import UMTConfig
from .configuration_vilbert import ViLBERTConfig
from .configuration_visualbert_mre import VisualBertMREConfig
from .modeling_bert_sg import BertSGForRelationClassification, BertSGPreTrainedModel
from .modeling_cnn import CNNForRelationClassification, CNNPreTrainedModel
from .modeling_focalmre import FocalMREForRelationClassification, FocalMREOutput, FocalMREPreTrainedModel
from .modeling_hvpnet import HVPNeTForRelationClassification, HVPNeTOutput, HVPNeTPreTrainedModel
from .modeling_ifaformer import IFAformerForRelationClassification, IFAformerPreTrainedModel
from .modeling_mega_mre import MegaMREForRelationClassification, MegaMREPreTrainedModel
from .modeling_mkgformer import MKGformerForRelationClassification, MKGformerPreTrainedModel
from .modeling_mtb import MTBForRelationClassification, MTBPreTrainedModel
from .modeling_tgdi import TGDIForRelationClassification, TGDIOutput, TGDIPreTrainedModel
from .modeling_umgf import UMGFForRelationClassification, UMGFPreTrainedModel
from .modeling_umt import UMTForRelationClassification, UMTOutput, UMTPreTrainedModel
from .modeling_vilbert import ViLBERTForRelationClassification, ViLBERTPreTrainedModel
from .modeling_visualbert_mre import VisualBertMREForRelationClassification, VisualBertMREPreTrainedModel

MODELS = {
    model.config_class.model_type: model
    for model in (
        BertSGForRelationClassification,
        CNNForRelationClassification,
        FocalMREForRelationClassification,
        HVPNeTForRelationClassification,
        IFAformerForRelationClassification,
        MKGformerForRelationClassification,
        MTBForRelationClassification,
        MegaMREForRelationClassification,
        TGDIForRelationClassification,
        UMGFForRelationClassification,
        UMTForRelationClassification,
        ViLBERTForRelationClassification,
        VisualBertMREForRelationClassification,
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
    "BertSGConfig",
    "BertSGForRelationClassification",
    "BertSGPreTrainedModel",
    "CNNConfig",
    "CNNForRelationClassification",
    "CNNPreTrainedModel",
    "FocalMREConfig",
    "FocalMREForRelationClassification",
    "FocalMREOutput",
    "FocalMREPreTrainedModel",
    "HVPNeTConfig",
    "HVPNeTForRelationClassification",
    "HVPNeTOutput",
    "HVPNeTPreTrainedModel",
    "IFAformerConfig",
    "IFAformerForRelationClassification",
    "IFAformerPreTrainedModel",
    "MKGformerConfig",
    "MKGformerForRelationClassification",
    "MKGformerPreTrainedModel",
    "MTBConfig",
    "MTBForRelationClassification",
    "MTBPreTrainedModel",
    "MegaMREConfig",
    "MegaMREForRelationClassification",
    "MegaMREPreTrainedModel",
    "TGDIConfig",
    "TGDIForRelationClassification",
    "TGDIOutput",
    "TGDIPreTrainedModel",
    "UMGFConfig",
    "UMGFForRelationClassification",
    "UMGFPreTrainedModel",
    "UMTConfig",
    "UMTForRelationClassification",
    "UMTOutput",
    "UMTPreTrainedModel",
    "ViLBERTConfig",
    "ViLBERTForRelationClassification",
    "ViLBERTPreTrainedModel",
    "VisualBertMREConfig",
    "VisualBertMREForRelationClassification",
    "VisualBertMREPreTrainedModel",
]
