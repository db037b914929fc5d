"""transformers in fp64: its eager attention, RMSNorm and rotary embedding fall back to fp32 whatever the model's dtype, so inside `fp64()`
they are replaced by the same formulas without the casts. make.py checks each model against the untouched fp32 one."""
import contextlib
import copy

import torch
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.llama import modeling_llama
from transformers.models.mistral import modeling_mistral

import rope

MODULES = (modeling_gpt_neox, modeling_llama, modeling_mistral)
NORMS = (modeling_llama.LlamaRMSNorm, modeling_mistral.MistralRMSNorm)
ROTARY = (modeling_gpt_neox.GPTNeoXRotaryEmbedding, modeling_llama.LlamaRotaryEmbedding, modeling_mistral.MistralRotaryEmbedding)


def attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **_):
    """q [batch, heads, tokens, head_dim]; k, v [batch, kv_heads, tokens, head_dim]; the mask is added."""
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def rms_norm(self, x):
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def rotary(self, x, position_ids):
    cos, sin = rope.cos_sin(rope.of_config(self.config), position_ids)
    return torch.cat((cos, cos), -1).to(x.dtype), torch.cat((sin, sin), -1).to(x.dtype)


@contextlib.contextmanager
def fp64():
    kept = [m.eager_attention_forward for m in MODULES], [c.forward for c in NORMS], [c.forward for c in ROTARY]
    for module in MODULES:
        module.eager_attention_forward = attention
    for norm in NORMS:
        norm.forward = rms_norm
    for embedding in ROTARY:
        embedding.forward = rotary
    try:
        yield
    finally:
        for module, forward in zip(MODULES, kept[0]):
            module.eager_attention_forward = forward
        for norm, forward in zip(NORMS, kept[1]):
            norm.forward = forward
        for embedding, forward in zip(ROTARY, kept[2]):
            embedding.forward = forward


def double(model):
    return copy.deepcopy(model).double()


def logits(model, ids: list[int]) -> torch.Tensor:
    """[tokens, vocab]"""
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def token_logprobs(model, prompt: list[int], response: list[int]) -> torch.Tensor:
    """log π(response[j] | prompt, response[<j]), [len(response)]; one sequence at a time, so nothing is padded."""
    rows = logits(model, prompt + response)[len(prompt) - 1 : -1]
    return torch.log_softmax(rows, dim=-1).gather(1, torch.tensor(response)[:, None])[:, 0]


def sft_loss(model, rows: list[dict]) -> torch.Tensor:
    """−mean of log π over ALL response tokens of the batch."""
    logprobs = [token_logprobs(model, row["prompt_ids"], row["response_ids"]) for row in rows]
    return -torch.cat(logprobs).mean()


def pair_loss(model, pairs: list[dict], form: str, beta: float, nll_weight: float = 0.0) -> dict[str, torch.Tensor]:
    """Mean over pairs; sums of log-probabilities; ref_real and ref_generated are constants. nll_weight adds that much of sft_loss on the real side."""
    real = torch.stack([token_logprobs(model, p["prompt_ids"], p["real_ids"]).sum() for p in pairs])
    generated = torch.stack([token_logprobs(model, p["prompt_ids"], p["generated_ids"]).sum() for p in pairs])
    rewards_real = beta * (real - torch.tensor([p["ref_real"] for p in pairs], dtype=real.dtype))
    rewards_generated = beta * (generated - torch.tensor([p["ref_generated"] for p in pairs], dtype=real.dtype))
    margins = rewards_real - rewards_generated
    losses = {
        "logistic": lambda: -torch.nn.functional.logsigmoid(margins),
        "hinge": lambda: torch.clamp(1 - margins, min=0),
        "linear": lambda: -margins,
    }[form]()
    loss = losses.mean() - nll_weight * real.sum() / sum(len(p["real_ids"]) for p in pairs)
    return dict(loss=loss, margins=margins, rewards_real=rewards_real, rewards_generated=rewards_generated, logps_real=real, logps_generated=generated)


def gradients(model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every parameter's; a tied head has its sum under the embedding's name."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def norm(tensors: dict[str, torch.Tensor]) -> float:
    return sum(float(t.double().pow(2).sum()) for t in tensors.values()) ** 0.5


def greedy(model, prompt: list[int], count: int) -> dict:
    """Argmax continuation without a cache and without stopping; min_gap: the smallest lead of the best logit, so that no test hangs on a tie."""
    ids, gaps = list(prompt), []
    with torch.no_grad():
        for _ in range(count):
            best = logits(model, ids)[-1].topk(2)
            gaps.append(float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
    return dict(prompt_ids=list(prompt), response_ids=ids[len(prompt):], min_gap=min(gaps))
