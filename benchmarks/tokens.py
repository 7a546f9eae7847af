"""How far the estimate of tokens is off, for text as it lies in this repository: code, prose, JSON, other scripts.

Each kind of text is cut into pieces of about 4,000 characters, as prompts have them. The true counts are those of
o200k_base and cl100k_base, by the package bpe-openai (`pip install bpe-openai`), which the project does not depend on.
A ratio below 1 is too few tokens: a context would overflow where that is believed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import bpe_openai

from pointsman.core import Chat, Message, Text
from pointsman.routing import estimate_tokens

ROOT = Path(__file__).parents[1]
PIECE = 4_000
"""Characters."""
KINDS = {
    "Python": ("src/pointsman/*/*.py",),
    "HTML, CSS, JavaScript": ("src/**/*.html", "src/**/*.css", "src/**/*.js"),
    "TOML, YAML": ("src/**/*.toml", "tests/**/*.yaml", "pyproject.toml"),
    "prose": ("README.md", "ARCHITECTURE.md", "docs/*.md"),
    "JSON": ("**/*.json",),
}
OTHER_SCRIPTS = ("de", "fr", "vi", "ru", "el", "ar", "he", "hi", "th", "zh", "ja", "ko")


def main() -> None:
    print(
        f"{'':24s}{'pieces':>8s}{'o200k: chars/token':>20s}{'estimate/true':>15s}{'5 %':>7s}{'cl100k':>9s}{'5 %':>7s}"
    )
    for kind, patterns in KINDS.items():
        _tell(kind, list(_pieces(patterns)))
    for language in OTHER_SCRIPTS:
        _tell(language, _foreign(language))


def _pieces(patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            if any(part.startswith(".") for part in path.relative_to(ROOT).parts):
                continue
            text = path.read_text("utf-8")
            yield from (text[start : start + PIECE] for start in range(0, len(text), PIECE))


def _foreign(language: str) -> list[str]:
    """The prompts of one language in the tests, as one piece."""
    import yaml

    halves = yaml.safe_load((ROOT / "tests/routing/foreign_prompts.yaml").read_text("utf-8"))
    return ["\n".join(prompt for half in halves.values() for prompt in half.get(language, {}).values())]


def _tell(kind: str, pieces: list[str]) -> None:
    pieces = [piece for piece in pieces if len(piece) > 100]
    if not pieces:
        return
    shown = f"{kind:24s}{len(pieces):8d}"
    for name in ("o200k_base", "cl100k_base"):
        encoding = bpe_openai.get_encoding(name)
        true = [len(encoding.encode(piece)) for piece in pieces]
        ratios = sorted(estimate_tokens(_chat(piece)) / count for piece, count in zip(pieces, true, strict=True))
        if name == "o200k_base":
            shown += f"{sum(map(len, pieces)) / sum(true):13.2f}"
        shown += f"{statistics.median(ratios):15.2f}{ratios[len(ratios) // 20]:7.2f}"
    print(shown)


def _chat(text: str) -> Chat:
    return Chat((Message("user", (Text(text),)),))


if __name__ == "__main__":
    main()
