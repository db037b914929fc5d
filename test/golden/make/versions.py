"""The pinned tools that golden files are made with: another version is refused, so that a changed number is never a changed tool."""
import importlib.metadata
import sys

PINNED = {"torch": "2.13.0", "transformers": "5.18.0", "safetensors": "0.8.0", "numpy": "2.4.6"}


def check() -> dict[str, str]:
    wrong = []
    for name, wanted in PINNED.items():
        try:
            found = importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found = "not installed"
        if found != wanted:
            wrong.append(f"{name} {wanted} is needed, found: {found}")
    if wrong:
        sys.exit("golden files are made with pinned versions only:\n  " + "\n  ".join(wrong) + "\npip install " + " ".join(f"{n}=={v}" for n, v in PINNED.items()))
    return PINNED
