"""What people write: the messages of a corpus, or such as nobody has written yet."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

VARIABLE = "SYNCD_CORPUS"
BESIDE = Path(__file__).parents[3] / "shared" / "corpus" / "sms.jsonl"
"""Where a corpus is found that nothing names."""

_WORDS = (
    "hello", "tomorrow", "order 4711", "Grüße", "où", "mañana", "здравствуйте", "γεια", "שלום", "مرحبا", "नमस्ते",
    "สวัสดี", "你好", "こんにちは", "안녕하세요", "👋🏽", "👩‍👩‍👧‍👦", "🇬🇧", "e\u0301", "<b>", "&amp;",
    "%s", "{0}", "'; --", '"', "\\n", "£5", "\u200b", "\u202eabc\u202c", "line\nbreak", "tab\there", "NULL", "0",
    "https://example.com/?a=1&b=2",
)  # fmt: skip


class Texts:
    """Gives texts, by chance. Half of them are as they stand, and may come again; the others begin with a number."""

    def __init__(self, corpus: Path | None, dice: random.Random) -> None:
        self._dice = dice
        self._lines = _read(corpus) if corpus is not None else []
        self._count = 0

    def next(self) -> str:
        """One text, never empty."""
        self._count += 1
        text = self._dice.choice(self._lines) if self._lines else self._made_up()
        return text if self._dice.random() < 0.5 else f"{self._count} {text}"

    def _made_up(self) -> str:
        words = self._dice.choices(_WORDS, k=self._dice.randint(1, 12))
        text = " ".join(words) * (40 if self._dice.random() < 0.02 else 1)
        # No longer than every platform takes in one piece: the checker knows of no others.
        return text[:1500].strip() or "…"


def corpus(named: str | None) -> Path | None:
    """The corpus that is named, here or in the environment, or that lies beside the repository."""
    name = named or os.environ.get(VARIABLE)
    if name:
        return Path(name)
    return BESIDE if BESIDE.exists() else None


def _read(path: Path) -> list[str]:
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    return [text for text in texts if text.strip()]
