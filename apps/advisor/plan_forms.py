"""The form of the plan explorer; every page about plans carries its values in the address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.advisor import catalogue_selectors, plan_prices
from apps.advisor.model_forms import (
    ADAPTERS,
    MOST_BATCH,
    MOST_CHIPS,
    MOST_TOKENS,
    ModelForm,
    by_vendor,
    decimal_input,
)
from apps.advisor.plan_prices import Price
from apps.clusters import selectors as clusters
from regatta.hardware.catalogue import NoPeak, UnknownChip, key
from regatta.hardware.clusters import BadCluster, Cluster, read_cluster
from regatta.planning.plans import DTYPES, RECOMPUTE
from regatta.planning.search import Limits
from regatta.planning.shapes import BadField, Shape

if TYPE_CHECKING:
    from apps.accounts.models import Team

CATALOGUE, CLUSTER = "catalogue", "cluster"
BEGUN: Mapping[str, str] = {
    "model": "llama-3.1-70b",
    "where": CATALOGUE,
    "chip": "H100-80GB",
    "count": "64",
    "seq_len": "8192",
    "global_batch": "512",
    "dtype": "bf16",
    "headroom": "5",
    "tokens_b": "100",
}
_ANY, _AS_CHIP = gettext_lazy("any"), gettext_lazy("as the chip has it")
_FIELD_OF = {"chips": "count", "n_gpus": "count", "network_GBps_per_chip": "network_gbps"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a form asks for. tokens: of the whole training, 0 where nobody said."""

    name: str
    shape: Shape
    cluster: Cluster
    global_batch: int
    limits: Limits
    tokens: float
    price: Price
    cluster_id: int | None


class PlanForm(ModelForm):
    """A model, chips, a batch, and what is allowed."""

    FIELD_OF = _FIELD_OF

    where = forms.ChoiceField(
        label=gettext_lazy("Chips"),
        choices=[
            (CATALOGUE, gettext_lazy("From the catalogue")),
            (CLUSTER, gettext_lazy("My cluster")),
        ],
    )
    chip = forms.ChoiceField(label=gettext_lazy("Chip"), required=False)
    cluster = forms.TypedChoiceField(
        label=gettext_lazy("Cluster"), required=False, coerce=int, empty_value=None
    )
    count = forms.IntegerField(
        label=gettext_lazy("Chips in all"), required=False, min_value=1, max_value=MOST_CHIPS
    )
    per_node = forms.IntegerField(
        label=gettext_lazy("Chips per node"),
        required=False,
        min_value=1,
        max_value=1024,
        widget=forms.NumberInput(attrs={"placeholder": _AS_CHIP}),
    )
    network_gbps = forms.FloatField(
        label=gettext_lazy("Network, GB/s per chip"),
        required=False,
        min_value=0.001,
        max_value=1e5,
        widget=decimal_input(_AS_CHIP),
    )
    seq_len = forms.IntegerField(
        label=gettext_lazy("Sequence length"), min_value=1, max_value=MOST_TOKENS
    )
    global_batch = forms.IntegerField(
        label=gettext_lazy("Global batch, sequences"), min_value=1, max_value=MOST_BATCH
    )
    dtype = forms.ChoiceField(
        label=gettext_lazy("Number format"), choices=[(name, name) for name in DTYPES]
    )
    tp = forms.IntegerField(
        label=gettext_lazy("Tensor parallelism"),
        required=False,
        min_value=1,
        max_value=1024,
        widget=forms.NumberInput(attrs={"placeholder": _ANY}),
    )
    recompute = forms.ChoiceField(
        label=gettext_lazy("Recomputation"),
        required=False,
        choices=[
            ("", _ANY),
            ("none", gettext_lazy("none")),
            ("none,selective", gettext_lazy("at most selective")),
        ],
    )
    headroom = forms.FloatField(
        label=gettext_lazy("Memory to leave free, %"),
        required=False,
        min_value=0,
        max_value=90,
        widget=decimal_input("0"),
    )
    tokens_b = forms.FloatField(
        label=gettext_lazy("Tokens to train, billions"),
        required=False,
        min_value=0,
        max_value=1e9,
        widget=decimal_input("0"),
    )
    lora = forms.BooleanField(label=ADAPTERS, required=False)
    usd = forms.FloatField(
        label=gettext_lazy("USD per chip-hour"),
        required=False,
        min_value=0,
        max_value=1e6,
        widget=decimal_input(gettext_lazy("as known")),
    )

    def __init__(self, data: Mapping[str, Any], *, team: Team) -> None:
        super().__init__(data)
        self.team, self.chips = team, catalogue_selectors.chips(team)
        self.clusters = {row.pk: row for row in clusters.cluster_list(team) if row.node_chips}
        self.offer("chip", by_vendor(self.chips))
        self.offer(
            "cluster",
            [
                (pk, f"{row.name}: {row.workers * row.node_chips} x {row.node_chip}")
                for pk, row in self.clusters.items()
            ],
        )

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if not self.errors:
            try:
                said["asked"] = self._asked(said)
            except BadField as error:
                self.refuse(error)
            except (BadCluster, UnknownChip, NoPeak) as error:
                field, _colon, text = str(error).partition(": ")
                self.wrong(field, text)
        return said

    def asked(self) -> Asked:
        """What a valid form asks for."""
        asked: Asked = self.cleaned_data["asked"]
        return asked

    def _asked(self, said: Mapping[str, Any]) -> Asked:
        row = self._cluster(said) if said["where"] == CLUSTER else None
        cluster = read_cluster(_description(said, row), self.chips)
        [(chip, _count)] = cluster.chips
        chip.peak("fp8" if said["dtype"] == "mxfp8" else said["dtype"])
        fix: dict[str, list[float]] = {"tp": [said["tp"]]} if said["tp"] else {}
        if said["recompute"]:
            fix["recompute"] = [RECOMPUTE.index(one) for one in said["recompute"].split(",")]
        return Asked(
            name=self.model_name,
            shape=self.shape(said["seq_len"]),
            cluster=cluster,
            global_batch=said["global_batch"],
            limits=Limits(
                fix=fix,
                headroom=(said["headroom"] or 0) / 100,
                dtype=float(DTYPES.index(said["dtype"])),
                frozen=float(said["lora"]),
            ),
            tokens=(said["tokens_b"] or 0) * 1e9,
            price=plan_prices.price(said["usd"], chip, row, team=self.team),
            cluster_id=row.pk if row else None,
        )

    def place(self, asked: Asked) -> Any:
        """The team's cluster that was asked for, or else one that has the chips; None without."""
        if asked.cluster_id is not None:
            return self.clusters[asked.cluster_id]
        [(chip, count)] = asked.cluster.chips
        names = {key(name) for name in (chip.name, *chip.aliases)}
        rows = (row for row in self.clusters.values() if key(row.node_chip) in names)
        return next((row for row in rows if row.workers * row.node_chips >= count), None)

    def _cluster(self, said: Mapping[str, Any]) -> Any:
        if (row := self.clusters.get(said["cluster"] or 0)) is None:
            raise BadField("cluster", _("choose one whose nodes have chips"))
        return row


def _description(said: Mapping[str, Any], row: Any) -> dict[str, Any]:
    """The cluster as the engine reads it: that of the form, or of the team."""
    if row is not None:
        chips, per_node = {row.node_chip: row.workers * row.node_chips}, row.node_chips
    elif not said["chip"]:
        raise BadField("chip", _("choose one"))
    else:
        chips, per_node = {said["chip"]: said["count"] or 0}, said["per_node"]
    return {
        "chips": chips,
        "chips_per_node": per_node,
        "network_GBps_per_chip": said["network_gbps"],
    }
