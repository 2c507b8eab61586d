"""The mixed-cluster page: one training over chips of several kinds."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.advisor import mixed_charts, search_services
from apps.advisor.mixed_charts import BAR
from apps.advisor.mixed_forms import BEGUN, Asked, MixedForm
from apps.http.pages import refuse, render_page
from apps.http.problems import Refused


@access(Scope.CLUSTERS_READ)
@require_GET
def mixed(request: PortalRequest) -> HttpResponse:
    """Ask for the plan over all these chips, and see it; the address carries what was asked."""
    form = MixedForm(request.GET if request.GET.get("model") else BEGUN, team=request.team)
    context: dict[str, Any] = {"form": form, "bar": BAR}
    if form.is_valid():
        try:
            context |= _found(request, form)
        except Refused as error:
            refuse(form, error)
    status = 422 if form.errors else 200
    return render_page(request, "advisor/mixed.html", context, part="answer", status=status)


def _found(request: PortalRequest, form: MixedForm) -> dict[str, Any]:
    """What the page shows: the answer, how far the search is, or why there is no plan."""
    asked = form.asked()
    [row] = search_services.ask([asked.search], actor=request.actor)
    answer = row.found
    if answer is None:
        return {"progress": search_services.progress([row])}
    if "wrong" in answer:
        form.wrong(answer["field"] or "chips", answer["wrong"])
        return {}
    return _told(asked, answer)


def _told(asked: Asked, answer: dict[str, Any]) -> dict[str, Any]:
    alone = answer["alone_sequences_per_s"]
    per_s = asked.global_batch / answer["simulated_s"]
    uniform_s = answer["uniform_s"]
    return {
        "asked": asked,
        "answer": answer,
        "blocks": mixed_charts.blocks(answer, global_batch=asked.global_batch),
        "chart": mixed_charts.losses(answer),
        "timelines": mixed_charts.timelines(answer),
        "alone": [
            (n, chip.name, alone[chip.name], count)
            for n, (chip, count) in enumerate(asked.cluster.chips, start=1)
        ],
        "sum_alone": sum(alone.values()),
        "sequences_per_s": per_s,
        "tokens_per_s": per_s * float(asked.shape.seq_len),
        "gain": uniform_s / answer["iteration_s"] if uniform_s else None,
        "differs": abs(answer["simulated_s"] / answer["iteration_s"] - 1),
        "goal": _("97 per cent at 100 chips, 95 at 1,000"),
    }
