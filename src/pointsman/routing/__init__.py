"""Which model gets a prompt. Pure: values in, a Decision out."""

from .chains import Chain, preset_chains, route
from .decision import Candidate, Considered, Decision, Deployment, Outcome, Policy, RouteState, Rubric, Seen, learn
from .filters import DEFAULT_OUTPUT_TOKENS, expected_cost
from .objective import PRIORITIES, Objective, Weights, quality_of
from .prompt import Prompt, estimate_tokens, read_prompt, text_tokens
from .tasks import TASKS

__all__ = [
    "DEFAULT_OUTPUT_TOKENS",
    "PRIORITIES",
    "TASKS",
    "Candidate",
    "Chain",
    "Considered",
    "Decision",
    "Deployment",
    "Objective",
    "Outcome",
    "Policy",
    "Prompt",
    "RouteState",
    "Rubric",
    "Seen",
    "Weights",
    "estimate_tokens",
    "expected_cost",
    "learn",
    "preset_chains",
    "quality_of",
    "read_prompt",
    "route",
    "text_tokens",
]
