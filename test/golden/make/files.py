"""Writing of golden files: small JSON (shortest digits, a list of numbers on one line) and safetensors."""
import json
import pathlib
import re

import numpy as np
import torch
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent


def digits(value: float, count: int = 10) -> float:
    """fp64 rounded to `count` significant digits."""
    value = float(value.detach()) if isinstance(value, torch.Tensor) else float(value)
    return float(f"{value:.{count}g}")


def numbers(values, count: int = 10):
    """A tensor, array or nested list as nested lists of rounded numbers."""
    if isinstance(values, (torch.Tensor, np.ndarray)):
        values = values.tolist()
    return [numbers(v, count) for v in values] if isinstance(values, list) else digits(values, count)


def exact_fp32(values):
    """The shortest decimals that give back the same fp32 numbers."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to(torch.float32).numpy()
    return [exact_fp32(v) for v in values] if values.ndim > 1 else [float(str(v)) for v in values]


def write_json(path: pathlib.Path, content: dict) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+((?:[-+0-9.eE]+,?\s*)+)\]", lambda m: "[" + re.sub(r"\s+", " ", m.group(1)).strip() + "]", text)
    path.write_text(text + "\n")


def write_tensors(path: pathlib.Path, tensors: dict[str, torch.Tensor]) -> None:
    """fp32 on disk, whatever it was computed in."""
    save_file({name: tensor.detach().to(torch.float32).contiguous().clone() for name, tensor in tensors.items()}, path)
