"""Figures, times and states as every page shows them."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django import template
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.insights import charts

register = template.Library()

_GIB = 1 << 30
_CENT, _FINE = Decimal("0.01"), Decimal("0.0001")
_SMALL = Decimal("0.1")  # dollars below which cents say too little
NONE = "\u2013"  # an en dash


@register.filter
def usd(amount: Decimal | float | None, beside: Decimal | None = None) -> str:
    """Money in US dollars: cents, or as many digits as a small sum needs; a dash for None.

    beside: the total of the figures that stand together, whose decimals all of them take.
    """
    if amount is None:
        return NONE
    exact = Decimal(str(amount))
    cents, fine = (exact.quantize(unit, ROUND_HALF_UP) for unit in (_CENT, _FINE))
    told = fine if abs(fine) < _SMALL and fine != cents else cents
    if beside is not None:
        told = exact.quantize(_unit(beside), ROUND_HALF_UP)
    places = -int(told.as_tuple().exponent)
    figure = number_format(abs(told), decimal_pos=places, use_l10n=True, force_grouping=True)
    return f"{'-' if told < 0 else ''}${figure}"


@register.simple_tag
def usd_rest(total: Decimal | None, part: Decimal | None, beside: Decimal | None) -> str:
    """What a part leaves of a total, by the figures as `usd` shows them, so that they add up."""
    if total is None or part is None:
        return NONE
    unit = _unit(total if beside is None else beside)
    rest = total.quantize(unit, ROUND_HALF_UP) - part.quantize(unit, ROUND_HALF_UP)
    return usd(rest, total if beside is None else beside)


def _unit(total: Decimal) -> Decimal:
    """Cents from a dollar up, and for nothing; hundredths of cents below."""
    return _FINE if 0 < abs(total) < 1 else _CENT


@register.filter
def duration(value: timedelta | float | None) -> str:
    """`12 s`, `4 min 09 s`, `1 h 02 min`, `3 d 04 h`; a dash for None."""
    if value is None:
        return NONE
    whole = max(0, int(value.total_seconds() if isinstance(value, timedelta) else value))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


@register.filter
def gib(size_bytes: int | None) -> str:
    """Memory in GiB; a dash for None."""
    return NONE if size_bytes is None else f"{number_format(size_bytes / _GIB, 1)} GiB"


@register.filter
def trimmed(number: Decimal | float | None) -> str:
    """A number without the zeros at its end."""
    return NONE if number is None else f"{Decimal(str(number)).normalize():f}"


@register.filter
def percent(share: float | None) -> str:
    """A share of 0 to 1 in per cent; a dash for None."""
    return NONE if share is None else f"{charts.decimal(100 * share, 1)} %"


@register.filter
def figure(value: float | None) -> str:
    """A quantity with at most four significant digits and its thousands apart; a dash for None."""
    if value is None:
        return NONE
    digits = math.floor(math.log10(abs(value))) + 1 if value else 1  # before the point
    places = max(0, 4 - digits)
    told = f"{value:.{places}f}".rstrip("0").rstrip(".") if places else f"{value:.0f}"
    decimals = len(told.partition(".")[2])
    return str(number_format(float(told), decimal_pos=decimals, force_grouping=True))


@register.filter
def signed_percent(share: float | None) -> str:
    """A difference as a share, in per cent with its sign; a dash for None."""
    return NONE if share is None else f"{'+' if share > 0 else ''}{percent(share)}"


@register.filter
def usd0(amount: float | None) -> str:
    """Money of a plan: whole dollars, and cents only below ten of them; a dash for None."""
    if amount is None or amount < 10:
        return usd(amount)
    return f"${number_format(round(amount), force_grouping=True)}"


@register.simple_tag
def ms(seconds: float) -> str:
    """Seconds as milliseconds."""
    return figure(seconds * 1000)


@register.filter
def variable(name: str) -> str:
    """A secret's name as an environment variable is usually called: `hf-token` is HF_TOKEN."""
    return re.sub(r"^(?=\d)|\W", "_", name, flags=re.ASCII).upper()


@register.simple_tag
def when(at: datetime | None, form: str = "relative") -> SafeString:
    """A moment: UTC in the page, in the reader's zone and words by script; "running" counts up."""
    if at is None:
        return format_html('<span class="faint">{}</span>', NONE)
    return format_html(
        '<time datetime="{}" data-behaviour="local-time" data-form="{}">{} UTC</time>',
        at.isoformat(),
        form,
        date_format(at, "Y-m-d H:i:s"),
    )


@register.inclusion_tag("components/_badge.html")
def badge(look: Any, size: str = "") -> dict[str, Any]:
    """A state as icon, word, colour and shape; `look` has word, tone, icon, moving."""
    return {"look": look, "size": size}


@register.simple_tag(takes_context=True)
def with_query(context: dict[str, Any], **changes: Any) -> str:
    """The page's query with some values changed; an empty one is dropped."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value not in (None, ""):
            query[name] = str(value)
    return f"?{query.urlencode()}"
