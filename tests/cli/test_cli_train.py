"""`pointsman train`: a report first, a switch only where it is asked for and shown to be right, and the way back."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cli_upstream import Run, in_a_terminal

from graded_prompts import COST, MODELS, SKILL, grades, prompts, write_outcomes
from pointsman.core import Chat, Message, Nanos, Text
from pointsman.gateway.weights import can_go_back, go_back, learned_path, load_learned, previous_path, switch
from pointsman.ledger import Body, Entry, Ledger
from pointsman.ledger.feedback import Feedback
from pointsman.routing import read_prompt
from pointsman.routing.learned import LearnedRouter, Reader, pack
from pointsman.routing.learned.settings import Settings

ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
MINUTE = 60.0


PROFILES = """\
providers: {mine: {dialect: simulated}}
models: {poet: {provider: mine, quality: 0.9}, large: {provider: mine, quality: 0.6}}
"""


def policies(report: dict[str, Any], weight: float) -> dict[str, dict[str, Any]]:
    found = next(each for each in report["by_weight"] if each["cost_weight"] == weight)
    return {policy["policy"]: policy for policy in found["policies"]}


def test_two_hundred_prompts_and_five_models_take_less_than_a_minute_of_one_core(
    start: Run, home: Path, tmp_path: Path
) -> None:
    """Nobody would train who has to wait, and a report that is wrong is worse than none."""
    path = write_outcomes(tmp_path / "outcomes.jsonl", 200, seed=4)
    (home / "config.yaml").write_text(PROFILES, "utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = start("train", "--from", str(path), "--json", **ONE_CORE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MINUTE
    told = json.loads(done.stdout)
    report = told["report"]
    assert (report["rows"], report["models"], report["grades"], report["missing"]) == (200, 5, 1000, 0)
    assert (report["held_out"], report["folds"]) == (200, 5)
    # Against the grades of the file, and against the truth that they were drawn from.
    scores = grades(prompts(200, 4)[1], 4)
    quality = policies(report, 0.0)
    single, new = quality["best single"], quality["new router"]
    assert report["by_weight"][0]["best_single"] == ["large"]
    assert single["quality"]["value"] == pytest.approx(scores[:, MODELS.index("large")].mean())
    assert single["cost_usd"]["value"] == pytest.approx(0.01)
    assert single["quality"]["value"] < new["quality"]["value"] <= 1.0
    assert new["gain"]["value"] == pytest.approx(new["quality"]["value"] - single["quality"]["value"])
    assert new["quality"]["low"] < SKILL.max(axis=1).mean() + 0.02
    assert quality["profiles"]["quality"]["value"] == pytest.approx(scores[:, MODELS.index("poet")].mean())
    by_model = {model["model"]: model for model in report["by_model"]}
    assert by_model["poet"]["score"] == pytest.approx(scores[:, MODELS.index("poet")].mean())
    assert by_model["poet"]["brier"] < by_model["poet"]["brier_of_mean"]
    # Nothing was switched: that takes the command that is named.
    assert report["is_better"] and not told["switched"] and not learned_path(home).exists()
    assert told["command"] == f"pointsman train --from {path} --switch"
    assert (told["configured"], told["not_configured"]) == (["large", "poet"], ["coder", "mathematician", "small"])


def test_labels_without_meaning_are_not_switched_to(run: Run, home: Path, tmp_path: Path) -> None:
    """A router that learned noise would send prompts anywhere."""
    path = write_outcomes(tmp_path / "outcomes.jsonl", 60, shuffled=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"prompt": "What is 2 plus 2?", "model": "codr", "score": 1}) + "\n")
    done = run("train", "--from", str(path), "--switch", **ONE_CORE)
    assert done.returncode == 1
    assert "Not shown to be better" in done.stdout and "Nothing was switched" in done.stdout
    # Names that lead nowhere are told, before and after.
    assert "little can be learned: codr 1 (coder?)." in " ".join(done.stdout.split())
    assert all("None of its models can be named here" in text for text in (done.stdout, done.stderr))
    assert not learned_path(home).exists()


def test_a_switch_is_told_in_eighty_columns_and_taken_back(
    run: Run, home: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    """A router that turns out worse would stay; a table folded in the middle of a number cannot be read."""
    switch(home, small_router(1).save)
    first = learned_path(home).read_bytes()
    path = write_outcomes(tmp_path / "outcomes.jsonl", 60, seed=2)
    shown = in_a_terminal({**variables, **ONE_CORE}, "train", "--from", str(path), "--switch")
    lines = [line.rstrip() for line in re.sub("\x1b\\[[0-9;]*m", "", shown).splitlines()]
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert (
        sum(line.startswith(("new router", "in use")) and line.count("[") == line.count("]") == 2 for line in lines)
        == 6
    )
    assert any("60 prompts, 5 models, 300 grades" in line for line in lines)
    assert any(line.startswith("Better than the best single model") for line in lines)
    assert any(line.startswith("Switched:") for line in lines)
    second = learned_path(home).read_bytes()
    assert second != first and previous_path(home).read_bytes() == first
    assert "in use again" in run("train", "--back").stdout
    assert learned_path(home).read_bytes() == first and previous_path(home).read_bytes() == second
    assert json.loads(run("train", "--back", "--json").stdout)["exists"]
    assert learned_path(home).read_bytes() == second


def test_going_back_from_the_first_router_leaves_none(run: Run, home: Path) -> None:
    """Whoever tried a router once could not get rid of it."""
    assert run("train", "--back", "--force").returncode == 2
    nothing = run("train", "--back")
    assert nothing.returncode == 1 and "no learned router" in nothing.stderr
    learned_path(home).parent.mkdir(parents=True)
    learned_path(home).write_bytes(b"the first")
    assert "by their profiles again" in run("train", "--back").stdout
    assert not learned_path(home).exists() and load_learned(home) is None
    # What comes back may be of no use, and nobody would know.
    useless = run("train", "--back")
    assert learned_path(home).read_bytes() == b"the first"
    assert useless.returncode == 1 and "in use again" not in useless.stdout
    assert "of no use" in useless.stderr and "it is no .npz file" in " ".join(useless.stderr.split())


def test_few_grades_are_told_and_train_nothing(run: Run, home: Path, tmp_path: Path) -> None:
    """A handful of clicks would decide where every prompt goes."""
    path = write_outcomes(tmp_path / "outcomes.jsonl", 12)
    done = run("train", "--from", str(path), "--force")
    assert done.returncode == 1 and "12 graded prompts are too few" in done.stderr
    assert not learned_path(home).exists()
    empty = run("train", "--json")
    assert empty.returncode == 1 and "0 graded prompts" in json.loads(empty.stdout)["error"]["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "no outcome that can be used"), ("\x00\x01", "no outcome that can be used"), (None, "There is no")],
)
def test_a_file_without_outcomes_is_a_usage_error(run: Run, tmp_path: Path, content: str | None, message: str) -> None:
    """A wrong path would look like a router that learned nothing."""
    path = tmp_path / "outcomes.jsonl"
    if content is not None:
        path.write_text(content, "utf-8")
    done = run("train", "--from", str(path))
    assert done.returncode == 2 and message in done.stderr


def test_without_scipy_the_extra_is_named(variables: dict[str, str], tmp_path: Path) -> None:
    """A traceback would be all that a plain installation says."""
    program = (
        "import sys; sys.modules['scipy'] = None; sys.argv = ['pointsman', 'train']; "
        "from pointsman.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and 'pip install "pointsman[train]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_router_is_told_and_never_a_reason_not_to_serve(run: Run, home: Path, tmp_path: Path) -> None:
    """A file that was cut off would stop every call."""
    switch(home, small_router(1).save)
    whole = learned_path(home).read_bytes()
    for damaged in (b"", b"rubbish", whole[:100], whole[: len(whole) // 2], whole[:-1], b"\x00" * len(whole)):
        learned_path(home).write_bytes(damaged)
        warnings: list[str] = []
        assert load_learned(home, warnings.append) is None
        assert len(warnings) == 1 and str(learned_path(home)) in warnings[0]
    # Nor one not to train; and force switches whatever the report says.
    path = write_outcomes(tmp_path / "outcomes.jsonl", 40, shuffled=True)
    done = run("train", "--from", str(path), "--force", "--json", **ONE_CORE)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and "is not a router that can be used" in done.stderr
    assert told["switched"] and not told["report"]["is_better"]
    router = load_learned(home)
    assert router is not None and tuple(router.models) == MODELS


def small_router(seed: int) -> LearnedRouter:
    """Of forty prompts, fitted in a moment."""
    texts, kinds = prompts(40, seed)
    settings = Settings(trees=8, group_trees=2, groups=2, folds=2)
    return LearnedRouter(seed=seed, settings=settings).fit(
        texts, None, grades(kinds, seed), np.tile(COST, (40, 1)), MODELS
    )


SWITCHING = """
import sys
from pathlib import Path
from pointsman.gateway.weights import switch
home, files = Path(sys.argv[1]), [Path(name).read_bytes() for name in sys.argv[2:]]
print("ready", flush=True)
while True:
    for content in files:
        switch(home, lambda path: path.write_bytes(content))
"""


def test_a_kill_during_the_switch_leaves_a_whole_router(home: Path, tmp_path: Path) -> None:
    """A machine that goes down at the wrong moment would have no router, or half of one."""
    for number in (1, 2):
        router = small_router(number)
        router.save(tmp_path / f"{number}.npz")
        switch(home, router.save)
    for tenth in range(12):
        command = [sys.executable, "-c", SWITCHING, str(home), str(tmp_path / "1.npz"), str(tmp_path / "2.npz")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None and child.stdout.readline()
            time.sleep(0.003 * tenth)
            os.kill(child.pid, signal.SIGKILL)
        warnings: list[str] = []
        assert load_learned(home, warnings.append) is not None, warnings
        assert LearnedRouter.load(previous_path(home)).models
    # What the killed ones left goes with the first switch after an hour.
    for left in learned_path(home).parent.glob("learned.new-*"):
        os.utime(left, (0, 0))
    switch(home, router.save)
    assert len(list(learned_path(home).parent.iterdir())) == 2


def test_a_switch_that_cannot_be_written_changes_nothing(home: Path) -> None:
    """A full disk would take the router in use with it."""
    switch(home, lambda path: path.write_bytes(b"one") and None)

    def fails(path: Path) -> None:
        path.write_bytes(b"ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        switch(home, fails)
    assert [path.name for path in learned_path(home).parent.iterdir()] == ["learned.npz"]
    assert learned_path(home).read_bytes() == b"one"
    learned_path(home).rename(previous_path(home))
    learned_path(home).mkdir()
    with pytest.raises(IsADirectoryError, match="where the router belongs"):
        switch(home, lambda path: path.write_bytes(b"two") and None)
    with pytest.raises(IsADirectoryError, match="where the router belongs"):
        go_back(home)
    assert previous_path(home).read_bytes() == b"one" and not can_go_back(home)


def test_graded_calls_of_the_ledger_are_trained_on(run: Run, home: Path) -> None:
    """What users say of answers would never come back into the choice."""
    texts, kinds = prompts(60)
    scores = grades(kinds)
    now = time.time()
    with Ledger.open(home, keep_bodies=True) as ledger:
        for number, text in enumerate(texts):
            column = number % 5
            prompt = read_prompt(Chat((Message("user", (Text(text),)),)))
            ids = {"attempt_id": f"{number:032x}", "call_id": f"{number + 10**6:032x}"}
            at = now - 86_400 * (1 if number < 44 else 40)
            entry = Entry(
                **ids,
                at=at,
                model=MODELS[column],
                endpoint="mine",
                provider="mine",
                status="ok",
                seconds=1.0,
                dialect="openai",
                cost=Nanos(1_000_000),
                features=msgspec.structs.replace(prompt, vector=pack(Reader().read(text))).encode(),
            )
            ledger.record(entry)
            if number % 2:
                body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
                ledger.record_body(Body(ids["attempt_id"], at, msgspec.json.encode(body), ""))
        ledger.flush()
        for number in range(60):
            ledger.feedback.add(Feedback(f"{number + 10**6:032x}", now, float(scores[number, number % 5])))
    done = run("train", "--since", "30d", "--json", **ONE_CORE)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["report"]
    assert (report["source"], report["rows"], report["grades"], report["missing"]) == ("ledger", 44, 44, 176)
    assert report["missing_costs"] == 0 and "Known by their vectors alone: 22" in report["remarks"][0]
    few = run("train", "--since", "1h")
    assert few.returncode == 1 and "0 graded prompts" in few.stderr
