"""The form of the plan explorer; every page about plans carries its values in the address."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.advisor import catalogue_selectors, plan_prices
from apps.advisor.plan_prices import Price
from apps.clusters import selectors as clusters
from regatta.hardware.catalogue import Chip, NoPeak, UnknownChip
from regatta.hardware.clusters import BadCluster, Cluster, read_cluster
from regatta.planning.hf import known_models, read_model
from regatta.planning.plans import DTYPES, RECOMPUTE
from regatta.planning.search import Limits
from regatta.planning.shapes import BadField, Shape

if TYPE_CHECKING:
    from apps.accounts.models import Team

OWN_MODEL, CATALOGUE, CLUSTER = "config", "catalogue", "cluster"
MOST_CHIPS, MOST_BATCH, MOST_TOKENS = 1 << 20, 1 << 20, 1 << 24
CONFIG_CHARS = 8_000  # of an address, which servers and proxies cut at some length
# What one request may make the engine compute grows with these; published models have far less.
MOST_OF_SHAPE = {"layers": 1000, "heads": 1024, "experts": 4096}
BEGUN: Mapping[str, str] = {
    "model": "llama-3.1-70b",
    "where": CATALOGUE,
    "chip": "H100-80GB",
    "count": "64",
    "seq_len": "8192",
    "global_batch": "512",
    "dtype": "bf16",
    "tokens_b": "100",
}
_ANY, _AS_CHIP = gettext_lazy("any"), gettext_lazy("as the chip has it")
_FIELD_OF = {"chips": "count", "n_gpus": "count", "network_GBps_per_chip": "network_gbps"}


def _decimal(placeholder: str | Promise) -> forms.NumberInput:
    attrs = {"inputmode": "decimal", "step": "any", "placeholder": placeholder}
    return forms.NumberInput(attrs=attrs)


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
    cluster_chip: str


class PlanForm(forms.Form):
    """A model, chips, a batch, and what is allowed."""

    model = forms.ChoiceField(label=gettext_lazy("Model"))
    config = forms.CharField(
        label=gettext_lazy("config.json"),
        required=False,
        max_length=CONFIG_CHARS,
        help_text=gettext_lazy("As Hugging Face has it; unknown keys are named, never guessed."),
        widget=forms.Textarea(attrs={"class": "is-code", "rows": 8, "spellcheck": "false"}),
    )
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
        widget=_decimal(_AS_CHIP),
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
        widget=_decimal("0"),
    )
    tokens_b = forms.FloatField(
        label=gettext_lazy("Tokens to train, billions"),
        required=False,
        min_value=0,
        max_value=1e9,
        widget=_decimal("0"),
    )
    usd = forms.FloatField(
        label=gettext_lazy("USD per chip-hour"),
        required=False,
        min_value=0,
        max_value=1e6,
        widget=_decimal(gettext_lazy("as known")),
    )

    def __init__(self, data: Mapping[str, Any], *, team: Team) -> None:
        super().__init__(data)
        self.team, self.chips = team, catalogue_selectors.chips(team)
        self.clusters = {row.pk: row for row in clusters.cluster_list(team) if row.node_chips}
        models = [(name, name) for name in known_models()]
        self._offer("model", [*models, (OWN_MODEL, _("another: its config.json"))])
        self._offer("chip", _by_vendor(self.chips))
        self._offer(
            "cluster",
            [
                (pk, f"{row.name}: {row.workers * row.node_chips} x {row.node_chip}")
                for pk, row in self.clusters.items()
            ],
        )

    def _offer(self, name: str, choices: list[Any]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if not self.errors:
            try:
                said["asked"] = self._asked(said)
            except BadField as error:
                self.refuse(error)
            except (BadCluster, UnknownChip, NoPeak) as error:
                field, _colon, text = str(error).partition(": ")
                self._wrong(field, text)
        return said

    def asked(self) -> Asked:
        """What a valid form asks for."""
        asked: Asked = self.cleaned_data["asked"]
        return asked

    def refuse(self, error: BadField) -> None:
        """Say the engine's refusal at the field that it is about."""
        self._wrong(error.field, str(error))

    def _wrong(self, field: str, text: str) -> None:
        """Say it at the field it is about, or above the form with the engine's own name of it."""
        name = _FIELD_OF.get(field, field)
        name = "config" if name not in self.fields and self._own_model else name
        at = name if name in self.fields else None
        self.add_error(at, text.removeprefix(f"{field}: ") if at == field else text)

    @property
    def _own_model(self) -> bool:
        return self.cleaned_data.get("model") == OWN_MODEL

    def _asked(self, said: Mapping[str, Any]) -> Asked:
        row = self._cluster(said) if said["where"] == CLUSTER else None
        cluster = read_cluster(_description(said, row), self.chips)
        [(chip, _count)] = cluster.chips
        chip.peak("fp8" if said["dtype"] == "mxfp8" else said["dtype"])
        shape = read_model(self._config(said), seq_len=said["seq_len"])
        for name, most in MOST_OF_SHAPE.items():
            if getattr(shape, name) > most:
                raise BadField(name, f"{getattr(shape, name):g}; at most {most} is planned here")
        fix: dict[str, list[float]] = {"tp": [said["tp"]]} if said["tp"] else {}
        if said["recompute"]:
            fix["recompute"] = [RECOMPUTE.index(one) for one in said["recompute"].split(",")]
        return Asked(
            name=said["model"] if not self._own_model else _("own model"),
            shape=shape,
            cluster=cluster,
            global_batch=said["global_batch"],
            limits=Limits(
                fix=fix,
                headroom=(said["headroom"] or 0) / 100,
                dtype=float(DTYPES.index(said["dtype"])),
            ),
            tokens=(said["tokens_b"] or 0) * 1e9,
            price=plan_prices.price(said["usd"], chip, row, team=self.team),
            cluster_id=row.pk if row else None,
            cluster_chip=row.node_chip if row else "",
        )

    def _cluster(self, said: Mapping[str, Any]) -> Any:
        if (row := self.clusters.get(said["cluster"] or 0)) is None:
            raise BadField("cluster", _("choose one whose nodes have chips"))
        return row

    def _config(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._own_model:
            return known_models()[said["model"]]
        try:
            config = json.loads(said["config"] or "null", parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise BadField("config", _("this is no JSON: %(why)s") % {"why": error}) from None
        if not isinstance(config, dict):
            raise BadField("config", _("paste the whole JSON object of a config.json"))
        return config


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


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


def _by_vendor(chips: Mapping[str, Chip]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Chips that compute in 16 bits, as groups of a select."""
    groups = defaultdict(list)
    for chip in chips.values():
        if {"bf16", "fp16"} & set(chip.peak_flops):
            groups[chip.vendor].append((chip.name, chip.name))
    return sorted(groups.items())
