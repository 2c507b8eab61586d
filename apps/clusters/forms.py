"""Forms about clusters."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.clusters.models import MOST_CHIPS, MOST_CPUS, MOST_WORKERS
from apps.clusters.services import NodeWish

_GIB = 1 << 30


class ClusterForm(forms.Form):
    """What a team asks of a new cluster; the model says what may be."""

    name = forms.CharField(
        label=_("Name"),
        max_length=40,
        help_text=_("Small letters, figures and hyphens; one of a kind in the team."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "team-lab"}),
    )
    provider = forms.CharField(max_length=20, initial="local")
    workers = forms.IntegerField(
        label=_("Worker nodes"), min_value=0, max_value=MOST_WORKERS, initial=2
    )
    node_cpus = forms.IntegerField(
        label=_("CPUs of a worker"), min_value=1, max_value=MOST_CPUS, initial=1
    )
    node_memory_gib = forms.DecimalField(
        label=_("Memory of a worker, GiB"),
        min_value=Decimal("0.25"),
        max_digits=8,
        decimal_places=2,
        initial=2,
    )
    node_chip = forms.CharField(
        label=_("Simulated chip"),
        max_length=60,
        required=False,
        help_text=_("It places work like an accelerator, and computes nothing."),
        widget=forms.TextInput(attrs={"placeholder": "Kunlun-P800", "list": "chips"}),
    )
    node_chips = forms.IntegerField(
        label=_("Chips of a worker"), min_value=0, max_value=MOST_CHIPS, required=False
    )

    def wish(self) -> dict[str, Any]:
        """What the form asks for, as `services.create_cluster` takes it."""
        said = self.cleaned_data
        node = NodeWish(
            cpus=said["node_cpus"],
            memory_bytes=int(said["node_memory_gib"] * _GIB),
            chip=said["node_chip"],
            chips=said["node_chips"] or 0,
        )
        plain = {name: said[name] for name in ("name", "provider", "workers")}
        return {**plain, "node": node}


class ResizeForm(forms.Form):
    workers = forms.IntegerField(label=_("Worker nodes"), min_value=0, max_value=MOST_WORKERS)
    generation = forms.IntegerField(widget=forms.HiddenInput, required=False)
