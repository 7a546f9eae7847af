"""`make ask`: what stands in the prompt is text."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHOW = 'show-prompt: ; @printf "%s" "$$PROMPT"'


@pytest.mark.parametrize(
    "prompt", ["price is $5", 'It\'s $HOME `id` "quoted"', "$(shell echo gone) $(PATH) # end", "a; b"]
)
def test_a_prompt_reaches_the_program_as_it_was_typed(prompt: str) -> None:
    """A prompt with a dollar sign would lose text, or run as a command."""
    for arguments, variables in (([f"PROMPT={prompt}"], {}), ([], {"PROMPT": prompt})):
        done = subprocess.run(
            ["make", "--silent", f"--eval={SHOW}", "show-prompt", *arguments],
            cwd=ROOT,
            env={**{name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == prompt
