"""The question among the labelled parts of a text: "Context: … Question: … Answer:", a transcript, an agent's steps.

A label is a few words at the beginning of a line, or of a sentence, with a colon behind it; or a heading. What the
labels mean is looked up, so the time is that of one pass over the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from .wording import word_set

Kind = Literal["question", "speaker", "answer", "step", "context", "rules"]


class Label(Struct, frozen=True):
    """A label, and where it stands."""

    kind: Kind
    name: str
    start: int
    end: int


def announced(text: str, is_task: Callable[[str], bool]) -> str:
    """What stands under the last label that announces a question; the text itself where nothing does.

    `is_task`: whether what stands before it asks for something to be done with it: "Classify the message. Message: …".
    """
    labels = _labels(text)
    place = next((at for at in reversed(range(len(labels))) if labels[at].kind in ("question", "speaker")), -1)
    if place < 0:
        return text
    label, after = labels[place], labels[place + 1 :]
    asked = _under(text, label, _ends_it(label, after))
    if not asked or _is_answered(text, after):
        return text  # An answer to be judged.
    asked = _with_instruction(text, labels[:place], asked, is_task)
    lead = text[: labels[0].start].strip()
    if is_task(lead):  # The question may be its material.
        return f"{lead}\n{asked}" if label.kind == "speaker" and after else text
    is_one_of_several = bool(after) or any(other.kind in ("answer", "context") for other in labels[:place])
    return asked if label.kind == "question" or is_one_of_several or not lead else text


def _labels(text: str) -> Sequence[Label]:
    found = []
    for match in _LINE_LABEL.finditer(f"\n{text}"):  # One character is put before it.
        mark, (kind, name), colon = match[1] or "", _meaning(match[2].lower()), match[3]
        if kind and (colon or mark or len(name) > SHORT_NAME):
            found.append(Label(kind, name, match.start(), match.end() - 1))
    for match in _SENTENCE_LABEL.finditer(text) if ":" in text or "：" in text else ():
        kind, name = _meaning(match[1].lower())
        if kind and name not in _AT_LINES_ONLY:
            found.append(Label(kind, name, match.start(1), match.end()))
    return _apart(sorted(found, key=lambda label: label.start))


def _apart(labels: Sequence[Label]) -> Sequence[Label]:
    """Each one once: what follows a full stop may stand at the beginning of a line too."""
    return [
        label for before, label in zip((None, *labels), labels, strict=False) if not before or label.end > before.end
    ]


SHORT_NAME = 4
"""Letters: so short a word alone on a line may be anything."""


def _meaning(name: str) -> tuple[Kind | None, str]:
    """The kind of a label and its name, without the words that say whose it is."""
    words = name.replace("’", "'").removesuffix(" is as follows").split()
    whose: list[str] = []
    while words:
        if kind := _KINDS.get(left := " ".join(words)):
            return ("question" if left == "input" and whose else kind), left
        if words[0] not in _WHOSE:
            break
        whose.append(words.pop(0))
    if len(words) == 2 and _KINDS.get(words[0]) == "answer":  # "Respuesta útil:"
        return "answer", words[0]
    if words and (words[-1] in _LAST_WORDS or (words[-1] == "answer" and len(words) >= LONG_NAME)):
        return "context", words[-1]
    return None, name


LONG_NAME = 5
"""Words: "We have provided an existing answer:"."""


def _under(text: str, label: Label, end: int | None) -> str:
    return text[label.end : end].strip("*#- \t\r\n:：")


def _ends_it(label: Label, after: Sequence[Label]) -> int | None:
    """Where the question under a label ends: at the next part that is none of it."""
    is_goal = label.name.startswith("goal")
    return next((next_one.start for next_one in after if next_one.kind != "rules" or is_goal), None)


def _is_answered(text: str, after: Sequence[Label]) -> bool:
    """Whether an answer is given already, other than by an agent's steps that lead there."""
    return not any(label.kind == "step" for label in after) and _has_answers(text, after)


def _has_answers(text: str, labels: Sequence[Label]) -> bool:
    ends = (*(label.start for label in labels[1:]), None)
    return any(label.kind == "answer" and _under(text, label, end) for label, end in zip(labels, ends, strict=False))


def _with_instruction(text: str, before: Sequence[Label], asked: str, is_task: Callable[[str], bool]) -> str:
    """With the instruction right before it: "Task: translate this. Message: …"."""
    if not before or before[-1].name not in ("instruction", "task"):
        return asked
    instruction = text[before[-1].end :].partition(asked)[0].rpartition("\n")[0].strip("*# \t\r\n:：")
    return asked if not is_task(instruction) else f"{instruction}\n{asked}"


# Mark, name, colon. Each begins with characters that are quickly searched for.
_LINE_LABEL = re.compile(
    r"\n[ \t]*(#{1,4}[ \t]*|\*\*|\[)?([^\W\d_][^\n:：#*\[\]().!?。]{0,60}+)"
    r"(?:[ \t]*(?:\*\*|\])|[ \t]*\([^()\n]{0,200}\))?[ \t]*(?:([:：])(?:\*\*)?|(?=\n|\Z))"
)
_SENTENCE_LABEL = re.compile(r"(?:[.!?]\s|[。！？，])([^\W\d_][\w' ]{0,24}?)[ \t]?[:：](?!//)")
_NAMES: Mapping[Kind, str] = {
    "question": (
        "question|query|request|message|prompt|task|instruction|objective|goal|goals|problem|issue|frage|aufgabe|anfrage|"
        "pregunta|tarea|tâche|requête|domanda|compito|pergunta|tarefa|vraag|opdracht|pytanie|zadanie|fråga|uppgift|"
        "spørgsmål|opgave|soru|görev|otázka|úkol|întrebare|întrebarea|câu hỏi|pertanyaan|tugas|вопрос|задача|запрос|"
        "питання|завдання|ερώτηση|问题|問題|提问|任务|质问|質問|課題|질문|과제|سؤال|السؤال|پرسش|שאלה|משימה|प्रश्न|"
        "कार्य|คำถาม|งาน"
    ),
    "speaker": "user|human|customer|q|input|benutzer|nutzer|utilisateur|usuario|usuário|utente|gebruiker|użytkownik|"
    "пользователь|користувач|用户|ユーザー|사용자",
    "answer": (
        "answer|response|reply|output|completion|assistant|ai|a|bot|agent|model|antwort|respuesta|réponse|risposta|"
        "resposta|antwoord|odpowiedź|svar|cevap|yanıt|odpověď|răspuns|trả lời|jawaban|ответ|відповідь|απάντηση|回答|"
        "答案|答|답변|답|الإجابة|الجواب|إجابة|پاسخ|תשובה|उत्तर|คำตอบ|assistent|asistente|assistente|ассистент|助手"
    ),
    "step": "thought|action|action input|observation|thoughts|reasoning|scratchpad|agent_scratchpad",
    "context": (
        "context|background|document|documents|sources|passages|excerpts|results|references|conversation|history|"
        "system|instructions|guidelines|commands|resources|performance evaluation|tools|reminder|reminders|"
        "format|output format|response format|answer format|formatting|role|kontext|contexte|contexto|contesto|"
        "контекст|上下文|背景|文脈|コンテキスト|문맥"
    ),
    "rules": "constraints|rules|requirements|examples|example",
}
_KINDS: Mapping[str, Kind] = {name: kind for kind, names in _NAMES.items() for name in names.split("|")}
_WHOSE = word_set(
    "the user user's users my your actual final new current next original main follow up this here is helpful "
    "latest last retrieved relevant search chat personal overall customer customer's client"
)
_LAST_WORDS = word_set("sources documents passages format guidelines rules tools context")
"""Of a longer heading: "Retrieved passages"."""
_AT_LINES_ONLY = word_set("a ai q bot agent model input output note message prompt system problem role results")
"""Too common within a line."""
