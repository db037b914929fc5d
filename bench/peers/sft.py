"""One SFT step as transformers does it: labels with -100 on the prompt, the model's own loss."""
import torch
from peer import serve
from training import TrainingPeer


class Sft(TrainingPeer):
    def prepare(self, rows):
        # Rows of one length: no padding, so no attention mask either.
        ids = torch.tensor([row["prompt_ids"] + row["response_ids"] for row in rows])
        labels = ids.clone()
        for i, row in enumerate(rows):
            labels[i, : len(row["prompt_ids"])] = -100
        return ids, labels

    def tokens(self, batch, loss):
        return batch[0].numel()

    def loss(self, batch):
        ids, labels = batch
        return self.model(input_ids=ids, labels=labels, use_cache=False).loss


serve(Sft)
