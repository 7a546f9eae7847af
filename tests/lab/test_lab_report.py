"""Reports, read by a real Markdown library, a real HTML parser and a real JSON decoder."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pointsman.core import Chat, Message, Nanos, Text, Usage
from pointsman.core.plain import plain_line, plain_text
from pointsman.judging import agreement
from pointsman.lab import (
    Comparison,
    EngineResult,
    Failure,
    to_html,
    to_json,
    to_markdown,
)

HOSTILE = [
    "</pre><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "``` \n# not a heading\n````\n`````python",
    "~~~\n# no heading\n~~~",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "[click](javascript:alert(1)) ![x](http://127.0.0.1/x.png)",
    "<http://127.0.0.1/> *bold* _it_ `code` \\` &lt;b&gt; &#60;",
    "\n\n# heading\n\n- list\n\n> quote\n\n---\n\n    code\n",
    "--- \n+++ \n@@ -1 +1 @@\n</code>",
    "`",
    "``a` b",
    " x ",
    "\\|",
    "{braces} {0} {run} %s",
]
INVISIBLE = (
    "red \x1b[31mtext\x1b[0m \x1b]0;title\x07 \x9b2J \u202eevil\u202c \u2066x\u2069 \x07\x00\x7f zero\u200bwidth"
)


def comparison(text: str, *, name: str = "local/a", error: str = "it broke") -> Comparison:
    """Three engines: one that said `text`, one that said something else, one that failed with `error`."""
    results = (
        EngineResult(
            name=name,
            status="ok",
            seconds=1.9,
            model=name,
            endpoint=f"host/{name}",
            text=text,
            finish="stop",
            ttft=0.4,
            usage=Usage(input=21, output=3),
            cost=Nanos(2_500_000),
        ),
        EngineResult(
            name="other",
            status="broken",
            seconds=2.0,
            model="other",
            endpoint="other",
            text=f"half of {text}",
            ttft=0.5,
            error=Failure("broken_reply", error),
        ),
        EngineResult(name="third", status="failed", seconds=0.1, cost=Nanos(0), error=Failure("unreachable", error)),
        EngineResult(name="fourth", status="ok", seconds=1.0, text=f"{text} indeed", ttft=0.1, cost=Nanos(0)),
    )
    return Comparison(
        run_id="0" * 32,
        at="2026-11-21T12:00:00Z",
        prompt=Chat(messages=(Message("user", (Text(text),)),), temperature=0.0),
        timeout=120,
        engines=results,
        agreement=agreement([(r.name, r.text) for r in results if r.status == "ok"]),
    )


def tokens(markdown: str) -> list[Token]:
    """All tokens of a text, those inside lines too; tables switched on, as every host of reports has them."""
    top = MarkdownIt("commonmark").enable("table").parse(markdown)
    return [token for outer in top for token in (outer, *(outer.children or ()))]


def shape(markdown: str) -> list[str]:
    """The structure of a report, without any text. Where an answer is empty or the same, blocks may be missing."""
    return [token.type for token in tokens(markdown) if token.type.endswith("_open")]


def fenced(markdown: str) -> list[str]:
    return [token.content for token in tokens(markdown) if token.type == "fence"]


@pytest.mark.fault(106, "It stays text in a report's Markdown.")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_stay_text_in_markdown(text: str) -> None:
    """A model could put links, images, headings or scripts into a report that somebody else opens."""
    found = tokens(to_markdown(comparison(text, name=f"n {text}", error=text)))
    kinds = {token.type for token in found}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "hr", "blockquote_open", "code_block"}
    headings = [token for token in found if token.type == "heading_open"]
    assert len(headings) == 1 + 4 + 4
    assert sum(token.type == "table_open" for token in found) == 1
    cells = [token for token in found if token.type == "td_open"]
    assert len(cells) == 4 * 6


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_stand_whole_in_their_blocks(text: str) -> None:
    """Escaping that loses a character shows an answer that the model never gave."""
    blocks = fenced(to_markdown(comparison(text, error=text)))
    assert blocks.count(text.rstrip() + "\n") == 4


def test_a_bar_in_a_name_shifts_no_column() -> None:
    """The state of one engine would stand where that of another belongs."""
    found = tokens(to_markdown(comparison("Sydney", name="a|b | c")))
    cells = [found[at + 1].content for at, token in enumerate(found) if token.type == "td_open"]
    assert cells[:4] == ["`a|b | c`", "ok", "1.9 s", "0.40 s"]


@given(st.text())
def test_no_answer_breaks_out_of_its_block(text: str) -> None:
    """Some text nobody thought of would become markup."""
    kinds = {token.type for token in tokens(to_markdown(comparison(text, name="n" + text, error=text)))}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "hr", "blockquote_open", "code_block"}


class Outline(HTMLParser):
    """The tags of a document and the text of its <pre> blocks."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.blocks: list[str] = []
        self._inside = False
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "pre":
            self.blocks.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "pre"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks[-1] += data


@pytest.mark.fault(106, "It stays text in a report's HTML.")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_stay_text_in_html(text: str) -> None:
    """A model could run a script in the browser of whoever opens the report."""
    harmless = Outline(to_html(comparison("harmless text")))
    page = Outline(to_html(comparison(text, name=f"n {text}", error=text)))
    assert set(page.tags) == set(harmless.tags) and "script" not in page.tags
    assert page.attributes == harmless.attributes
    assert page.blocks.count("\n" + text.rstrip()) == 4


@pytest.mark.fault(106, "The report forbids scripts, and loads nothing.")
def test_the_html_loads_nothing_and_forbids_scripts() -> None:
    """A report that fetches something tells others that it was opened."""
    page = to_html(comparison("hi"))
    assert "default-src 'none'" in page and "<script" not in page
    assert not {"src", "href"} & Outline(page).attributes


@pytest.mark.parametrize("render", [to_markdown, to_html])
def test_what_moves_a_cursor_or_turns_text_round_is_taken_out(render: object) -> None:
    """An answer could repaint the terminal of its reader, or read otherwise than it is."""
    assert callable(render)
    report = render(comparison(INVISIBLE, name="a" + INVISIBLE, error=INVISIBLE))
    assert "red text" in report
    assert not set(report) & set("\x1b\x9b\u202e\u202c\u2066\u2069\x07\x00\x7f\u200b")


def test_json_holds_every_text_word_for_word_and_prints_safely() -> None:
    """A program would get another answer than the model gave, or the terminal that it is printed to would obey it."""
    printed = to_json(comparison(INVISIBLE + "\U000e0041é"))
    assert not set(printed) & set("\x1b\x9b\u202e\u202c\x07\x00\x7f\U000e0041")
    assert json.loads(printed)["engines"][0]["text"] == INVISIBLE + "\U000e0041é"


def test_json_tells_what_is_unknown_as_null_and_money_as_text() -> None:
    """A cost that nobody knows would be summed up as 0, or one that is known would lose digits."""
    report = json.loads(to_json(comparison("Sydney")))
    assert report["engines_total"] == 4 and report["succeeded"] == 2 and report["failed"] == 2
    first, second, third, fourth = report["engines"]
    assert first["cost"] == {"usd": "0.0025"} and first["usage"]["output_tokens"] == 3 and first["ttft_ms"] == 400
    assert second["cost"] == {"usd": None} and second["usage"] is None and second["status"] == "broken"
    assert third["error"] == {"type": "unreachable", "message": "it broke"} and third["model"] is None
    assert fourth["cost"] == {"usd": "0"}
    assert report["cost"] == {"usd": None}
    assert [answer["count"] for answer in report["agreement"]["answers"]] == [1, 1]


def test_the_markdown_says_all_that_a_comparison_is_asked_for() -> None:
    """Somebody who reads it a month later could not tell what was run, when, or what it cost."""
    report = to_markdown(comparison("Sydney", error="no route to it"))
    for said in (
        "0" * 32,
        "2026-11-21T12:00:00Z",
        "4 asked, 2 succeeded, 2 failed",
        "temperature 0",
        "at least $0.0025: that of 1 is unknown",
        "1.9 s · first word 0.40 s · tokens 21 → 3 · cost $0.0025",
        "cost unknown",
        "no route to it",
        "2 answers:",
        "1 × `Sydney`: `local/a`",
        "Not whole: it ends where it was cut off.",
    ):
        assert said in report


def test_cleaning_keeps_what_people_write() -> None:
    """Tabs, line ends, accents and joined emoji would be lost from answers."""
    text = "a\tb\nc é 東京 👩‍👩‍👧 العربية \\x1b[31m"
    assert plain_text(text) == text
    assert plain_text("a\r\nb\rc\u2028d") == "a\nb\nc\nd"
    assert plain_text("\ud800") == "\ufffd"
    assert plain_line("  a \n b\t", 3) == "a b"
    assert plain_line("abcdef", 4) == "abc…"


@given(st.text(alphabet="\x1b[]0;m\x07\x9b\x9d\\a\n"))
def test_no_cut_up_escape_sequence_survives_cleaning(text: str) -> None:
    """Sequences nested into each other could leave a live one behind."""
    assert not set(plain_text(text)) & set("\x1b\x07\x9b\x9d")
