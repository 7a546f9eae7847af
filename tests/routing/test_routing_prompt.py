"""What is read off a prompt: its task, its complexity, and a vector that can be kept."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import Raw

from pointsman.core import (
    Audio,
    Chat,
    Document,
    Image,
    InvalidCall,
    Message,
    OutputSchema,
    Part,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)
from pointsman.routing import TASKS, estimate_tokens, read_prompt
from pointsman.routing.languages import LANGUAGES

EXAMPLES = Path(__file__).with_name("example_prompts.txt").read_text("utf-8")
COMPLEXITIES = ("simple", "moderate", "complex")
CODING = "Write a Python function that reverses a string."


def chat(*parts: str | Part, system: str = "", tools: tuple[Tool, ...] = ()) -> Chat:
    user = Message("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))
    return Chat((Message("system", (Text(system),)), user) if system else (user,), tools=tools)


def examples() -> list[tuple[str, str, str]]:
    """(task, complexity, prompt) of each line."""
    rows = [line.split(" | ", 2) for line in EXAMPLES.splitlines() if line and not line.startswith("#")]
    return [(task.strip(), complexity.strip(), prompt) for task, complexity, prompt in rows]


@pytest.mark.parametrize(("task", "complexity", "prompt"), examples())
def test_an_obvious_prompt_is_read_as_what_it_is(task: str, complexity: str, prompt: str) -> None:
    """It would go to a model that is bad at it, or far too dear for it."""
    read = read_prompt(chat(prompt))
    assert (read.task, read.complexity) == (task, complexity)


def test_every_task_has_an_example() -> None:
    """A task type that nothing leads to would be a name without a meaning."""
    assert {task for task, _, _ in examples()} == set(TASKS)


@given(some.text(max_size=300), some.booleans())
def test_probabilities_sum_to_one_whatever_is_asked(text: str, tools: bool) -> None:
    """Scores that are weighed by them would not be comparable."""
    read = read_prompt(chat(text, tools=(Tool("f"),) if tools else ()))
    assert list(read.tasks) == list(TASKS)
    assert tuple(read.complexities) == COMPLEXITIES
    for probabilities in (read.tasks, read.complexities):
        assert sum(probabilities.values()) == pytest.approx(1)
        assert all(0 <= probability <= 1 for probability in probabilities.values())


@given(some.lists(some.text(max_size=40), max_size=4))
def test_the_features_fit_the_ledger(texts: list[str]) -> None:
    """An entry with more than 256 bytes of features is refused, and the call with it."""
    features = read_prompt(Chat(tuple(Message("user", (Text(text),)) for text in texts))).encode()
    assert len(features) <= 256
    assert features[0] == 2


def test_the_features_can_be_read_back_by_their_layout() -> None:
    """A replay would see another prompt than the router saw."""
    prompt = chat("¿Qué es 1, 2 o 3? ```x```", Image(url="u"), system="s", tools=(Tool("f"), Tool("g")))
    read = read_prompt(prompt)
    version, tokens, chars, messages, tools, images, questions, numbers, flags, foreign, *rest = struct.unpack(
        f"<BII5HBB{3 + len(TASKS)}BBBB", read.encode()
    )
    *probabilities, language, code_language, structure = rest
    assert (version, tokens, chars, messages, tools, images) == (2, read.input_tokens, 25, 2, 2, 1)
    assert (LANGUAGES[language], code_language, structure) == ("es", 0, 0)
    assert (questions, numbers) == (read.questions, read.numbers) == (1, 3)
    assert flags == 1 | 2 | 8
    assert foreign / 255 == pytest.approx(2 / 25, abs=0.01)
    expected = [*read.complexities.values(), *read.tasks.values()]
    assert [probability / 255 for probability in probabilities] == pytest.approx(expected, abs=0.01)


def test_counts_past_their_field_are_capped() -> None:
    """A prompt of a million questions would crash the router."""
    features = read_prompt(Chat(tuple(Message("user", (Text("?" * 60),)) for _ in range(70_000)))).encode()
    assert struct.unpack_from("<H", features, 9) == (0xFFFF,)


@given(some.text(alphabet="abcdefghij", min_size=12, max_size=60))
def test_the_features_hold_no_text(word: str) -> None:
    """What a user wrote would lie in a ledger that promises to keep no prompt."""
    features = read_prompt(chat(f"Tell me of {word}")).encode()
    assert word.encode() not in features
    assert features == read_prompt(chat(f"Tell me of {word[::-1]}")).encode()


PATHOLOGICAL = {
    "nothing": "",
    "blanks": " \n\t" * 100_000,
    "a megabyte of words": "lorem ipsum dolor " * 60_000,
    "empty lines": "x" + "\n" * 1_000_000 + "x",
    "tabs and lines": "x" + "\n\t" * 500_000 + "x",
    "semicolons and blanks": "; " * 500_000,
    "digits": "1" * 1_000_000,
    "numbers": "1,1." * 250_000,
    "open tags": "</a" * 300_000,
    "the word write": "write " * 200_000,
    "the start of a definition": "def a" * 200_000,
    "binary": bytes(range(256)).decode("latin-1") * 4_000,
    "lone surrogates": "\ud800\udfff" * 100_000,
    "emoji": "👩‍👩‍👧‍👦" * 100_000,
    "chinese": "请把这句话翻译成英语。" * 50_000,
    "reminders that never close": "<system-reminder>" * 50_000,
}


@pytest.mark.parametrize("text", PATHOLOGICAL.values(), ids=PATHOLOGICAL.keys())
def test_no_prompt_holds_up_the_router(text: str) -> None:
    """One crafted prompt would stop the server for everybody."""
    started = time.process_time()
    read = read_prompt(chat(text))
    assert time.process_time() - started < 2
    assert read.task in TASKS
    assert len(read.encode()) <= 256


def test_a_prompt_without_text_is_read_all_the_same() -> None:
    """A picture alone, or an empty chat, would end in a fault of ours."""
    image = read_prompt(chat(Image(url="https://example.com/a.png")))
    assert (image.images, image.needs, image.task, image.complexity) == (1, frozenset({"image"}), "chat", "simple")
    assert image.input_tokens >= 1000
    assert read_prompt(Chat(())).task == "chat"


def test_the_end_of_a_long_prompt_is_read() -> None:
    """A question after a pasted document would not be seen."""
    document = "The railways of the valley were built of stone and patience. " * 2_000
    assert read_prompt(chat(document + "\nTranslate all of this into French.")).task == "translation"
    assert read_prompt(chat("Translate this into French:\n" + document)).task == "translation"


def test_what_wraps_a_question_does_not_change_how_it_is_read() -> None:
    """Inside an agent every question would look like a hard question about code."""
    wrapper = (
        "You are an agent. Analyze the code, debug it, refactor the architecture, prove it secure. "
        "```python\ndef main(): ...\n```\n" * 200
    )
    reminder = "<system-reminder>Write unit tests. Analyze the security of the algorithm.</system-reminder>"
    tools = tuple(Tool(f"tool_{number}", "Edit code.", Raw(b'{"type":"object"}')) for number in range(20))
    for _, _, question in examples():
        bare = read_prompt(chat(question))
        wrapped = read_prompt(chat(reminder, question, system=wrapper, tools=tools))
        assert (wrapped.task, wrapped.complexity) == (bare.task, bare.complexity), question


def test_a_short_word_keeps_the_task_that_it_goes_on_with() -> None:
    """'Commit it' in the middle of a hard task would be sent to the smallest model."""
    hard = Message("user", (Text("Refactor this distributed algorithm, analyze its edge cases and prove it: class A"),))
    answer = Message("assistant", (Text("Done."),))
    alone = read_prompt(Chat((hard,)))
    for word in ("commit it", "yes", "go on, please"):
        after = read_prompt(Chat((hard, answer, Message("user", (Text(word),)))))
        assert (after.task, after.complexity) == (alone.task, alone.complexity)


def test_the_result_of_a_tool_is_not_the_question() -> None:
    """A file that an agent has read would decide which model goes on."""
    asked = Message("user", (Text("Translate the file notes.txt into German for me, and keep its line breaks."),))
    used = Message("assistant", (ToolUse("1", "read", "{}"),))
    result = Message("user", (ToolResult("1", (Text("def main(): prove(theorem)"),)),))
    assert read_prompt(Chat((asked, used, result))).task == "translation"


def test_a_stated_task_is_believed_and_a_wrong_one_refused() -> None:
    """A slip in the task's name would silently route as another task."""
    read = read_prompt(chat(CODING), "summary")
    assert read.task == "summary"
    assert sum(read.tasks.values()) == 1
    with pytest.raises(InvalidCall, match="Did you mean 'summary'") as refused:
        read_prompt(chat(CODING), "sumary")
    assert refused.value.param == "task"


@pytest.mark.parametrize(
    ("content", "need"),
    [
        (chat("x", tools=(Tool("f"),)), "tools"),
        (Chat((Message("user", (Text("x"),)),), output=OutputSchema()), "json"),
        (chat("x", Image(data="AAAA", media_type="image/png")), "image"),
        (chat("x", Audio("AAAA", "wav")), "audio"),
        (chat("x", Document(data="AAAA", media_type="application/pdf")), "document"),
        (chat("x", ToolResult("1", (Image(url="u"),))), "image"),
    ],
)
def test_what_a_call_holds_is_what_a_model_must_be_able_to_take(content: Chat, need: str) -> None:
    """A picture would be sent to a model that cannot see."""
    assert read_prompt(content).needs == {need}


@given(some.text(max_size=200), some.text(max_size=200))
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    """A longer prompt would pass a context check that a shorter one fails."""
    assert estimate_tokens(chat(text + more)) >= estimate_tokens(chat(text)) - 1


def test_code_has_more_tokens_than_prose_of_its_length() -> None:
    """A context would be thought large enough for a file that overflows it."""
    code, prose = "{'a':[1,2,3],'b':(x[i+1]*2)};" * 200, "The train leaves the old station at noon." * 200
    assert estimate_tokens(chat(code)) / len(code) > 1.5 * estimate_tokens(chat(prose)) / len(prose)
