"""Which model gets a prompt. Pure: values in, a Decision out."""

from ..stats.drift import Drift
from .bounds import Bounds, preset_bounds
from .chains import Chain, preset_chains, route
from .choosing import EXPLORATION, Exploration
from .complexity import Complexity
from .decision import (
    NO_FORECAST,
    Candidate,
    Considered,
    Conversation,
    Decision,
    Deployment,
    Estimate,
    Evidence,
    Forecast,
    Forecaster,
    Grade,
    Outcome,
    Policy,
    Prefill,
    Retracted,
    RouteState,
    Rubric,
    Seen,
    Together,
)
from .expectations import qualities, quality_of
from .filters import reason_against
from .learning import changed_models, learn, merge, sound, with_beliefs
from .lengths import Lengths, all_lengths, by_kind, kind_of
from .objective import Objective
from .prompt import Prompt, read_prompt, recorded_prompt
from .sizes import estimate_tokens, text_tokens
from .tasks import TASKS
from .terms import PRIORITIES, Weights

__all__ = [
    "EXPLORATION",
    "NO_FORECAST",
    "PRIORITIES",
    "TASKS",
    "Bounds",
    "Candidate",
    "Chain",
    "Complexity",
    "Considered",
    "Conversation",
    "Decision",
    "Deployment",
    "Drift",
    "Estimate",
    "Evidence",
    "Exploration",
    "Forecast",
    "Forecaster",
    "Grade",
    "Lengths",
    "Objective",
    "Outcome",
    "Policy",
    "Prefill",
    "Prompt",
    "Retracted",
    "RouteState",
    "Rubric",
    "Seen",
    "Together",
    "Weights",
    "all_lengths",
    "by_kind",
    "changed_models",
    "estimate_tokens",
    "kind_of",
    "learn",
    "merge",
    "preset_bounds",
    "preset_chains",
    "qualities",
    "quality_of",
    "read_prompt",
    "reason_against",
    "recorded_prompt",
    "route",
    "sound",
    "text_tokens",
    "with_beliefs",
]
