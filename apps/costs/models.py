"""Prices over time, and the meters that run on them."""

from __future__ import annotations

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class Basis(models.TextChoices):
    """Where a price comes from."""

    SAMPLE = "sample", _("sample data")
    LIST = "list", _("list price")
    CONTRACT = "contract", _("contract")
    TCO = "tco", _("total cost of ownership")


class PriceInterval(models.Model):
    """What a node of `kind` costs per hour, from `from_at` up to, not including, `to_at`.

    team: None means everywhere; a team's own price goes before it. Prices of a team and kind
    follow each other: a new one closes the one before, and neither is changed afterwards.
    """

    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, null=True, blank=True)
    kind = models.CharField(_("kind of node"), max_length=80)
    usd_per_hour = models.DecimalField(
        _("USD per node-hour"), max_digits=14, decimal_places=6, validators=[MinValueValidator(0)]
    )
    from_at = models.DateTimeField(_("holds from"))
    to_at = models.DateTimeField(_("holds until"), null=True, blank=True)
    basis = models.CharField(_("basis"), max_length=10, choices=Basis, default=Basis.LIST)
    note = models.CharField(_("note"), max_length=200, blank=True)
    set_by = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(usd_per_hour__gte=0), name="price_not_negative"),
            CheckConstraint(condition=Q(basis__in=Basis.values), name="price_basis_known"),
            CheckConstraint(
                condition=Q(to_at=None) | Q(to_at__gt=F("from_at")), name="price_has_length"
            ),
            UniqueConstraint(
                fields=["team", "kind"],
                condition=Q(to_at=None),
                nulls_distinct=False,
                name="one_open_price",
            ),
            UniqueConstraint(
                fields=["team", "kind", "from_at"], nulls_distinct=False, name="one_price_at_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.written} USD/h"

    @property
    def written(self) -> str:
        """The price to the cent, and further where there is more to tell: 0.10, 0.123456."""
        _, _, exponent = self.usd_per_hour.normalize().as_tuple()
        return f"{self.usd_per_hour:.{max(2, -int(exponent))}f}"


class Meter(models.Model):
    """`quantity` nodes of `kind`, in use by `name` from `started_at` until `stopped_at`.

    name: whose meter it is, `jobs.attempt:12`. on: what it draws on, `clusters.cluster:3`.
    """

    name = models.CharField(max_length=80)
    on = models.CharField(max_length=80, blank=True)
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT)
    kind = models.CharField(max_length=80)
    quantity = models.DecimalField(max_digits=14, decimal_places=6, default=Decimal(1))
    started_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["name"], name="meter_of_name"),
            models.Index(fields=["on", "stopped_at"], name="meter_on_until"),
        ]
        constraints = [
            CheckConstraint(condition=Q(quantity__gte=0), name="meter_not_negative"),
            CheckConstraint(
                condition=Q(stopped_at=None) | Q(stopped_at__gte=F("started_at")),
                name="meter_stops_after_its_start",
            ),
            UniqueConstraint(
                fields=["name", "kind"], condition=Q(stopped_at=None), name="one_open_meter"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.quantity} {self.kind}"
