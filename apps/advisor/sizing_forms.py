"""The form of the sizing page: what is to be trained or served, by when, for how much, on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.advisor import catalogue_selectors
from apps.advisor.catalogue_texts import SURE
from apps.advisor.model_forms import ADAPTERS, MOST_BATCH, MOST_TOKENS, ModelForm, decimal_input
from apps.advisor.plan_answers import MOST_ROWS
from regatta.costs.tco import Ownership
from regatta.hardware.catalogue import Chip, UnknownChip, find
from regatta.planning import space
from regatta.planning.fleets import Load
from regatta.planning.plans import DTYPES
from regatta.planning.serving import QUANTIZATIONS
from regatta.planning.shapes import BadField
from regatta.planning.sizing import (
    RECOVERY_S,
    Offer,
    Training,
    counts,
    usual_batch,
)
from regatta.planning.sizing_answer import number, ownership

if TYPE_CHECKING:
    from apps.accounts.models import Team

TRAINING, SERVING = "training", "serving"
TOKENS, SAMPLES = "tokens", "samples"
MOST_KINDS, MOST_EACH = 12, 16_384  # kinds of chips of one request; chips of a kind
BEGUN: Mapping[str, Any] = {
    "what": TRAINING,
    "model": "llama-3-8b",
    "goal": TOKENS,
    "tokens_b": "1000",
    "epochs": "1",
    "seq_len": "8192",
    "dtype": "bf16",
    "requests_per_s": "5",
    "prompt_tokens": "1000",
    "output_tokens": "500",
    "ttft_s": "1",
    "itl_ms": "50",
    "quantization": ["bf16", "fp8"],
    "chips": ["A100-80GB", "H100-80GB", "H200-141GB", "MI300X"],
    "max_chips": "1024",
}
_USUAL = Ownership(chip_usd=1.0, chip_w=1.0)  # those two are of the chip
_TERMS = tuple(one.name for one in fields(Ownership) if not one.name.startswith("chip_"))
_FORMATS = ("bf16", "fp8")
_SHARES = frozenset({"infra_share", "support_share", "capital_share", "load"})  # asked in per cent


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a form asks for. estimated: chips whose rent nobody agreed to."""

    name: str
    request: Training | Load
    offers: list[Offer]
    estimated: frozenset[str]


def _number(label: Any, *, most: float, placeholder: Any = "", **more: Any) -> forms.FloatField:
    return forms.FloatField(
        label=label,
        required=False,
        min_value=0,
        max_value=most,
        widget=decimal_input(placeholder),
        **more,
    )


class SizeForm(ModelForm):
    """A model, what becomes of it, limits, and the chips that may be used."""

    FIELD_OF: Mapping[str, str] = {  # type: ignore[misc]
        "price": "prices",
        "chip": "chips",
        "itl_s": "itl_ms",
        "tokens": "tokens_b",
        "storage_Bps": "storage_gbps",
    }

    what = forms.ChoiceField(
        choices=[(TRAINING, gettext_lazy("Train")), (SERVING, gettext_lazy("Serve"))]
    )
    goal = forms.ChoiceField(
        label=gettext_lazy("How much"),
        required=False,
        choices=[
            (TOKENS, gettext_lazy("Tokens")),
            (SAMPLES, gettext_lazy("Samples to fine-tune on")),
        ],
    )
    tokens_b = _number(gettext_lazy("Tokens, billions"), most=1e9)
    samples = _number(gettext_lazy("Samples"), most=1e12)
    epochs = _number(gettext_lazy("Epochs"), most=1e4)
    lora = forms.BooleanField(label=ADAPTERS, required=False)
    seq_len = forms.IntegerField(
        label=gettext_lazy("Sequence length"), required=False, min_value=1, max_value=MOST_TOKENS
    )
    global_batch = forms.IntegerField(
        label=gettext_lazy("Global batch, sequences"),
        required=False,
        min_value=1,
        max_value=MOST_BATCH,
        widget=forms.NumberInput(attrs={"placeholder": gettext_lazy("as usual")}),
    )
    dtype = forms.ChoiceField(
        label=gettext_lazy("Number format"),
        required=False,
        choices=[(name, name) for name in DTYPES],
    )
    deadline_days = _number(
        gettext_lazy("Deadline, days"), most=1e5, placeholder=gettext_lazy("none")
    )
    budget_usd = _number(gettext_lazy("Budget, USD"), most=1e12, placeholder=gettext_lazy("none"))
    storage_gbps = _number(
        gettext_lazy("Storage for checkpoints, GB/s"),
        most=1e6,
        placeholder=gettext_lazy("1 a node, assumed"),
    )
    recovery_s = _number(
        gettext_lazy("From a failure to a new step, s"),
        most=1e6,
        placeholder=f"{RECOVERY_S:g}",
    )
    requests_per_s = _number(gettext_lazy("Requests per second"), most=1e6)
    prompt_tokens = _number(gettext_lazy("Prompt, tokens"), most=1e7)
    output_tokens = _number(gettext_lazy("Output, tokens"), most=1e6)
    ttft_s = _number(
        gettext_lazy("First token within, s"), most=1e5, placeholder=gettext_lazy("any")
    )
    itl_ms = _number(
        gettext_lazy("Next token within, ms"), most=1e7, placeholder=gettext_lazy("any")
    )
    budget_usd_per_hour = _number(
        gettext_lazy("Budget, USD per hour"), most=1e9, placeholder=gettext_lazy("none")
    )
    quantization = forms.MultipleChoiceField(
        label=gettext_lazy("Numbers that may be used"),
        required=False,
        choices=[(name, name) for name in QUANTIZATIONS],
        widget=forms.CheckboxSelectMultiple,
    )
    chips = forms.MultipleChoiceField(
        label=gettext_lazy("Chips that may be used"), widget=forms.CheckboxSelectMultiple
    )
    max_chips = forms.IntegerField(
        label=gettext_lazy("At most, of each kind"), min_value=1, max_value=MOST_EACH
    )
    prices = forms.CharField(
        label=gettext_lazy("Other prices"),
        required=False,
        max_length=1000,
        help_text=gettext_lazy(
            "NAME=USD per chip-hour, with commas between; an owner may keep them in the catalogue."
        ),
        widget=forms.TextInput(
            attrs={"class": "is-code", "placeholder": "H100-80GB=2.2", "spellcheck": "false"}
        ),
    )
    own = forms.BooleanField(label=gettext_lazy("Show own hardware beside"), required=False)
    years = _number(gettext_lazy("Years of use"), most=50)
    infra_share = _number(gettext_lazy("Servers, network and racks, % of the chips"), most=1000)
    support_share = _number(gettext_lazy("Support, % of the purchase a year"), most=100)
    capital_share = _number(gettext_lazy("Interest, % a year"), most=100)
    kwh_usd = _number(gettext_lazy("USD per kWh"), most=100)
    pue = _number(gettext_lazy("PUE"), most=10)
    server_factor = _number(gettext_lazy("Watts of a server per watt of chips"), most=10)
    load = _number(gettext_lazy("Load, % of full power"), most=100)
    space_usd_per_month = _number(gettext_lazy("Space, USD a month"), most=1e9)
    staff_usd_per_year = _number(gettext_lazy("Staff, USD a year"), most=1e9)
    residual_usd = _number(gettext_lazy("Worth at the end, USD"), most=1e12)

    def __init__(self, data: Mapping[str, Any], *, team: Team) -> None:
        super().__init__(data)
        self.known = catalogue_selectors.chips(team)
        fit = [one for one in self.known.values() if {"bf16", "fp16"} & set(one.peak_flops)]
        fit.sort(key=lambda one: (one.price_usd_per_hour is None, one.vendor.lower()))
        self.offer("chips", [(one.name, one.name) for one in fit])
        for name in _TERMS:
            self.fields[name].widget.attrs["placeholder"] = (
                f"{shown(name, getattr(_USUAL, name)):g}"
            )

    @property
    def chip_choices(self) -> list[tuple[Chip, bool]]:
        """Chips with whether each is chosen; those first, then those with a price."""
        chosen = set(self["chips"].value() or ())
        names = [name for name, _label in self.fields["chips"].choices]  # type: ignore[attr-defined]
        names.sort(key=lambda name: name not in chosen)
        return [(self.known[name], name in chosen) for name in names]

    @property
    def term_fields(self) -> list[forms.BoundField]:
        """The terms of owning."""
        return [self[name] for name in _TERMS]

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if not self.errors:
            try:
                said["asked"] = self._asked(said)
            except BadField as error:
                self.refuse(error)
            except (UnknownChip, ValueError) as error:
                field, _colon, text = str(error).partition(": ")
                self.wrong(field, text)
        return said

    def asked(self) -> Asked:
        """What a valid form asks for."""
        asked: Asked = self.cleaned_data["asked"]
        return asked

    def _asked(self, said: Mapping[str, Any]) -> Asked:
        if len(said["chips"]) > MOST_KINDS:
            raise BadField("chips", _("choose at most %(most)d kinds") % {"most": MOST_KINDS})
        prices = self._prices(said["prices"])
        terms = {name: _meant(name, said[name]) for name in _TERMS if said[name] is not None}
        chosen = [self.known[name] for name in said["chips"]]
        offers = [
            Offer(
                chip=chip,
                usd_per_hour=prices.get(chip.name, chip.price_usd_per_hour),
                own=ownership(chip, terms) if said["own"] else None,
                max_chips=said["max_chips"],
            )
            for chip in chosen
        ]
        request = self._load(said) if said["what"] == SERVING else self._training(said, offers)
        sure = {chip.name for chip in chosen if _price_quality(chip) in SURE} | set(prices)
        return Asked(
            name=self.model_name,
            request=request,
            offers=offers,
            estimated=frozenset(chip.name for chip in chosen) - sure,
        )

    def _training(self, said: Mapping[str, Any], offers: list[Offer]) -> Training:
        shape = self.shape(_needed(said, "seq_len"))
        fine = said["goal"] == SAMPLES
        if fine:
            tokens = _needed(said, "samples") * (said["epochs"] or 1.0) * float(shape.seq_len)
        else:
            tokens = _needed(said, "tokens_b") * 1e9
        batch = said["global_batch"] or usual_batch(shape, fine_tuning=fine)
        # The largest number need not have the most ways: one that is prime has few.
        for domain, count in {(one.chip.domain_chips, n) for one in offers for n in counts(one)}:
            if space.size(shape, count, batch, domain_chips=domain) > MOST_ROWS:
                said_so = _("too many ways to split this; one with fewer divisors would do")
                raise BadField("global_batch", said_so)
        return Training(
            shape=shape,
            tokens=tokens,
            global_batch=batch,
            deadline_days=said["deadline_days"],
            budget_usd=said["budget_usd"],
            dtype=said["dtype"] or "bf16",
            storage_Bps=None if said["storage_gbps"] is None else said["storage_gbps"] * 1e9,
            recovery_s=RECOVERY_S if said["recovery_s"] is None else said["recovery_s"],
            frozen=fine and said["lora"],
        )

    def _load(self, said: Mapping[str, Any]) -> Load:
        prompt, output = _needed(said, "prompt_tokens"), _needed(said, "output_tokens")
        return Load(
            shape=self.shape(max(1.0, prompt + output)),
            requests_per_s=_needed(said, "requests_per_s"),
            prompt_tokens=prompt,
            output_tokens=output,
            quantizations=tuple(said["quantization"] or _FORMATS),
            ttft_s=said["ttft_s"],
            itl_s=None if said["itl_ms"] is None else said["itl_ms"] / 1000,
            budget_usd_per_hour=said["budget_usd_per_hour"],
        )

    def _prices(self, text: str) -> dict[str, float]:
        prices = {}
        for word in filter(None, (word.strip() for word in text.replace("\n", ",").split(","))):
            name, _equals, usd = word.partition("=")
            price = number("prices", usd)
            if not 0 < price <= 1e6:
                raise BadField("prices", _("a price above 0 is right, not %s") % usd)
            prices[find(name, self.known).name] = price
        return prices


def _needed(said: Mapping[str, Any], name: str) -> float:
    if not said[name]:
        raise BadField(name, _("a number above 0 is needed"))
    return float(said[name])


def shown(name: str, value: float) -> float:
    """A term of owning as the form has it: shares in per cent."""
    return 100 * value if name in _SHARES else value


def _meant(name: str, value: float) -> float:
    return value / 100 if name in _SHARES else value


def _price_quality(chip: Chip) -> str:
    figure = chip.figures.get("price_usd_per_hour")
    return figure.quality if figure else ""
