"""One DPO step on a padded batch, real answers above generated ones, as TRL's DPOTrainer lays it out with precomputed
reference log-probs: one forward pass over both, log-softmax at the labels (TRL's selective_log_softmax for fp32),
logistic loss. Without TRL's extra metrics (entropy, token accuracy), which it computes over the full vocabulary.
"""
import torch
import torch.nn.functional as F
from peer import serve
from training import TrainingPeer


def label_logprobs(logits, labels):
    """As trl.trainer.utils.selective_log_softmax for fp32."""
    selected = torch.gather(logits, dim=-1, index=labels[..., None])[..., 0]
    return selected - torch.stack([torch.logsumexp(row, dim=-1) for row in logits])


class Pair(TrainingPeer):
    def prepare(self, rows):
        sequences = [(row["prompt_ids"], row[side]) for side in ("real_ids", "generated_ids") for row in rows]
        longest = max(len(prompt) + len(response) for prompt, response in sequences)
        ids = torch.zeros(len(sequences), longest, dtype=torch.long)
        attention = torch.zeros_like(ids)
        response_mask = torch.zeros_like(ids)
        for i, (prompt, response) in enumerate(sequences):
            ids[i, : len(prompt) + len(response)] = torch.tensor(prompt + response)
            attention[i, : len(prompt) + len(response)] = 1
            response_mask[i, len(prompt) : len(prompt) + len(response)] = 1
        references = torch.tensor([[row["ref_real"] for row in rows], [row["ref_generated"] for row in rows]])
        return ids, attention, response_mask, references

    def tokens(self, batch):
        return batch[0].numel()

    def loss(self, batch):
        ids, attention, response_mask, references = batch
        logits = self.model(input_ids=ids, attention_mask=attention, use_cache=False).logits
        logprobs = label_logprobs(logits[:, :-1], ids[:, 1:])
        sums = (logprobs * response_mask[:, 1:]).sum(dim=1)
        real, generated = sums.chunk(2)
        margins = self.training["beta"] * ((real - references[0]) - (generated - references[1]))
        return -F.logsigmoid(margins).mean()


serve(Pair)
