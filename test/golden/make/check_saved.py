"""Loads a model folder that gleaner saved in transformers and compares its logits with the golden ones of NAME: prints one JSON object, exit code 1
where they differ by more than 1e-4. With --write FILE.safetensors nothing is compared: FILE gets logits.0, .1 … of NAME's sequences.
Usage: python check_saved.py MODEL_DIR NAME [--write FILE]"""
import versions

versions.check()

import argparse
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

import reference
from files import GOLDEN, write_tensors

TOLERANCE = 1e-4  # fp32, a whole model


def load(folder: str):
    """Strict: a missing, unknown or misshapen tensor is an error."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    problems = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if problems:
        sys.exit(f"{folder}: {problems}")
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("name")
    parser.add_argument("--write", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    sequences = json.loads((GOLDEN / f"{arguments.name}.json").read_text())["sequences"]
    model = load(arguments.model)
    with torch.no_grad():
        found = {f"logits.{i}": reference.logits(model, ids) for i, ids in enumerate(sequences)}
    if arguments.write:
        write_tensors(arguments.write, found)
        return
    wanted = load_file(GOLDEN / f"{arguments.name}.safetensors")
    difference = max(float((values - wanted[name]).abs().max()) for name, values in found.items())
    print(json.dumps(dict(model=arguments.model, name=arguments.name, architecture=type(model).__name__, max_difference=difference, equal=difference <= TOLERANCE)))
    sys.exit(0 if difference <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
