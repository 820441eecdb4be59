"""What ``score`` is told about comparing texts, checked before any record is read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import UsageError

if TYPE_CHECKING:
    from petct_cli.metrics.tokens import Tokens
    from petct_cli.model.text_encoder import TextEncoder

_SPELLINGS = ("unicode", "tone", "case", "decimal")


@dataclass(frozen=True)
class Wording:
    """Choices about the metrics of words.

    Parameters
    ----------
    unicode, tone, case, decimal
        Whether such a difference in spelling counts as none (`petct_cli.report.normalise.Canonical`).
    tokens
        ``syllable``, or ``pyvi`` for the words that it finds.
    bert_model, layer
        Text encoder of BERTScore: a folder, the name of a model that is on this machine, or ``hf://NAME``.

    Raises
    ------
    UsageError
        ``bad_option`` for unknown tokens.
    """

    unicode: bool = True
    tone: bool = True
    case: bool = True
    decimal: bool = True
    tokens: str = "syllable"
    bert_model: str | None = None
    layer: int | None = None

    def __post_init__(self) -> None:
        from petct_cli.metrics.tokens import KINDS

        if self.tokens not in KINDS:
            raise UsageError("bad_option", f"--tokens takes {', '.join(KINDS)}")

    @classmethod
    def parse(cls, as_written: str, tokens: str, bert_model: str | None, layer: int | None) -> Wording:
        """Return the choices that the words of a command line mean; `as_written` names the spellings to keep.

        Raises
        ------
        UsageError
            ``bad_option`` for a word that means nothing.
        """
        kept = {name for name in as_written.split(",") if name}
        if not kept <= set(_SPELLINGS):
            raise UsageError("bad_option", f"--as-written takes {', '.join(_SPELLINGS)}")
        return cls(tokens=tokens, bert_model=bert_model, layer=layer, **dict.fromkeys(kept, False))

    def content(self) -> dict[str, Any]:
        """Return them for provenance: a model by its name, wherever it lies."""
        return {**asdict(self), "bert_model": self.bert_model and Path(self.bert_model).name}

    def splitter(self) -> Tokens:
        """Return what makes tokens of texts."""
        from petct_cli.metrics.tokens import Tokens
        from petct_cli.report.normalise import Canonical

        return Tokens(Canonical(self.unicode, self.tone, self.case, self.decimal), self.tokens)

    def encoder(self) -> TextEncoder:
        """Load the text encoder.

        Raises
        ------
        UsageError
            ``no_text_encoder`` where none is named, and what `petct_cli.model.text_encoder.load_text_encoder` raises.
        """
        if not self.bert_model or self.layer is None:
            hint = "bert_score takes bert-base-multilingual-cased, layer 9, for Vietnamese"
            raise UsageError("no_text_encoder", "BERTScore needs --bert-model and --layer", hint)
        from petct_cli.model.text_encoder import load_text_encoder

        return load_text_encoder(self.bert_model, self.layer)
