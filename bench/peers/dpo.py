"""One step of TRL's DPOTrainer, driven as its own loop drives it, without logging, saving and data loading: its collator makes the
batch (not timed); the clock covers its training_step (forward, reference, loss, its metrics, backward), the optimiser step of its
own optimizer (fused AdamW) and zero_grad. No clipping, a constant learning rate.

reference: model: the default, a second copy of the model that TRL loads itself. precomputed: log-probs given with the rows, as
precompute_ref_log_probs=True leaves them in the data set; what precomputing them took is charged to neither side.
"""
import tempfile

import torch
from datasets import Dataset
from peer import gradient_norm, serve
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer
from word_ids import word_tokenizer


class Dpo:
    def __init__(self, model, threads, settings):
        torch.set_num_threads(threads)
        self.precomputed = settings["reference"] == "precomputed"
        policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.folder = tempfile.TemporaryDirectory()
        config = DPOConfig(
            output_dir=self.folder.name,
            per_device_train_batch_size=4,
            learning_rate=settings["learning_rate"],
            adam_beta1=settings["betas"][0],
            adam_beta2=settings["betas"][1],
            adam_epsilon=settings["eps"],
            weight_decay=settings["weight_decay"],
            optim="adamw_torch_fused",
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            beta=settings["beta"],
            max_length=settings["max_length"],
            precompute_ref_log_probs=self.precomputed,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        row = {"prompt": "w3 w4", "chosen": " w5 w6", "rejected": " w7 w8"}
        self.trainer = DPOTrainer(
            model=policy,
            args=config,
            train_dataset=Dataset.from_list([row] * 4),
            processing_class=word_tokenizer(policy.config.vocab_size),
        )
        self.trainer.current_gradient_accumulation_steps = 1
        self.trainer.create_optimizer()
        # One group's decay for all: Trainer spares biases and norms, gleaner's step here does not.
        for group in self.trainer.optimizer.param_groups:
            group["weight_decay"] = settings["weight_decay"]
        self.model, self.optimizer = self.trainer.accelerator.prepare(self.trainer.model, self.trainer.optimizer)
        self.trainer.model_wrapped, self.trainer.optimizer = self.model, self.optimizer
        self.parameters = list(self.trainer.model.parameters())

    def prepare(self, rows):
        examples = [
            {
                "prompt_ids": row["prompt_ids"],
                "chosen_ids": row["real_ids"],
                "rejected_ids": row["generated_ids"],
            }
            | (
                {"ref_chosen_logps": row["ref_real"], "ref_rejected_logps": row["ref_generated"]}
                if self.precomputed
                else {}
            )
            for row in rows
        ]
        return self.trainer.data_collator(examples)

    def step(self, batch):
        # zero_grad before, not after: the gradients are the check.
        self.model.zero_grad(set_to_none=True)
        loss = self.trainer.training_step(self.model, dict(batch))
        self.optimizer.step()
        return loss.item()

    def checks(self, batch, loss):
        self.trainer._metrics["train"].clear()  # its log() would
        return {"loss": loss, "grad_norm": gradient_norm(self.parameters)}

    def tokens(self, batch, loss):
        return batch["input_ids"].numel() * (1 if self.precomputed else 2)


serve(Dpo)
