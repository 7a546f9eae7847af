"""A comparison as one HTML file: no scripts, nothing loaded, every word escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ..core.plain import plain_line, plain_text
from ..judging.agreement import RULE, Agreement
from .compare import Comparison, EngineResult
from .report import COLUMNS, STATES, details, facts, headline, plain_line_of_diff, prompt_text, remark, row, server_of


def to_html(comparison: Comparison) -> str:
    """A whole document. Its policy forbids the browser everything but the style that stands in it."""
    head = "".join(f"<dt>{_line(name)}</dt><dd>{_line(value)}</dd>" for name, value in facts(comparison))
    body = [
        f"<h1>Comparison</h1>\n<dl>{head}</dl>",
        f"<h2>Prompt</h2>\n{_block(prompt_text(comparison.prompt))}",
        f"<h2>Engines</h2>\n{_table(comparison)}",
        f"<h2>Where they agree and differ</h2>\n{_agreement(comparison.agreement)}",
        "<h2>Answers</h2>",
        *map(_answer, comparison.engines),
    ]
    return _PAGE.format(run=_line(comparison.run_id), body="\n".join(body))


def _table(comparison: Comparison) -> str:
    rows = "\n".join(_row("td", row(result)) for result in comparison.engines)
    return f"<table>\n<thead>{_row('th', COLUMNS)}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _row(cell: str, texts: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{_line(text)}</{cell}>" for text in texts) + "</tr>"


def _agreement(agreement: Agreement) -> str:
    parts = [f"<p>{_line(headline(agreement))}</p>"]
    if agreement.clusters:
        items = (
            f"<li>{len(c.engines)} × <q>{_line(plain_line(c.text, 80))}</q>: {_line(', '.join(c.engines))}</li>"
            for c in agreement.clusters
        )
        parts.append(f"<ul>\n{_lines(items)}\n</ul>")
    if agreement.shared is not None:
        one, other = agreement.compared
        parts.append(f"<p>{_line(one)} and {_line(other)} share {agreement.shared:.0%} of their words.</p>")
    if agreement.diff:
        parts.append(_block("\n".join(map(plain_line_of_diff, agreement.diff))))
    if len(agreement.clusters) > 1 or agreement.unanimous:
        parts.append(f"<p><small>{_line(RULE)}</small></p>")
    return "\n".join(parts)


def _answer(result: EngineResult) -> str:
    parts = [f"<h3>{_line(result.name)}</h3>", f"<p>{_line(' · '.join([*server_of(result), details(result)]))}</p>"]
    if result.error is not None:
        parts += [f"<p>{STATES[result.status]}: {_line(result.error.kind)}</p>", _block(result.error.message)]
    if note := remark(result):
        parts.append(f"<p>{_line(note)}</p>")
    if result.text.strip():
        parts.append(_block(result.text))
    return _lines(["<section>", *parts, "</section>"])


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _line(text: str) -> str:
    return escape(plain_line(text))


def _block(text: str) -> str:
    # A line end right after <pre> is no part of its text: one is given away, so that none of the text's own is.
    return f"<pre>\n{escape(plain_text(text).rstrip())}</pre>"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comparison {run}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
dl {{ display: grid; grid-template-columns: max-content auto; gap: 0 1rem; }}
dd {{ margin: 0; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid gray; border-radius: 4px; padding: .6rem; }}
table {{ border-collapse: collapse; }}
th, td {{ border: 1px solid gray; padding: .2rem .6rem; text-align: start; }}
pre, q, td, dd {{ unicode-bidi: plaintext; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
