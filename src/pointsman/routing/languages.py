"""Which language a question is in, and which one its code is in: by script, by small words, by what only one writes.

Both say '' where they are not sure.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from .wording import word_set

LANGUAGES: tuple[str, ...] = (
    "", "en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "tr", "cs", "da", "ro", "vi", "id",
    "ru", "uk", "el", "ar", "fa", "he", "hi", "th", "zh", "ja", "ko",
)  # fmt: skip
"""Two-letter codes of ISO 639-1. The order is that of the encoded features: add at the end."""
CODE_LANGUAGES: tuple[str, ...] = (
    "", "python", "javascript", "typescript", "java", "c", "c++", "c#", "go", "rust", "sql", "html", "css", "bash",
    "php", "ruby", "swift", "kotlin", "scala", "r", "haskell", "lua", "perl", "powershell", "json", "yaml", "xml",
    "dockerfile", "terraform", "latex",
)  # fmt: skip
"""The order is that of the encoded features: add at the end."""

CODE_LOOKED_AT = 4_000
LOOKED_AT = 1_000
"""Characters and words of a text that are looked at: its beginning tells its language."""


def language_of(text: str, tokens: Sequence[str]) -> str:
    """The natural language of a text; `tokens` are its words in small letters."""
    if not text.isascii():
        script = _script(text[:LOOKED_AT])
        if script:
            return script
    words = {token for token in tokens if token.isalpha()}
    counts: defaultdict[str, int] = defaultdict(int)
    for word in words & _LANGUAGES_OF.keys():
        for language in _LANGUAGES_OF[word]:
            counts[language] += 1
    most = max(counts.values(), default=0)
    best = [language for language, count in counts.items() if count == most]
    needed = 1 if len(words) <= 4 else 2
    return best[0] if most >= needed and len(best) == 1 else ""


def code_language_of(question: str, tokens: Sequence[str], *, code: bool) -> str:
    """The language of the code in a question, or of the code that is asked for. `code`: there is some."""
    head = question[:CODE_LOOKED_AT]
    fence = _FENCED.search(head) if code else None
    if fence and (named := _as_named(fence[1])):
        return named
    for language, (signs, pattern) in _ONLY_THERE.items() if code else ():
        if any(sign in head for sign in signs) and pattern.search(head):
            return language
    for before, token in zip(("", *tokens), tokens, strict=False):
        if token in _NAMES or (token in _SHORT_NAMES and before == "in"):
            return _as_named(token)
    return ""


def _as_named(name: str) -> str:
    name = name.lower()
    name = _OTHER_NAMES.get(name, name)
    return name if name in CODE_LANGUAGES else ""


def _script(text: str) -> str:
    """By the script that most letters beyond ASCII are of; '' for Latin, and where fewer than a fifth are."""
    scripts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if script := _script_of(character):
            scripts[script] += count
    if not scripts:
        return ""
    script, count = scripts.most_common(1)[0]
    if count * 5 < sum(character.isalpha() for character in text):
        return ""
    if script in ("zh", "ja"):
        # Japanese writes Chinese characters too, between its own.
        return "ja" if scripts["ja"] * 10 >= scripts["zh"] else "zh"
    if script == "ru":
        return "uk" if _UKRAINIAN.search(text) else "ru"
    if script == "ar":
        return "fa" if _PERSIAN.search(text) else "ar"
    return script


def _script_of(character: str) -> str:
    if character < "\u0370":
        return ""
    point = ord(character)
    return next((name for first, last, name in _SCRIPTS if first <= point <= last), "")


_SCRIPTS = (
    (0x370, 0x3FF, "el"),
    (0x400, 0x4FF, "ru"),
    (0x590, 0x5FF, "he"),
    (0x600, 0x6FF, "ar"),
    (0x900, 0x97F, "hi"),
    (0xE00, 0xE7F, "th"),
    (0x1100, 0x11FF, "ko"),
    (0x3040, 0x30FF, "ja"),
    (0x3400, 0x9FFF, "zh"),
    (0xAC00, 0xD7AF, "ko"),
)
_UKRAINIAN = re.compile("[іїєґІЇЄҐ]")
_PERSIAN = re.compile("[پچژگیک]")

_SMALL_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the a an of and to is are in that this for with what how why which who write give me my you your can do "
        "does it on as from be please it's i'm about hello hi thanks",
        "de": "der die das und ist nicht ein eine einen dem den mit für auf von zu im ich du sie wie was warum bitte "
        "kann mir schreibe über hallo danke sind auch",
        "fr": "le la les des et est une un pour que qui dans ce cette avec sur pas je tu vous comment pourquoi moi du "
        "en au aux de bonjour merci ne sont l'on",
        "es": "el la los las y es una un para que en de con por qué cómo esta este se no mi me hola gracias del al "
        "cuál son escribe",
        "it": "il lo la gli le e è una un per che di con non come perché questo questa mi del della ciao grazie sono "
        "nel al scrivi",
        "pt": "o a os as e é uma um para que em de com não como por isso esta este meu do da dos das olá obrigado são "
        "você no na",
        "nl": "de het een en is niet van voor met op dat dit hoe waarom wat ik je mij zijn aan ook hallo bedankt naar "
        "schrijf",
        "pl": "i w na z do się nie jest to jak co dlaczego proszę dla że o po czy mi cześć dziękuję napisz są tym",
        "sv": "och är att det en ett på för med som inte hur vad varför jag du mig av till hej tack skriv om",
        "tr": "ve bir bu için ile de da ne nasıl neden mi mı çok ben sen bana merhaba teşekkürler olarak yaz",
        "cs": "a je na se v že jak proč co pro ve s k o by mi prosím děkuji ahoj napiš jsou tento",
        "da": "og er at det en et på for med som ikke hvordan hvad hvorfor jeg du mig af til hej tak skriv om",
        "ro": "și este un o în de la cu pentru nu ce cum care din pe mi sunt salut mulțumesc scrie acest",
        "vi": "và là của một cho trong không có được này với các những như tôi bạn xin viết gì",
        "id": "dan yang di ini itu untuk dengan tidak apa bagaimana mengapa saya anda dari ke adalah tolong tulis",
    }.items()
}

_LANGUAGES_OF = {
    word: tuple(language for language, small in _SMALL_WORDS.items() if word in small)
    for word in frozenset[str]().union(*_SMALL_WORDS.values())
}
"""Small word → the languages that have it."""

_FENCED = re.compile(r"(?:```|~~~)[ \t]*([A-Za-z+#-]{1,12})\b[^\n`]{0,80}\n")
_OTHER_NAMES: Mapping[str, str] = {
    "py": "python", "python3": "python", "django": "python", "flask": "python", "pandas": "python",
    "numpy": "python", "pip": "python", "js": "javascript", "jsx": "javascript", "node": "javascript",
    "node.js": "javascript", "nodejs": "javascript", "react": "javascript", "express": "javascript",
    "npm": "javascript", "useeffect": "javascript", "usestate": "javascript", "ts": "typescript",
    "tsx": "typescript", "cpp": "c++", "cc": "c++", "hpp": "c++", "h": "c", "cs": "c#", "csharp": "c#",
    "golang": "go", "rs": "rust", "sh": "bash", "shell": "bash", "zsh": "bash", "console": "bash", "rb": "ruby",
    "kt": "kotlin", "hs": "haskell", "pl": "perl", "ps1": "powershell", "yml": "yaml", "tf": "terraform",
    "hcl": "terraform", "tex": "latex", "postgres": "sql", "postgresql": "sql", "mysql": "sql", "docker": "dockerfile",
}  # fmt: skip
_NAMES = word_set(
    "python javascript typescript java c++ cpp c# csharp golang rust sql html css bash php ruby swift kotlin "
    "scala haskell lua perl powershell dockerfile terraform latex node.js nodejs react express django flask "
    "pandas numpy postgres postgresql mysql useeffect usestate npm"
)
_SHORT_NAMES = word_set("go c r shell js ts")
"""Words of other meanings too: names after "in" only."""
_ONLY_THERE: Mapping[str, tuple[tuple[str, ...], re.Pattern[str]]] = {
    "php": (("<?php",), re.compile(r"<\?php")),
    "bash": (("#!", "$ "), re.compile(r"^#!/(?:usr/)?bin/(?:env )?(?:ba|z)?sh|^\$ \w", re.MULTILINE)),
    "rust": (("fn ", "let mut ", "impl ", "println!("), re.compile(r"\bfn \w+\(|\blet mut \w|\bimpl \w|println!\(")),
    "go": (
        ("package ", "func ", ":= ", "fmt.Print"),
        re.compile(r"^package \w+$|\bfunc (?:\([^)\n]{1,40}\) )?\w+\(|\w := \w|\bfmt\.Print", re.MULTILINE),
    ),
    "c++": (
        ("std::", "#include", "template"),
        re.compile(r"\bstd::\w|#include <(?:iostream|vector|string|memory|atomic)>|\btemplate ?<"),
    ),
    "c#": (
        ("using System", "namespace ", "Console.Write"),
        re.compile(r"\busing System\b|\bnamespace [\w.]+\s*\{|Console\.Write"),
    ),
    "c": (("#include", "int main(", "printf("), re.compile(r"#include <\w+\.h>|\bint main\(|\bprintf\(")),
    "java": (
        ("public ", "System.out.", "String ", "NullPointerException"),
        re.compile(r"\bpublic (?:static|class|void)\b|System\.out\.|\bString \w+ ?=|NullPointerException"),
    ),
    "kotlin": (("fun ",), re.compile(r"\bfun \w+\(")),
    "typescript": (
        ("interface ", ": string", ": number", ": boolean", "as const"),
        re.compile(r"\binterface \w+ \{|: (?:string|number|boolean)\b|\bas const\b"),
    ),
    "javascript": (
        ("const ", "let ", "var ", "=>", "function", "console.log(", "require("),
        re.compile(r"\b(?:const|let|var) \w+ ?=|=> ?[{(\w]|\bfunction ?\w*\(|console\.log\(|\brequire\("),
    ),
    "ruby": (("end", "puts ", "attr_accessor"), re.compile(r"^\s{0,8}end$|\bputs |\battr_accessor\b", re.MULTILINE)),
    "python": (
        ("def ", "import ", "self.", "print(", "elif", "for ", "Traceback", "Error"),
        re.compile(
            r"\bdef \w+\(|^(?:from [\w.]+ )?import \w|\bself\.|\bprint\(|\belif\b|\bfor \w+ in range\(|"
            r"Traceback \(most|"
            r"\b(?:Type|Value|Key|Index|Attribute|Import|Name|ModuleNotFound)Error\b",
            re.MULTILINE,
        ),
    ),
    "sql": (
        ("SELECT", "INSERT INTO", "CREATE TABLE", "UPDATE "),
        re.compile(r"\bSELECT\b[^;]{1,300}\bFROM\b|\b(?:INSERT INTO|CREATE TABLE|UPDATE \w+ SET)\b"),
    ),
    "html": (("<",), re.compile(r"<(?:!DOCTYPE|html|div|body|span)\b")),
    "css": (("{",), re.compile(r"^[.#]?[\w-]{1,40} ?\{[ \t]*$", re.MULTILINE)),
}
"""Language → signs, one of which stands in all that its pattern fits, and the pattern. In the order in which they are
tried: what only one language writes comes before what several do."""
