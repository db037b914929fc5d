"""Writes test/golden/tokenization.json: what Python's tokenizers and transformers make of texts, chats and rows written here.
Usage: python tokenization.py DATA_FOLDER   (where tokenizers/ and models/ lie; their files do not get into the output)
The tiny tokenizers are built here and are in the output whole. Not named tokenizers.py: it would hide the package of that name."""
import importlib.metadata
import json
import pathlib
import sys

PINNED = {"tokenizers": "0.23.2", "transformers": "5.18.0", "jinja2": "3.1.6"}
wrong = [f"{n} {v} is needed, found {importlib.metadata.version(n)}" for n, v in PINNED.items() if importlib.metadata.version(n) != v]
if wrong:
    sys.exit("golden files are made with pinned versions only:\n  " + "\n  ".join(wrong))

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

GOLDEN = pathlib.Path(__file__).resolve().parent.parent
REAL = {"pythia": "tokenizers/pythia", "gpt2": "tokenizers/gpt2", "mistral": "tokenizers/mistral", "zephyr": "tokenizers/zephyr",
        "stories260K": "models/stories260K"}

TEXTS = [
    "", " ", "a", "\n", "  ", "\t", "\ufeff", "Hello", " Hello", "Hello ", "  Hello  world  ", "\n\nHello\n", "\r\n", "one\r\ntwo\r\n\r\nthree",
    "Once upon a time, there was a fox.\nIt didn't sleep; they'll say it's 'tired'. I'VE SEEN it, we're sure he'd go.",
    "def f(x):\n    return x ** 2  # square\n\n\tif x != 0x1F:\n\t\tprint(f\"{x:>8.3f}\")\n",
    "{\"key\": [1, 22, 333, 4444, 55555], \"π\": 3.14159}", "for(;;){a[i]+=b&c|d^~e<<2;}", "<div class=\"x\">&nbsp;</div><!-- end -->",
    "🙂", "a🙂b", "👩‍👩‍👧‍👦 family", "🇩🇪🇯🇵 flags", "👍🏽 tone", "❤️ heart", "🏴󠁧󠁢󠁷󠁬󠁳󠁿",
    "Füchse schlafen süß im Gehölz.", "Ça va, garçon ? L’été à Noël…", "¿Dónde está el niño?", "Съешь же ещё этих мягких булок", "Η γρήγορη αλεπού",
    "日本語のテキストです。", "中文没有空格,标点也不同。", "한국어 문장입니다.", "नमस्ते दुनिया", "مرحبا بالعالم", "שלום עולם", "สวัสดีชาวโลก", "Xin chào thế giới", "ⴰⵣⵓⵍ",
    "e\u0301 and é, ﬁ and fi, ½ and ², Ⅷ", "Ａｆｕｌｌｗｉｄｔｈ　ｓｐａｃｅ", "zero\u200bwidth\u200djoin", "no\u00a0break\u2003em\u3000wide\u2028line\u2029para\u0085next",
    "\ufeffmark first", "mark \ufeff in the middle", "two \ufeff\ufeff marks\ufeff", "\u0000null\u0001\u001b[31mred\u007f", "\u0378 unassigned", "\U000e0001tag",
    "<s>Hello</s>", "text</s>\n", "</s></s>", "a <s> b </s> c", "<unk>", "<|endoftext|>Hello<|endoftext|>", "<|user|>\nHi</s>\n<|assistant|>\n", "<0x0A>",
    "▁under▁score", " ▁ ", "_ __ ___", "...!?;:,", "--- *** ===", "12345678901234567890", "1,000.50", "₤€¥₿", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "     five", "tab\tand  two\n   three", "trailing   ", "mixed \t\n\r\f\v white", "𝕳𝖊𝖑𝖑𝖔 𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "𠜎𠜱𠝹", "n't 's 've", "Don't .stop ,here !now ?please",
]

# --- tokenizers built here -------------------------------------------------------------------------------------------------------------


def bpe(pieces: list[str], words: list[str], **settings) -> models.BPE:
    """A vocabulary of pieces and what the merges of `words`, left to right, make of them."""
    vocab, merges = {p: i for i, p in enumerate(pieces)}, []
    for word in words:
        left = word[0]
        for right in word[1:]:
            if (left, right) not in merges:
                merges.append((left, right))
                vocab.setdefault(left + right, len(vocab))
            left += right
    return models.BPE(vocab=vocab, merges=merges, **settings)


ODD = [AddedToken("<|sep|>", normalized=False), AddedToken("<mask>", lstrip=True), AddedToken("<end>", rstrip=True), AddedToken("WORD", single_word=True)]


def tiny_bytes() -> Tokenizer:
    t = Tokenizer(bpe(["<|eos|>", *sorted(pre_tokenizers.ByteLevel.alphabet())], ["Ġthe", "in", "ĠĠ", "ing", "Ċ", "ðŁĻ", "ï»¿."]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|eos|>"])
    t.add_tokens([*ODD, AddedToken("  ", normalized=True)])
    return t


def tiny_pieces() -> Tokenizer:
    letters = [chr(c) for c in range(33, 127)]
    t = Tokenizer(bpe(["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", *letters], ["▁the", "▁▁", "in", "ing"],
                      unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.add_tokens(ODD)
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t


ODD_TEXTS = [
    "the WORD in", "xWORD", "WORDx", "WORD", "(WORD)", "éWORD WORDé", "_WORD", "5WORD", "WORD WORD", "WORDWORD", "-WORD-", "a  <mask>  b", "<mask>", "  <mask>", "<mask><mask>", "<mask> <mask>",
    "<|sep|> <mask> x", "<|sep|><mask>", "a <end>  b", "<end> <mask> <end>", "<end>  WORD", "x\n<mask>\ny<end>\nz", "\ufeff<mask>", "\u3000<mask><end>\u3000the", "the<|sep|>the",
    "<|sep|>", "  <|sep|>  ", "the  the", "<end> <|sep|> the", "<mask>ing<end>ing",
    "\ufeff.", "a\ufeff.", " \ufeff. \u0085\u0085x",
]
# Ids that no text encodes to: parts of characters, bytes alone.
ODD_IDS = {"tiny-pieces": [[3 + 0xE4], [3 + 0xE4, 3 + 0xBD], [3 + 0xEF, 3 + 0xBB, 3 + 0xBF, 3 + 0x41], [3 + 0x41, 3 + 0xFF, 3 + 0x42], [3 + 0xE4, 400, 3 + 0xBD], []],
           "tiny-bytes": [[200], [200, 201, 0, 202], [60, 200], []]}

# --- chats -----------------------------------------------------------------------------------------------------------------------------

CHATML = """{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
# Written here in the manner of published ones: what such templates use of Jinja.
TEMPLATES = {
    "chatml": CHATML,
    "inst": """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}""",
    "headers": """{%- if not add_generation_prompt is defined -%}
    {%- set add_generation_prompt = false -%}
{%- endif -%}
{%- if tools is not none -%}TOOLS{%- endif -%}
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = '' %}
{%- endif %}
{{- '<|start|>system\n' ~ system ~ '<|end|>' }}
{%- for message in messages %}
    {%- if message.role == 'tool' %}{% continue %}{% endif %}
    {{- '<|start|>' + message.role + '\n' + message.content.strip() + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant\n' }}
{%- endif %}""",
}
CHATS = [
    [("user", "Hi")],
    [("user", "Hi"), ("assistant", "Hello.")],
    [("system", "Be brief."), ("user", "What is\n2+2?"), ("assistant", " 4 ")],
    [("user", "  spaces  "), ("assistant", "line\r\nline"), ("user", "🙂 </s> <b>&amp;</b>"), ("assistant", "{{ not a template }} {% if %}")],
    [("system", ""), ("user", "日本語"), ("assistant", "")],
]

# --- rows: the rules of method.md §6, written once more ----------------------------------------------------------------------------------

STORY = ("Once upon a time, there was a little fox.", " He liked to run.\nOne day he found a red ball 🙂 and took it home.")
CHAT = [dict(role="user", content="What is a fox?"), dict(role="assistant", content="An animal."),
        dict(role="user", content="Which colour?"), dict(role="assistant", content="Red, mostly. It's small.")]


def whole_rows(t, bos, eos: int) -> dict:
    """The default: an answer goes on from its prompt, so its ids are those of the whole text behind the prompt's."""
    first = [] if bos is None else [bos]
    ids = lambda text: t.encode(text, add_special_tokens=False).ids
    prompt, whole = ids(STORY[0]), ids(STORY[0] + STORY[1])
    assert whole[: len(prompt)] == prompt
    text = first + ids(STORY[0])
    return dict(prompt_response=dict(prompt_ids=first + prompt, response_ids=whole[len(prompt):] + [eos]),
                text=dict(prompt_ids=text[:1], response_ids=text[1:] + [eos]))


def chat_rows(hf, t, eos: int) -> dict:
    ids = lambda text: t.encode(text, add_special_tokens=False).ids
    render = lambda messages, **kw: hf.apply_chat_template(messages, tokenize=False, **kw)
    prompt, whole = render(CHAT[:-1], add_generation_prompt=True), render(CHAT)
    assert whole.startswith(prompt) and ids(whole)[: len(ids(prompt))] == ids(prompt)
    answer = ids(whole)[len(ids(prompt)):]
    default = dict(prompt_ids=ids(prompt), response_ids=answer[: answer.index(eos) + 1])
    # As in the released code: first exchange, empty system message, the assistant's marker stripped from its turn, EOS behind it.
    prompt = render([dict(role="system", content=""), CHAT[0]], add_generation_prompt=True)
    answer = render([CHAT[1]])
    marker = "<|assistant|>\n"
    assert answer.startswith(marker)
    return dict(messages=default, messages_compat=dict(prompt_ids=ids(prompt), response_ids=ids(answer[len(marker):]) + [eos]))


def collator(prompt: list[int], real: list[int], sampled: list[int], tail: list[int], eos: int, max_length: int, max_prompt_length: int) -> dict:
    """tokenize_batch_element of the released code, without its attention masks. `real` and `tail` end in the EOS that it appends."""
    generated = (sampled[:-1] if sampled[-1:] == [eos] else sampled) + tail
    longer = max(len(real), len(generated))
    if len(prompt) + longer > max_length:
        prompt = prompt[-max_prompt_length:]
    if len(prompt) + longer > max_length:
        real, generated = real[: max_length - max_prompt_length], generated[: max_length - max_prompt_length]
    return dict(prompt_ids=prompt, real_ids=real, generated_ids=generated)


def compat_pairs(t, chat: dict, eos: int) -> list[dict]:
    ids = lambda text: t.encode(text, add_special_tokens=False).ids
    chat_tail = [eos, *ids("x</s>\n")[2:], eos]
    assert chat["response_ids"][-3:] == chat_tail
    rows = dict(prompt_response=(ids(STORY[0]), ids(STORY[1]) + [eos], [eos]), messages=(chat["prompt_ids"], chat["response_ids"], chat_tail))
    cases = []
    for kind, (prompt, real, tail) in rows.items():
        whole = len(prompt) + len(real)
        for sampled in ([7, 8, 9, eos], [7, 8, 9], list(range(10, 17)), list(range(10, 60)), [eos]):
            for max_length, max_prompt_length in ((512, 128), (whole, 6), (whole - 1, 6), (20, 8), (whole + 20, whole - 1),
                                                  (whole, len(prompt) + 3), (len(prompt) + 10, len(prompt) + 5)):
                cases.append(dict(kind=kind, sampled=sampled, max_length=max_length, max_prompt_length=max_prompt_length,
                                  pair=collator(prompt, real, sampled, tail, eos, max_length, max_prompt_length)))
    return cases


def describe(t: Tokenizer, texts: list[str], odd_ids: list[list[int]]) -> dict:
    ids = [t.encode(text, add_special_tokens=False).ids for text in texts]
    ids_and_odd = ids + odd_ids
    return dict(vocab_size=max(t.get_vocab(with_added_tokens=True).values()) + 1, ids=ids, odd_ids=odd_ids,
                decoded=[t.decode(i, skip_special_tokens=False) for i in ids_and_odd], decoded_plain=[t.decode(i) for i in ids_and_odd])


def main(data: pathlib.Path) -> None:
    real = {name: Tokenizer.from_file(str(data / folder / "tokenizer.json")) for name, folder in REAL.items()}
    tiny = {"tiny-bytes": tiny_bytes(), "tiny-pieces": tiny_pieces()}
    zephyr = AutoTokenizer.from_pretrained(data / REAL["zephyr"])
    chats = []
    for name, template in {"zephyr": None, **TEMPLATES}.items():
        for chat in CHATS:
            for prompt in (False, True):
                messages = [dict(role=role, content=content) for role, content in chat]
                try:
                    text = zephyr.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=prompt)
                except Exception as error:  # raise_exception of the template
                    text = None
                chats.append(dict(template=name, messages=messages, add_generation_prompt=prompt, text=text))
    rows = {"stories260K": whole_rows(real["stories260K"], 1, 2), "pythia": whole_rows(real["pythia"], None, 0),
            "zephyr": whole_rows(real["zephyr"], 1, 2) | chat_rows(zephyr, real["zephyr"], 2)}
    apart = lambda t, eos: dict(prompt_ids=t.encode(STORY[0], add_special_tokens=False).ids, response_ids=t.encode(STORY[1], add_special_tokens=False).ids + [eos])
    for name, eos in (("stories260K", 2), ("pythia", 0), ("zephyr", 2)):
        rows[name]["prompt_response_compat"] = apart(real[name], eos)
    content = dict(
        versions=PINNED, texts=TEXTS, odd_texts=ODD_TEXTS,
        real={name: describe(t, TEXTS, []) for name, t in real.items()},
        tiny={name: dict(tokenizer=json.loads(t.to_str())) | describe(t, TEXTS + ODD_TEXTS, ODD_IDS[name]) for name, t in tiny.items()},
        templates=TEMPLATES, special_tokens={n: getattr(zephyr, n) for n in ("bos_token", "eos_token")}, chats=chats,
        story=STORY, chat=CHAT, rows=rows, compat_pairs=compat_pairs(real["zephyr"], rows["zephyr"]["messages_compat"], 2))
    path = GOLDEN / "tokenization.json"
    text = json.dumps(content, separators=(",", ":")).replace('},"', '},\n"')
    assert json.loads(text) == json.loads(json.dumps(content))
    path.write_text(text + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
