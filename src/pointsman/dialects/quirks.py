"""How a provider, or one of its models, departs from its dialect: a closed set, each with what it does and its source.

Which provider has which is data of the catalogue. What only advises a model (sampling, effort) is left out or said in
the nearest words where it would be refused. What shapes the answer (`stop`, `logprobs`, a forced tool) is never left
out: there the provider's own refusal is the better answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Quirk = Literal[
    "adaptive_thinking",
    "effort_none_or_high",
    "max_completion_tokens",
    "max_tokens_only",
    "nine_letter_tool_ids",
    "no_developer_role",
    "no_disabled_thinking",
    "no_effort",
    "no_json_object",
    "no_message_names",
    "no_minimal_effort",
    "no_named_tool",
    "no_parallel_tools",
    "no_penalties",
    "no_reasoning_history",
    "no_sampling",
    "no_stream_options",
    "no_thinking",
    "no_xhigh_effort",
    "random_seed",
    "reasoning_back",
    "strict_fields",
    "thinking_budgets",
    "thinking_levels",
    "thinking_switch",
]


class Target(Struct, frozen=True):
    """Where a call goes: the provider's own name for a model, and how it departs from the dialect there."""

    model: str
    quirks: frozenset[Quirk] = frozenset()
    cap: int | None = None
    """Tokens of the longest answer that we allow, for a call that passes and states no bound of its own."""


class Note(Struct, frozen=True):
    """`dialects`: those in which the quirk acts."""

    does: str
    dialects: tuple[str, ...]
    source: str


QUIRKS: Mapping[Quirk, Note] = {
    "adaptive_thinking": Note(
        "A budget of thinking tokens is refused: thinking is adaptive, and effort says how much.",
        ("anthropic",),
        "Anthropic's migration guides since Claude Opus 4.7",
    ),
    "effort_none_or_high": Note(
        "Reasoning is off or on: `low` and less become `none`, anything above `high`.",
        ("openai",),
        "Mistral's documentation, adjustable reasoning",
    ),
    "max_completion_tokens": Note(
        "`max_tokens` is refused by newer models: it is called `max_completion_tokens`.",
        ("openai",),
        "OpenAI's API reference of chat completions",
    ),
    "max_tokens_only": Note(
        "`max_completion_tokens` is refused or ignored: it is called `max_tokens`.",
        ("openai",),
        "Mistral's and DeepSeek's API references; issue 231 of editor-code-assistant/eca",
    ),
    "nine_letter_tool_ids": Note(
        "The id of a tool call must be nine letters or digits: any other is replaced, the same by the same.",
        ("openai",),
        "Documentation of mistral-common; issue 1680 of anomalyco/opencode",
    ),
    "no_developer_role": Note(
        "The role `developer` is refused: it becomes `system`.",
        ("openai",),
        "Cerebras' page on OpenAI compatibility; issue 36 of cloudflare/cloudflare-os",
    ),
    "no_disabled_thinking": Note(
        "Thinking cannot be switched off: `none` becomes the least there is.",
        ("openai", "anthropic", "gemini"),
        "Anthropic's migration guides to Claude 5.5; Google's and xAI's guides on thinking",
    ),
    "no_effort": Note(
        "A reasoning effort is refused: it is left out, or becomes a budget where the model knows one.",
        ("openai", "anthropic"),
        "xAI's, Groq's and Mistral's guides on reasoning; Anthropic's guide on effort",
    ),
    "no_json_object": Note(
        "JSON mode is refused: it is asked for by a schema that any object fits.",
        ("openai",),
        "issue 189 of lmstudio-ai/lmstudio-bug-tracker",
    ),
    "no_message_names": Note(
        "`name` on a message is refused: it is left out.", ("openai",), "Groq's page on OpenAI compatibility"
    ),
    "no_minimal_effort": Note(
        "The effort `minimal` is refused: it becomes `low`.",
        ("openai", "gemini"),
        "OpenAI's guide to GPT-5.1 and later; Google's table of thinking levels",
    ),
    "no_named_tool": Note(
        "A tool cannot be forced by its name: it is sent alone, and a tool required.",
        ("openai",),
        "issue 13 of can1357/llm-git (LM Studio)",
    ),
    "no_parallel_tools": Note(
        "`parallel_tool_calls` is refused: `true`, the default, is left out.",
        ("openai",),
        "Cerebras' page on OpenAI compatibility",
    ),
    "no_penalties": Note(
        "`frequency_penalty` and `presence_penalty` are refused: they are left out.",
        ("openai",),
        "Cerebras' page on OpenAI compatibility; xAI's guide on reasoning",
    ),
    "no_reasoning_history": Note(
        "The reasoning of earlier turns is refused: it is left out.",
        ("openai",),
        "issue 8136 of janhq/jan (Groq); issue 10375 of Kilo-Org/kilocode (Cerebras)",
    ),
    "no_sampling": Note(
        "Temperature, `top_p`, `top_k` and penalties are refused (by OpenAI's unless the effort is `none`): left out.",
        ("openai", "anthropic"),
        "OpenAI's guide to its latest model; Anthropic's migration guides since Claude Opus 4.7",
    ),
    "no_stream_options": Note(
        "`stream_options` is refused: it is left out, and usage comes unasked in the last chunk.",
        ("openai",),
        "Mistral's API reference; issue 2347 of avante-corp/avante.nvim",
    ),
    "no_thinking": Note(
        "The model cannot think and refuses to be told how much: nothing is said of it.",
        ("anthropic", "gemini"),
        "Anthropic's guide on extended thinking; Google's guide on thinking",
    ),
    "no_xhigh_effort": Note(
        "The effort `xhigh` is refused: it becomes `high`.",
        ("openai", "anthropic"),
        "Anthropic's guide on effort; Groq's guide on reasoning",
    ),
    "random_seed": Note("`seed` is called `random_seed`.", ("openai",), "Mistral's API reference"),
    "reasoning_back": Note(
        "The reasoning before a tool call must come back with it, as `reasoning_content`; a blank where there is none.",
        ("openai",),
        "DeepSeek's guide on thinking mode; issue 1266 of 0xPlaygrounds/rig",
    ),
    "strict_fields": Note(
        "A field that Mistral does not know is refused with a 422, in a message too: it is left out.",
        ("openai",),
        "Mistral's API reference; issue 7 of mistralai/platform-docs-public",
    ),
    "thinking_budgets": Note(
        "Thinking is told in tokens, not in levels, and calls of tools need no signature.",
        ("gemini",),
        "Google's guide on thinking (Gemini 2.5)",
    ),
    "thinking_levels": Note(
        "Thinking can be told in levels and not just switched off.", ("ollama",), "Ollama's documentation of gpt-oss"
    ),
    "thinking_switch": Note(
        "The effort `none` is unknown: thinking is switched off by `thinking: {type: disabled}`.",
        ("openai",),
        "DeepSeek's guide on thinking mode",
    ),
}
