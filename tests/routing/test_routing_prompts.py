"""How well prompts are read: labelled ones, wrapped ones, foreign ones; and what is kept of them."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some
from msgspec import structs
from wrapped_prompts import QUESTIONS, WRAPPERS, one, said, user

from pointsman.core import Chat, Document, Image, LedgerError, Message, Text, Tool, ToolResult, ToolUse
from pointsman.routing import TASKS, Prompt, read_prompt
from pointsman.routing.languages import CODE_LANGUAGES, LANGUAGES
from pointsman.routing.structure import STRUCTURES


def _rows(name: str) -> Any:
    return yaml.safe_load(Path(__file__).with_name(name).read_text("utf-8"))


LABELLED, DEMANDING, PARALLEL = map(_rows, ("labelled_prompts.yaml", "demanding_prompts.yaml", "parallel_prompts.yaml"))


def labelled(half: str, prompts: Any = LABELLED) -> Iterator[tuple[str, str, Prompt]]:
    """(task, complexity, what was read) of each prompt."""
    for task, levels in prompts[half].items():
        for complexity, texts in levels.items():
            for prompt in texts:
                yield task, complexity, read_prompt(one(prompt))


def test_the_labelled_prompts_cover_every_task_in_both_halves() -> None:
    """A share of prompts that are read right would say nothing of the tasks that are missing."""
    for half in ("tuning", "held_out"):
        assert set(LABELLED[half]) == set(TASKS)
        assert all(sum(map(len, levels.values())) >= 4 for levels in LABELLED[half].values())


@pytest.mark.parametrize(("half", "tasks", "complexities"), [("tuning", 0.95, 0.88), ("held_out", 0.85, 0.88)])
def test_most_prompts_are_read_as_a_careful_reader_would(half: str, tasks: float, complexities: float) -> None:
    """Every fifth prompt would go to a model for another task, or to one that is too weak or too dear."""
    read = list(labelled(half))
    assert sum(prompt.task == task for task, _, prompt in read) / len(read) >= tasks
    assert sum(prompt.complexity == complexity for _, complexity, prompt in read) / len(read) >= complexities


@pytest.mark.parametrize(("half", "tasks", "complexities"), [("tuning", 0.95, 0.95), ("held_out", 0.9, 0.85)])
def test_much_work_is_seen_without_words_that_say_so(half: str, tasks: float, complexities: float) -> None:
    """A compiler to be written would go to the weakest model, since nobody said that it is hard."""
    read = list(labelled(half, DEMANDING))
    assert sum(prompt.task == task for task, _, prompt in read) / len(read) >= tasks
    assert sum(prompt.complexity == complexity for _, complexity, prompt in read) / len(read) >= complexities
    too_weak = [prompt for _, complexity, prompt in read if complexity == "complex" and prompt.complexity == "simple"]
    assert not too_weak


@pytest.mark.parametrize(("half", "alike"), [("tuning", 0.95), ("held_out", 0.9)])
def test_a_question_is_the_same_in_each_language(half: str, alike: float) -> None:
    """Whoever asks in Japanese would be sent to a weaker model than whoever asks the same in English."""
    questions = [(row, read_prompt(one(text))) for row in PARALLEL[half] for text in row["in"].values()]
    right = [(prompt.task, prompt.complexity) == (row["task"], row["complexity"]) for row, prompt in questions]
    assert sum(right) / len(right) >= alike


@pytest.mark.parametrize(
    "text",
    [
        "What is a compiler?",
        "Write a haiku about compilers",
        "Make the server start on port 80",
        "Summarise this 3,000-word article in two lines",
        "Translate the sentence 'We built a compiler with a type checker' into German",
        "Is 5 km in 30 minutes fast?",
        "Write an email to my boss about the server outage",
    ],
)
def test_a_hard_word_alone_makes_no_hard_question(text: str) -> None:
    """Small talk about hard things would go to the dearest model."""
    assert read_prompt(one(text)).complexity == "simple"


def test_probabilities_come_true_about_as_often_as_they_say() -> None:
    """A policy that weighs by them would trust guesses, or distrust what is certain."""
    read = [(max(prompt.tasks.values()), prompt.task == task) for task, _, prompt in labelled("held_out")]
    sure = [right for said, right in read if said >= 0.8]
    unsure = [right for said, right in read if said < 0.4]
    assert len(sure) >= 40 and sum(sure) / len(sure) >= 0.9
    assert unsure and sum(unsure) / len(unsure) <= 0.6
    assert abs(sum(said for said, _ in read) / len(read) - sum(right for _, right in read) / len(read)) < 0.12


@pytest.mark.parametrize("text", ["blue seven lantern", "the the the", "hm", "xqzt", "1234", "…", "Ω≈ç√"])
def test_a_prompt_that_asks_for_nothing_clear_is_not_decided(text: str) -> None:
    """A guess would look like knowledge."""
    assert max(read_prompt(one(text)).tasks.values()) < 0.8


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_changes_nothing_of_the_question_inside(wrapper: str, question: str) -> None:
    """Inside an agent every question would look like a hard one about code, and go to the dearest model."""
    bare, wrapped = read_prompt(one(question)), read_prompt(WRAPPERS[wrapper](question))
    assert (wrapped.task, wrapped.complexity) == (bare.task, bare.complexity)
    assert question[-40:] in wrapped.question


@pytest.mark.parametrize(
    "text",
    [
        "What does the <file> tag mean, and when is <input type='text'> better?",
        "Is this XML valid? <note><to>Ann</to></note>",
        "You are given an array of integers. Return the two that sum to a target.",
        "Grade the answer.\nQuestion: What is the capital of Peru?\nAnswer: Lima",
        "Act as a Linux terminal.",
        "You are a farmer with 12 sheep. All but 9 run away. How many are left?",
        "You are a farmer with 12 sheep.\n\nAll but 9 run away. How many are left?",
        "Use the quadratic formula to solve x^2 = 2. Then explain it.",
        "The following are multiple choice questions about law.\n\nWhat is a tort?\nA. a cake\nB. a wrong",
        "Today is Monday. Which day is it in 100 days?",
        "Classify the question.\n\nQuestion: Where is the station?\nOptions: place, time",
        "Fix it:\n```python\ndef f(x):\n    return x +\n```\nIt raises a SyntaxError in this function.",
        "Task: write a poem",
        "a < b and b > c",
        "Question",
        "<",
    ],
)
def test_what_only_looks_like_a_wrapper_stays(text: str) -> None:
    """Half of a question would be thrown away."""
    question = read_prompt(one(text)).question
    assert question == text or text.endswith(question) and question == "write a poem"


FRAGMENTS = (
    "<task>", "</task>", "<user_query>", "</user_query>", "<file>", "</file>", "<context a='b'>", "</context>", "```",
    "You are a helpful assistant. ", "Question: ", "Answer:", "### Instruction:\n", "Q: ", "A:", "[INST]", "\n",
    "<|im_start|>user\n", "Always be brief.\n\n", "What is this? ", "- rule\n", "Here is a.py:\n", "<", ">", "'", '"',
    ": ", "é", "\ud800",
)  # fmt: skip


@given(some.lists(some.sampled_from(FRAGMENTS), max_size=25).map("".join))
def test_any_mixture_of_wrappers_is_read(text: str) -> None:
    """A message of a program that nobody has thought of would crash the router."""
    read = read_prompt(one(text))
    assert read.task in TASKS
    assert len(read.question) <= len(text)


def test_a_message_of_nothing_but_context_asks_nothing() -> None:
    """The files that an editor sends along would be taken for the question."""
    chat = Chat(
        (
            user("Translate good morning into French."),
            user("<environment_details>def f(): prove()</environment_details>"),
        )
    )
    assert read_prompt(chat).question == "Translate good morning into French."
    assert read_prompt(Chat((user("<system-reminder>only this"),))).question == ""


def test_a_new_question_in_a_conversation_is_read_by_itself() -> None:
    """A short question after a hard one would go on being hard."""
    hard = said("user", "Refactor this distributed algorithm, analyze its edge cases and prove it correct in depth.")
    answer = said("assistant", "Done.")
    after = read_prompt(Chat((hard, answer, user("What is the capital of Australia?"))))
    assert (after.task, after.complexity) == ("chat", "simple")
    goes_on = read_prompt(Chat((hard, answer, user("Can you do that again with more tests?"))))
    assert goes_on.complexity == read_prompt(Chat((hard,))).complexity


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "How do I get to the station from here?"),
        ("de", "Wie komme ich von hier zum Bahnhof, und was kostet das?"),
        ("fr", "Comment est-ce que je peux aller à la gare avec un vélo ?"),
        ("es", "¿Cómo puedo llegar a la estación con una bicicleta?"),
        ("it", "Come posso arrivare alla stazione con una bicicletta, per favore? Non è lontano."),
        ("pt", "Como posso chegar à estação com uma bicicleta? Não é longe."),
        ("nl", "Hoe kom ik met de fiets naar het station? Het is niet ver."),
        ("pl", "Jak dojść do stacji? To nie jest daleko, proszę."),
        ("sv", "Hur kommer jag till stationen? Det är inte långt."),
        ("ru", "Как пройти к вокзалу?"),
        ("uk", "Як пройти до вокзалу, якщо це її дім?"),
        ("el", "Πώς πάω στον σταθμό;"),
        ("ar", "كيف أصل إلى المحطة؟"),
        ("he", "איך מגיעים לתחנה?"),
        ("hi", "स्टेशन कैसे जाऊँ?"),
        ("th", "ไปสถานีอย่างไร"),
        ("zh", "请问火车站怎么走？"),
        ("ja", "駅へはどう行けばいいですか？"),
        ("ko", "역에 어떻게 가나요?"),
        ("", "xqzt brrm 17"),
        ("", ""),
        ("", "Schnellzug"),
    ],
)
def test_the_language_is_told_where_it_is_sure(language: str, text: str) -> None:
    """A model that speaks no Korean would be sent Korean; or a guess would be taken for knowledge."""
    assert read_prompt(one(text)).language == language


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "Fix this:\n```py\nx = 1\n```"),
        ("python", "Why does def f(x): return x fail?"),
        ("go", "How do I reverse a linked list in Go?"),
        ("rust", 'fn main() { println!("hi"); }'),
        ("sql", "SELECT name FROM users WHERE id = 1;"),
        ("javascript", "const x = () => { return 1 }"),
        ("java", "public static void main(String[] args) {}"),
        ("c", "#include <stdio.h>\nint main() { return 0; }"),
        ("c++", "std::vector<int> v; v.push_back(1);"),
        ("bash", "#!/bin/bash\nrm -rf $(pwd)"),
        ("typescript", "Create a component with TypeScript"),
        ("", "Where does the wild goose go in winter?"),
        ("", "My rust-coloured jacket is wet."),
    ],
)
def test_the_language_of_code_is_told_where_it_is_sure(language: str, text: str) -> None:
    """A rubric for one language would be used for another."""
    assert read_prompt(one(text)).code_language == language


@pytest.mark.parametrize(
    ("structure", "text"),
    [
        ({"steps", "paragraphs"}, "Do this:\n\n1. eat\n2. sleep"),
        ({"list"}, "Buy\n- milk\n- bread"),
        ({"table"}, "| a | b |\n| 1 | 2 |"),
        ({"json"}, '{"a": 1}'),
        ({"quoted"}, "> as he said, nothing is lost"),
        ({"link"}, "Read https://example.com/a please"),
        (set(), "Hello there"),
    ],
)
def test_the_layout_of_a_question_is_seen(structure: set[str], text: str) -> None:
    """A question of ten parts would look like one of a single part."""
    assert read_prompt(one(text)).structure == structure


def test_a_tool_loop_is_noticed() -> None:
    """The model would be changed between a tool's call and its result."""
    asked, used = user("Read notes.txt."), Message("assistant", (ToolUse("1", "read", "{}"),))
    result = ToolResult("1", (Text("notes"),))
    tool = Message("tool", (result,))
    assert read_prompt(Chat((asked, used, tool))).in_tool_loop
    assert read_prompt(Chat((asked, used, tool, tool))).in_tool_loop
    assert read_prompt(Chat((asked, used, user(result, "<system-reminder>x</system-reminder>")))).in_tool_loop
    assert read_prompt(Chat((asked, used, tool, said("system", "Be brief.")))).in_tool_loop
    assert read_prompt(Chat((asked, used, tool, user("Now be brief.")))).in_tool_loop
    assert not read_prompt(Chat((asked,))).in_tool_loop
    assert not read_prompt(Chat((asked, used))).in_tool_loop
    assert not read_prompt(Chat((asked, used, tool, said("assistant", "Done."), user("Thanks!")))).in_tool_loop
    assert not read_prompt(Chat((tool,))).in_tool_loop
    assert not read_prompt(Chat(())).in_tool_loop


@given(some.text(max_size=300), some.booleans(), some.binary(max_size=180))
def test_what_was_kept_is_what_was_read(text: str, tools: bool, vector: bytes) -> None:
    """A replay would decide by other numbers than the router did."""
    chat = Chat((user(text, Image(url="u")),), tools=(Tool("f"),) if tools else ())
    read = structs.replace(read_prompt(chat), vector=vector)
    features = read.encode()
    assert len(features) <= 256
    assert Prompt.decode(features) == structs.replace(read, question="")
    assert Prompt.decode(features).encode() == features


def test_features_of_the_first_version_can_still_be_read() -> None:
    """A ledger that is a month old could not be replayed."""
    read = read_prompt(Chat((user("¿Qué es 1, 2 o 3? ```x```", Document(data="QQ==")),), tools=(Tool("f"),)))
    old = b"\x01" + read.encode()[1 : struct.calcsize(f"<BII5HBB{3 + len(TASKS)}B")]
    then = Prompt.decode(old)
    assert then == structs.replace(read, question="", language="", code_language="", structure=frozenset())


@pytest.mark.parametrize("features", [b"", b"\x00", b"\x01", b"\x02" * 41, b"\x03" * 200, b"rubbish"])
def test_features_that_are_none_are_refused(features: bytes) -> None:
    """A damaged row would be replayed as some other prompt."""
    with pytest.raises(LedgerError, match="cannot be read"):
        Prompt.decode(features)


@given(some.binary(min_size=43, max_size=60))
def test_damaged_features_never_crash_a_replay(rest: bytes) -> None:
    """One damaged row of a million would end the replay with a traceback."""
    prompt = Prompt.decode(b"\x02" + rest)
    assert sum(prompt.tasks.values()) == pytest.approx(1)


def test_a_vector_that_is_too_long_is_left_out() -> None:
    """The ledger would refuse the entry, and the call with it."""
    read = read_prompt(one("hello"))
    assert structs.replace(read, vector=b"x" * 181).encode() == read.encode()


def test_the_tables_fit_their_bytes() -> None:
    """A language that is added would no longer fit the features."""
    assert len(LANGUAGES) <= 256 and len(CODE_LANGUAGES) <= 256 and len(STRUCTURES) <= 8


MEGABYTE = 1_000_000
HOSTILE = {
    "nested files": "<a_file>" * 60_000 + "</a_file>" * 60_000,
    "envelopes": "<user_query>" * 40_000 + "</user_query>" * 40_000,
    "names of all kinds": "".join(f"<x{n}_file>" for n in range(60_000)),
    "an open attribute": "<file " + "a" * MEGABYTE,
    "turns": "<|im_start|>user\n" * 60_000,
    "an instruction that never ends": "[INST] " + "<<SYS>>" * 140_000,
    "questions and answers": "Q: a\nA: b\n" * 100_000 + "A:",
    "roles": "You are a b. " * 80_000,
    "rules": "You are a x\n\n" + "- \n\n" * 200_000,
    "fences": "```\n" * 250_000,
    "quotes": '"' * MEGABYTE,
    "open quotes": "“" * MEGABYTE,
    "colons": ": " * 500_000,
    "a cue again and again": "how many " * 110_000,
    "pipes": "| " * 500_000,
    "one long word": "A" * MEGABYTE,
    "a path of namespaces": "namespace " + "a." * 400_000,
    "zeros": "\0" * MEGABYTE,
    "backticks": "`a" * 500_000,
    "amounts": "5 km " * 200_000,
    "lists": "with a, " * 120_000,
    "mappings": "f: [" * 250_000,
    "several scripts": "hello مرحبا 你好 Привет " * 50_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_wrapper_holds_up_the_router(text: str) -> None:
    """One crafted message would stop the server for everybody."""
    started = time.process_time()
    assert read_prompt(one(text)).task in TASKS
    assert time.process_time() - started < 2


def test_ten_thousand_messages_are_read_at_once() -> None:
    """An agent's long day would make each of its calls slower."""
    chat = Chat(tuple(said(("user", "assistant")[n % 2], "yes") for n in range(10_000)))
    started = time.process_time()
    assert read_prompt(chat).messages == 10_000
    assert time.process_time() - started < 2


def test_reading_a_usual_prompt_takes_well_under_a_millisecond() -> None:
    """Each call would wait for the router."""
    chat = one("Please explain how I could find out which query of my web shop is slow in the evening. " * 6)
    times = []
    for _ in range(50):
        started = time.process_time()
        read_prompt(chat)
        times.append(time.process_time() - started)
    assert min(times) < 0.001
