"""One kernel in torch, on the inputs of bench/native/kernels.cc: a linear map's three products, attention or the log-prob head, each
with its backward pass. repeats products stand in one round, so that a round is long enough for the clock.
"""
import torch
import torch.nn.functional as F
from peer import serve

SAMPLES = 64
SAMPLE_STEP = 1_000_003


def value(seed, *shape):
    """The same bits as the native side's."""
    count = 1
    for size in shape:
        count *= size
    mask = 0xFFFFFFFF
    h = (torch.arange(count, dtype=torch.int64) * 2654435761 + seed * 40503) & mask
    h ^= h >> 15
    h = (h * 2246822519) & mask
    h ^= h >> 13
    return ((h >> 8).to(torch.float32) * 2.0**-24 - 0.5).view(*shape)


def samples(*tensors):
    found = []
    for tensor in tensors:
        flat = tensor.reshape(-1)
        found += flat[(torch.arange(SAMPLES) * SAMPLE_STEP) % flat.numel()].tolist()
    return found


class Linear:
    """x [rows, in], weight [out, in], dy [rows, out]; outputs are written in place of new ones, as a trainer's arena would."""

    def __init__(self, kind, rows, inputs, outputs):
        x, weight, dy = value(1, rows, inputs), value(2, outputs, inputs), value(3, rows, outputs)
        if kind == "forward":
            self.left, self.right, self.out = x, weight.t(), torch.empty(rows, outputs)
        elif kind == "dx":
            self.left, self.right, self.out = dy, weight, torch.empty(rows, inputs)
        else:
            self.left, self.right, self.out = dy.t(), x, torch.empty(outputs, inputs)

    def run(self):
        torch.mm(self.left, self.right, out=self.out)

    def checks(self):
        # Divided by the root of the terms of a sum, so that rounding errors are of one size whatever the shape.
        return {"samples": samples(self.out / self.left.shape[1] ** 0.5)}


class Attention:
    def __init__(self, batch, tokens, heads, head_dim):
        self.shape = (batch * tokens, heads * head_dim)

        def split(seed):
            rows = value(seed, batch, tokens, heads, head_dim)
            return rows.transpose(1, 2).contiguous()

        self.q, self.k, self.v = (split(seed).requires_grad_() for seed in (1, 2, 3))
        self.dout = split(4)

    def run(self):
        for tensor in (self.q, self.k, self.v):
            tensor.grad = None
        self.out = F.scaled_dot_product_attention(self.q, self.k, self.v, is_causal=True)
        self.out.backward(self.dout)

    def checks(self):
        found = (self.out.detach(), self.q.grad, self.k.grad, self.v.grad)
        return {"samples": samples(*(tensor.transpose(1, 2).reshape(self.shape) for tensor in found))}


class Head:
    def __init__(self, rows, hidden, vocab):
        self.x = value(1, rows, hidden).requires_grad_()
        self.weight = value(2, vocab, hidden).requires_grad_()
        self.targets = torch.arange(rows) * 7919 % vocab

    def run(self):
        self.x.grad = self.weight.grad = None
        self.loss = F.cross_entropy(F.linear(self.x, self.weight), self.targets, reduction="sum")
        self.loss.backward()

    def checks(self):
        return {"total": self.loss.item(), "samples": samples(self.x.grad, self.weight.grad)}


class Kernels:
    def __init__(self, model, threads, settings):
        torch.set_num_threads(threads)
        kind, sizes = settings["kernel"], settings["sizes"]
        self.repeats = settings["repeats"]
        if kind == "attention":
            self.kernel = Attention(*sizes)
        elif kind.startswith("head"):
            self.kernel = Head(*sizes)
        else:
            self.kernel = Linear(kind, *sizes)

    def prepare(self, rows):
        return None

    def step(self, batch):
        for _ in range(self.repeats):
            self.kernel.run()

    def checks(self, batch, result):
        return self.kernel.checks()

    def tokens(self, batch, result):
        return 0


serve(Kernels)
