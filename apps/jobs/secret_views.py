"""Pages about the secrets of a team: their names, and never a value."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.access import access
from apps.accounts.request import PortalRequest
from apps.accounts.scopes import Scope
from apps.http.pages import refuse, render_page
from apps.http.problems import Refused
from apps.jobs import secrets, selectors
from apps.jobs.models import Secret
from apps.jobs.rows import LIVE

_HIDDEN = {"autocomplete": "off", "spellcheck": "false", "class": "is-code"}


class Unshown(forms.Textarea):
    """What was typed is not sent back, not even with an error beside it."""

    def format_value(self, value: Any) -> str:
        return ""


class ValueForm(forms.Form):
    """A new value of a secret; lines end as they do in files."""

    value = forms.CharField(
        label=gettext_lazy("Value"),
        strip=False,
        help_text=gettext_lazy("It is never shown again, not even to you."),
        widget=Unshown(attrs={**_HIDDEN, "rows": 3}),
    )

    def clean_value(self) -> str:
        return str(self.cleaned_data["value"]).replace("\r\n", "\n")


class SecretForm(ValueForm):
    """A secret of a name that is not taken."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("Jobs take it by this name: HF_TOKEN=secret:hf-token."),
        widget=forms.TextInput(attrs={**_HIDDEN, "placeholder": "hf-token"}),
    )
    field_order = ("name", "value")


@access(Scope.JOBS_READ, write=Scope.JOBS_WRITE)
@never_cache
@sensitive_post_parameters("value")
@require_http_methods(["GET", "POST"])
def listing(request: PortalRequest) -> HttpResponse:
    """The names, who set them and when; a new one."""
    form = SecretForm(request.POST or None)
    if form.is_valid():
        name = form.cleaned_data["name"]
        if selectors.secrets(request.team).filter(name=name).exists():
            form.add_error("name", _("There is one of this name; replace its value in its row."))
        elif _set(request, form, name):
            messages.success(request, _("Saved. Jobs can take %(name)s now.") % {"name": name})
            return redirect("jobs:secrets", request.team.slug)
    return _page(request, form)


@access(Scope.JOBS_READ, write=Scope.JOBS_WRITE)
@never_cache
@sensitive_post_parameters("value")
@require_http_methods(["GET", "POST"])
def replace(request: PortalRequest, name: str) -> HttpResponse:
    """Another value for a secret; what runs keeps the one that it was started with."""
    secret = _secret(request, name)
    form = ValueForm(request.POST or None)
    if form.is_valid() and _set(request, form, name):
        messages.success(
            request, _("Replaced. What starts from now on gets the new %(name)s.") % {"name": name}
        )
        return redirect("jobs:secrets", request.team.slug)
    return _page(request, form, replaced=secret)


@access(Scope.JOBS_WRITE)
@require_POST
def delete(request: PortalRequest, name: str) -> HttpResponse:
    """Forget a secret at once; there is no undoing, since nobody keeps its value."""
    secrets.delete_secret(_secret(request, name), actor=request.actor)
    messages.success(request, _("%(name)s is deleted.") % {"name": name})
    return redirect("jobs:secrets", request.team.slug)


def _secret(request: PortalRequest, name: str) -> Secret:
    return get_object_or_404(selectors.secrets(request.team), name=name)


def _set(request: PortalRequest, form: forms.Form, name: str) -> bool:
    """Whether the value was kept; a refusal is said in the form."""
    value = form.cleaned_data["value"]
    try:
        secrets.set_secret(team=request.team, name=name, value=value, actor=request.actor)
    except Refused as error:
        refuse(form, error)
        return False
    return True


def _page(
    request: PortalRequest, form: forms.Form, *, replaced: Secret | None = None
) -> HttpResponse:
    live = selectors.jobs(request.team).filter(state__in=sorted(LIVE)).exclude(secret_env={})
    users = Counter(
        name for named in live.values_list("secret_env", flat=True) for name in set(named.values())
    )
    context: dict[str, Any] = {
        "form": form,
        "replaced": replaced,
        "rows": [(one, users[one.name]) for one in selectors.secrets(request.team)],
    }
    status = 422 if form.errors else 200
    return render_page(request, "jobs/secrets.html", context, status=status)
