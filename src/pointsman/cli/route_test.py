"""`pointsman route test`: expectations of what is chosen, which a pipeline checks before a configuration goes live."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

import click
from msgspec import Struct

from ..core import Call, Message, Needs, Text, UnknownModel, from_usd
from ..gateway import Gateway, as_chat
from ..gateway.foreseen import foresee
from ..gateway.yaml_file import Lines, load_list
from ..lab.assertions import Assertion, Unmet, held_against, without_exploring
from ..routing import TASKS
from .candidates import reasons
from .failures import FAILED
from .opening import open_gateway
from .options import config_option, json_option
from .terminal import count, print_json, show_line


class UnmetJson(Struct, frozen=True):
    what: str
    """The key of `expect`."""
    expected: str
    decided: str


class ResultJson(Struct, frozen=True):
    title: str
    line: int
    held: bool
    unmet: tuple[UnmetJson, ...]
    chosen: str | None
    task: str
    complexity: str
    reason: str


class ResultsJson(Struct, frozen=True):
    """What `route test --json` prints."""

    file: str
    held: int
    failed: int
    assertions: tuple[ResultJson, ...]


class Result(Struct, frozen=True):
    """One assertion, and what was decided."""

    title: str
    line: int
    unmet: tuple[Unmet, ...]
    chosen: str
    task: str
    complexity: str
    reason: str


@click.command("test")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the results as JUnit XML, too.",
)
@json_option
@config_option
def route_test(file: Path, junit: Path | None, as_json: bool, config_file: Path | None) -> None:
    """Check routing assertions: what must be chosen for which prompt. Calls nothing.

    FILE is a YAML list; each item has a `prompt` (or `messages`), needs as `route` takes them, and what to `expect`.
    Exit code 0: all hold; 1: one does not; 2: the file is wrong.

    \b
    Examples:
      pointsman route test routing.yaml
      pointsman route test routing.yaml --junit results.xml --config config.yaml
    """
    assertions, lines = load_list(file, Assertion)
    _check(assertions, lines)
    gateway = open_gateway(config_file)
    results = asyncio.run(_decide(gateway, assertions, lines))
    if junit is not None:
        junit.write_bytes(junit_xml(str(file), results))
    if as_json:
        print_json(_as_json(str(file), results))
    else:
        _show(results, file)
    if any(result.unmet for result in results):
        click.get_current_context().exit(FAILED)


def junit_xml(file: str, results: Sequence[Result]) -> bytes:
    """As pipelines read it: a suite, a case for each assertion."""
    failures = sum(bool(result.unmet) for result in results)
    suite = ElementTree.Element(
        "testsuite", name=_for_xml(file), tests=str(len(results)), failures=str(failures), errors="0", skipped="0"
    )
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=_for_xml(file),
            name=_for_xml(result.title),
            file=_for_xml(file),
            line=str(result.line),
            time="0",
        )
        if result.unmet:
            failure = ElementTree.SubElement(case, "failure", message=_for_xml("; ".join(map(str, result.unmet))))
            failure.text = _for_xml("\n".join([*map(str, result.unmet), result.reason]))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _check(assertions: Sequence[Assertion], lines: Lines) -> None:
    """Raises ConfigError for what is well written and means nothing."""
    if not assertions:
        raise lines.error((), "There are no assertions here.")
    for place, assertion in enumerate(assertions):
        if (assertion.prompt is None) == (assertion.messages is None):
            raise lines.error((place,), "An assertion needs a `prompt` or `messages`, one of them.")
        if assertion.messages == ():
            raise lines.error((place, "messages"), "A conversation needs a message.")
        if all(getattr(assertion.expect, key) is None for key in assertion.expect.__struct_fields__):
            raise lines.error((place, "expect"), "Nothing is expected here, so this would always hold.")
        if assertion.task:
            _check_task(assertion.task, (place, "task"), lines)
        for task in _several(assertion.expect.task):
            _check_task(task, (place, "expect", "task"), lines)


def _several(stated: str | Sequence[str] | None) -> Sequence[str]:
    return () if stated is None else (stated,) if isinstance(stated, str) else stated


def _check_task(task: str, where: tuple[str | int, ...], lines: Lines) -> None:
    if task not in TASKS:
        raise lines.error(where, f"There is no task {task[:80]!r}.{_likely(task, TASKS)}")


def _check_names(place: int, assertion: Assertion, known: Sequence[str], lines: Lines) -> None:
    """A name that nobody has would make `not_model` hold for ever."""
    for key, name in assertion.models_named:
        if name not in known and not any(fnmatchcase(one, name) for one in known):
            where = (place, "expect", key, name) if key == "rejected" else (place, "expect", key)
            raise lines.error(where, f"There is no model {name[:80]!r} here.{_likely(name, known)}")


def _likely(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word[:100], known, 1)
    return f" Did you mean {near[0]!r}?" if near else ""


async def _decide(gateway: Gateway, assertions: Sequence[Assertion], lines: Lines) -> list[Result]:
    """Raises ConfigError, with its line, for a name that nobody has."""
    async with gateway:
        everyone = [model.name for model in gateway.roster.everyone()]
        known = (*everyone, *gateway.config.pools)
        results = []
        for place, assertion in enumerate(assertions):
            _check_names(place, assertion, known, lines)
            try:
                results.append(_result(gateway, assertion, lines.of((place,)) or 1))
            except UnknownModel as error:
                raise lines.error((place, "model"), error.message) from None
        return results


def _result(gateway: Gateway, assertion: Assertion, line: int) -> Result:
    decision = without_exploring(foresee(gateway, _call(gateway, assertion)))
    return Result(
        title=assertion.title,
        line=line,
        unmet=held_against(assertion.expect, decision),
        chosen=decision.plan[0] if decision.plan else "",
        task=decision.task,
        complexity=decision.complexity,
        reason="\n  ".join([decision.reason, *([] if decision.plan else reasons(decision.candidates))]),
    )


def _call(gateway: Gateway, assertion: Assertion) -> Call:
    messages = assertion.messages or ()
    said = [Message(message.role, (Text(message.content),)) for message in messages]
    chat = as_chat(said if assertion.prompt is None else assertion.prompt, max_tokens=assertion.max_tokens)
    needs = Needs(
        priority=assertion.priority,
        max_cost=None if assertion.budget is None else from_usd(str(assertion.budget)),
        max_latency=assertion.max_latency,
        min_quality=assertion.quality,
        local_only=assertion.local_only,
    )
    return gateway.call(chat, model=assertion.model, needs=needs, task=assertion.task)


def _show(results: Sequence[Result], file: Path) -> None:
    failed = [result for result in results if result.unmet]
    for result in failed:
        show_line(f"{file}:{result.line}: {result.title}", style="bold", file=sys.stdout)
        for unmet in result.unmet:
            show_line(f"  {unmet}", file=sys.stdout)
        show_line("  " + result.reason.replace("\n", "\n  "), file=sys.stdout)
    show_line(
        f"{count(len(results), 'assertion')}: {f'{len(failed)} failed' if failed else 'all hold'}.", file=sys.stdout
    )


def _as_json(file: str, results: Sequence[Result]) -> ResultsJson:
    return ResultsJson(
        file=file,
        held=sum(not result.unmet for result in results),
        failed=sum(bool(result.unmet) for result in results),
        assertions=tuple(
            ResultJson(
                title=result.title,
                line=result.line,
                held=not result.unmet,
                unmet=tuple(UnmetJson(one.what, one.expected, one.decided) for one in result.unmet),
                chosen=result.chosen or None,
                task=result.task,
                complexity=result.complexity,
                reason=result.reason,
            )
            for result in results
        ),
    )


def _for_xml(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return _NOT_IN_XML.sub("\ufffd", text)


_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
