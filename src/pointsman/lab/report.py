"""A comparison as Markdown, and the words that every form of it shares. Foreign text is text in it, never markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..core import Chat, Message, Text, Usage, show_usd
from ..core.plain import plain_line, plain_text
from ..judging.agreement import RULE, Agreement
from .compare import Comparison, EngineResult

STATES = {"ok": "ok", "broken": "broken off", "failed": "failed", "timeout": "timed out", "stopped": "stopped"}


def to_markdown(comparison: Comparison) -> str:
    """CommonMark, with one table of GitHub's kind. Foreign text stands only in fenced blocks and in code spans."""
    blocks = [
        "# Comparison",
        "\n".join(f"- {name}: {value}" for name, value in facts(comparison)),
        "## Prompt",
        _fence(prompt_text(comparison.prompt)),
        "## Engines",
        _table(comparison.engines),
        "## Where they agree and differ",
        *_agreement(comparison.agreement),
        "## Answers",
    ]
    for result in comparison.engines:
        blocks += _answer(result)
    return "\n\n".join(blocks) + "\n"


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """What stands at the head of a report: (name, value) pairs, in our own words."""
    total, succeeded = len(comparison.engines), comparison.succeeded
    facts = [
        ("run", comparison.run_id),
        ("time", comparison.at),
        ("engines", f"{total} asked, {succeeded} succeeded, {total - succeeded} failed"),
        ("settings", ", ".join(f"{name} {value}" for name, value in settings(comparison))),
        ("cost", cost_text(comparison.engines)),
    ]
    if comparison.stopped:
        facts.append(("stopped", "before all were done: this is what had come"))
    return facts


def settings(comparison: Comparison) -> list[tuple[str, str]]:
    """What all engines were told beside the prompt."""
    prompt = comparison.prompt
    stated = [("temperature", prompt.temperature), ("max_tokens", prompt.max_tokens)]
    return [
        *((name, f"{value:g}") for name, value in stated if value is not None),
        ("timeout", f"{comparison.timeout:g} s"),
    ]


def cost_text(results: Sequence[EngineResult]) -> str:
    """The sum of what is known, and how much is not."""
    unknown = sum(result.cost is None for result in results)
    known = show_usd(sum(result.cost or 0 for result in results))
    if not unknown:
        return known
    return f"at least {known}: that of {unknown} is unknown" if unknown < len(results) else "unknown"


def row(result: EngineResult) -> tuple[str, ...]:
    """One engine in a table whose columns are `COLUMNS`."""
    return (
        result.name,
        STATES[result.status],
        f"{result.seconds:.1f} s",
        "–" if result.ttft is None else f"{result.ttft:.2f} s",
        _tokens(result.usage),
        show_usd(result.cost),
    )


COLUMNS = ("engine", "result", "time", "first word", "tokens", "cost")


def server_of(result: EngineResult) -> tuple[str, ...]:
    """The model and the endpoint that served, as far as the engine's name does not say it already."""
    return tuple(dict.fromkeys(name for name in (result.model, result.endpoint) if name not in ("", result.name)))


def details(result: EngineResult) -> str:
    """One line on how fast and for how much; '≈' marks tokens that are our estimate."""
    _, _, seconds, ttft, tokens, cost = row(result)
    if result.ttft is None:
        return f"{STATES[result.status]} after {seconds} · cost {cost}"
    return f"{seconds} · first word {ttft} · tokens {tokens} · cost {cost}"


def remark(result: EngineResult) -> str:
    """What a reader must know of an answer before he reads it; '' where it is whole."""
    if result.status != "ok":
        return "Not whole: it ends where it was cut off." if result.text else ""
    if not result.text.strip():
        return "The answer is empty."
    notes = {"length": "Cut off at the most tokens it may have.", "refusal": "The model refused."}
    return notes.get(result.finish or "", "")


def headline(agreement: Agreement) -> str:
    """'2 answers', 'all 3 agree' and the like; what the answers are is told apart from it."""
    answers = len(agreement.clusters)
    if not answers:
        return "There is no whole answer to compare."
    if agreement.unanimous:
        return f"All {len(agreement.clusters[0].engines)} agree."
    return "1 answer: there is nothing to compare it with." if answers == 1 else f"{answers} answers:"


def prompt_text(prompt: Chat, *, clean: bool = True) -> str:
    """A single user message as it is; else each message under its role. What is no text is named."""
    if len(prompt.messages) == 1 and prompt.messages[0].role == "user":
        text = _message_text(prompt.messages[0])
    else:
        text = "\n\n".join(f"{message.role}: {_message_text(message)}" for message in prompt.messages)
    return plain_text(text) if clean else text.encode("utf-8", "replace").decode()


def _message_text(message: Message) -> str:
    return "".join(part.text if isinstance(part, Text) else f"[{type(part).__name__}]" for part in message.parts)


def _tokens(usage: Usage | None) -> str:
    """Read, and written."""
    if usage is None:
        return "unknown"
    return f"{'≈' if usage.estimated else ''}{usage.input_tokens} → {usage.output_tokens}"


def _table(results: Sequence[EngineResult]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for result in results:
        name, *rest = row(result)
        # A bar would end the cell even inside a code span.
        lines.append((_code(name).replace("|", "\\|"), *rest))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _agreement(agreement: Agreement) -> list[str]:
    blocks = [headline(agreement)]
    if agreement.clusters:
        blocks.append(
            "\n".join(
                f"- {len(cluster.engines)} × {_code(cluster.text, 80)}: {', '.join(map(_code, cluster.engines))}"
                for cluster in agreement.clusters
            )
        )
    if agreement.shared is not None:
        one, other = agreement.compared
        blocks.append(f"{_code(one)} and {_code(other)} share {agreement.shared:.0%} of their words.")
    if agreement.diff:
        blocks.append(_fence("\n".join(map(plain_line_of_diff, agreement.diff)), "diff"))
    return [*blocks, f"_{RULE}_"] if len(agreement.clusters) > 1 or agreement.unanimous else blocks


def plain_line_of_diff(line: str) -> str:
    """Its indentation is kept: in code it counts."""
    return plain_text(line).replace("\n", " ")


def _answer(result: EngineResult) -> list[str]:
    served = "".join(f"{_code(name)} · " for name in server_of(result))
    blocks = [f"### {_code(result.name)}", served + details(result)]
    if result.error is not None:
        blocks += [f"{STATES[result.status]}: {_code(result.error.kind)}", _fence(plain_text(result.error.message))]
    if note := remark(result):
        blocks.append(note)
    if result.text.strip():
        blocks.append(_fence(plain_text(result.text)))
    return blocks


def _fence(text: str, language: str = "text") -> str:
    """A block that nothing in `text` can end: its fence is longer than any run of backticks inside."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _code(text: str, limit: int | None = None) -> str:
    """A code span, on one line, that nothing in `text` can end."""
    line = plain_line(text, limit) or "–"
    run = "`" * (_longest_run(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{run}{space}{line}{space}{run}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
