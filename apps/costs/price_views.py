"""The page about prices: what holds, what held, and a new one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.clusters import selectors as clusters
from apps.costs import selectors, services
from apps.costs.models import Basis
from apps.http.pages import refuse, render_page
from apps.http.problems import Refused
from regatta import providers
from regatta.costs.prices import kinds_to_try


class PriceForm(forms.Form):
    """What a kind of node costs from some moment on."""

    kind = forms.CharField(
        label=gettext_lazy("Kind of node"),
        max_length=80,
        help_text=gettext_lazy("As the list says it; local:P800 is local nodes with that chip."),
        widget=forms.TextInput(
            attrs={
                "autocomplete": "off",
                "class": "is-code",
                "list": "kinds",
                "spellcheck": "false",
            }
        ),
    )
    usd_per_hour = forms.DecimalField(
        label=gettext_lazy("USD per node-hour"),
        min_value=Decimal(0),
        max_digits=14,
        decimal_places=6,
        widget=forms.NumberInput(attrs={"inputmode": "decimal", "step": "any"}),
    )
    from_at = forms.DateTimeField(
        label=gettext_lazy("Holds from, UTC"),
        required=False,
        help_text=gettext_lazy("Empty is now. The past only where no price was known."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    basis = forms.ChoiceField(
        label=gettext_lazy("Basis"),
        initial=Basis.LIST,
        choices=[(one.value, one.label) for one in Basis if one is not Basis.SAMPLE],
    )
    note = forms.CharField(
        label=gettext_lazy("Note"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("Where the figure comes from."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


@access(Scope.COST_READ, write=Scope.COST_WRITE)
@require_http_methods(["GET", "POST"])
def prices(request: PortalRequest) -> HttpResponse:
    """Every price with its time; an owner opens a new one, which closes the one before."""
    form = PriceForm(request.POST or None, initial={"kind": request.GET.get("kind", "")[:80]})
    used = clusters.node_kinds(request.team.pk)
    if form.is_valid():
        try:
            made = services.set_price(team=request.team, actor=request.actor, **form.cleaned_data)
        except Refused as error:
            refuse(form, error)
        except ValidationError as error:
            form.add_error(None, error.messages[0])
        else:
            said = {"kind": made.kind, "at": f"{made.from_at:%Y-%m-%d %H:%M}"}
            messages.success(request, _("The price of %(kind)s holds from %(at)s UTC.") % said)
            if not any(made.kind in kinds_to_try(kind) for kind in used):
                rare = _(
                    "No node of this team is or was of the kind %(kind)s: nothing costs that yet."
                )
                messages.warning(request, rare % said)
            return redirect("costs:prices", request.team.slug)
    rows = sorted(
        selectors.price_rows(request.team.pk), key=lambda row: (row.kind, row.team_id is None)
    )
    context: dict[str, Any] = {
        "form": form,
        "prices": rows,
        "kinds": sorted({*providers.NAMES, *used, *(row.kind for row in rows)}),
        "now": timezone.now(),
        "sample": Basis.SAMPLE,
    }
    return render_page(request, "costs/prices.html", context, status=422 if form.errors else 200)
