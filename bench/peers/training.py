"""What the training peers share: transformers' model in fp32 as it loads, eager mode, its default (sdpa) attention, torch's fused AdamW."""
import torch
from transformers import AutoModelForCausalLM


class TrainingPeer:
    def __init__(self, model, threads, training):
        torch.set_num_threads(threads)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.model.train()
        self.parameters = list(self.model.parameters())
        self.training = training
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=training["learning_rate"],
            betas=tuple(training["betas"]),
            eps=training["eps"],
            weight_decay=training["weight_decay"],
            fused=True,
        )

    def step(self, batch):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()
        self.optimizer.step()
        return loss.item()
