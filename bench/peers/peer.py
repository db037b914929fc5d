"""The peer's side of the pipe: one JSON request a line on stdin, one JSON answer a line on stdout.

A peer script gives serve() a class: Peer(model, threads, training) loads and prepares, prepare(rows) makes the tensors
(not timed), step(batch) is the timed work and answers the loss. Between steps the process sleeps on the pipe.
"""
import json
import sys
import time


def versions():
    import platform

    import torch
    import transformers

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def gradient_norm(parameters):
    """Of the last step; outside the clock, because the peer's step needs none."""
    import torch

    return torch.sqrt(sum(p.grad.double().square().sum() for p in parameters if p.grad is not None)).item()


def serve(make):
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever libraries print is not an answer

    def answer(**fields):
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    peer = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                peer = make(request["model"], request["threads"], request["training"])
                answer(versions=versions())
            elif request["do"] == "step":
                batch = peer.prepare(request["rows"])
                cpu = time.process_time()
                wall = time.perf_counter()
                loss = peer.step(batch)
                seconds = time.perf_counter() - wall
                cpu_seconds = time.process_time() - cpu
                answer(
                    seconds=seconds,
                    cpu_seconds=cpu_seconds,
                    loss=loss,
                    grad_norm=gradient_norm(peer.parameters),
                    tokens=peer.tokens(batch),
                )
        except Exception as error:  # said to the bench, which then prints no ratio
            answer(error=f"{type(error).__name__}: {error}")
