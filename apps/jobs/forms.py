"""The form that asks for a job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.jobs.models import ENTRYPOINT_CHARS, NAME_CHARS, PRIORITY_MOST, RETRIES_MOST
from apps.jobs.spec import DOCUMENT_BYTES, PLAN_VARIABLE, SECRET_MARK, JobSpec
from regatta.hardware.catalogue import UnknownChip
from regatta.planning import document

_GIB = 1 << 30
COMMAND, SCRIPT, PACKAGE = "command", "script", "package"
_CODE = {"class": "is-code", "spellcheck": "false", "autocomplete": "off"}


class JobForm(forms.Form):
    """A command, a script or a package, and what it takes of which cluster."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=NAME_CHARS,
        required=False,
        help_text=gettext_lazy("Without one, the command is its name."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    cluster = forms.TypedChoiceField(label=gettext_lazy("Cluster"), coerce=int)
    what = forms.ChoiceField(
        label=gettext_lazy("What to run"),
        initial=COMMAND,
        choices=[
            (COMMAND, gettext_lazy("A command")),
            (SCRIPT, gettext_lazy("A script")),
            (PACKAGE, gettext_lazy("A package")),
        ],
    )
    entrypoint = forms.CharField(
        label=gettext_lazy("Command"),
        max_length=ENTRYPOINT_CHARS,
        required=False,
        widget=forms.TextInput(attrs={**_CODE, "placeholder": "python main.py --epochs 3"}),
    )
    script = forms.CharField(
        label=gettext_lazy("Script"),
        required=False,
        strip=False,
        help_text=gettext_lazy("It becomes main.py; without a command it runs as python main.py."),
        widget=forms.Textarea(
            attrs={**_CODE, "rows": 12, "placeholder": "import ray\n\nray.init()"}
        ),
    )
    package = forms.FileField(
        label=gettext_lazy("Package"),
        required=False,
        help_text=gettext_lazy("A zip file of the working directory, checked before it is kept."),
        widget=forms.FileInput(attrs={"accept": ".zip,application/zip"}),
    )
    env = forms.CharField(
        label=gettext_lazy("Environment"),
        required=False,
        help_text=gettext_lazy("NAME=value, one a line; NAME=secret:hf-token takes a secret."),
        widget=forms.Textarea(attrs={**_CODE, "rows": 3, "placeholder": "SEED=7"}),
    )
    plan = forms.CharField(
        label=gettext_lazy("Plan"),
        max_length=DOCUMENT_BYTES,
        required=False,
        help_text=gettext_lazy("The job finds it as REGATTA_PLAN in its environment."),
        widget=forms.Textarea(attrs={**_CODE, "rows": 4}),
    )
    cpus = forms.DecimalField(
        label=gettext_lazy("CPUs"),
        min_value=Decimal(0),
        max_digits=9,
        decimal_places=3,
        initial=Decimal(1),
        help_text=gettext_lazy("Of the whole job."),
    )
    memory_gib = forms.DecimalField(
        label=gettext_lazy("Memory, GiB"),
        min_value=Decimal(0),
        max_digits=10,
        decimal_places=3,
        required=False,
    )
    chip = forms.ChoiceField(label=gettext_lazy("Chip"), required=False)
    chips = forms.IntegerField(label=gettext_lazy("Chips"), min_value=0, required=False)
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        min_value=-PRIORITY_MOST,
        max_value=PRIORITY_MOST,
        initial=0,
        required=False,
        help_text=gettext_lazy("The higher goes first."),
    )
    retries = forms.IntegerField(
        label=gettext_lazy("Retries"),
        min_value=0,
        max_value=RETRIES_MOST,
        initial=0,
        required=False,
        help_text=gettext_lazy("Tries after a failure."),
    )

    def __init__(
        self,
        *args: Any,
        clusters: Mapping[int, str],
        chips: Mapping[str, int],
        kept_package: str = "",
        **kwargs: Any,
    ) -> None:
        """kept_package: the one that the job to clone brought; it needs no second upload."""
        super().__init__(*args, **kwargs)
        self.kept_package = kept_package
        if kept_package:
            said = _("Without another file, %(name)s as before.")
            self.fields["package"].help_text = said % {"name": kept_package}
        self.fields["cluster"].choices = list(clusters.items())  # type: ignore[attr-defined]
        offered = [(name, name) for name in chips]
        self.fields["chip"].choices = [("", _("none")), *offered]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        needed = {COMMAND: "entrypoint", SCRIPT: "script", PACKAGE: "package"}.get(
            said.get("what", ""), ""
        )
        kept = needed == PACKAGE and self.kept_package
        if needed and not said.get(needed) and not kept and needed not in self.errors:
            self.add_error(needed, _("This is what is to run, so it is needed."))
        if said.get("what") == PACKAGE and not said.get("entrypoint"):
            self.add_error("entrypoint", _("Say what to run in the package: python main.py"))
        return said

    def clean_env(self) -> tuple[dict[str, str], dict[str, str]]:
        """Variables as text, and those that take a secret by its name."""
        plain: dict[str, str] = {}
        secret: dict[str, str] = {}
        for line in self.cleaned_data["env"].splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, sign, value = line.partition("=")
            if not sign or not name.strip():
                raise forms.ValidationError(
                    _("%(line)s is not NAME=value."), params={"line": line[:60]}
                )
            into = secret if value.strip().startswith(SECRET_MARK) else plain
            into[name.strip()] = (
                value.strip().removeprefix(SECRET_MARK) if into is secret else value
            )
        return plain, secret

    def clean_plan(self) -> str:
        """As it was given, once a job could run by it."""
        plan: str = self.cleaned_data["plan"]
        try:
            if plan:
                document.read(json.loads(plan))
        except UnknownChip:
            pass  # a team's own, which jobs know nothing of; the job's prediction tells
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(
                _("No plan as the page Plan writes it: %(why)s"), params={"why": str(error)[:200]}
            ) from None
        return plan

    def spec(self) -> JobSpec:
        """What the form asks for, but for an upload."""
        said = self.cleaned_data
        runs_in_kept = said["what"] == PACKAGE and not said["package"]
        env, secret_env = said["env"]
        env = {**env, PLAN_VARIABLE: said["plan"]} if said["plan"] else env
        chips = said["chips"] or 0
        return JobSpec(
            cluster_id=said["cluster"],
            name=said["name"],
            entrypoint=said["entrypoint"],
            package=self.kept_package if runs_in_kept else "",
            script=said["script"] if said["what"] == SCRIPT else "",
            env=env,
            secret_env=secret_env,
            cpus=said["cpus"],
            memory_bytes=int((said["memory_gib"] or 0) * _GIB),
            chip=said["chip"] if chips else "",
            chips=chips,
            priority=said["priority"] or 0,
            retries=said["retries"] or 0,
        )
