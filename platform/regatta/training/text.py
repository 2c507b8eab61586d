"""Real English to train on, and the tokens that it is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor

_UNKNOWN = "<unk>"
_EVERY_NTH_TOPIC_VALIDATES = 10


@dataclass(frozen=True)
class Corpus:
    train: str
    validation: str


def python_topics() -> Corpus:
    """The help texts that come with Python, about half a million characters.

    Every tenth topic is kept for validation: whole topics, so that none is known by its start.
    """
    texts = [topics[name] for name in sorted(topics)]
    kept = texts[::_EVERY_NTH_TOPIC_VALIDATES]
    rest = [text for i, text in enumerate(texts) if i % _EVERY_NTH_TOPIC_VALIDATES]
    return Corpus(train="\n".join(rest), validation="\n".join(kept))


class CharTokenizer:
    """One token per character; characters that it does not know share token 0."""

    def __init__(self, characters: str) -> None:
        self._known = [_UNKNOWN, *sorted(set(characters))]
        self._number = {word: number for number, word in enumerate(self._known)}

    @property
    def size(self) -> int:
        return len(self._known)

    def encode(self, text: str) -> Tensor:
        return torch.tensor([self._number.get(character, 0) for character in text])

    def decode(self, tokens_T: Tensor) -> str:
        return "".join(self._known[number] for number in tokens_T.tolist())

    def save(self, path: Path) -> None:
        """Write the `tokenizer.json` of Hugging Face's tokenizers: pair encoding, no pairs."""
        model = {"type": "BPE", "unk_token": _UNKNOWN, "vocab": self._number, "merges": []}
        unknown = {"id": 0, "content": _UNKNOWN, "special": True, "normalized": False}
        unknown |= {"single_word": False, "lstrip": False, "rstrip": False}
        whole = {"version": "1.0", "added_tokens": [unknown], "model": model}
        path.write_text(json.dumps(whole | {"decoder": {"type": "Fuse"}}, ensure_ascii=False))


def batch_at(
    tokens_N: Tensor, *, step: int, rank: int, sequences: int, length: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The inputs and targets of one rank at one step, each of shape (sequences, length).

    They depend on nothing but the arguments, so that a run which is taken up again at a step sees
    what the first one would have seen.
    """
    rng = torch.Generator().manual_seed((seed << 40) + (step << 16) + rank)
    start_B1 = torch.randint(len(tokens_N) - length, (sequences, 1), generator=rng)
    span_BT = tokens_N[start_B1 + torch.arange(length + 1)]
    return span_BT[:, :-1], span_BT[:, 1:]
