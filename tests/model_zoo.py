"""Small models of many classes of transformers, with random weights, and what to call them with."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

VOCABULARY = 60
SMALL = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
GROUPED = SMALL | dict(num_key_value_heads=2)
DEEP = GROUPED | dict(head_dim=8)
GPT = dict(
    vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2
)
SEQ2SEQ = dict(
    vocab_size=VOCABULARY,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
)
VISION = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    image_size=24,
    patch_size=8,
    num_channels=3,
)
AUDIO = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    conv_dim=(16, 16),
    conv_kernel=(10, 3),
    conv_stride=(5, 2),
    num_feat_extract_layers=2,
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4,
)


class Kind(NamedTuple):
    """A class, its configuration, and the inputs that it takes."""

    model: str
    config: str
    settings: dict[str, Any]
    inputs: str = "text"


KINDS = {
    # encoders
    "bert": Kind("BertModel", "BertConfig", SMALL),
    "roberta": Kind("RobertaModel", "RobertaConfig", SMALL),
    "electra": Kind("ElectraModel", "ElectraConfig", SMALL | dict(embedding_size=32)),
    "distilbert": Kind(
        "DistilBertModel",
        "DistilBertConfig",
        dict(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=48),
    ),
    "mpnet": Kind("MPNetModel", "MPNetConfig", SMALL),
    "esm": Kind("EsmModel", "EsmConfig", SMALL | dict(position_embedding_type="rotary", mask_token_id=3)),
    "modernbert": Kind("ModernBertModel", "ModernBertConfig", SMALL | dict(local_attention=6)),
    "deberta": Kind(
        "DebertaModel",
        "DebertaConfig",
        SMALL | dict(relative_attention=True, pos_att_type=["c2p", "p2c"], max_relative_positions=32),
    ),
    "deberta_v2": Kind(
        "DebertaV2Model",
        "DebertaV2Config",
        SMALL | dict(relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=8),
    ),
    # decoders
    "gpt2": Kind("GPT2Model", "GPT2Config", GPT),
    "gptj": Kind("GPTJModel", "GPTJConfig", GPT | dict(rotary_dim=4)),
    "gpt_neo": Kind(
        "GPTNeoModel",
        "GPTNeoConfig",
        dict(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            window_size=4,
            max_position_embeddings=64,
        ),
    ),
    "gpt_neox": Kind("GPTNeoXModel", "GPTNeoXConfig", SMALL),
    "opt": Kind("OPTModel", "OPTConfig", SMALL | dict(ffn_dim=48, word_embed_proj_dim=32)),
    "bloom": Kind(
        "BloomModel", "BloomConfig", dict(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)
    ),
    "falcon": Kind(
        "FalconModel", "FalconConfig", SMALL | dict(multi_query=True, new_decoder_architecture=False)
    ),
    "llama": Kind("LlamaModel", "LlamaConfig", GROUPED),
    "mistral": Kind("MistralModel", "MistralConfig", DEEP | dict(sliding_window=5)),
    "mixtral": Kind("MixtralModel", "MixtralConfig", DEEP | dict(num_local_experts=2, num_experts_per_tok=1)),
    "qwen2": Kind("Qwen2Model", "Qwen2Config", GROUPED),
    "qwen3": Kind("Qwen3Model", "Qwen3Config", DEEP),
    "gemma": Kind("GemmaModel", "GemmaConfig", DEEP),
    "gemma2": Kind(
        "Gemma2Model",
        "Gemma2Config",
        DEEP | dict(sliding_window=5, attn_logit_softcapping=2.0, query_pre_attn_scalar=8),
    ),
    "gemma3": Kind(
        "Gemma3TextModel", "Gemma3TextConfig", DEEP | dict(sliding_window=5, query_pre_attn_scalar=8)
    ),
    "phi": Kind("PhiModel", "PhiConfig", GROUPED),
    "phi3": Kind("Phi3Model", "Phi3Config", GROUPED),
    "cohere": Kind("CohereModel", "CohereConfig", GROUPED),
    "stablelm": Kind("StableLmModel", "StableLmConfig", GROUPED),
    "olmo2": Kind("Olmo2Model", "Olmo2Config", GROUPED),
    "gpt_oss": Kind(
        "GptOssModel",
        "GptOssConfig",
        DEEP | dict(sliding_window=5, num_local_experts=2, num_experts_per_tok=1),
    ),
    "deepseek_v3": Kind(
        "DeepseekV3Model",
        "DeepseekV3Config",
        SMALL
        | dict(
            num_key_value_heads=4,
            q_lora_rank=16,
            kv_lora_rank=16,
            qk_rope_head_dim=4,
            qk_nope_head_dim=8,
            v_head_dim=8,
            n_routed_experts=4,
            num_experts_per_tok=2,
            n_group=2,
            topk_group=1,
            moe_intermediate_size=16,
            first_k_dense_replace=1,
        ),
    ),
    # encoders with decoders
    "t5": Kind(
        "T5Model",
        "T5Config",
        dict(
            vocab_size=VOCABULARY,
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_decoder_layers=2,
            num_heads=4,
            decoder_start_token_id=0,
        ),
        "pairs",
    ),
    "bart": Kind("BartModel", "BartConfig", SEQ2SEQ, "pairs"),
    "marian": Kind("MarianModel", "MarianConfig", SEQ2SEQ, "pairs"),
    "pegasus": Kind("PegasusModel", "PegasusConfig", SEQ2SEQ, "pairs"),
    "mbart": Kind("MBartModel", "MBartConfig", SEQ2SEQ, "pairs"),
    # vision
    "vit": Kind("ViTModel", "ViTConfig", VISION, "image"),
    "deit": Kind("DeiTModel", "DeiTConfig", VISION, "image"),
    "dinov2": Kind("Dinov2Model", "Dinov2Config", VISION, "image"),
    "beit": Kind("BeitModel", "BeitConfig", VISION, "image"),
    "swin": Kind(
        "SwinModel",
        "SwinConfig",
        dict(image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4),
        "image32",
    ),
    "clip_vision": Kind("CLIPVisionModel", "CLIPVisionConfig", VISION, "image"),
    "siglip_vision": Kind("SiglipVisionModel", "SiglipVisionConfig", VISION, "image"),
    # audio
    "wav2vec2": Kind("Wav2Vec2Model", "Wav2Vec2Config", AUDIO, "audio"),
    "hubert": Kind("HubertModel", "HubertConfig", AUDIO, "audio"),
    "whisper": Kind(
        "WhisperModel",
        "WhisperConfig",
        SEQ2SEQ | dict(num_mel_bins=8, max_source_positions=20, max_target_positions=64),
        "mel",
    ),
}


# The class that generates, where its name is not that of the model with another ending.
_GENERATES = {
    "gpt2": "GPT2LMHeadModel",
    "gemma3": "Gemma3ForCausalLM",
    "bart": "BartForConditionalGeneration",
    "t5": "T5ForConditionalGeneration",
}


def build(name: str, implementation: str, causal: bool = False) -> Any:
    """The model with weights that do not depend on the implementation.

    ``causal`` gives the one that generates.
    """
    transformers = importlib.import_module("transformers")
    kind = KINDS[name]
    config = getattr(transformers, kind.config)(**kind.settings)
    config._attn_implementation = implementation
    torch.manual_seed(0)
    with_head = _GENERATES.get(name, kind.model.removesuffix("Model") + "ForCausalLM")
    model = getattr(transformers, with_head if causal else kind.model)(config).eval().requires_grad_(False)
    return sharpen(model)


def sharpen(model: Any) -> Any:
    """The model, which needs no gradients, with random weights so large that heads differ."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 or "sink" in name:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def padding(side: str, batch: int, n: int) -> Tensor:
    """1 at real tokens (batch, n): all, the first or the last ones."""
    mask = torch.ones(batch, n, dtype=torch.int64)
    for row in range(batch):
        if side == "right":
            mask[row, n - 2 * row :] = 0
        elif side == "left":
            mask[row, : 2 * row] = 0
    return mask


def _text(side: str) -> dict[str, Tensor]:
    ids = torch.randint(3, VOCABULARY, (3, 11), generator=torch.Generator().manual_seed(3))
    mask = padding(side, 3, 11)
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def _pairs(side: str) -> dict[str, Tensor]:
    target = torch.randint(3, VOCABULARY, (3, 11), generator=torch.Generator().manual_seed(4))
    mask = padding(side, 3, 11).roll(1, 0)
    return _text(side) | {"decoder_input_ids": target, "decoder_attention_mask": mask}


def _noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


INPUTS: dict[str, Callable[[str], dict[str, Tensor]]] = {
    "text": _text,
    "pairs": _pairs,
    "image": lambda side: {"pixel_values": _noise(2, 3, 24, 24)},
    "image32": lambda side: {"pixel_values": _noise(2, 3, 32, 32)},
    "audio": lambda side: {"input_values": _noise(2, 400)},
    "mel": lambda side: {
        "input_features": _noise(3, 8, 40),
        "decoder_input_ids": _pairs(side)["decoder_input_ids"],
        "decoder_attention_mask": _pairs(side)["decoder_attention_mask"],
    },
}
