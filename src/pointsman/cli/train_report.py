"""How `pointsman train` shows its report: tables of 80 columns, and the verdict in a sentence."""

from __future__ import annotations

import sys

from ..lab.training_report import ModelReport, PolicyReport, Report, Span, WeightReport
from .terminal import Column, count, show_line, show_table


def show_report(report: Report) -> None:
    """On standard output."""
    show_line(_of_what(report), file=sys.stdout)
    for remark in report.remarks:
        show_line(f"  {remark}", style="yellow", file=sys.stdout)
    show_line(_held_out(report), file=sys.stdout)
    print()
    show_table(
        (
            Column("model", wraps=True),
            Column("rows", "right"),
            Column("grade", "right"),
            Column("expected", "right"),
            Column("Brier", "right"),
            Column("of mean", "right"),
            Column("off by", "right"),
        ),
        [_model_cells(model) for model in report.by_model],
        title="Models, on held-out rows",
    )
    for weight in report.by_weight:
        print()
        _show_weight(weight)
    print()
    if untold := _untold(report):
        show_line(untold, style="dim", file=sys.stdout)
    if report.gain_over_in_use is not None:
        over = report.gain_over_in_use
        rows = count(report.rows_after_in_use, "row")
        show_line(f"Over the router in use, on {rows} that came after it: {_signed(over)}", file=sys.stdout)
    show_line(report.verdict, style="bold green" if report.is_better else "bold", file=sys.stdout)


def _of_what(report: Report) -> str:
    parts = [
        count(report.rows, "prompt"),
        count(report.models, "model"),
        count(report.grades, "grade"),
        f"{report.missing:,} missing",
        f"{report.repeated:,} doubled",
        f"{report.contradicting:,} contradicting",
    ]
    if report.missing_costs:
        parts.append(f"{count(report.missing_costs, 'grade')} without a cost")
    return f"{report.source}: {', '.join(parts)}"


def _held_out(report: Report) -> str:
    how = f"each in one of {report.folds} turns" if report.folds > 1 else "a fifth of the questions"
    tells = f"{report.telling:,} of them can tell the router from the best single model"
    return f"Held out: {count(report.held_out, 'row')}, {how}; {tells}."


def _model_cells(model: ModelReport) -> tuple[str, ...]:
    figures = (model.score, model.predicted, model.brier, model.brier_of_mean, model.calibration)
    return (model.model, f"{model.rows:,}", *("" if figure is None else f"{figure:.3f}" for figure in figures))


def _show_weight(weight: WeightReport) -> None:
    what = "Quality alone" if weight.cost_weight == 0 else f"Cost weight {weight.cost_weight:g}"
    has_costs = any(policy.cost_usd is not None for policy in weight.policies)
    costs = (Column("$ / 1,000", "right"),) if has_costs else ()
    show_table(
        (Column("policy"), Column("rows", "right"), Column("quality", "right"), *costs, Column("gain", "right")),
        [_policy_cells(policy, has_costs=has_costs) for policy in weight.policies],
        title=f"{what}; the best single model is {', in some turns '.join(weight.best_single)}",
    )


def _untold(report: Report) -> str:
    """What it means that figures are of some rows only; '' where they are of all."""
    least = min(policy.rows for weight in report.by_weight for policy in weight.policies)
    if least == report.held_out:
        return ""
    return (
        "Where a model was drawn with a chance below 5 %, or has hardly any grades, nobody can tell how it would have "
        "done: `rows` is how many are left, for a policy and the best single model alike. In the verdict the others "
        "are no gain."
    )


def _policy_cells(policy: PolicyReport, *, has_costs: bool) -> tuple[str, ...]:
    costs = (_thousand(policy.cost_usd),) if has_costs else ()
    quality = "cannot be told" if policy.quality is None else _plain(policy.quality)
    gain = "" if policy.gain is None else _signed(policy.gain)
    return (policy.policy, f"{policy.rows:,}", quality, *costs, gain)


def _plain(span: Span) -> str:
    return f"{span.value:.3f} [{span.low:.3f}, {span.high:.3f}]"


def _signed(span: Span) -> str:
    return f"{span.value:+.3f} [{span.low:+.3f}, {span.high:+.3f}]"


def _thousand(span: Span | None) -> str:
    """Without its interval: three of them do not fit into 80 columns."""
    if span is None:
        return ""
    return f"{1000 * span.value:.3g}"
