"""Golden numbers of real models that are not in this repository; gradients only as a norm per tensor."""
import json
import pathlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import reference
from files import GOLDEN, digits, numbers, write_json
from models import saved_name

MODELS = ("stories260K", "stories-neox")
PROMPT = "Once upon a time, there was a"


def rows_of(data: pathlib.Path, tokenizer, eos: int) -> list[dict]:
    """The three shortest stories of different size that fit 200 tokens: <s> prompt | response </s>."""
    rows = []
    for line in (data / "demo" / "tinystories_dev.jsonl").read_text().splitlines():
        row = json.loads(line)
        prompt = [tokenizer.bos_token_id] + tokenizer(row["prompt"], add_special_tokens=False).input_ids
        whole = [tokenizer.bos_token_id] + tokenizer(row["prompt"] + row["response"], add_special_tokens=False).input_ids
        assert whole[: len(prompt)] == prompt, row["id"]
        rows.append(dict(id=row["id"], prompt_ids=prompt, response_ids=whole[len(prompt):] + [eos]))
    rows.sort(key=lambda r: len(r["prompt_ids"]) + len(r["response_ids"]))
    return [rows[0], rows[len(rows) // 10], rows[len(rows) // 4]]


def write(name: str, data: pathlib.Path, versions: dict) -> None:
    folder = data / "models" / name
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with reference.fp64():
        model = reference.double(plain)
        rows = rows_of(data, tokenizer, eos=2)
        with torch.no_grad():
            logprobs = [reference.token_logprobs(model, r["prompt_ids"], r["response_ids"]) for r in rows]
        loss = reference.sft_loss(model, rows)
        gradients = reference.gradients(model, loss)
        prompt = [tokenizer.bos_token_id] + tokenizer(PROMPT, add_special_tokens=False).input_ids
        greedy = reference.greedy(model, prompt, 64)
    with torch.no_grad():
        fp32 = [reference.token_logprobs(plain, r["prompt_ids"], r["response_ids"]) for r in rows]
    difference = max(float((a.double() - b).abs().max()) for a, b in zip(fp32, logprobs))
    assert difference < 1e-4, (name, difference)
    assert greedy["min_gap"] > 1e-3, greedy
    for row, values in zip(rows, logprobs):
        row |= dict(token_logprobs=numbers(values, 8), logprob=digits(values.sum()))
    greedy |= dict(prompt=PROMPT, response=tokenizer.decode(greedy["response_ids"]), min_gap=digits(greedy["min_gap"], 4))
    write_json(GOLDEN / f"{name}.json", dict(
        model=name, versions=versions, computed="fp64", fp32_max_difference=digits(difference, 3),
        logprobs=rows, sft=dict(about="the rows above as one batch", loss=digits(loss), grad_norm=digits(reference.norm(gradients)),
                                tensor_grad_norms={saved_name(model, n): digits(g.norm()) for n, g in gradients.items()}),
        greedy=[greedy | dict(about="no stopping; </s> does not occur" if 2 not in greedy["response_ids"] else "no stopping; goes on after </s>")]))
    print(f"{name}: rows {[len(r['response_ids']) for r in rows]}, fp32 differs by {difference:.1e}, greedy gap {greedy['min_gap']}: {greedy['response']!r}")
