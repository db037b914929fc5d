"""Writes expected.json: what transformers makes of each config.json here — tensor names and shapes as saved, their number of
parameters, inverse frequencies of the rotary embedding (fp64 arithmetic would differ in the last fp32 digits), window and token ids.

    python test/models/make_expected.py && npx biome format --write test/models/expected.json        # needs exactly the versions below
"""

import json
import pathlib
import tempfile

import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM

PINNED = {"torch": "2.13.0", "transformers": "5.18.0"}
assert torch.__version__.split("+")[0] == PINNED["torch"], torch.__version__
assert transformers.__version__ == PINNED["transformers"], transformers.__version__

NEOX = {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 64}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 64}
MISTRAL = LLAMA | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "num_key_value_heads": 2}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
WIDE = {"head_dim": 64, "max_position_embeddings": 4096}

CASES = {
    "neox": NEOX,
    "neox sequential, tied, no attention bias": NEOX | {"use_parallel_residual": False, "tie_word_embeddings": True, "attention_bias": False},
    "neox as transformers 4 writes it": NEOX | {"rotary_pct": 1.0, "rotary_emb_base": 500, "torch_dtype": "float16", "bos_token_id": 3, "eos_token_id": None},
    "neox as transformers 5 writes it": NEOX | {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}, "dtype": "bfloat16"},
    "neox, rope_parameters without the rotated part": NEOX | {"rope_parameters": {"rope_type": "default", "rope_theta": 700.0}},
    "neox linear": NEOX | {"rotary_pct": 0.75, "rope_scaling": {"type": "linear", "factor": 4.0}},
    "llama": LLAMA,
    "llama, no architectures": {key: value for key, value in LLAMA.items() if key != "architectures"},
    "llama grouped, biases, tied": LLAMA | {"num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "llama head_dim": LLAMA | {"head_dim": 16, "num_key_value_heads": 1},
    "llama null keys": LLAMA | {"head_dim": None, "num_key_value_heads": None, "rope_scaling": None, "rope_parameters": None},
    "llama theta of transformers 4": LLAMA | {"rope_theta": 500000.0, "torch_dtype": "bfloat16"},
    "llama theta of transformers 5": LLAMA | {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}, "dtype": "float16"},
    "llama theta inside and beside": LLAMA | {"rope_theta": 100.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "llama scaling wins over parameters": LLAMA | {"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default", "rope_theta": 77.0}},
    "llama linear": LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.5}},
    "llama 3.1": LLAMA | WIDE | {"rope_theta": 500000.0, "rope_scaling": LLAMA3 | {"rope_type": "llama3", "low_freq_factor": 2.0, "original_max_position_embeddings": 1024}},
    "llama 3.1 in rope_parameters": LLAMA | WIDE | {"rope_parameters": LLAMA3 | {"rope_type": "llama3", "rope_theta": 10000.0, "original_max_position_embeddings": 512}},
    "llama 3.1, context beside": LLAMA | WIDE | {"original_max_position_embeddings": 256, "rope_scaling": LLAMA3 | {"rope_type": "llama3"}},
    "llama 3.1, context from max_position_embeddings": LLAMA | WIDE | {"rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}},
    "mistral": MISTRAL,
    "mistral window": MISTRAL | {"sliding_window": 8},
    "mistral no window": MISTRAL | {"sliding_window": None, "head_dim": 12, "rope_theta": 1000000.0},
    "mistral all heads": MISTRAL | {"num_key_value_heads": 4, "tie_word_embeddings": True},
    "mistral default heads": {key: value for key, value in MISTRAL.items() if key != "num_key_value_heads"} | {"num_attention_heads": 16, "hidden_size": 64},
    "every default of gpt_neox": {"model_type": "gpt_neox"},
    "every default of llama": {"model_type": "llama"},
    "every default of mistral": {"model_type": "mistral"},
}


def describe(config_json: dict) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config_json))
        config = AutoConfig.from_pretrained(folder)
        small = config.hidden_size < 1000
        dtype = str(config.dtype).removeprefix("torch.") if config.dtype else None  # from_config overwrites it
        with torch.device("cpu" if small else "meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        body = model.base_model
        rotary = body.rotary_emb
        if small:
            frequencies = rotary.inv_freq.tolist()
        else:  # on meta there are no numbers: compute them anew
            frequencies = type(rotary)(config).inv_freq.tolist()
        assert rotary.attention_scaling == 1.0
        result = {
            "config": config_json,
            "num_parameters": sum(p.numel() for p in model.parameters()),  # tied ones once
            "inv_freq": frequencies,
            "norm_eps": getattr(config, "layer_norm_eps", None) or config.rms_norm_eps,
            "sliding_window": getattr(config, "sliding_window", None),
            "max_position_embeddings": config.max_position_embeddings,
            "eos_token_id": config.eos_token_id,
            "bos_token_id": config.bos_token_id,
            "dtype": dtype,
        }
        if small:
            model.save_pretrained(folder)
            with safe_open(pathlib.Path(folder) / "model.safetensors", "pt") as file:
                result["tensors"] = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}
        return result


out = pathlib.Path(__file__).parent / "expected.json"
cases = {name: describe(config) for name, config in CASES.items()}
lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
out.write_text(f'{{\n  "versions": {json.dumps(PINNED)},\n{lines}\n}}\n')
