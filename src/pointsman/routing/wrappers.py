"""The question inside what programs wrap around it: reminders, envelopes, pasted files, role plays, few-shot examples.

Coding agents and chat frontends send one line of a user's inside kilobytes of their own. Read as a whole, every
question would be long, hard and about code. What is stripped here says nothing of what is asked. Every pattern runs
once over the text, in time that grows with its length.
"""

from __future__ import annotations

import re

from .announced import announced
from .json_envelopes import opened
from .wording import word_set

READ_AT_MOST = 20_000
"""Characters of a question that are read, from its beginning and its end: that is where people say what they want."""
TAGS_READ_AT_MOST = 200_000
"""Characters of a message that are searched for tags, the same way."""
MOST_ENVELOPES = 3
"""Envelopes within each other."""


def unwrap(text: str) -> str:
    """The part of a message that asks, cut to READ_AT_MOST characters: all of it where nothing wraps it, and '' where
    it is nothing but wrapping."""
    text = _ends_of(opened(text.strip()), TAGS_READ_AT_MOST)
    for _ in range(MOST_ENVELOPES):
        if "<" not in text or (inside := _outside_context(text)) == text:
            break
        text = "" if _ONLY_HEADINGS.fullmatch(inside) else inside
    text = _ends_of(text.strip(), READ_AT_MOST)
    for strip in (_template, _labelled, _without_trailer, _without_preamble, _without_manners, _without_aside):
        text = strip(text).strip() or text
    return text


def _labelled(text: str) -> str:
    return announced(text, _is_task)


def _ends_of(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most * 3 // 5]}\n{text[-most * 2 // 5 :]}"


# --- tags ----------------------------------------------------------------------------------------------------------

_ENVELOPES = word_set(
    "task user_query user_message user_input user_request user_question user_prompt user-query user-message "
    "user-request userquery userrequest feedback user_task user-prompt"
)
"""What stands in one of these is the question, and what stands beside it is not."""
_WRAPPING_PAPER = word_set("question query prompt request user input message answer human instruction")
"""These go, and what stands in them stays with the rest."""
_CONTEXT = word_set(
    "context documents document doc docs file files source sources attachment attachments rules memory memories "
    "history conversation example examples system assistant thinking workspace selection diagnostics terminal "
    "knowledge_base guidelines persona role metadata timestamp date chat_history observation observations "
    "repo_map reminder reminders environment editor git_status open_tabs searchresults instructions"
)
_CONTEXT_PARTS = word_set(
    "context environment reminder attached attachment attachments opened file files result results history rules "
    "memory metadata details instructions guidelines examples data stdout stderr caveat ide state info "
    "diagnostics selection editor workspace tool tools function output git directory system project snippet "
    "snippets contents tabs information"
)
"""A tag of two or more words, one of which is among these, is context: `<environment_details>`, `<system-reminder>`."""

_ONLY_HEADINGS = re.compile(r"(?:[ \t]*#[^\n]*\n?|\s++)*+")
_REMINDER = "system-reminder"
"""This one is context even where it is never closed."""
# Between `<` and `>` no other `<`: each character is looked at once for the tag that it may belong to.
_TAG = re.compile(r"<(/?)([A-Za-z][\w:-]{1,40})((?:\s[^<>]{0,400})?)>")


def _outside_context(text: str) -> str:
    """The text without the elements that hold context; what an envelope holds, where there is one. '' for nothing."""
    tags = [tag for tag in _TAG.finditer(text) if not tag[3].endswith("/")]
    closed_until = {tag[2].lower(): tag.start() for tag in tags if tag[1]}
    outside: list[str] = []
    envelope: list[str] = []
    open_tag, depth, start = "", 0, 0
    for tag in tags:
        name, closes = tag[2].lower(), bool(tag[1])
        if open_tag:
            if name == open_tag:
                depth += -1 if closes else 1
            if depth == 0:
                if open_tag in _ENVELOPES:
                    envelope.append(text[start : tag.start()])
                open_tag, start = "", tag.end()
        elif name in _WRAPPING_PAPER:
            if not tag[3] and (closes or closed_until.get(name, -1) > tag.start()):
                outside.append(text[start : tag.start()])
                start = tag.end()
        elif not closes and (closed_until.get(name, -1) > tag.start() or name == _REMINDER) and _is_set_apart(name):
            outside.append(text[start : tag.start()])
            open_tag, depth, start = name, 1, tag.end()
    if not open_tag:
        outside.append(text[start:])
    asked = _joined(envelope)
    return asked or _joined(outside)


def _joined(parts: list[str]) -> str:
    return "\n".join(part.strip() for part in parts if part.strip())


def _is_set_apart(name: str) -> bool:
    return name in _ENVELOPES or _is_context(name)


def _is_context(name: str) -> bool:
    if name in _CONTEXT:
        return True
    parts = re.split(r"[_:-]", name)
    return len(parts) > 1 and not _CONTEXT_PARTS.isdisjoint(parts)


# --- chat templates ------------------------------------------------------------------------------------------------

_TURN = re.compile(
    r"<\|im_start\|>user\s|<\|start_header_id\|>user<\|end_header_id\|>|<start_of_turn>user\s|\[INST\]|<\|user\|>"
)
_TURN_ENDS = re.compile(
    r"<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|\[/INST\]|<\|end\|>|</s>|<\|assistant\|>|<\|im_start\|>"
)


def _template(text: str) -> str:
    """The last user's turn of a chat template that was sent as text."""
    turns = list(_TURN.finditer(text)) if "<|" in text or "[INST]" in text or "_turn>" in text else []
    if not turns:
        return text
    last = turns[-1]
    end = _TURN_ENDS.search(text, last.end())
    turn = text[last.end() : end.start() if end else len(text)]
    return turn.rpartition("<</SYS>>")[2]


# --- preambles -----------------------------------------------------------------------------------------------------

_ROLE = (
    r"you(?:'re| are)(?: now)? (?:an? |the |my |our |\w+GPT)|your (?:role|job|name|purpose) is|act as|"
    r"pretend (?:to be|you are)|i want you to act as|as an? (?:ai|expert|helpful|experienced|senior)\b|"
    r"imagine (?:that )?you are|respond to the (?:human|user)|"
    r"du bist (?:jetzt )?(?:ein|der|die|mein)|sie sind (?:ein|der|die)\b|tu es (?:une? |l')|vous êtes (?:une? |l')|"
    r"(?:tú )?eres (?:una? |el |la )|usted es una? |sei una?[ ']|lei è una?[ ']|(?:você|tu) é uma? |és uma? |"
    r"(?:je|jij) bent een |u bent een |jesteś |du är en |du er en |jsi |ești un|sen bir |anda adalah |kamu adalah |"
    r"bạn là (?:một )?(?:trợ|chuyên)|ты (?:[—–-] ?)?(?:полезн|опытн|эксперт|ассистент|помощник|профессионал)|"
    r"вы (?:[—–-] ?)?(?:полезн|опытн|эксперт|ассистент|помощник|профессионал)|ти (?:[—–-] ?)?(?:корисн|досвідч|експерт|"
    r"асистент|помічник)|είσαι ένας?|你是|您是|你现在是|請扮演|请扮演|あなたは|당신은|너는|أنت (?:مساعد|خبير)|"
    r"تو یک|אתה (?:עוזר|מומחה)|आप एक|คุณคือ"
)
_BY_CONTEXT = (
    r"use the following (?:pieces|context|documents|information|excerpts)|"
    r"(?:given|based on|according to|using) the (?:(?:following|above|provided) )?(?:context|documents|passages)|"
    r"answer (?:the|my) (?:question|query)[^\n.]{0,60}\b(?:context|below|following|documents|passages)|"
    r"context information|(?:today's|current) (?:date|time):|knowledge cutoff|below is an instruction|"
    r"here (?:is|are) (?:the |some )?(?:context|relevant|retrieved|background)|"
    r"below (?:is|are) (?:the |some )?(?:\w+ ){0,2}(?:context|documents|passages|excerpts|sources|results)|"
    r"you have access to|the following is an? (?:\w+ )?(?:conversation|chat|dialogue)|an? (?:chat|conversation|"
    r"dialogue) between|"
    r"(?:the|this) (?:ai |virtual |chat)?(?:assistant|bot|agent) \w|"
    r"answer the following (?:questions?|quer(?:y|ies)|requests?)\b"
)
_MANNER = (
    r"always|never|do not|don't|be (?:concise|helpful|brief|polite|honest|clear|accurate|precise|friendly)|respond |"
    r"answer (?:the|in|with|only|my|briefly|concisely|as)|reply (?:in|with|only)|use (?:the|only|markdown) |"
    r"if you (?:do not|don't|can't|cannot|are)|think (?:step|carefully)|keep (?:your|it|the)|"
    r"you (?:must|should|will|can|have|may|do not|don't|always|never|"
    r"analy[sz]e|evaluate|help|write|provide|answer|explain|speciali[sz]e|excel|assist|give|think)\b|"
    r"here(?:'s| is) (?:what i need|my (?:question|request|task)|the (?:question|request|task))\b|"
    r"(?:time ?zone|location|locale|language|tone|date|time|os|platform|shell|cwd|user ?name|name|plan):|(?:today|"
    r"the current (?:date|time)) is|"
    r"follow these|when (?:you|the user|asked)|please (?:be|keep|answer|respond|follow|use)|the user|format your|cite |"
    r"avoid |-{3,}|antworte|beantworte|sei |répond|sois |responde|responda|rispondi|antwoord|odpowiadaj|svara|"
    r"отвечай|ответь|відповідай|请回答|请用|必ず|回答は"
)
"""What follows a role. By itself it may well be the question: "Use the quadratic formula to solve …"."""
_PREAMBLE = re.compile(rf"(?:{_ROLE}|{_BY_CONTEXT})", re.IGNORECASE)
_MORE_OF_IT = re.compile(rf"(?:{_ROLE}|{_BY_CONTEXT}|{_MANNER})", re.IGNORECASE)
_TASK = re.compile(
    r"(?:^|[.!?。\n] *)(?:[-*#>\d.)]+ *)?(?:please |your (?:task|job) is to |you (?:will|must|should|need to) |"
    r"(?:now|then|can you|could you) )?"
    r"(?:classif|grad(?:e|ing)\b|rate\b|scor(?:e|ing)\b|judge\b|translate|summari[sz]e|rewrite|rephrase|paraphrase|"
    r"extract|convert|label\b|determine|decide|identify|route\b|choose|pick\b|select|check|correct|tag\b|predict|"
    r"categori[sz]e|detect|proofread|fix\b|mark\b|parse|reformulate|shorten|continue\b|"
    r"klassifizier|übersetz|bewerte |ordne|fasse? |tradui|classe|résume|traduc|clasific|resum|riassum|classific|"
    r"переведи|классифиц|翻译|把|将|总结|分类|次の.{0,20}(?:訳|要約|分類))",
    re.IGNORECASE,
)
"""What asks for something to be done with a question, where a sentence begins."""
_MANNERS_ALONE = re.compile(
    r"(?:please |remember(?: to|:)? |important: )?(?:"
    r"(?:answer|respond|reply)(?: to)? (?:(?:the|this|my) (?:following |above )?(?:question|query|request)s?|briefly|"
    r"concisely|shortly|truthfully|clearly|in (?:one|a|two|three|at most|no more than|plain|valid|json|markdown|"
    r"english|full)|"
    r"with (?:only|just|a single|valid|json)|only|directly)\b|"
    r"(?:be|stay) (?:brief|concise|precise|accurate|polite|helpful|honest|clear)\b|"
    r"(?:let's )?(?:think|reason|work) (?:\w+ )?(?:step[- ]by[- ]step|carefully)|think (?:deeply|hard)|"
    r"take (?:a deep breath|your time)|"
    r"(?:do not|don't|never) (?:explain|add|mention|repeat|apologi[sz]e|reveal|use markdown|"
    r"include (?:any )?(?:explanation|"
    r"commentary|preamble)|write anything|output anything|say anything|make (?:things|anything) up|hallucinate)\b|"
    r"no (?:explanations?|preamble|markdown|commentary|yapping)\b|keep (?:it|your (?:answer|response)|the (?:answer|"
    r"response)) |"
    r"(?:when|once) (?:you (?:are|have) )?(?:finished|done)\b|"
    r"(?:return|output|print) (?:only|just|nothing but) |only (?:return|output|answer|reply|respond)|"
    r"cite (?:your|the) sources|format your (?:answer|response)|use markdown\b)"
    r"[^:\n]{0,160}",
    re.IGNORECASE,
)
"""A sentence that only says how to answer, whatever was asked."""
_RULE = re.compile(rf"(?:#|[-*•] |\d+[.)] |[A-Z][\w ]{{0,30}}:[ \t]*$|{_MANNER})", re.IGNORECASE | re.MULTILINE)
_SENTENCE_ENDS = re.compile(r"[.!?](?=\s)|[。！？]|\n")
_BETWEEN = re.compile(r"\n[ \t]*\n")
MOST_PREAMBLE = 60
"""Sentences and paragraphs that a preamble may have."""


def _without_preamble(text: str) -> str:
    """Without the role, the manners and the date at its beginning: first whole paragraphs, then sentences."""
    if _PREAMBLE.match(text) is None:
        return text
    paragraphs = [part.strip() for part in _BETWEEN.split(text) if part.strip()]
    if len(paragraphs) > 1:
        return "\n\n".join(_asking(paragraphs))
    return _without_role(text)


_TRAILER = re.compile(
    r"^(?:#{1,4} +|\*\*)[^\n]{0,40}?(?:(?:output|response|answer|reply) format|formatting|search/replace|reminders?|"
    r"available tools|(?:response|answer|output) (?:guidelines|rules))\b[^\n]{0,40}$",
    re.IGNORECASE | re.MULTILINE,
)
"""A heading over rules of how to answer."""


def _without_trailer(text: str) -> str:
    trailer = _TRAILER.search(text) if "#" in text or "**" in text else None
    return text[: trailer.start()] if trailer else text


def _asking(paragraphs: list[str]) -> list[str]:
    """The paragraphs after those that say how to answer; at least the last one."""
    rest = _after_manners(paragraphs[1:])
    remainder = _without_role(paragraphs[0])
    return [remainder, *rest] if remainder else rest


def _is_task(text: str) -> bool:
    return _TASK.search(text[:TASK_CHARS]) is not None or _TASK.search(text[-TASK_CHARS:]) is not None


TASK_CHARS = 400
"""At the beginning and the end of what stands before a question."""


def _without_manners(text: str) -> str:
    """Without sentences at either end that only say how to answer: "Answer briefly. … Do not explain."."""
    for _ in range(MOST_MANNERS):
        end = _SENTENCE_ENDS.search(text, 0, LONGEST_MANNER)
        if end is None or not _MANNERS_ALONE.fullmatch(text, 0, end.start()) or not text[end.end() :].strip():
            break
        text = text[end.end() :].lstrip()
    for _ in range(MOST_MANNERS):
        start = _last_sentence(text)
        if not start or not _MANNERS_ALONE.fullmatch(text.rstrip(), start):
            break
        text = text[:start].rstrip("- \t\r\n")
    return text


def _last_sentence(text: str) -> int:
    """Where the last sentence begins; 0 where it is all there is, or too long."""
    tail = text[-LONGEST_MANNER:].rstrip(".!? \t\r\n")
    ends = [end.end() for end in _SENTENCE_ENDS.finditer(tail)]
    if not ends:
        return 0
    start = len(text) - len(text[-LONGEST_MANNER:]) + ends[-1]
    while start < len(text) and text[start].isspace():
        start += 1
    return start


MOST_MANNERS = 5
"""Sentences at either end."""
LONGEST_MANNER = 240
"""Characters."""


def _after_manners(paragraphs: list[str]) -> list[str]:
    start = 0
    while start < min(len(paragraphs) - 1, MOST_PREAMBLE) and _RULE.match(paragraphs[start]):
        start += 1
    return paragraphs[start:]


def _without_role(paragraph: str) -> str:
    """Without its first sentences, as long as they say who answers, or how; '' where they go on to its end. A first
    sentence with a number is part of a question: "You are a farmer with 12 sheep."."""
    start, pattern = 0, _PREAMBLE
    for _ in range(MOST_PREAMBLE):
        if pattern.match(paragraph, start) is None:
            return paragraph[start:]
        end = _SENTENCE_ENDS.search(paragraph, start)
        if start == 0 and _NUMBER.search(paragraph, 0, end.end() if end else len(paragraph)):
            return paragraph
        if end is None:
            return ""
        start, pattern = end.end(), _MORE_OF_IT
        while start < len(paragraph) and paragraph[start].isspace():
            start += 1
    return paragraph[start:]


_NUMBER = re.compile(r"\d")


# --- pasted files --------------------------------------------------------------------------------------------------

_BLOCK = re.compile(r"^(`{3,}|~{3,})[^\n]*$", re.MULTILINE)
_POINTS = re.compile(
    r"\b(?:this|these|those|it|them|above|below|following|refactor|optimi[sz]e|debug|lint|"
    r"(?:the|my|that|our|your) (?:\w+ ){0,2}(?:code|bug|errors?|functions?|class|classes|method|files?|scripts?|"
    r"snippet|tests?|lines?|module|component|query|output|program|document|text|table|log))\b",
    re.IGNORECASE,
)
_CALLED = re.compile(r"\b[^\W\d]\w{0,60}\(")
"""Something that is called, which the code may define."""
MOST_CALLED = 3
_NAMED_FILE = re.compile(
    r"^(?:#+ *|\*\*|here(?:'s| is) |contents? of |file:? |path:? )?(?:the )?(?:file |contents? of )?[`'\"*]{0,2}"
    r"[\w./\\-]{1,120}\.\w{1,8}\b[^\n]{0,40}$",
    re.IGNORECASE | re.MULTILINE,
)


def _without_aside(text: str) -> str:
    """Without the code blocks that stand before a question which does not speak of them, and the lines naming them."""
    if "```" not in text and "~~~" not in text:
        return text
    fences = list(_BLOCK.finditer(text))
    if len(fences) < 2:
        return text
    end = fences[len(fences) // 2 * 2 - 1].end()
    after = text[end:].strip()
    if not after or _POINTS.search(after) or any(name in text[:end] for name in _CALLED.findall(after)[:MOST_CALLED]):
        return text
    before = text[: fences[0].start()].strip()
    return after if not before or before.endswith(":") or _NAMED_FILE.match(before) else f"{before}\n\n{after}"
