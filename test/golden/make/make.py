"""Writes test/golden: tiny models of every family and what torch and transformers compute with them. See ../README.md.
Usage: python make.py [--only NAME…] [--data FOLDER]   (--data: where models/stories260K, models/stories-neox and demo/ lie)"""
import versions

VERSIONS = versions.check()

import argparse
import os
import pathlib
import random
import shutil
import tempfile

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

import models
import reference
import rope
import rows
import stories
import tables
import training
from files import GOLDEN, digits, numbers, write_json, write_tensors

PAIR_LOSSES = {
    "logistic": dict(form="logistic", beta=0.1, nll_weight=0.0),
    "hinge": dict(form="hinge", beta=0.1, nll_weight=0.0),
    "linear": dict(form="linear", beta=0.1, nll_weight=0.0),
    "logistic_beta1": dict(form="logistic", beta=1.0, nll_weight=0.0),
    "logistic_nll": dict(form="logistic", beta=0.1, nll_weight=0.5),
}


def relative(found: dict, wanted: dict) -> float:
    """The largest of the per-tensor norms of difference over norms of reference."""
    return max(float((found[n].double() - g).norm() / g.norm()) for n, g in wanted.items())


def greedy_rows(model, vocab: int, rng: random.Random) -> list[dict]:
    """Two prompts whose 64 greedy tokens have no near tie and no EOS, so that it does not matter whether EOS stops."""
    found = []
    while len(found) < 2:
        row = reference.greedy(model, rows.prompt(rng, (5, 11)[len(found)], vocab), 64)
        if row["min_gap"] > 5e-3 and models.EOS not in row["response_ids"] and len(set(row["response_ids"])) > 5:
            found.append(row | dict(min_gap=digits(row["min_gap"], 4)))
    return found


def golden(name: str) -> None:
    plain = models.write(name, GOLDEN / "models")  # fp32, transformers untouched
    vocab = plain.config.vocab_size
    rng = random.Random(name)
    tensors, content = {}, dict(model=name, versions=VERSIONS, computed="fp64 with the fp32 weights of the folder, rounded to fp32",
                                eos_token_id=models.EOS, vocab_size=vocab)
    checked = dict()
    theirs = (plain.gpt_neox if hasattr(plain, "gpt_neox") else plain.model).rotary_emb.inv_freq
    assert torch.allclose(theirs.double(), rope.of_config(plain.config), rtol=1e-6, atol=0)

    sequences = [rows.prompt(rng, length, vocab) for length in (1, 23, 40)]
    scored = rows.demonstrations(rng, [(1, 1), (3, 12), (20, 5), (9, 30)], vocab)
    scored[3]["response_ids"][-1] = models.EOS + 3  # cut, no EOS
    batch = rows.demonstrations(rng, [(5, 3), (2, 37), (18, 1), (9, 14)], vocab)
    pairs = rows.pairs(rng, vocab)
    with reference.fp64():
        model = reference.double(plain)
        with torch.no_grad():
            for i, ids in enumerate(sequences):
                tensors[f"logits.{i}"] = reference.logits(model, ids)
            for row in scored:
                values = reference.token_logprobs(model, row["prompt_ids"], row["response_ids"])
                row |= dict(token_logprobs=numbers(values), logprob=digits(values.sum()))
            # Reference sums that put the margins (beta 0.1) on both sides of 0 and of hinge's 1.
            base = reference.pair_loss(model, [p | dict(ref_real=0.0, ref_generated=0.0) for p in pairs], "linear", 1.0)
            for pair, real, generated, margin in zip(pairs, base["logps_real"], base["logps_generated"], (-0.83, 0.41, 1.37)):
                shift = rng.uniform(-4, 4)
                pair["ref_real"] = round(float(real) - 10 * margin / 2 + shift, 4)
                pair["ref_generated"] = round(float(generated) + 10 * margin / 2 + shift, 4)
        loss = reference.sft_loss(model, batch)
        sft = reference.gradients(model, loss)
        tensors |= {f"sft.gradient/{models.saved_name(model, n)}": g for n, g in sft.items()}
        content |= dict(sequences=sequences, logprobs=scored, sft=dict(
            rows=batch, loss=digits(loss), num_targets=sum(len(r["response_ids"]) for r in batch), grad_norm=digits(reference.norm(sft))))
        losses = {}
        for key, settings in PAIR_LOSSES.items():
            result = reference.pair_loss(model, pairs, **settings)
            found = reference.gradients(model, result["loss"])
            whole = key in ("logistic", *models.PAIR_GRADIENTS.get(name, ()))
            losses[key] = settings | dict(loss=digits(result["loss"]), grad_norm=digits(reference.norm(found)), gradients=whole)
            losses[key] |= {k: numbers(result[k]) for k in ("margins", "rewards_real", "rewards_generated", "logps_real", "logps_generated")}
            if whole:
                tensors |= {f"{key}.gradient/{models.saved_name(model, n)}": g for n, g in found.items()}
            if key == "logistic":
                logistic = found
        content["pairs"] = dict(rows=pairs, losses=losses)
        content["greedy"] = dict(about="64 tokens; EOS does not occur and no best logit leads by less than min_gap", rows=greedy_rows(model, vocab, rng))

    # The untouched fp32 transformers says the same, far inside the tests' tolerances.
    with torch.no_grad():
        checked["logits"] = max(float((reference.logits(plain, ids).double() - tensors[f"logits.{i}"]).abs().max()) for i, ids in enumerate(sequences))
    checked["sft_gradient"] = relative(reference.gradients(plain, reference.sft_loss(plain, batch)), sft)
    checked["logistic_gradient"] = relative(reference.gradients(plain, reference.pair_loss(plain, pairs, "logistic", 0.1)["loss"]), logistic)
    if name in models.TRAINED:
        train(name, plain, model, rng, tensors, content, checked)
    assert all(v < 5e-5 for v in checked.values()), (name, checked)
    content["fp32_difference"] = {k: digits(v, 3) for k, v in checked.items()}
    if name in models.CONFIG_V4:
        check_v4(name, sequences[2], tensors["logits.2"])
    if name == models.COPIED:
        for suffix in ("bf16", "fp16"):
            copied = AutoModelForCausalLM.from_pretrained(GOLDEN / "models" / f"{name}-{suffix}", dtype=torch.float64, attn_implementation="eager")
            with reference.fp64(), torch.no_grad():
                tensors[f"{suffix}.logits.1"] = reference.logits(copied, sequences[1])
    write_tensors(GOLDEN / f"{name}.safetensors", tensors)
    write_json(GOLDEN / f"{name}.json", content)
    print(name, content["fp32_difference"], "sft", content["sft"]["loss"], "margins", losses["logistic"]["margins"], "gaps", [r["min_gap"] for r in content["greedy"]["rows"]])


def train(name, plain, model, rng, tensors, content, checked) -> None:
    vocab = plain.config.vocab_size
    batches = [rows.demonstrations(rng, [(rng.randrange(1, 12), rng.randrange(1, 16)) for _ in range(4)], vocab) for _ in range(training.BATCHES)]
    free = training.undetermined(model)
    with reference.fp64():
        gradients = reference.gradients(model, reference.sft_loss(model, batches[0]))
    assert all(float(gradients[n][elements].abs().max()) < 1e-14 for n, elements in free.items())
    content["training"] = dict(about="20 SFT steps in fp64, step i on batches[i % 5], linear schedule with 2 steps of warm-up; weights after them: <optimizer>.weight/<tensor>. "
                                     "undetermined: elements whose gradient is zero but for rounding; what an optimiser makes of that noise is not compared",
                               max_grad_norm=training.MAX_GRAD_NORM, num_steps=training.STEPS, batches=batches,
                               undetermined=free, optimizers={})
    for optimizer, settings in training.OPTIMIZERS.items():
        with reference.fp64():
            trained, trace = training.train(model, optimizer, batches)
        fp32, _ = training.train(plain, optimizer, batches)
        ours, theirs = dict(trained.named_parameters()), dict(fp32.named_parameters())
        differences = {}
        for n, parameter in ours.items():
            difference = (parameter.detach() - theirs[n].detach().double()).abs()
            difference[free.get(n, [])] = 0
            differences[n] = float(difference.max())
        worst = max(differences, key=differences.get)
        print("  ", optimizer, "worst weight in fp32", worst, differences[worst], "loss", trace["losses"][0], trace["losses"][-1])
        checked[f"{optimizer}_weights"] = differences[worst]
        tensors |= {f"{optimizer}.weight/{models.saved_name(model, n)}": p for n, p in ours.items()}
        content["training"]["optimizers"][optimizer] = dict(settings=settings) | {k: numbers(v) for k, v in trace.items()}


def check_v4(name: str, ids: list[int], wanted: torch.Tensor) -> None:
    """transformers reads the old spelling as the same model."""
    with tempfile.TemporaryDirectory() as folder:
        source = GOLDEN / "models" / name
        shutil.copy(source / "model.safetensors", folder)
        shutil.copy(source / "config_v4.json", os.path.join(folder, "config.json"))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
        with reference.fp64(), torch.no_grad():
            assert torch.equal(reference.logits(model, ids), wanted), name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="models to make again (default: all, and the tables)")
    parser.add_argument("--data", type=pathlib.Path, help="also makes the numbers of the real models that lie here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()
    if not arguments.only:
        tables.optimizers(VERSIONS)
        tables.schedules(VERSIONS)
        tables.ropes(VERSIONS)
    for name in arguments.only or models.MODELS:
        golden(name)
    if arguments.data:
        for name in stories.MODELS:
            stories.write(name, arguments.data, VERSIONS)


if __name__ == "__main__":
    main()
