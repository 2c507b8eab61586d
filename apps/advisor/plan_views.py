"""The plan explorer: every way to run a step of a model on some chips, and the best of them."""

from __future__ import annotations

import json
import shlex
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.advisor import plan_answers, plan_texts
from apps.advisor.plan_answers import Answer
from apps.advisor.plan_charts import BAR
from apps.advisor.plan_forms import BEGUN, PlanForm
from apps.http.pages import refuse, render_page
from apps.http.problems import Refused
from regatta.planning.search import NothingFits
from regatta.planning.shapes import BadField


@access(Scope.CLUSTERS_READ)
@require_GET
def explore(request: PortalRequest) -> HttpResponse:
    """Ask for plans, and see them; the address carries all that was asked."""
    form = PlanForm(request.GET if request.GET.get("model") else BEGUN, team=request.team)
    context: dict[str, Any] = {"form": form, "bar": BAR}
    if form.is_valid():
        asked = form.asked()
        try:
            found = plan_answers.answer(
                asked, picked=request.GET.get("plan", "")[:200], now=timezone.now()
            )
        except NothingFits as error:
            form.add_error(None, plan_texts.nothing_fits(error, asked.cluster))
        except Refused as error:
            refuse(form, error)
        except BadField as error:
            form.refuse(error)
        else:
            context |= {"answer": found, "asked": asked, "use": _use(request, form, found)}
            context["curl"] = _curl(form)
    response = render_page(request, "advisor/explore.html", context, part="answer")
    if "answer" in context:
        response["Server-Timing"] = f"plans;dur={context['answer'].took_ms}"
    return response


def _curl(form: PlanForm) -> str:
    """The request to the REST API that searches the same."""
    asked = form.asked()
    [(chip, count)] = asked.cluster.chips
    fix = {name: sorted(values) for name, values in asked.limits.fix.items()}
    body: dict[str, Any] = {
        "model": form.model_config(),
        "chip": chip.name,
        "chips": count,
        "chips_per_node": asked.cluster.chips_per_node,
        "network_GBps_per_chip": form.cleaned_data["network_gbps"],
        "seq_len": form.cleaned_data["seq_len"],
        "global_batch": asked.global_batch,
        "dtype": form.cleaned_data["dtype"],
        "fix": fix,
        "headroom": asked.limits.headroom,
    }
    data = shlex.quote(json.dumps({name: value for name, value in body.items() if value}))
    return (
        f"curl -X POST {settings.REGATTA_URL}/api/v1/plans/search \\\n"
        '  -H "Authorization: Bearer $REGATTA_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {data}"
    )


def _use(request: PortalRequest, form: PlanForm, found: Answer) -> str:
    """The address of the job form with this plan filled in, on a cluster that has its chips."""
    asked = form.asked()
    words: dict[str, Any] = {
        "plan": json.dumps(found.document, separators=(",", ":")),
        "name": f"{asked.name} {found.words}"[:120],
    }
    if (row := form.place(asked)) is not None:
        words |= {"cluster": row.pk, "chip": row.node_chip, "chips": asked.cluster.size}
        words["cpus"] = -(-asked.cluster.size // row.node_chips) * row.node_cpus
    return f"{reverse('jobs:create', args=[request.team.slug])}?{urlencode(words)}"
