"""CNN and PCNN: word vectors and positions, a convolution, its maxima over the text or over three pieces of it.

Dimensions: B posts, T tokens with markers, W words, d_w a word's vector, d_p a position's, h filters.
"""

import math

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple

from .configuration_cnn import CNNConfig
from .modeling_relation_extraction import RelationExtractionPreTrainedModel, relation_loss

PIECES = {"max": 1, "piecewise": 3}


class CNNPreTrainedModel(RelationExtractionPreTrainedModel):
    """Base of the models of CNN and PCNN: word vectors and initial weights."""

    config: CNNConfig
    base_model_prefix = "cnn"

    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, nn.Embedding):
            is_words = module is self.get_input_embeddings()
            init.normal_(module.weight, std=1 / math.sqrt(self.config.word_size) if is_words else 1.0)


class CNNForRelationClassification(CNNPreTrainedModel):
    """CNN (Zeng et al. 2014) or PCNN (Zeng et al. 2015) with its relation classifier: text alone, word by word.

    With `pooling="max"` the maxima of the filters are over the whole text (CNN), with `"piecewise"` over each of the
    three pieces up to the first entity, up to the second, and after it (PCNN). Both are as in OpenNRE, whose results
    others compare with. Differences from the papers:

    - CNN has no features of WordNet and of the words beside the entities, and no layer before the classifier.
    - PCNN classifies a text by itself: MNRE has no bags of sentences. A piece ends with the first word of its entity.
    - ReLU in place of tanh.

    Difference from OpenNRE: the maxima are over words alone; there, CNN's are over padding too, and PCNN's pieces are
    told apart by a number that is subtracted.

    The markers of the entities are taken out of the text: the distances tell where the entities stand.

    Args:
        config (`CNNConfig`): the model's configuration.

    Example:

    ```python
    >>> processor = WordProcessor.from_words(["rafael", "nadal", "and", "mery", "perello"])
    >>> model = CNNForRelationClassification.from_word_vectors(
    ...     torch.randn(5, 50), vocab_size=len(processor.tokenizer), pooling="piecewise"
    ... )
    >>> inputs = processor(text="Rafael Nadal and Mery Perello", head=(0, 12), tail=(17, 29))
    >>> model(**inputs).logits
    ```
    """

    def __init__(self, config: CNNConfig):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.word_size)
        distances = 2 * config.max_distance + 1
        self.head_distance_embeddings = nn.Embedding(distances, config.position_size)
        self.tail_distance_embeddings = nn.Embedding(distances, config.position_size)
        size = config.word_size + 2 * config.position_size
        self.convolution = nn.Conv1d(size, config.hidden_size, config.kernel_size, padding="same")
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(PIECES[config.pooling] * config.hidden_size, config.num_labels)
        self.post_init()

    @classmethod
    def from_word_vectors(
        cls, vectors: torch.Tensor | None = None, *, vocab_size: int, first_id: int = 2, **config
    ) -> "CNNForRelationClassification":
        """Build a model on word vectors; all else is new.

        Args:
            vectors (`torch.Tensor` of shape `(V, word_size)`, *optional*): the words' vectors; new ones if not given.
            vocab_size (`int`): `len(processor.tokenizer)`, the words with the special tokens and the entity markers.
            first_id (`int`): id of the word that has the first vector.
            config: further values of the model's configuration, for example `id2label` and `label2id`.

        Returns:
            The model, in float32 and in evaluation mode.

        Raises:
            TypeError: if `config` has a name that the configuration does not know.
            ValueError: if the vectors do not fit into the vocabulary, or are of another size than `word_size`.
        """
        cls._check_names(config)
        if vectors is not None:
            config = {"word_size": vectors.shape[1]} | config
            if config["word_size"] != vectors.shape[1]:
                raise ValueError(
                    f"`word_size` is {config['word_size']}, but the word vectors have {vectors.shape[1]} numbers each."
                )
            if first_id + len(vectors) > vocab_size:
                raise ValueError(f"{len(vectors)} word vectors do not fit into a vocabulary of {vocab_size}.")
        model = cls(cls.config_class(vocab_size=vocab_size, **config))
        if vectors is not None:
            with torch.no_grad():
                model.word_embeddings.weight[first_id : first_id + len(vectors)] = vectors
        return model.eval()

    def get_input_embeddings(self) -> nn.Module:
        return self.word_embeddings

    def set_input_embeddings(self, value: nn.Module):
        self.word_embeddings = value

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor,
        entity_positions: torch.LongTensor,
        entity_spans: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> SequenceClassifierOutput:
        """Predict the relation of each post.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): the words with the entity markers.
            entity_positions (`torch.LongTensor` of shape `(B, 2)`): where the head's and the tail's opening markers
                stand: the first of each span.
            entity_spans (`torch.LongTensor` of shape `(B, 2, 2)`): first token and end (exclusive) of head and tail,
                their markers included.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): one for words, zero for padding.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`~transformers.modeling_outputs.SequenceClassifierOutput`] with `logits` of shape `(B, num_labels)`, and
            `loss` if `labels` were given; or a tuple with `return_dict=False`.
        """
        words, is_word, starts = without_markers(input_ids, entity_positions, entity_spans, attention_mask)
        place = torch.arange(words.shape[1], device=words.device)
        limit = self.config.max_distance
        distances = (place[None, None] - starts[:, :, None]).clamp(-limit, limit) + limit  # (B, 2, W)
        features = torch.cat(
            [
                self.word_embeddings(words),
                self.head_distance_embeddings(distances[:, 0]),
                self.tail_distance_embeddings(distances[:, 1]),
            ],
            dim=-1,
        )  # (B, W, d_w + 2 d_p)
        features = features.masked_fill(~is_word[:, :, None], 0)
        filtered = self.convolution(features.transpose(1, 2)).relu()  # (B, h, W)
        if self.config.pooling == "piecewise":
            first, second = starts.min(dim=1).values[:, None], starts.max(dim=1).values[:, None]  # (B, 1)
            pieces = [place <= first, (place > first) & (place <= second), place > second]
        else:
            pieces = [torch.ones_like(is_word)]
        # ReLU leaves nothing below zero: zero is the maximum of a piece without a word.
        maxima = [filtered.masked_fill(~(piece & is_word)[:, None], 0).amax(dim=2) for piece in pieces]
        logits = self.classifier(self.dropout(torch.cat(maxima, dim=1)))
        return SequenceClassifierOutput(loss=relation_loss(logits, labels, num_items_in_batch), logits=logits)


def without_markers(
    input_ids: torch.Tensor,
    entity_positions: torch.Tensor,
    entity_spans: torch.Tensor,
    attention_mask: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Take the entity markers out of a text.

    Returns:
        The words, (B, W); which of them are there, (B, W); and where head and tail start among them, (B, 2).
    """
    place = torch.arange(input_ids.shape[1], device=input_ids.device)
    markers = torch.cat([entity_positions, entity_spans[:, :, 1] - 1], dim=1)  # (B, 4)
    is_marker = (place[None, :, None] == markers[:, None]).any(dim=2)
    is_word = ~is_marker if attention_mask is None else attention_mask.bool() & ~is_marker
    # Words first, in their order. All numbers differ, for ONNX has no stable sort.
    order = torch.where(is_word, place, place + input_ids.shape[1]).argsort(dim=1)
    before = (is_word[:, None] & (place[None, None] < entity_positions[:, :, None])).sum(dim=2)
    return input_ids.gather(1, order), is_word.gather(1, order), before


__all__ = ["CNNForRelationClassification", "CNNPreTrainedModel"]
