"""A tokenizer learned from the training reports: byte-level, so that no text is unknown; whole numbers are tokens."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 1024
PAD, BOS, EOS, IMAGE = "<pad>", "<s>", "</s>", "<image>"
LONGEST = 2048
"""Tokens of a prompt, and of an answer: one endless text would take the memory of a thousand."""

_NUMBERS = range(100)
_LONGEST_TOKEN = 48

_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}"
    "{{ '\n' if message.role != 'assistant' else eos_token }}"
    "{% endfor %}"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Learn byte-level BPE from `texts`.

    Tokens may span words, so that stock sentences cost little, but never digits and punctuation. All whole numbers
    below 100 are tokens: a size or an SUV is then chosen at once and not digit by digit.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BOS, EOS, IMAGE],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=_LONGEST_TOKEN,
        show_progress=False,
    )
    lines = list(texts)
    # Often enough that every number is merged before rare phrases fill the vocabulary.
    numbers = [" ".join(f"{number}" for number in _NUMBERS)] * (len(lines) // 4 + 10)
    tokenizer.train_from_iterator([*lines, *numbers], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="left",
        extra_special_tokens={"image_token": IMAGE},
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = _CHAT_TEMPLATE
    return wrapped
