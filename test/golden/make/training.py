"""20 SFT steps with torch's optimisers, global-norm clipping and transformers' linear warm-up schedule."""
import copy

import torch
from transformers import get_linear_schedule_with_warmup

import reference

STEPS, WARMUP, BATCHES, MAX_GRAD_NORM = 20, 2, 5, 1.0
OPTIMIZERS = {
    "adamw": dict(learning_rate=1e-3, betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1),
    "rmsprop": dict(learning_rate=1e-4, alpha=0.99, eps=1e-8, weight_decay=0.0),
}


def build(name: str, parameters):
    """One group: weight decay falls on every parameter, biases and norms too."""
    settings = dict(OPTIMIZERS[name])
    lr = settings.pop("learning_rate")
    if name == "adamw":
        settings["betas"] = tuple(settings["betas"])
        return torch.optim.AdamW(parameters, lr=lr, foreach=False, **settings)
    return torch.optim.RMSprop(parameters, lr=lr, foreach=False, **settings)


def train(model, name: str, batches: list[list[dict]]):
    """The trained copy, and per step: learning rate, loss, gradient norm before clipping."""
    model = copy.deepcopy(model)
    optimizer = build(name, model.parameters())
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    trace = dict(learning_rates=[], losses=[], grad_norms=[])
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = reference.sft_loss(model, batches[step % BATCHES])
        loss.backward()
        trace["learning_rates"].append(schedule.get_last_lr()[0])
        trace["losses"].append(float(loss.detach()))
        trace["grad_norms"].append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)))
        optimizer.step()
        schedule.step()
    return model, trace


def undetermined(model) -> dict[str, list[int]]:
    """Elements whose gradient is zero in exact arithmetic, so that AdamW and RMSprop divide rounding noise by rounding noise: a key's bias
    outside the rotary part adds the same to all scores of a query, and softmax does not see it. NeoX's bias is [heads, (q, k, v), head_dim]."""
    if model.config.model_type != "gpt_neox" or not model.config.attention_bias:
        return {}
    heads = model.config.num_attention_heads
    head_dim = model.config.hidden_size // heads
    rotary = int(head_dim * model.config.rope_parameters["partial_rotary_factor"])
    elements = [head * 3 * head_dim + head_dim + i for head in range(heads) for i in range(rotary, head_dim)]
    return {name: elements for name, _ in model.named_parameters() if name.endswith("query_key_value.bias")}
