"""The main job, without any key: a real model of this machine answers, and the host can be seen and stopped."""

import json
from pathlib import Path

from cli_upstream import Run


def test_a_local_model_answers_without_a_key(run: Run, home_with_model: Path) -> None:
    """The first command of the README would fail on a fresh machine."""
    done = run("ask", "Say hello.", "--max-tokens", "12")
    assert done.returncode == 0 and done.stdout.strip()
    assert "→ local/smollm2-135m" in done.stderr
    assert "bill: local $0 · the same tokens at gpt-5.5's list price ≈ $0.0" in done.stderr
    answer = json.loads(run("ask", "Say hello.", "--max-tokens", "12", "--local-only", "--json").stdout)
    assert answer["cost"]["usd"] == "0" and float(answer["cost"]["list_usd"]) > 0
    status = json.loads(run("models", "ps", "--json").stdout)
    assert status["running"] and [model["model"] for model in status["models"]] == ["smollm2-135m"]
    assert "local/smollm2-135m" in run("models", "ps").stdout
    assert "told to end" in run("models", "stop").stdout
