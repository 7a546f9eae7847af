"""Task types, and how likely each is for a question: weighted key phrases under a softmax.

The weights are stated by hand from what the task types are called and asked for; they were not fitted to any data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

TASKS: tuple[str, ...] = (
    "instruction routing",
    "rewriting",
    "decomposition",
    "tool-use formatting",
    "structure assessment",
    "error and quality scoring",
    "rationale generation",
    "parameter extraction",
    "classification",
    "coding",
    "writing",
    "analysis",
    "mathematics",
    "translation",
    "summary",
    "extraction",
    "chat",
)
"""The nine small tasks of orchestration, then what people ask for."""


def task_probabilities(question: str, *, code: bool = False, tools: bool = False, numbers: int = 0) -> dict[str, float]:
    """Task type → probability, summing to 1. `numbers` counts the numbers in the question.

    Of a long question only the beginning and the end are read: that is where people say what they want.
    """
    scores = dict.fromkeys(TASKS, 0.0)
    scores["chat"] = 0.8
    if code:
        scores["coding"] += 1.5
    if tools:
        scores["tool-use formatting"] += 0.5
    if numbers >= 3:
        scores["mathematics"] += 0.6
    asked = question if len(question) <= 1_600 else f"{question[:1_200]}\n{question[-400:]}"
    for task, pattern in _PHRASES.items():
        hits = len(pattern.findall(asked))
        scores[task] += 2.2 * min(hits, 3) ** 0.5
    return _softmax(scores)


def _words(*phrases: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(phrases) + r")\b", re.IGNORECASE)


_PHRASES: Mapping[str, re.Pattern[str]] = {
    "instruction routing": _words(
        r"which (?:model|tool|agent|team|department) should", "route this", "dispatch this", "triage"
    ),
    "rewriting": _words(
        "rewrite",
        "rephrase",
        "paraphrase",
        "reword",
        r"make (?:this|it) (?:clearer|shorter|formal\w*|polite\w*)",
        r"fix (?:the|my) grammar",
        "proofread",
    ),
    "decomposition": _words(
        r"break (?:\w+ ){0,3}down",
        "decompose",
        r"sub-?tasks?",
        r"split (?:\w+ ){0,3}into (?:steps|tasks|parts)",
        r"plan (?:the )?steps",
    ),
    "tool-use formatting": _words(
        r"(?:function|tool) calls?", r"call the (?:tool|function)", r"format (?:\w+ ){0,3}as a (?:tool|function)"
    ),
    "structure assessment": _words(
        r"(?:assess|check|review|evaluate) (?:the )?(?:structure|format|layout|outline)",
        r"well[- ]structured",
        r"valid (?:json|yaml|xml)",
        r"(?:json|yaml|xml) (?:is )?valid",
    ),
    "error and quality scoring": _words(
        r"(?:score|rate|grade) (?:this|the|it|each|my)",
        r"find (?:the )?(?:errors?|mistakes?)",
        r"on a scale",
        r"quality (?:score|of)",
    ),
    "rationale generation": _words(
        r"explain (?:why|your reasoning|how)",
        "rationale",
        "justify",
        r"give (?:\w+ )?reasons?",
        r"why (?:is|are|do|does|did|was|were)",
    ),
    "parameter extraction": _words(
        r"extract (?:the )?(?:parameters?|arguments?|fields?|values?)", r"fill (?:in )?the (?:form|fields?|parameters?)"
    ),
    "classification": _words(
        "classify",
        "categori[sz]e",
        r"(?:positive|negative)(?:,)? (?:or )?(?:positive|negative|neutral)",
        "sentiment",
        r"which (?:category|class|label)",
        "spam",
        r"label (?:this|the|each)",
        "yes or no",
    ),
    "coding": _words(
        r"(?:write|implement|create|fix|debug|refactor|generate) (?:\w+ ){0,5}(?:function|class|script|program|code)",
        r"(?:write|implement|create|fix|debug|refactor|generate) (?:\w+ ){0,5}(?:method|component|endpoint|tests?)",
        r"(?:write|implement|create|fix|debug|refactor|generate) (?:\w+ ){0,5}(?:module|api|query|decorator|bug)",
        "python",
        "javascript",
        "typescript",
        "java",
        "rust",
        "golang",
        r"c\+\+",
        "sql",
        "html",
        "css",
        "bash",
        "regex",
        "unit tests?",
        "stack ?trace",
        "traceback",
        r"\w+(?:Exception|Error)",
        "compile",
        "code",
        "react",
        "express",
        "node\\.js",
    ),
    "writing": _words(
        r"write (?:\w+ ){0,3}(?:poem|story|essay|letter|email|haiku|article|blog|post|song)",
        r"write (?:\w+ ){0,3}(?:speech|limerick|tagline|slogan|description)",
        "creative",
        "poem",
        "haiku",
        "compose",
        r"draft (?:an?|the)",
    ),
    "analysis": _words(
        "analy[sz]e",
        "analysis",
        "compare",
        "contrast",
        "evaluate",
        "assess",
        r"pros and cons",
        "implications",
        "trade-?offs?",
        "investigate",
        "research",
        "interpret",
    ),
    "mathematics": _words(
        "solve",
        "equation",
        "integral",
        "derivative",
        "calculate",
        "compute",
        "prove",
        "theorem",
        "probability",
        "algebra",
        "geometry",
        r"how (?:many|much)",
        "percent(?:age)?",
        "sum of",
        r"square root",
        r"\d+ ?[+*×÷^] ?\d+",
        r"\d+ (?:[-/]|plus|minus|times|divided by) \d+",
        r"\d+(?: percent|%) of",
    ),
    "translation": _words(
        "translate",
        "translation",
        r"(?:in|into|to) (?:french|german|spanish|italian|chinese|japanese|english|portuguese)",
        r"(?:in|into|to) (?:russian|arabic|korean|dutch|polish|hindi|turkish|swedish|greek)",
        r"how do you say",
    ),
    "summary": _words(
        "summari[sz]e",
        "summary",
        "tl;?dr",
        r"key (?:points|takeaways)",
        r"in (?:one|two|three|\d+) sentences?",
        "condense",
        "shorten",
    ),
    "extraction": _words(
        "extract", r"find all", r"list (?:all|every|the)", r"pull out", r"names? (?:of|mentioned)", "as json"
    ),
    "chat": _words(
        "hi", "hello", "hey", "thanks?", "thank you", r"who are you", r"how are you", r"what do you think", r"tell me"
    ),
}


def _softmax(scores: Mapping[str, float]) -> dict[str, float]:
    top = max(scores.values())
    weights = {task: math.exp(score - top) for task, score in scores.items()}
    total = sum(weights.values())
    return {task: weight / total for task, weight in weights.items()}
