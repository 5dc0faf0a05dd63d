"""What a model's config.json says of its kind, before there are weights and without torch: whether
it is supported, and how it has to be read."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, PretrainedConfig, __version__
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
STATES = {"linear_attention", "conv", "hybrid", "hybrid_sliding"}
"""Kinds of layers that see what a mask lets them see, and nothing else; and such as carry a state
along a row, whatever they are told."""


def check_kind(config: PretrainedConfig, where: str) -> None:
    """Raise ValueError unless this is the configuration of a model that predicts the next token of
    a text, or of one that has such a model inside it."""
    text = config.get_text_config()
    inside = "" if text is config else f" inside `{config.model_type}`"
    if getattr(config, "auto_map", None):
        return  # code of its own, which transformers does not know
    if text.is_encoder_decoder:
        raise ValueError(
            f"{where}: found a model with an encoder (`{text.model_type}`), expected one that "
            "predicts the next token of a text and nothing else"
        )
    if text.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ValueError(
            f"{where}: found a model of the kind `{text.model_type}`{inside}, for which "
            "transformers has no causal language model of text alone; expected another model, such "
            "as the one of text alone that it was made from"
        )


def check_folder(folder: Path, where: str, trust_remote_code: bool = False) -> None:
    """`check_kind` of a model's folder; raises ValueError too if its config.json cannot be read."""
    trust = {"trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, **trust)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{where}: expected the config.json of a model that transformers {__version__} knows "
            "(or `trust_remote_code: true` for one with code of its own), found: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    check_kind(config, where)


def position_switch(config: PretrainedConfig) -> int | None:
    """The length beyond which all positions of a text are encoded otherwise (LongRoPE), so that a
    long text changes how a shorter one beside it is read; None where there is none."""
    found = getattr(config.get_text_config(), "rope_parameters", None) or {}
    # One for the whole model, or one for each kind of layer.
    kinds = found.values() if all(isinstance(x, dict) for x in found.values()) else [found]
    long = [x for x in kinds if x.get("rope_type") == "longrope"]
    return min((x["original_max_position_embeddings"] for x in long), default=None)


def has_states(config: PretrainedConfig) -> bool:
    """Whether some layers carry a state along a row (recurrent, convolutional, hybrid), from one
    document into the next."""
    kinds = getattr(config.get_text_config(), "layer_types", None) or ()
    return not STATES.isdisjoint(kinds)
