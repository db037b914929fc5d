"""The tiny models: every family and switch that gleaner has, with random weights (biases and norms too) large enough to be far from uniform."""
import json
import pathlib
import shutil

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from safetensors.torch import load_file, save_file

BOS, EOS = 1, 2
COMMON = dict(bos_token_id=BOS, eos_token_id=EOS)
NEOX = dict(hidden_size=32, num_hidden_layers=2, intermediate_size=48, max_position_embeddings=256, **COMMON)
LLAMA = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=44, max_position_embeddings=256, rms_norm_eps=1e-5, **COMMON)

MODELS = {
    "neox-parallel": GPTNeoXConfig(vocab_size=97, num_attention_heads=2, **NEOX),  # rotary_pct 0.25: 4 of 16
    "neox-sequential": GPTNeoXConfig(vocab_size=96, num_attention_heads=4, use_parallel_residual=False, tie_word_embeddings=True,
                                     rope_parameters=dict(rope_type="default", rope_theta=2500.0, partial_rotary_factor=0.5), **NEOX),
    "neox-rotary-full": GPTNeoXConfig(vocab_size=100, num_attention_heads=4, attention_bias=False,
                                      rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=1.0), **NEOX),
    "llama-mha": LlamaConfig(vocab_size=96, num_key_value_heads=4, **LLAMA),
    "llama-gqa": LlamaConfig(vocab_size=101, num_key_value_heads=2, head_dim=12, attention_bias=True, **LLAMA),
    "llama-tied-linear": LlamaConfig(vocab_size=110, num_key_value_heads=1, tie_word_embeddings=True,
                                     rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=5e4), **LLAMA),
    # head_dim 16: wave lengths 6.3 (kept), 20 and 63 (in between), 199 … (divided)
    "llama3-rope": LlamaConfig(vocab_size=96, num_key_value_heads=1, head_dim=16, **(LLAMA | dict(num_attention_heads=2)),
                               rope_parameters=dict(rope_type="llama3", factor=8.0, rope_theta=10000.0, low_freq_factor=1.0,
                                                    high_freq_factor=4.0, original_max_position_embeddings=64)),
    "mistral-window": MistralConfig(vocab_size=103, num_key_value_heads=2, sliding_window=7, **LLAMA),
}
CLASSES = {"gpt_neox": GPTNeoXForCausalLM, "llama": LlamaForCausalLM, "mistral": MistralForCausalLM}
CONFIG_V4 = ("neox-parallel", "llama-tied-linear", "llama3-rope", "mistral-window")
COPIED = "llama-gqa"  # this one also as bf16, fp16 and in shards
TRAINED = ("neox-parallel", "llama-gqa")
# Whose gradients of further pair losses are kept in full (every model has those of the logistic one); the rest only as a norm, to keep the files small.
PAIR_GRADIENTS = {"neox-parallel": ("hinge", "linear"), "llama-gqa": ("logistic_beta1", "logistic_nll")}


def saved_name(model: torch.nn.Module, name: str) -> str:
    """A parameter's name in the file: transformers 5 calls NeoX's head lm_head in memory and embed_out in files."""
    return "embed_out.weight" if model.config.model_type == "gpt_neox" and name == "lm_head.weight" else name


def random_model(name: str):
    config = MODELS[name]
    config._attn_implementation = "eager"
    model = CLASSES[config.model_type](config).eval()
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    with torch.no_grad():
        for tensor_name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 2:
                parameter.copy_(noise * (0.3 if "embed" in tensor_name or "lm_head" in tensor_name else 0.2))
            elif tensor_name.endswith("weight"):  # of a norm
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_(0.1 * noise)
    return model


def config_v4(config: dict) -> dict:
    """The same configuration in transformers 4's spelling."""
    old = {key: value for key, value in config.items() if key not in ("rope_parameters", "dtype", "is_decoder")}
    rope = dict(config["rope_parameters"])
    rope_type, theta, partial = rope.pop("rope_type"), rope.pop("rope_theta"), rope.pop("partial_rotary_factor", None)
    if config["model_type"] == "gpt_neox":
        old |= dict(rotary_emb_base=int(theta), rotary_pct=partial)
    else:
        old |= dict(rope_theta=theta)
        # linear scaling appeared with the key `type`, llama3 with `rope_type`
        old["rope_scaling"] = None if rope_type == "default" else {("type" if rope_type == "linear" else "rope_type"): rope_type, **rope}
        if config["model_type"] == "mistral":
            del old["rope_scaling"]
    return dict(sorted((old | dict(torch_dtype=config["dtype"], transformers_version="4.44.0")).items()))


def save(model, folder: pathlib.Path, **options) -> None:
    """config.json and weights, nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, **options)
    (folder / "generation_config.json").unlink(missing_ok=True)


def write(name: str, root: pathlib.Path):
    model = random_model(name)
    save(model, root / name)
    if name in CONFIG_V4:
        config = json.loads((root / name / "config.json").read_text())
        (root / name / "config_v4.json").write_text(json.dumps(config_v4(config), indent=2) + "\n")
    if name == COPIED:
        save(model, root / f"{name}-sharded", max_shard_size="40KB")
        for dtype, suffix in ((torch.bfloat16, "bf16"), (torch.float16, "fp16")):
            folder = root / f"{name}-{suffix}"
            save(model, folder)
            weights = {key: value.to(dtype) for key, value in load_file(folder / "model.safetensors").items()}
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
            config = json.loads((folder / "config.json").read_text()) | dict(dtype=str(dtype).removeprefix("torch."))
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return model
