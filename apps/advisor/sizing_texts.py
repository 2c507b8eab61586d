"""What sizing found in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _

from apps.insights.charts import decimal, number
from regatta.planning.fleets import Fleet
from regatta.planning.sizing import NoPlan, Option

Way = Option | Fleet


def ways(one: Way) -> str:
    """`64 × H100-80GB`, or for a fleet `4 × 2 H100-80GB, fp8`; what is owned says so."""
    if isinstance(one, Fleet):
        told = f"{one.replicas} × {one.tp} {one.chip}, {one.quantization}"
    else:
        told = f"{one.count} × {one.chip}"
    return told if one.basis == "rent" else _("%(what)s, own") % {"what": told}


def no_plan(error: NoPlan) -> str:
    """The nearest miss and what would mend it; empty where nothing fits at all."""
    near = error.near
    if not isinstance(near, Option | Fleet):
        return ""
    said = {"way": ways(near), "lift": _(", ").join(_lifted(error.lift))}
    if isinstance(near, Option):
        said |= {"days": decimal(near.days, 1), "usd": decimal(near.cost_usd, 0)}
        return (
            _(
                "Nothing is in time and within the budget. The nearest is %(way)s: %(days)s days "
                "and %(usd)s USD. It would do with %(lift)s; or allow more, or other chips."
            )
            % said
        )
    said |= {"ttft": number(near.ttft_s), "itl": decimal(near.itl_s * 1000, 0)}
    said |= {"usd": decimal(near.usd_per_hour, 2)}
    return (
        _(
            "Nothing meets all targets. The nearest is %(way)s: %(ttft)s s to the first token, "
            "%(itl)s ms to the next, %(usd)s USD an hour. It would do with %(lift)s; or allow "
            "other chips."
        )
        % said
    )


def _lifted(lift: Mapping[str, float]) -> list[str]:
    words = {
        "deadline_days": lambda v: _("a deadline of %s days") % decimal(v + 0.05, 1),
        "budget_usd": lambda v: _("a budget of %s USD") % decimal(v + 0.5, 0),
        "budget_usd_per_hour": lambda v: _("a budget of %s USD an hour") % decimal(v + 0.005, 2),
        "ttft_s": lambda v: _("a first token within %s s") % number(v),
        "itl_s": lambda v: _("a next token within %s ms") % decimal(v * 1000 + 0.5, 0),
    }
    return [words[name](value) for name, value in lift.items()]
