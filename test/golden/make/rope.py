"""RoPE's inverse frequencies in fp64, from the formulas (transformers computes them in fp32; make.py checks that both agree)."""
import math

import torch


def inv_freq(rope: dict, head_dim: int) -> torch.Tensor:
    """[rotary_dim / 2], fp64. rope: transformers' rope_parameters."""
    dim = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    freq = rope["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    if rope["rope_type"] == "default":
        return freq
    if rope["rope_type"] == "linear":
        return freq / rope["factor"]
    assert rope["rope_type"] == "llama3", rope
    wave = 2 * math.pi / freq
    low, high, original = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    smooth = ((original / wave - low) / (high - low)).clamp(0, 1)  # 0: divided by factor, 1: kept
    return (1 - smooth) * freq / rope["factor"] + smooth * freq


def of_config(config) -> torch.Tensor:
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return inv_freq(config.rope_parameters, head_dim)


def cos_sin(frequencies: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    angles = positions.to(torch.float64)[..., None] * frequencies
    return angles.cos(), angles.sin()
