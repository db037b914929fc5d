"""The peer's side of the pipe: one JSON request a line on stdin, one JSON answer a line on stdout.

A peer script gives serve() a class. Peer(model, threads, settings) loads; prepare(rows) makes the tensors (not timed);
step(batch) is the timed work and its result is given to checks(batch, result), a dict of numbers or lists of numbers, and
tokens(batch, result), what was computed with padding; both outside the clock. Between steps the process sleeps on the pipe.
"""
import json
import sys
import time

NAMED = ("torch", "transformers", "trl", "accelerate", "datasets", "tokenizers", "lm_eval", "peft", "numpy")


def versions():
    """Of python and of whatever the script has imported."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in NAMED:
        if name in sys.modules:
            try:
                found[name] = getattr(sys.modules[name], "__version__", None) or version(name)
            except PackageNotFoundError:
                pass
    return found


def peak_rss_bytes():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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
                peer = make(request["model"], request["threads"], request["settings"])
                answer(versions=versions())
            elif request["do"] == "memory":
                answer(peak_rss_bytes=peak_rss_bytes())
            elif request["do"] == "step":
                batch = peer.prepare(request["rows"])
                cpu = time.process_time()
                wall = time.perf_counter()
                result = peer.step(batch)
                seconds = time.perf_counter() - wall
                cpu_seconds = time.process_time() - cpu
                answer(
                    seconds=seconds,
                    cpu_seconds=cpu_seconds,
                    checks=peer.checks(batch, result),
                    tokens=peer.tokens(batch, result),
                )
        except Exception as error:  # said to the bench, which then prints no ratio
            answer(error=f"{type(error).__name__}: {error}")
