"""What the forms about plans share: a model, by name or by its configuration."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from regatta.hardware.catalogue import Chip
from regatta.planning.hf import known_models, read_model
from regatta.planning.shapes import BadField, Shape

OWN_MODEL = "config"
MOST_CHIPS, MOST_BATCH, MOST_TOKENS = 1 << 20, 1 << 20, 1 << 24
ADAPTERS = gettext_lazy("Adapters only (LoRA)")
CONFIG_CHARS = 8_000  # of an address, which servers and proxies cut at some length
# What one request may make the engine compute grows with these; published models have far less.
MOST_OF_SHAPE = {"layers": 1000, "heads": 1024, "experts": 4096}


def decimal_input(placeholder: str | Promise = "") -> forms.NumberInput:
    """A number with as many digits as one likes."""
    attrs = {"inputmode": "decimal", "step": "any", "placeholder": placeholder}
    return forms.NumberInput(attrs=attrs)


class ModelForm(forms.Form):
    """A model. FIELD_OF: the field of the form that the engine's name of a field means."""

    FIELD_OF: ClassVar[Mapping[str, str]] = {}

    model = forms.ChoiceField(label=gettext_lazy("Model"))
    config = forms.CharField(
        label=gettext_lazy("config.json"),
        required=False,
        max_length=CONFIG_CHARS,
        help_text=gettext_lazy("As Hugging Face has it; unknown keys are named, never guessed."),
        widget=forms.Textarea(attrs={"class": "is-code", "rows": 8, "spellcheck": "false"}),
    )

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        models = [(name, name) for name in known_models()]
        self.offer("model", [*models, (OWN_MODEL, _("another: its config.json"))])

    def offer(self, name: str, choices: list[Any]) -> None:
        """Let a field take one of these."""
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    def refuse(self, error: BadField) -> None:
        """Say the engine's refusal at the field that it is about."""
        self.wrong(error.field, str(error))

    def wrong(self, field: str, text: str) -> None:
        """Say it at the field it is about, or above the form with the engine's own name of it."""
        name = self.FIELD_OF.get(field, field)
        name = "config" if name not in self.fields and self._own_model else name
        at = name if name in self.fields else None
        self.add_error(at, text.removeprefix(f"{field}: ") if at == field else text)

    @property
    def _own_model(self) -> bool:
        return self.cleaned_data.get("model") == OWN_MODEL

    @property
    def model_name(self) -> str:
        """For people."""
        return _("own model") if self._own_model else str(self.cleaned_data["model"])

    def shape(self, seq_len: float) -> Shape:
        """The model of a form without errors so far. Raises: BadField."""
        return bounded(read_model(self._config(), seq_len=seq_len))

    def model_config(self) -> str | Mapping[str, Any]:
        """The model as the API takes it: by its name, or its configuration."""
        return self._config() if self._own_model else str(self.cleaned_data["model"])

    def _config(self) -> Mapping[str, Any]:
        said = self.cleaned_data
        if not self._own_model:
            return known_models()[said["model"]]
        try:
            config = json.loads(said["config"] or "null", parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise BadField("config", _("this is no JSON: %(why)s") % {"why": error}) from None
        if not isinstance(config, dict):
            raise BadField("config", _("paste the whole JSON object of a config.json"))
        return config


def bounded(shape: Shape) -> Shape:
    """The same shape, if its space can be searched in a portal. Raises: BadField."""
    for name, most in MOST_OF_SHAPE.items():
        if getattr(shape, name) > most:
            raise BadField(name, f"{getattr(shape, name):g}; at most {most} is planned here")
    return shape


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def by_vendor(chips: Mapping[str, Chip]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Chips that compute in 16 bits, as groups of a select."""
    groups = defaultdict(list)
    for chip in chips.values():
        if {"bf16", "fp16"} & set(chip.peak_flops):
            groups[chip.vendor].append((chip.name, chip.name))
    return sorted(groups.items())
