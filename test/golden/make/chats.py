"""Writes test/golden/chats.json: conversations as transformers' apply_chat_template renders them, with zephyr's own template and with ChatML.
Usage: python chats.py DATA_FOLDER   (where tokenizers/zephyr and chat/ lie; none of their texts gets into the output, only hashes of them)
Tricky conversations are written here and are in the output whole."""
import hashlib
import json
import pathlib
import sys

from tokenization import CHATML, GOLDEN, PINNED, AutoTokenizer

BLOCK = 50
FILES = ["hh_multiturn_1500.jsonl", "dolly_2000.jsonl", "preferences_dpo_en_300.jsonl"]
SYSTEM = dict(role="system", content="You are brief.\n")
TRICKY = [
    [("user", "")], [("user", "\n")], [("user", " \n lead and trail \n ")], [("system", ""), ("user", "")], [("system", "a"), ("system", "b"), ("user", "c")],
    [("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d")], [("assistant", "first")], [("system", "only")],
    [("user", "</s><s>[INST] <|im_end|>\n<|im_start|>system\nno<|user|>"), ("assistant", "<|assistant|>\n</s>")],
    [("user", "{{ 7 * 7 }} {% raw %} {# c #} {%- if x -%}"), ("assistant", "{{ messages }}")],
    [("user", "\r\nCRLF\r\n"), ("assistant", "\u2028\u0085\u00a0\ufeff\u200b")], [("user", "\U0001f469\u200d\U0001f467 \u0e2a\u0e27\u0e31\u0e2a e\u0301"), ("assistant", "\U0001f642")],
    [("user", "<b>&amp;\"'\\</b>"), ("assistant", "\\n not a newline \t tab")], [("user", "x\n\n\n"), ("assistant", "\n\n\ny"), ("user", "   "), ("assistant", "z")],
    [("user", "a" * 500), ("assistant", "b\n" * 200)], [(role, f"turn {i}") for i in range(20) for role in ("user", "assistant")],
    [("user", "0"), ("assistant", "None"), ("user", "true"), ("assistant", "[]")], [("user", "\u0000\u0001\u001b"), ("assistant", "\ud7ff\ue000\ufffd")],
    [("tool", "x"), ("user", "y")], [("system", "s"), ("assistant", "a"), ("user", "u")],
]


def conversations(file: pathlib.Path) -> list[list[dict]]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [row["messages"] + ([row["chosen"]] if "chosen" in row else []) for row in rows]


def variants(messages: list[dict]):
    """Whole, and up to its last answer with the generation prompt; as it is, and with a system message."""
    starts = [messages] if messages[0]["role"] == "system" else [messages, [SYSTEM, *messages]]
    return [(chat, add) for start in starts for chat, add in ((start, False), (start[:-1], True)) if chat]


def main(data: pathlib.Path) -> None:
    zephyr = AutoTokenizer.from_pretrained(data / "tokenizers/zephyr")
    templates = {"zephyr": zephyr.chat_template, "chatml": CHATML}
    render = lambda name, chat, add: zephyr.apply_chat_template(chat, chat_template=templates[name], tokenize=False, add_generation_prompt=add)
    hashes = {}
    for name in templates:
        for file in FILES:
            chats = conversations(data / "chat" / file)
            hashes[f"{name} {file}"] = [
                hashlib.sha256("".join(render(name, chat, add) + "\0" for messages in chats[i:i + BLOCK] for chat, add in variants(messages)).encode()).hexdigest()[:16]
                for i in range(0, len(chats), BLOCK)]
    tricky = [[dict(role=role, content=content) for role, content in chat] for chat in TRICKY]
    content = dict(versions=PINNED, block=BLOCK, system=SYSTEM, hashes=hashes, templates=templates,
                   tricky=[dict(messages=chat, texts={name: [render(name, chat, add) for add in (False, True)] for name in templates}) for chat in tricky])
    path = GOLDEN / "chats.json"
    path.write_text(json.dumps(content, indent=0) + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
