"""What owning chips costs per hour: purchase written off, power, space, support."""

from __future__ import annotations

from dataclasses import dataclass

HOURS_PER_YEAR = 8760.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The terms of owning chips of one kind. Shares are 0..1; the defaults are a sample.

    infra_share: servers, network, storage, racks and spares on top of the chips.
    residual_usd: what all is worth at the end. chip_w: at full load; server_factor: CPU, network
    and fans per watt of chips; load: of full power, on average.
    support_share: of the purchase per year. capital_share: interest per year on the purchase.
    Raises: ValueError naming a field that is negative, or no years.
    """

    chip_usd: float
    chip_w: float
    infra_share: float = 0.4
    residual_usd: float = 0.0
    years: float = 4.0
    server_factor: float = 1.5
    load: float = 0.8
    pue: float = 1.4
    kwh_usd: float = 0.12
    space_usd_per_month: float = 0.0
    support_share: float = 0.1
    staff_usd_per_year: float = 0.0
    capital_share: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0 <= value < float("inf") or (name == "years" and not value):
                raise ValueError(f"{name}: a number from 0 up is right, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tco:
    """USD per hour of all chips together, by what it pays for."""

    chips: int
    capex_usd: float
    amortisation_usd_per_hour: float
    power_usd_per_hour: float
    opex_usd_per_hour: float
    capital_usd_per_hour: float

    @property
    def usd_per_hour(self) -> float:
        """All of it."""
        running = self.power_usd_per_hour + self.opex_usd_per_hour
        return self.amortisation_usd_per_hour + running + self.capital_usd_per_hour

    @property
    def usd_per_chip_hour(self) -> float:
        """Of one chip, whether it works or not."""
        return self.usd_per_hour / self.chips


def tco(chips: int, terms: Ownership) -> Tco:
    """Total cost of owning so many chips. Raises: ValueError if there are none."""
    if chips < 1:
        raise ValueError(f"chips: at least 1 is right, not {chips}")
    capex = chips * terms.chip_usd * (1 + terms.infra_share)
    kilowatts = chips * terms.chip_w / 1000 * terms.server_factor * terms.load * terms.pue
    opex = terms.space_usd_per_month * 12 + terms.support_share * capex + terms.staff_usd_per_year
    return Tco(
        chips=chips,
        capex_usd=capex,
        amortisation_usd_per_hour=(capex - terms.residual_usd) / (terms.years * HOURS_PER_YEAR),
        power_usd_per_hour=kilowatts * terms.kwh_usd,
        opex_usd_per_hour=opex / HOURS_PER_YEAR,
        capital_usd_per_hour=terms.capital_share * capex / HOURS_PER_YEAR,
    )


def useful_hour_usd(usd_per_chip_hour: float, busy: float) -> float:
    """What an hour of work costs when the chip works this share of its hours."""
    if not 0 < busy <= 1:
        raise ValueError(f"busy: a share above 0 and up to 1 is right, not {busy}")
    return usd_per_chip_hour / busy


def break_even_busy(own_usd_per_chip_hour: float, rent_usd_per_chip_hour: float) -> float:
    """The share of hours from which owning is cheaper than renting; above 1 it never is."""
    if rent_usd_per_chip_hour <= 0:
        raise ValueError(f"rent: a price above 0 is right, not {rent_usd_per_chip_hour}")
    return own_usd_per_chip_hour / rent_usd_per_chip_hour


def usd_per_million_tokens(usd_per_hour: float, tokens_per_s: float, busy: float = 1.0) -> float:
    """Of chips that together make so many tokens a second while they are busy."""
    return useful_hour_usd(usd_per_hour, busy) / 3600 / tokens_per_s * 1e6
