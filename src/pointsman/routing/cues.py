"""What people write when they want a task done: phrases, each with its weight for a task. Data; `phrases.py` reads it.

A phrase is words with blanks between them. `a|b` is either word; `..` up to six words of the same sentence, or none;
`>` the beginning of a sentence, past words of politeness ("could you please"); `_` a quotation.

The weights are stated by hand. They were tuned on one half of `tests/routing/labelled_prompts.yaml` and never on the
other, on which a test states how often they are right.
"""

from __future__ import annotations

from collections.abc import Mapping

from .subjects import LATE_MATHEMATICS, SIZES
from .wording import word_set

_MAKE = "write|implement|create|build|code|develop|make|generate|add|give|show|need|design"
_MEND = "fix|debug|refactor|optimise|optimize|port|migrate|review|test|profile|lint|rewrite|convert"
_CODE_THING = (
    "function|functions|class|classes|script|program|method|component|endpoint|endpoints|module|api|query|decorator|"
    "bug|code|codebase|regex|test|tests|cli|parser|loop|algorithm|app|server|middleware|hook|hooks|library|crate|"
    "package|dockerfile|makefile|one-liner|interpreter|compiler|scheduler|queue|cache|wrapper|macro|struct|interface|"
    "microservice|website|page|snippet|stylesheet|migration|schema|workflow|pipeline|plugin|bot|webhook|system"
)
_CODE_LANGUAGE = (
    "python|javascript|typescript|java|rust|golang|c++|c#|sql|html|css|bash|react|express|kotlin|swift|php|ruby|scala|"
    "django|flask|fastapi|pandas|numpy|postgres|postgresql|mysql|mongodb|redis|docker|kubernetes|terraform|ansible|"
    "webpack|vue|angular|svelte|pytorch|tensorflow|git|regex|linux|nginx|css|jquery|graphql|haskell|perl|lua|powershell"
)
_TEXT = (
    "text|sentence|paragraph|paragraphs|email|message|wording|letter|essay|post|article|reply|draft|copy|bio|section|"
    "tweet|phrase|statement|headline|summary|it|this|grammar|spelling"
)
_PIECE = (
    "poem|story|essay|letter|email|haiku|article|blog|post|song|speech|limerick|tagline|slogan|description|novel|"
    "chapter|scene|dialogue|monologue|toast|review|report|proposal|paper|note|announcement|caption|captions|verse|"
    "lyrics|sonnet|ballad|bio|biography|obituary|invitation|newsletter|script|screenplay|memo|press|joke|jokes|names|"
    "ideas|titles|headline|headlines|paragraph|cover|resume|vows|eulogy|fable|tale|rap|card|message|reply|advert|ad|tweet"
)
_LANGUAGE = (
    "french|german|spanish|italian|chinese|japanese|english|portuguese|russian|arabic|korean|dutch|polish|hindi|"
    "turkish|swedish|greek|latin|danish|norwegian|finnish|czech|hungarian|romanian|ukrainian|hebrew|thai|vietnamese|"
    "mandarin|cantonese|catalan"
)
_AGENT = "model|models|tool|tools|agent|agents|team|teams|department|queue|queues|specialist|expert|person|handler"
_MARKUP = "json|yaml|xml|csv|html|markdown|toml|table|template|schema|document|file|config|heading|headings|format"
_SCORED = (
    "answer|answers|response|responses|essay|translation|text|reply|replies|solution|work|summary|output|code|draft|"
    "submission|quality|it|this|each|student|my"
)
_FIELD = (
    "parameter|parameters|argument|arguments|field|fields|slot|slots|value|values|key-value|form|variables|entities"
)

MAKING = word_set("write create generate compose draft implement develop code build design need make program construct")
MADE: Mapping[str, str] = {
    **dict.fromkeys((name for name in SIZES if name not in ("framework", "solver", "platform", "game")), "coding"),
    **dict.fromkeys(_PIECE.split("|"), "writing"),
    **dict.fromkeys(("grant application", "job application", "business plan", "marketing plan"), "writing"),
    **dict.fromkeys((*_CODE_THING.split("|"), "expression", "expressions"), "coding"),
}
"""What is made → the task that it is."""
ENDS_WHAT_IS_MADE = word_set(
    ". ? that which who whose where when for to about with in into from of on by as and or using this these it my our "
    "your call calls invocation invocations arguments"
)

PHRASES: Mapping[str, Mapping[str, float]] = {
    "instruction routing": {
        f"which|what .. {_AGENT} should|would|can|could|fits|takes|handles|is": 3.4,
        "who|which should|would handle|answer|take|deal|own|get": 3.2,
        "> route|dispatch|triage|forward|redirect|escalate|assign|hand": 2.6,
        f"> send|pass|give|direct .. to .. right|correct|best|appropriate {_AGENT}": 3.0,
        f"> choose|pick|select|decide|determine .. {_AGENT}": 2.6,
        f"> should .. {_AGENT}": 2.4,
        f"right|best|correct|appropriate {_AGENT} for": 1.6,
        "belong|belongs|go|goes to|in .. queue|team|department": 1.4,
        "queue|queues|team|agent|agents|department": 0.8,
    },
    "rewriting": {
        "> rewrite|rephrase|paraphrase|reword|proofread|edit|polish|redraft|reformulate": 3.2,
        "rewrite|rephrase|paraphrase|reword|proofread": 1.6,
        "> make|turn .. sound|clearer|shorter|longer|formal|informal|polite|politer|friendlier|simpler|concise|better|"
        "professional|nicer|softer|warmer|casual|catchier|smoother": 3.0,
        f"> fix|correct|improve|clean|tidy|simplify|shorten|tighten|soften .. {_TEXT}": 2.6,
        "say|put|express|phrase .. this|it|that .. politely|differently|better|simply|formally|nicely|clearly": 2.8,
        "> turn|convert|change .. into|to .. passive|active|formal|prose|plain|third|first|past|present": 2.8,
        "fix|correct .. grammar|spelling|punctuation": 2.4,
        "tone|wording|flow|passive|phrasing|formal": 0.8,
    },
    "decomposition": {
        "break .. down": 2.8,
        "> decompose|plan|divide|split": 2.4,
        "decompose|subtask|subtasks|sub-tasks|sub-task|milestones|workstreams|work-packages": 2.0,
        "> split|divide|turn|break .. into .. steps|tasks|parts|stories|tickets|epics|phases|chunks|to-do|todo": 3.0,
        "steps to|for|i|we|needed|required|involved": 2.4,
        "> create|make|draw|give|write .. plan|roadmap|checklist|breakdown|to-do|todo|schedule|timeline": 2.6,
        "work breakdown|packages": 2.4,
        "list|plan .. of|the|all .. steps|tasks": 2.4,
        "tasks|steps|dependencies|milestones|phases": 0.7,
    },
    "tool-use formatting": {
        "function|tool|api call|calls|invocation|invocations": 3.0,
        "> return|answer|output|emit|give .. call|invocation": 3.0,
        "json|yaml of|for .. call": 1.6,
        "call as|in json": 3.0,
        "tool|tools|function|functions .. called|invoked|invoke": 1.6,
        "tool_calls|function_call|tool-call|tool-calls|function-call|tool-use": 3.0,
        "> call|invoke|use .. tool|function|api": 2.8,
        "format|write|convert|turn|return|output|emit .. as|to|into .. tool|function|call|calls|invocation": 1.6,
        "json .. arguments|call|invocation": 1.8,
        "arguments for|to|of": 1.8,
        "calls|call|invocation|arguments .. function|tool|tools|schema": 1.2,
    },
    "structure assessment": {
        "> assess|check|review|evaluate|verify|inspect|validate .. structure|format|formatting|layout|outline|"
        "organisation|organization|headings|heading|columns|indentation|hierarchy|sections|schema": 3.2,
        "structure|format|layout|outline|organisation|organization|structured of|is|are|clear|correct|consistent": 1.4,
        "well-structured|well-formed|wellformed|well-organised|well-organized|ill-formed|malformed": 3.0,
        "well structured|formed|organised|organized": 3.0,
        f"> is|are .. {_MARKUP} .. valid|well-formed|correct|complete|consistent|ordered": 3.0,
        f"> does|do .. follow|have|match|meet .. {_MARKUP}|structure|introduction|conclusion|sections": 2.6,
        f"> does|do .. {_MARKUP} .. have|follow|match|conform": 2.6,
        f"> validate|lint .. {_MARKUP}": 2.4,
        "logically|logical order|ordered|sequence": 1.6,
        f"valid {_MARKUP}": 2.4,
        "outline|heading|headings|sections|rows|columns|template": 0.6,
    },
    "error and quality scoring": {
        f"> score|rate|grade|mark|judge .. {_SCORED}": 3.2,
        "> score|rate|grade|judge": 1.6,
        "scale of|from": 2.4,
        "find|spot|identify|list|point|count|any|are|check .. errors|error|mistakes|mistake|typos|flaws": 2.6,
        "out of ten|10|five|5|100": 2.2,
        "from 0|1|one|zero to": 1.6,
        "quality score|of|rating": 2.0,
        f"how good|helpful|accurate|correct|well|relevant is|was|does .. {_SCORED}": 2.8,
        "which .. is|was better|best|worse .. _|a|b": 1.8,
        f"which .. {_SCORED} is better|best|worse|preferable": 2.6,
        "rubric|score|points|marks|grade": 1.0,
    },
    "rationale generation": {
        "> why": 2.2,
        "why is|are|do|does|did|was|were|would|should|has|have|can|can't|don't|doesn't": 1.2,
        "> explain|describe .. why|how|reasoning|reason|reasons|rationale|logic": 2.6,
        "> explain": 1.4,
        "how come": 2.8,
        "> how .. work|works|happen|happens|form|formed|arise": 2.0,
        "rationale|justification|justify|reasoning": 2.6,
        "give|list|state|provide .. reason|reasons|justification|rationale": 2.6,
        "what .. cause|causes|reason|reasons|behind": 1.4,
    },
    "parameter extraction": {
        f"> extract|identify|parse|get|pull|return|find|read|list|detect .. {_FIELD}": 3.6,
        f"> fill .. {_FIELD}": 3.4,
        f"> what|which .. {_FIELD}": 2.8,
        "> extract|get|pull|identify|parse .. date|time|place|city|name|number|amount|quantity|size .. and|from": 2.4,
        "slot|slots|key-value|parameters|parameter|arguments": 1.2,
        "and .. out of|from _|this|it|the": 0.4,
    },
    "classification": {
        "> classify|categorise|categorize|tag|label|sort|group": 3.2,
        "classify|categorise|categorize|classification": 1.8,
        "sentiment|spam|ham|phishing|toxic|sarcastic": 2.4,
        "positive|negative|neutral .. positive|negative|neutral|or": 2.4,
        "which|what category|class|label|kind|type|topic|genre|intent|emotion|language": 1.8,
        "determine|detect|identify|predict .. intent|sentiment|emotion|category|topic|class|language": 2.8,
        "yes or no": 1.8,
        "answer|reply|respond yes|true": 1.6,
        "true or false": 1.8,
        "category|categories|labels|options|intent|topic": 1.0,
        "> is .. or": 1.0,
    },
    "coding": {
        f"{_MAKE} .. {_CODE_THING}": 1.6,
        f"{_MEND} .. {_CODE_THING}": 2.0,
        "> implement|code|debug|refactor|program|compile|deploy": 1.8,
        _CODE_LANGUAGE: 1.6,
        "in go|r|c|node|js|ts": 1.6,
        "unit|integration|regression test|tests": 1.6,
        "stack trace|overflow": 1.6,
        "why .. throw|throws|crash|crashes|fail|fails|compile|undefined|null|segfault|error|twice": 1.6,
        "indexerror|typeerror|valueerror|keyerror|attributeerror|nullpointerexception|syntaxerror|referenceerror": 1.4,
        "stacktrace|traceback|segfault|exception|compile|compiler|runtime|stderr|npm|pip": 1.4,
        "linked|binary|hash list|tree|search|map|table": 1.2,
        "function|class|code|bug|api|endpoint|script|algorithm|repo|repository|commit|codebase|async|thread": 1.0,
        "lock-free|concurrency|distributed|multithreaded|backend|frontend|microservices|recursion|quicksort|mutex": 1.0,
        "type hints|annotations": 1.0,
        "_code_": 1.4,
        "last|latest|first|previous|my|a commit|commits": 1.4,
        f"> why .. my .. {_CODE_THING}|{_CODE_LANGUAGE}|div|flexbox|grid|selector|container|build": 2.6,
        f"> translate|port|convert|rewrite|turn .. {_CODE_LANGUAGE} to|into|in {_CODE_LANGUAGE}|go|r|c": 5.5,
        "> rename|delete|remove|change|move|bump|set .. variable|import|imports|function|class|method|parameter|column|"
        "line|port|dependency|constant": 2.2,
        "td|div|span|flexbox|navbar|iframe|z-index|viewport|dom|svg|vlookup|xlookup|countif|sumif|javascript's": 2.0,
        "footer|header|margin|padding|selector|stylesheet|button|webpage": 0.8,
        "excel|spreadsheet|spreadsheets|sheets|pivot": 1.4,
        "formula .. column|columns|cell|cells|row|rows": 2.4,
        "time|space complexity": 2.0,
        "find|spot|where's|what's .. bug|mistake .. _code_": 3.0,
        "regular expression|expressions": 1.8,
    },
    "writing": {
        f"> write|draft|compose|pen|create|generate|make .. {_PIECE}": 2.4,
        f"> give|need|want|suggest|propose|invent|come|think|brainstorm .. {_PIECE}": 2.6,
        "> suggest|propose|brainstorm|invent .. name|names|title|titles|slogan|tagline|ideas": 2.6,
        "come up with": 1.8,
        "> draft|compose": 1.6,
        "> reply|respond to|that|saying|telling": 2.4,
        "> reply|respond|answer|tell|write|text saying|that": 1.2,
        "> answer this|my|the|that mail|email|letter|message": 3.2,
        "> text|message|email|mail my|our|the|his|her": 2.6,
        "grant|job application": 2.0,
        "business|marketing plan": 2.0,
        "> write": 1.0,
        "poem|haiku|limerick|sonnet|lyrics|short-story|slogan|tagline|novel|toast|eulogy|story": 1.4,
        "creative|narrator|protagonist|fiction|rhyming|plot": 1.0,
        "linkedin|instagram|twitter|facebook post|caption|thread": 1.4,
        "white|position paper": 1.0,
    },
    "analysis": {
        "> analyse|analyze|compare|contrast|evaluate|assess|interpret|investigate|research|examine|discuss": 2.6,
        "analyse|analyze|analysis|compare|contrast|evaluate|assess|interpret|implications|consequences": 1.6,
        "pros and cons": 2.6,
        "advantages|benefits|strengths and|or disadvantages|drawbacks|risks|weaknesses": 2.6,
        "trade-offs|tradeoffs|trade-off|tradeoff|swot|pestle|counterfactual": 1.8,
        "differ|difference|differences": 1.6,
        "clause|contract|agreement .. risk|risks|obliges|means|hurt|hurts": 2.0,
        "sentence|clause|line|paragraph by sentence|clause|line|paragraph": 1.8,
        "each sentence|clause|paragraph": 1.4,
        "how|what .. differ|compare|difference|differences": 1.4,
        "what does|do|can .. tell|mean|imply|suggest|show": 1.2,
        "> what .. implications|impact|effect|effects|consequences|risks|trends": 2.0,
        "strengths|weaknesses|evidence|methodology|hypothesis|trend|trends|strategic|causes|uncertainties": 0.7,
    },
    "mathematics": {
        "> solve|calculate|compute|integrate|differentiate|prove|factor|factorise|factorize|evaluate": 2.0,
        "solve|equation|equations|integral|derivative|theorem|eigenvalue|eigenvalues|matrix|polynomial|algebra": 1.8,
        "> prove|show that|there|if|every": 2.2,
        LATE_MATHEMATICS: 1.3,
        "> show|prove that|every .. group|ring|field|graph|set|number|integer|integers|function": 2.0,
        "> find|determine all .. functions|integers|primes|pairs|polynomials|values|f": 3.0,
        "prove|proof|lemma|modulo|prime|primes|abelian|isomorphic|finite|infinitely|irrational|convergence": 1.3,
        "how many|much|long|far|old|fast": 1.8,
        "calculate|compute|probability|percent|percentage|geometry|average|median|triangle|radius|perimeter": 1.5,
        "remainder|divisor|divisible|quotient|denominator|coordinates|parabola|hypotenuse|circumference|integers": 1.4,
        "vectors|polynomials|inequality|logarithm|bijection|subgroup|permutations|digits|perpendicular|tangent": 1.2,
        "sum|square|cube|area|volume|product root|of|roots": 1.5,
        "plus|minus|times|divided": 1.3,
        "real|all|integer solutions|roots": 1.5,
        "> find|determine .. solutions|roots|value|maximum|minimum|limit|eigenvalues|x|n|area|angle": 1.6,
        "original|total price|cost|amount|number": 0.8,
        "> simplify|expand|factor": 0.8,
        "> convert .. km|miles|kg|pounds|celsius|fahrenheit|metres|meters|feet|inches|cm|hours|dollars|euros": 2.2,
    },
    "translation": {
        "> translate": 3.4,
        "translate|translation|translated|translates": 2.2,
        f"in|into|to {_LANGUAGE}": 2.2,
        f"in|into|to .. {_LANGUAGE}": 0.6,
        "how do|would|to you|i|we|one say": 2.6,
        "> how .. say": 1.2,
        "what does _ mean": 1.4,
        f"> say|put|render .. {_LANGUAGE}": 1.6,
    },
    "summary": {
        "> summarise|summarize|condense|recap|abridge|shorten|digest": 3.2,
        "summarise|summarize|summarised|summarized|summary|condense|recap|gist|abstract|synopsis|tldr|overview": 2.4,
        "tl dr": 3.0,
        "gist|synopsis|recap of": 1.6,
        "key|main points|takeaways|ideas|findings|message|messages": 2.2,
        "sum|boil|cut|wrap .. up|down": 1.8,
        "> sum|boil": 1.2,
        "in one|two|three|four|five|1|2|3|4|5|few sentences|sentence|lines|words|bullets|bullet": 1.8,
        "in a few|single bullet|sentences|words|lines|paragraph|points": 1.6,
        "to|into .. single|one|short .. paragraph|sentence": 1.2,
        "bullet points": 1.0,
    },
    "extraction": {
        "> extract|pull|collect|gather|grab": 2.4,
        "extract": 1.2,
        "> find|list|get|return|show|give|name|identify .. all|every|each|any": 2.0,
        "> list|find|get|return .. the": 0.8,
        "pull .. out": 1.6,
        "> which|what .. names|dates|addresses|emails|numbers|prices|places|people|companies|urls|terms .. "
        "appear|appears|are|mentioned|occur|contained": 3.0,
        "names|name|people|companies|dates|places mentioned|named|listed": 2.0,
        "mentioned|appear|appears|occurring in|here": 1.4,
        "> go through": 1.0,
        "as json|table|csv|list": 1.2,
        "json .. keys|fields|properties": 2.6,
        "> from the .. below|following": 1.0,
        "addresses|dates|urls|emails|names|prices|phone|numbers|companies|persons|people": 0.9,
    },
    "chat": {
        "> hi|hello|hey|good|thanks|thank|bye|yo|sup|hiya|greetings|welcome|sorry|ok|okay|cool|lol|haha": 1.7,
        "who are|is|was|won|wrote|invented|made|painted|discovered": 1.7,
        "how are|is|was you|your|it": 1.5,
        "> what|where|when|who|whats|what's|who's|where's is|was|are|were|did|the": 0.9,
        "> what's|who's|where's|whats|who": 1.2,
        "do|would|can|are you like|think|feel|know|have|a|human": 1.5,
        "i'm|im|i bored|tired|sad|happy|lonely|feeling|feel": 1.5,
        "> tell me|us": 1.6,
        "> recommend": 1.6,
        "> what is|are|does|do|was a|an": 0.9,
        "> what's a|an": 0.9,
        "> when|where|who was|were|did|came": 1.6,
        "what|where|which should i|we": 1.5,
        "entertain|joke|fun|weather|favourite|favorite|tonight|weekend|birthday": 0.8,
        "capital|population|tallest|largest|president|mountain|country|king|queen": 0.8,
        "> hallo|hola|bonjour|ciao|salut|danke|gracias|merci|grazie|olá|hej|servus|moin": 2.2,
    },
}
"""Task → phrase → weight, in log odds before they are sharpened."""

POLITE = word_set(
    "please pls kindly can could would will you i i'd i'll need want wanted like to me us we help just now then "
    "and also so ok okay hi hello hey let's lets quickly briefly carefully first next finally your task job is "
    "try thanks bitte kannst könntest du mir por favor puedes peux-tu pouvez-vous puoi s'il te plaît or but the "
    "goal a"
)
"""Words before the verb of a request."""
