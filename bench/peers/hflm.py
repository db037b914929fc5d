"""lm_eval's HFLM.loglikelihood on questions with several choices; every request is the whole context and one choice."""
import importlib
import importlib.machinery
import sys
import types

import torch
from peer import serve

# Imported by lm_eval and not used here; empty stand-ins where they are not installed.
STAND_INS = {
    "evaluate": ["load"],
    "rouge_score": ["rouge_scorer", "scoring"],
    "pytablewriter": ["MarkdownTableWriter", "LatexTableWriter"],
    "sqlitedict": ["SqliteDict"],
    "word2number": ["w2n"],
    "sacrebleu": [],
    "jsonlines": [],
    "tqdm_multiprocess": [],
}
for name, members in STAND_INS.items():
    try:
        importlib.import_module(name)
    except ImportError:
        module = sys.modules[name] = types.ModuleType(name)
        module.__dict__.update(
            {member: type(member, (dict,), {}) for member in members},
            __spec__=importlib.machinery.ModuleSpec(name, None),
            __path__=[],
        )

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from word_ids import text_of, word_tokenizer  # noqa: E402


class Hflm:
    def __init__(self, model, threads, settings):
        torch.set_num_threads(threads)
        model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        self.lm = HFLM(
            pretrained=model,
            tokenizer=word_tokenizer(model.config.vocab_size),
            batch_size=settings["batch_size"],
            device="cpu",
            max_length=512,
        )

    def prepare(self, rows):
        return [
            Instance("loglikelihood", {}, (text_of(row["prompt_ids"]), " " + text_of(row["response_ids"])), i)
            for i, row in enumerate(rows)
        ]

    def step(self, requests):
        return self.lm.loglikelihood(requests, disable_tqdm=True)

    def checks(self, requests, result):
        return {"scores": [float(logprob) for logprob, _ in result]}

    def tokens(self, requests, result):
        return sum(len(context.split()) + len(choice.split()) for context, choice in (r.args for r in requests))


serve(Hflm)
