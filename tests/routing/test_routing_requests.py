"""What is asked for, inside what agents wrap around it, in other languages, and where the object decides."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from agent_prompts import AGENTS
from wrapped_prompts import PROSE, one

from pointsman.routing import TASKS, read_prompt

FOREIGN = yaml.safe_load(Path(__file__).with_name("foreign_prompts.yaml").read_text("utf-8"))
QUESTIONS = (
    "What is the capital of Australia?",
    "What is 15% of 80?",
    "Write a haiku about autumn.",
    "Design a distributed rate limiter in Rust, analyze its concurrency and its edge cases, and optimize it.",
    "Prove that the sum of two odd numbers is even, and generalise the argument to any modulus.",
)
BARE = {question: read_prompt(one(question)) for question in QUESTIONS}


@pytest.mark.parametrize("agent", AGENTS)
def test_what_an_agent_wraps_around_a_question_changes_nothing_of_it(agent: str) -> None:
    """An agent's every question would go to the dearest model, or a hard one to the smallest."""
    for question, bare in BARE.items():
        wrapped = read_prompt(AGENTS[agent](question))
        assert (wrapped.task, wrapped.complexity) == (bare.task, bare.complexity), question


@pytest.mark.parametrize(
    "text",
    [
        "Summarize this conversation:\nUser: hello\nAssistant: hi\nUser: bye",
        "Classify the message as spam or ham.\n\nMessage: You won a prize",
        "Grade the answer.\nQuestion: What is the capital of Peru?\nAnswer: Lima",
        "You are a travel agent. Plan a trip: three days in Rome, two in Naples.",
        "You are a classifier. Classify the user's message.\n\nMessage: I want my money back",
        "Write a spec.\n\n## Requirements\n- fast\n- small",
        '{"a": 1, "b": [2]}',
        "Write a story. Use no adjectives.",
        "Question",
        "Question:",
        "Answer: Lima",
        "Answer briefly.",
    ],
)
def test_what_is_no_wrapper_stays_in_the_question(text: str) -> None:
    """The task would be thrown away, and its material read as the task."""
    assert read_prompt(one(text)).question == text.removeprefix("You are a travel agent. ").removeprefix(ROLE)


ROLE = "You are a classifier. "


def foreign(half: str) -> Iterator[bool]:
    for prompts in FOREIGN[half].values():
        for task, prompt in prompts.items():
            yield read_prompt(one(prompt)).task == task


@pytest.mark.parametrize(("half", "share"), [("tuning", 0.97), ("held_out", 0.92)])
def test_other_languages_are_read_as_well(half: str, share: float) -> None:
    """Who writes no English would get the model for small talk."""
    right = list(foreign(half))
    assert sum(right) / len(right) >= share


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("coding", "SQL-Abfrage schreiben"),
        ("coding", "Escribe un script que envíe cartas por correo"),
        ("coding", "写一个发送邮件的脚本"),
        ("coding", "Write a regex that matches capital letters"),
        ("coding", "Write a function that translates text to French"),
        ("writing", "Schreibe ein Gedicht über Python"),
        ("writing", "写一首关于代码的诗"),
        ("writing", "Write an email to my boss about the broken script"),
        ("coding", "import json\nd = json.loads('{1}')\nWhy does it raise?"),
        ("coding", "```python\ndef add(a, b=[]):\n    return b\n```\nWhy does add(1) return a longer list each time?"),
        ("chat", "Ποια είναι η πρωτεύουσα της Αυστραλίας;"),
        ("chat", "Was ist die Hauptstadt von Australien?"),
        ("chat", "オーストラリアの首都はどこですか？"),
    ],
)
def test_the_object_says_what_is_written(task: str, text: str) -> None:
    """A script that sends letters would be written by the model for letters."""
    assert read_prompt(one(text)).task == task


def test_a_hard_question_is_hard_in_another_language() -> None:
    """All that is not English would go to the smallest model."""
    hard = (
        "Analysiere die Architektur eines verteilten Systems, vergleiche drei Strategien ausführlich und beweise, dass "
        "keine Daten verloren gehen."
    )
    assert read_prompt(one(hard)).complexity == "complex"
    assert read_prompt(one("Wie spät ist es?")).complexity == "simple"


MANY = 1_000_000
HOSTILE = {
    "labels": "Question: a\nAnswer: b\n" * (MANY // 22),
    "headings alone": "Question\n" * (MANY // 9),
    "labels in a line": "a. Question: " * (MANY // 13),
    "manners": "Answer briefly. " * (MANY // 16),
    "deep JSON": "[" * MANY + "]",
    "deep JSON of objects": '{"task":' * 20_000 + "}",
    "calls after fences": "```\nx\n```\n" + "f(" * (MANY // 2),
    "paragraphs": PROSE * (MANY // len(PROSE)),
    "words of Chinese": "写一个信查询，" * (MANY // 7),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_labels_hold_up_the_router(text: str) -> None:
    """One crafted message would stop the server for everybody."""
    started = time.process_time()
    assert read_prompt(one(text)).task in TASKS
    assert time.process_time() - started < 2
