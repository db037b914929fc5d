"""What the training peers share: transformers' model in fp32, its default (sdpa) attention, torch's fused AdamW. With
compile: true the model is torch.compile's, which warm-up steps pay for.
"""
import torch
from peer import gradient_norm
from transformers import AutoModelForCausalLM


def fused_adamw(parameters, settings):
    return torch.optim.AdamW(
        parameters,
        lr=settings["learning_rate"],
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
        fused=True,
    )


class TrainingPeer:
    def __init__(self, model, threads, settings):
        torch.set_num_threads(threads)
        self.settings = settings
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.model.train()
        self.parameters = list(self.model.parameters())
        self.optimizer = fused_adamw(self.parameters, settings)
        if settings.get("compile"):
            self.model = torch.compile(self.model)

    def step(self, batch):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def checks(self, batch, loss):
        return {"loss": loss, "grad_norm": gradient_norm(self.parameters)}
