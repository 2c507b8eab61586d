"""Forms for a team's own chips and figures."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy

from apps.advisor.catalogue_services import LEAST_VALUE, MOST_VALUE, Given
from apps.advisor.catalogue_texts import FIGURES, GROUPS, QUALITIES
from apps.advisor.models import CHIP_NAME_CHARS, SOURCE_CHARS
from regatta.hardware.catalogue import REQUIRED

NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
_NUMBER = {"inputmode": "decimal", "step": "any", "autocomplete": "off"}
_PLAIN = {"autocomplete": "off", "spellcheck": "false"}
# A new chip is asked for these; all others may be set on its page.
ASKED = (*REQUIRED, "bf16_tflops", "fp16_tflops", "fp8_tflops", "tdp_w", "price_usd_per_hour")


def _label(figure: str) -> str:
    about = FIGURES[figure]
    return f"{about.word}, {about.unit}" if about.unit else str(about.word)


def _value(**more: Any) -> forms.FloatField:
    number = forms.NumberInput(attrs=_NUMBER)
    return forms.FloatField(min_value=LEAST_VALUE, max_value=MOST_VALUE, widget=number, **more)


class _Told(forms.Form):
    """How sure a figure is, and where it comes from."""

    quality = forms.ChoiceField(
        label=gettext_lazy("How sure it is"), choices=list(QUALITIES.items()), initial="measured"
    )
    source = forms.CharField(
        label=gettext_lazy("Source"),
        max_length=SOURCE_CHARS,
        help_text=gettext_lazy("Who measured or said it, and where one can read it."),
        widget=forms.TextInput(attrs=_PLAIN),
    )


class FigureForm(_Told):
    """A figure of a chip as the team knows it."""

    figure = forms.ChoiceField(
        label=gettext_lazy("Figure"),
        choices=lambda: [
            (group.word, [(name, _label(name)) for name in group.figures]) for group in GROUPS
        ],
    )
    value = _value(label=gettext_lazy("Value"))
    from_at = forms.DateTimeField(
        label=gettext_lazy("Holds from, UTC"),
        required=False,
        help_text=gettext_lazy("Empty is now."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    field_order = ("figure", "value", "quality", "source", "from_at")

    def given(self) -> Given:
        """The figure of a valid form."""
        names = ("figure", "value", "quality", "source")
        return Given(**{name: self.cleaned_data[name] for name in names})


class ChipForm(_Told):
    """A chip that the catalogue lacks."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=CHIP_NAME_CHARS,
        validators=[RegexValidator(f"^{NAME}$", gettext_lazy("Letters, digits, . _ + and -."))],
        widget=forms.TextInput(attrs=_PLAIN),
    )
    vendor = forms.CharField(
        label=gettext_lazy("Vendor"), max_length=80, widget=forms.TextInput(attrs=_PLAIN)
    )
    form_factor = forms.CharField(
        label=gettext_lazy("Form factor"),
        max_length=80,
        required=False,
        widget=forms.TextInput(attrs=_PLAIN),
    )
    note = forms.CharField(
        label=gettext_lazy("Note"),
        max_length=SOURCE_CHARS,
        required=False,
        widget=forms.TextInput(attrs=_PLAIN),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ASKED:
            self.fields[name] = _value(label=_label(name), required=name in REQUIRED)

    @property
    def figure_fields(self) -> list[forms.BoundField]:
        """The fields that are figures of the chip."""
        return [self[name] for name in ASKED]

    def figures(self) -> list[Given]:
        """What a valid form says of the chip."""
        told = {name: self.cleaned_data[name] for name in ("quality", "source")}
        values = {name: self.cleaned_data[name] for name in ASKED}
        return [
            Given(figure=name, value=value, **told)
            for name, value in values.items()
            if value is not None
        ]
