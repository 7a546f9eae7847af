"""Task types, and how likely each is for a question: weighted cues under a softmax."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from .phrases import scores_of
from .wording import Wording, tokens_of

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

SHARPNESS = 1.6
"""Weights → log odds. The one number that makes the probabilities come true as often as they say."""
MATERIAL = 0.3
"""What a cue in the material counts, where the instruction has none."""
CODE, FORMULA = 2.4, 2.6
"""What it counts for coding that there is code, and for mathematics that there is a formula."""
AT_FIRST: Mapping[str, float] = {"chat": 1.3, "coding": 0.2, "writing": 0.2, "analysis": 0.2}
"""Before anything was read: most prompts without a cue are talk, or ask for a fact."""


def task_probabilities(wording: Wording, *, code: bool = False, numbers: int = 0) -> dict[str, float]:
    """Task type → probability, in the order of TASKS, summing to 1.

    `code`: code stands in the question; `numbers`: how many numbers do.
    """
    scores = {task: AT_FIRST.get(task, 0.0) for task in TASKS}
    cues = scores_of(wording.tokens)
    for task, score in cues.items():
        scores[task] += score
    if max(cues.values(), default=0.0) < 1 and wording.material:
        for task, score in scores_of(tokens_of(wording.material)).items():
            scores[task] += MATERIAL * score
    if code:
        scores["coding"] += CODE
    if (numbers or "\\" in wording.instruction or "$" in wording.instruction) and _FORMULA.search(wording.instruction):
        scores["mathematics"] += FORMULA
    if not wording.instruction.isascii():
        for task, pattern in _WITHOUT_BLANKS.items():
            if pattern.search(wording.instruction):
                scores[task] += 3.0
    return _softmax(scores)


_FORMULA = re.compile(
    r"\d ?[+*×÷^/] ?\d|\d (?:-|plus|minus|times) \d|\b[xyzn] ?(?:\^|=|\*\*) ?-?\d|\d[xyz]\b|"
    r"\d(?:%| percent| %) of \d|[∫∑√≤≥∈∀∃]|\\(?:frac|int|sum|sqrt|le|ge|cdot)\b|\$[a-z]\b"
)
_WITHOUT_BLANKS: Mapping[str, re.Pattern[str]] = {
    "translation": re.compile("翻译|翻譯|翻訳|번역|переве[дс]|переклад|ترجم|अनुवाद"),
    "summary": re.compile("总结|總結|概括|摘要|要約|まとめて|요약|кратко|резюм|لخص|सारांश"),
    "coding": re.compile("代码|代碼|函数|编程|コード|関数|코드|함수|функци|программ|скрипт"),
    "writing": re.compile("写一(?:首|篇|封|个)|写一|寫一|書いて|써 ?줘|напиш|сочини|اكتب"),
    "rationale generation": re.compile("为什么|為什麼|なぜ|どうして|왜|почему|чому|لماذا|क्यों"),
    "mathematics": re.compile("计算|計算|方程|求解|証明|证明|계산|방정식|реши|вычисл|докаж|احسب"),
    "analysis": re.compile("分析|比较|比較|분석|비교|анализ|сравни|تحليل|حلل"),
    "extraction": re.compile("提取|抽出|列出|추출|извлек|выпиши|استخرج"),
    "classification": re.compile("分类|分類|분류|классифиц"),
    "rewriting": re.compile("改写|改寫|润色|潤色|書き直|고쳐|перепиш|исправь"),
}
"""Words of scripts that set no blanks, or whose words bend too much to be looked up."""


def _softmax(scores: Mapping[str, float]) -> dict[str, float]:
    top = max(scores.values())
    weights = {task: math.exp(SHARPNESS * (score - top)) for task, score in scores.items()}
    total = sum(weights.values())
    return {task: weight / total for task, weight in weights.items()}
