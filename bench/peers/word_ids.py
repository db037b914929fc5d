"""A tokenizer of one word an id, for peers that want text: what they read are the bench's ids."""
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def word_tokenizer(vocab):
    # Special tokens are searched for inside words: no word may contain one.
    words = {"<eos>": 0, "<pad>": 1} | {f"w{i}": i for i in range(2, vocab)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>", bos_token="<eos>")


def text_of(ids):
    return " ".join(f"w{i}" for i in ids)
