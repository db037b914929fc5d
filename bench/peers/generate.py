"""Sampling as transformers' generate does it: left-padded batches, its own cache, whole batches until the longest answer ends.

Every row is ended at the length that the bench asks for, by a stopping criterion, so that all sides make the same number of
real tokens; the end-of-sequence check that it stands in for costs the same.
"""
import torch
from peer import serve
from transformers import AutoModelForCausalLM, StoppingCriteria, StoppingCriteriaList


class AtLength(StoppingCriteria):
    def __init__(self, lengths):
        self.lengths = lengths

    def __call__(self, input_ids, scores, **kwargs):
        return self.lengths <= input_ids.shape[1]


class Generate:
    def __init__(self, model, threads, settings):
        torch.set_num_threads(threads)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        self.model.generation_config.eos_token_id = None
        self.checked = None

    def prepare(self, rows):
        size = rows["batch"]
        self.check_rows = rows["check"]
        return [
            self.batch(rows["prompts"][i : i + size], rows["lengths"][i : i + size])
            for i in range(0, len(rows["prompts"]), size)
        ]

    @staticmethod
    def batch(prompts, lengths):
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, prompt in enumerate(prompts):
            ids[i, longest - len(prompt) :] = torch.tensor(prompt)
            mask[i, longest - len(prompt) :] = 1
        uneven = len(set(lengths)) > 1
        stop = StoppingCriteriaList([AtLength(torch.tensor(lengths) + longest)]) if uneven else None
        return ids, mask, max(lengths), stop

    @torch.inference_mode()
    def step(self, batches):
        computed = 0
        for ids, mask, length, stop in batches:
            out = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=length,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                pad_token_id=0,
                eos_token_id=None,
                stopping_criteria=stop,
            )
            if out.shape[1] != ids.shape[1] + length:
                raise RuntimeError(f"{out.shape[1] - ids.shape[1]} new tokens, not {length}")
            computed += out.numel()
        return computed

    @torch.inference_mode()
    def checks(self, batches, result):
        """Of the sequences that gleaner sampled, the log-probability of each token, all at once and without a cache."""
        if self.checked is None:
            self.checked = []
            for row in self.check_rows:
                prompt, response = row["prompt_ids"], row["response_ids"]
                logits = self.model(input_ids=torch.tensor([prompt + response]), use_cache=False).logits[0]
                logprobs = logits[len(prompt) - 1 : -1].log_softmax(-1)
                self.checked += logprobs.gather(-1, torch.tensor(response)[:, None])[:, 0].tolist()
        return {"token_logprobs": self.checked}

    def tokens(self, batches, result):
        return result


serve(Generate)
