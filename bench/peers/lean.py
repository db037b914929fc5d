"""The pair step's needed arithmetic only, still in PyTorch and on transformers' model: a prompt and its two answers are one row under a
tree mask, nothing is padded, logits exist on target rows alone, the reference comes as numbers. How far less work goes without
other kernels.
"""
import torch
import torch.nn.functional as F
from peer import serve
from training import TrainingPeer

MASKED = torch.finfo(torch.float32).min


def tree(prompt, real, generated):
    """ids, additive mask, positions, rows that predict, targets: a row sees its own branch; positions of both answers follow the prompt."""
    p, r, g = len(prompt), len(real), len(generated)
    total = p + r + g
    seen = torch.ones(total, total, dtype=torch.bool).tril()
    seen[p + r :, p : p + r] = False
    mask = torch.zeros(total, total).masked_fill(~seen, MASKED)
    positions = torch.cat([torch.arange(p + r), torch.arange(p, p + g)])
    first = torch.tensor([p - 1])
    sources = torch.cat([first, torch.arange(p, p + r - 1), first, torch.arange(p + r, total - 1)])
    ids = torch.tensor(prompt + real + generated)
    return ids[None], mask[None, None], positions[None], sources, ids[p:], r


class Lean(TrainingPeer):
    def prepare(self, rows):
        return [
            (*tree(row["prompt_ids"], row["real_ids"], row["generated_ids"]), row["ref_real"] - row["ref_generated"])
            for row in rows
        ]

    def tokens(self, batch, loss):
        return sum(pair[0].numel() for pair in batch)

    def loss(self, batch):
        hidden = []
        for ids, mask, positions, sources, *_ in batch:
            states = self.model.base_model(ids, attention_mask=mask, position_ids=positions, use_cache=False)
            hidden.append(states.last_hidden_state[0, sources])
        targets = torch.cat([pair[4] for pair in batch])
        logits = self.model.get_output_embeddings()(torch.cat(hidden))
        logprobs = -F.cross_entropy(logits, targets, reduction="none")
        margins = []
        at = 0
        for _, _, _, _, targets, real, reference in batch:
            both = logprobs[at : at + len(targets)]
            at += len(targets)
            margins.append(both[:real].sum() - both[real:].sum() - reference)
        return -F.logsigmoid(self.settings["beta"] * torch.stack(margins)).mean()


serve(Lean)
