"""The catalogue: its files are sound, and names find their chips."""

from __future__ import annotations

import csv
import gzip
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.hardware.catalogue import (
    PEAKS,
    NoPeak,
    UnknownChip,
    catalogue,
    find,
    overlaid,
    read_catalogue,
)

CHIPS = list(catalogue().values())

RUNS = files("regatta.planning").joinpath("data", "published_runs.csv.gz").read_bytes()
PUBLISHED = {row["gpu"] for row in csv.DictReader(gzip.decompress(RUNS).decode().splitlines())}
MIXES = {name for name in PUBLISHED if "+" in name}


def test_at_least_thirty_chips_of_ten_vendors_the_domestic_ones_among_them():
    vendors = {chip.vendor for chip in CHIPS}
    assert len(CHIPS) >= 30
    assert len(vendors) >= 10
    assert vendors >= {"Kunlunxin", "Huawei", "Hygon", "Cambricon", "MetaX", "Moore Threads"}


def test_every_figure_has_a_source_and_a_year_in_the_age_of_these_chips():
    figures = [figure for chip in CHIPS for figure in chip.figures.values()]
    assert all(figure.source and 2016 <= figure.year <= 2026 for figure in figures)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_units_are_sane(chip):
    assert 8 * 2**30 <= chip.memory_bytes <= 512 * 2**30
    assert 250e9 <= chip.memory_Bps <= 10e12
    assert 10e9 <= chip.intra_Bps <= 2e12
    assert 1e9 <= chip.inter_Bps <= 200e9
    assert chip.inter_Bps <= chip.intra_Bps
    assert 4 <= chip.domain_chips <= 10_000
    assert 4 <= chip.chips_per_node <= 16
    assert chip.domain_chips >= min(chip.chips_per_node, 4)
    assert 1_000 <= chip.mtbf_h <= 200_000
    assert chip.tdp_w is None or 50 <= chip.tdp_w <= 2_000
    assert chip.price_usd_per_hour is None or 0.1 <= chip.price_usd_per_hour <= 20
    assert chip.purchase_usd is None or 500 <= chip.purchase_usd <= 100_000
    assert all(5e12 <= peak <= 2e16 for peak in chip.peak_flops.values())


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_narrower_numbers_are_never_slower_and_measured_is_below_peak(chip):
    order = [chip.peak_flops[d] for d in ("fp32", "bf16", "fp8", "fp4") if d in chip.peak_flops]
    assert order == sorted(order)
    assert all(flops < chip.peak_flops[d] for d, flops in chip.measured_flops.items())


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_a_byte_of_memory_bandwidth_meets_few_enough_operations(chip):
    """The balance of compute and memory of real chips: a slip of 1,000 would show."""
    peak = chip.peak_flops.get("bf16") or chip.peak_flops["fp16"]
    assert 15 < peak / chip.memory_Bps < 700


def test_no_two_chips_share_a_name_or_alias():
    keys = [
        (key, chip.name)
        for chip in CHIPS
        for key in {"".join(filter(str.isalnum, n.lower())) for n in (chip.name, *chip.aliases)}
    ]
    assert len({key for key, _ in keys}) == len(keys)


@pytest.mark.parametrize("name", sorted(PUBLISHED - MIXES))
def test_chips_of_the_published_runs_are_found_by_the_name_used_there(name):
    assert find(name).name == name


@pytest.mark.parametrize("mix", sorted(MIXES))
def test_so_is_each_chip_of_a_mix(mix):
    assert [find(name).name for name in mix.split("+")] == mix.split("+")


@given(st.sampled_from(CHIPS), st.sampled_from([str.lower, str.upper, str.title]))
def test_case_spaces_and_dashes_do_not_count(chip, case):
    assert find(case(chip.name).replace("-", " ")) is chip


def test_an_unknown_chip_is_refused_with_near_names():
    with pytest.raises(UnknownChip, match=r"no 'H101-80GB'; did you mean .*H100-80GB"):
        find("H101-80GB")
    with pytest.raises(UnknownChip, match=r"no '!'$"):
        find("!")


def test_a_chip_without_bf16_says_so_and_offers_fp16():
    v100 = find("V100")
    assert v100.peak("fp16") == 125e12
    with pytest.raises(NoPeak, match="V100-32GB has no bf16 peak, it has fp16, fp32; use fp16"):
        v100.peak("bf16")


def test_figures_of_data_sheets():
    """Worked values: NVIDIA H100 SXM5 data sheet, dense."""
    h100 = find("NVIDIA H100 80GB HBM3")
    assert h100.peak("bf16") == 989e12
    assert h100.peak("fp8") == 1979e12
    assert h100.memory_bytes == 80 * 2**30
    assert h100.mtbf_h == pytest.approx(50_677, abs=1)  # Llama 3: 16,384 cards x 1,296 h / 419


HEAD = "chip,figure,value,year,quality,source"
NAMES = ["chip,vendor,form_factor,aliases,note", "X,V,PCIe,,"]


def lines(**changes):
    sound = {
        name: f"X,{name},8,2024,published,sheet"
        for name in (
            *("memory_gib", "memory_GBps", "intra_GBps", "inter_GBps"),
            *("domain_chips", "chips_per_node", "mtbf_h"),
        )
    }
    return [HEAD, *filter(None, (sound | changes).values())]


def test_a_chip_with_the_required_figures_alone_is_read():
    (chip,) = read_catalogue(NAMES, lines()).values()
    assert (chip.memory_bytes, chip.tdp_w, chip.price_usd_per_hour) == (8 * 2**30, None, None)
    assert not chip.peak_flops
    with pytest.raises(NoPeak, match="it has none"):
        chip.peak("bf16")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "X: without memory_gib"),
        ("X,memory_gib,-1,2024,published,sheet", "memory_gib must be above 0"),
        ("X,memory_gib,nan,2024,published,sheet", "memory_gib must be above 0"),
        ("X,memory_gib,much,2024,published,sheet", "memory_gib needs a number"),
        ("X,memory_gib,8,2024,published,", "memory_gib needs a source"),
        ("X,memory_gib,8,2024,rumour,press", "a quality of measured"),
        ("X,memory_miles,8,2024,published,sheet", "memory_miles is unknown"),
        ("X,memory_GBps,8,2024,published,sheet", "memory_GBps is unknown, or stands there twice"),
        ("Y,memory_gib,8,2024,published,sheet", "Y: has figures, but nothing names it"),
    ],
)
def test_a_bad_figure_is_named(line, message):
    with pytest.raises(ValueError, match=message):
        read_catalogue(NAMES, lines(memory_gib=line))


def own(chip, figure, value):
    words = (chip, figure, value, "2026", "measured", "our quote")
    return dict(zip(HEAD.split(","), words, strict=True))


def test_a_team_puts_its_own_figures_in_place_of_those_shipped():
    prices = [own("h100", "price_usd_per_hour", "1.9"), own("P800", "bf16_measured_tflops", "300")]
    ours = overlaid(catalogue(), [], prices)
    assert ours["H100-80GB"].price_usd_per_hour == 1.9
    assert ours["H100-80GB"].figures["price_usd_per_hour"].source == "our quote"
    assert ours["H100-80GB"].peak_flops == find("H100").peak_flops
    assert find("P800", ours).measured_flops["bf16"] == 300e12
    assert ours["A100-80GB"] is find("A100")
    assert find("H100").price_usd_per_hour == 2.95  # what is shipped stays as it is


def test_a_team_adds_a_chip_of_its_own():
    name = dict(zip(NAMES[0].split(","), ["Z9", "Ours", "OAM", "Z-Nine", ""], strict=True))
    rows = [dict(zip(HEAD.split(","), line.split(","), strict=True)) for line in lines()[1:]]
    ours = overlaid(catalogue(), [name], [row | {"chip": "Z9"} for row in rows])
    assert find("z nine", ours).vendor == "Ours"
    assert len(ours) == len(catalogue()) + 1


def test_every_peak_has_a_place_in_the_files():
    used = {dtype for chip in CHIPS for dtype in chip.peak_flops}
    assert used == set(PEAKS)
