"""Numbers that need no model: optimiser traces, learning-rate schedules, rotary tables."""
import torch
import transformers

import rope
from files import GOLDEN, exact_fp32, numbers, write_json

TRACES = {
    "adamw": (torch.optim.AdamW, dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)),
    "adamw_default": (torch.optim.AdamW, dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)),
    "rmsprop": (torch.optim.RMSprop, dict(lr=1e-3, alpha=0.99, eps=1e-8, weight_decay=0.0)),
    "rmsprop_weight_decay": (torch.optim.RMSprop, dict(lr=1e-3, alpha=0.9, eps=1e-6, weight_decay=0.05)),
}


def optimizers(versions: dict) -> None:
    """100 steps, fp32, of 5 numbers: ordinary, small, large, tiny (where eps decides) and mostly zero gradients."""
    generator = torch.Generator().manual_seed(5)
    gradients = torch.randn(100, 5, generator=generator) * torch.tensor([1.0, 1e-3, 50.0, 1e-8, 1.0]) + torch.tensor([0.3, 0, 0, 0, 0])
    gradients[:, 4] *= (torch.rand(100, generator=generator) < 0.1).float()
    start = torch.tensor([1.0, -0.5, 20.0, 0.001, 0.25])
    traces = {}
    for name, (optimizer_class, settings) in TRACES.items():
        parameter = torch.nn.Parameter(start.clone())
        optimizer = optimizer_class([parameter], foreach=False, **settings)
        steps = []
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
            steps.append(parameter.detach().clone())
        traces[name] = dict(settings=settings, parameters=exact_fp32(torch.stack(steps)))
    write_json(GOLDEN / "optimizers.json", dict(versions=versions, about="parameters[i]: after step i + 1 with gradients[i]; fp32, one tensor",
                                                start=exact_fp32(start), gradients=exact_fp32(gradients), traces=traces))
    # The same for a reader without JSON: name, its settings in the order of torch's arguments, 100 lines of parameters.
    lines = ["start 1", row(exact_fp32(start)), "gradients 100", *map(row, exact_fp32(gradients))]
    for name, trace in traces.items():
        lines += [" ".join([name, *(row(v) if isinstance(v, tuple) else repr(v) for v in trace["settings"].values())]), *map(row, trace["parameters"])]
    (GOLDEN / "optimizers.txt").write_text("\n".join(lines) + "\n")


def row(values) -> str:
    return " ".join(map(repr, values))


def schedules(versions: dict) -> None:
    num_steps, lr = 30, 1e-3
    schedules = {}
    for kind in ("linear", "cosine", "constant"):
        for warmup in (3, 0):
            name = "constant_with_warmup" if kind == "constant" else kind
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
            schedule = transformers.get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=num_steps)
            rates = []
            for _ in range(num_steps):
                rates.append(schedule.get_last_lr()[0])
                optimizer.step()
                schedule.step()
            schedules[f"{kind}_{warmup}"] = dict(name=kind, warmup_steps=warmup, learning_rates=numbers(rates, 12))
    write_json(GOLDEN / "schedules.json", dict(versions=versions, about="learning_rates[i]: used by step i + 1 (transformers' schedules: the first step of a warm-up has 0)",
                                               num_steps=num_steps, learning_rate=lr, schedules=schedules))


ROPES = {
    "default": (dict(rope_type="default", rope_theta=10000.0), 16),
    "partial": (dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.25), 64),
    "large_theta": (dict(rope_type="default", rope_theta=1e6), 32),
    "linear": (dict(rope_type="linear", rope_theta=5e4, factor=2.0), 16),
    "llama3": (dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192), 64),
    "llama3_small": (dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64), 16),
}


def ropes(versions: dict) -> None:
    positions = torch.tensor([0, 1, 7, 100, 4096, 65535, 100000])
    cases = {}
    for name, (parameters, head_dim) in ROPES.items():
        frequencies = rope.inv_freq(parameters, head_dim)
        config = transformers.LlamaConfig(hidden_size=2 * head_dim, num_attention_heads=2, head_dim=head_dim, rope_parameters=dict(parameters), max_position_embeddings=131072)
        if parameters["rope_type"] != "default":
            theirs, scaling = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu")
            assert scaling == 1 and torch.allclose(theirs.double(), frequencies, rtol=1e-6, atol=0), name
        cos, sin = rope.cos_sin(frequencies, positions)
        cases[name] = dict(rope_parameters=parameters, head_dim=head_dim, inv_freq=numbers(frequencies, 15), cos=numbers(cos, 12), sin=numbers(sin, 12))
    write_json(GOLDEN / "rope.json", dict(versions=versions, about="fp64; cos, sin [positions, rotary_dim / 2]", positions=positions.tolist(), cases=cases))
