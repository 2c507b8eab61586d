"""Ask the engine for plans, within what a web process can bear, and make an answer of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any

from django.utils.translation import gettext as _

from apps.advisor import plan_charts, plan_texts
from apps.advisor.plan_charts import Piece
from apps.advisor.plan_forms import Asked
from apps.advisor.plan_money import Money, billion_usd, money
from apps.advisor.plan_terms import MEMORY, TIME, Term
from apps.http.limits import Room
from apps.http.looks import Words
from apps.http.problems import Refused
from apps.insights.charts import decimal, number
from regatta.hardware.catalogue import GIB
from regatta.planning import calibration, layers, memory, plans, space, step
from regatta.planning import search as engine
from regatta.planning.document import Planned, write
from regatta.planning.export import megatron_args, torchtitan_toml
from regatta.planning.plans import DTYPES, FP8, Plan
from regatta.planning.ranking import Ranked
from regatta.planning.search import Result, Site
from regatta.planning.shapes import BadField, Real

MOST_ROWS = 800_000  # of a space: about six seconds and 300 MB, DeepSeek-V3 on 2,048 chips
TOP = 10
TIGHT = 0.05  # of a chip's memory: with less free, what was not predicted may end a run
# By number format: the width of products, the constant of theirs, figures that tell their rate.
_REACHED = {
    "fp32": ("32", "gemm_16", ("tf32_tflops", "fp32_tflops")),
    "fp8": ("8", "gemm_8", ("fp8_measured_tflops", "fp8_tflops")),
    "fp4": ("4", "gemm_4", ("fp4_tflops", "fp8_measured_tflops", "fp8_tflops")),
}
_REACHED["mxfp8"] = _REACHED["fp8"]
_REACHED_16 = ("16", "gemm_16", ("bf16_measured_tflops", "bf16_tflops", "fp16_tflops"))
_ROOM = Room(working=1, waiting=4)  # a search takes a core while it lasts


def find(asked: Asked, *, top: int = TOP, picture: int = 0) -> Result:
    """The fastest plans.

    Raises: BadField, NothingFits; Refused where the space is too large for a web process, or
    many search already.
    """
    at = engine.site(asked.cluster)
    with _ROOM.enter():
        domain = float(at.machine.domain_chips)
        rows = space.size(asked.shape, at.count, asked.global_batch, domain_chips=domain)
        if rows > MOST_ROWS:
            raise Refused(
                "too_many_plans",
                _(
                    "This space is too large to search in the portal. A batch or a number of "
                    "chips with fewer divisors would do, or `regatta plan search` on a terminal."
                ),
                pointer="/global_batch",
            )
        return engine.search(
            asked.shape, at, asked.global_batch, limits=asked.limits, top=top, picture=picture
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One value that goes into a term, with where it comes from."""

    name: str
    value: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A part of a bar with its formula and inputs."""

    piece: Piece
    value: str
    formula: Words
    inputs: list[Input]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One ranked plan."""

    rank: int
    code: str
    words: str
    item: Ranked
    billion_usd: float | None
    why: str
    chosen: bool
    tight: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Everything that the explorer shows of a search and of the plan that is chosen of it."""

    result: Result
    took_ms: int
    rows: list[Row]
    chosen: Ranked
    rank: int | None
    words: str
    fits: bool
    tight: bool
    memory_bytes: float
    tokens_per_s: float
    money: Money
    time: list[Opened]
    memory: list[Opened]
    time_total: str
    memory_total: str
    figure: Mapping[str, Any]
    summary: str
    document: Mapping[str, Any]
    megatron: str
    torchtitan: str


def answer(asked: Asked, *, picked: str, now: datetime) -> Answer:
    """Search, and open the plan that is picked by its code, or else the fastest.

    Raises: as `find`.
    """
    start = perf_counter()
    at = engine.site(asked.cluster)
    result = find(asked, picture=plan_charts.PICTURE)
    chosen, rank = _chosen(asked, at, result, picked)
    held = memory.peak(asked.shape, chosen.plan, at.machine, at.constants)
    total = float(at.machine.memory_bytes)
    cloud = result.cloud
    assert cloud is not None  # a picture was asked for
    figure, shown = plan_charts.picture(
        cloud, ranked=result.plans, chosen=chosen, memory_bytes=total
    )
    told = {name: float(part) for name, part in held.breakdown.items()}
    opened = _opener(asked, chosen.plan, at, told)
    whole = max(total, chosen.peak_bytes)
    return Answer(
        result=result,
        rows=[_row(asked, result, place, chosen, total) for place in range(len(result.plans))],
        chosen=chosen,
        rank=rank,
        words=plan_texts.short(chosen.plan),
        fits=chosen.peak_bytes <= total * (1 - asked.limits.headroom),
        tight=_is_tight(chosen, total),
        memory_bytes=total,
        tokens_per_s=_tokens_per_step(asked) / chosen.iteration_s,
        money=money(
            planned(asked, chosen.plan), chosen.iteration_s, hour_usd=_hour_usd(asked), now=now
        ),
        time=[
            opened(piece, TIME[piece.name], f"{number(piece.value)} s")
            for piece in plan_charts.bar(chosen.breakdown, TIME, whole=chosen.iteration_s)
        ],
        memory=[
            opened(piece, MEMORY[piece.name], f"{decimal(piece.value / GIB, 2)} GiB")
            for piece in plan_charts.bar(told, MEMORY, whole=whole)
        ],
        time_total=f"{number(chosen.iteration_s)} s",
        memory_total=_("%(peak)s of %(all)s GiB")
        % {"peak": decimal(chosen.peak_bytes / GIB, 2), "all": decimal(total / GIB, 1)},
        figure=figure,
        summary=plan_charts.summary(cloud, shown=shown, result=result),
        document=write(planned(asked, chosen.plan)),
        megatron=_export(lambda: " ".join(megatron_args(asked.shape, chosen.plan))),
        torchtitan=_export(lambda: torchtitan_toml(asked.shape, chosen.plan)),
        took_ms=round(1000 * (perf_counter() - start)),
    )


def planned(asked: Asked, plan: Plan) -> Planned:
    """A plan with all that was asked."""
    return Planned(
        name=asked.name,
        shape=asked.shape,
        cluster=asked.cluster,
        plan=plan,
        tokens=asked.tokens,
    )


def _hour_usd(asked: Asked) -> float | None:
    per_chip = asked.price.usd_per_chip_hour
    return None if per_chip is None else per_chip * asked.cluster.size


def _tokens_per_step(asked: Asked) -> float:
    return asked.global_batch * float(asked.shape.seq_len)


def _chosen(asked: Asked, at: Site, result: Result, picked: str) -> tuple[Ranked, int | None]:
    """The plan of this code with its rank, if it has one; the fastest where there is no such."""
    for rank, item in enumerate(result.plans, 1):
        if plan_charts.code(item.plan) == picked:
            return item, rank
    try:
        first = result.plans[0].plan
        common = {name: getattr(first, name) for name in ("global_batch", *engine.TRAINED)}
        plan = Plan(**plan_charts.choices(picked), **common)
        plans.check(plan, asked.shape)
        plans.check_split(plan)
        if plans.chips(plan) != at.count:
            return result.plans[0], 1
        return engine.predict(asked.shape, at, plan), None
    except (ValueError, ZeroDivisionError):  # BadField is one; the inputs have changed since
        return result.plans[0], 1


def _row(asked: Asked, result: Result, place: int, chosen: Ranked, memory_bytes: float) -> Row:
    item = result.plans[place]
    return Row(
        rank=place + 1,
        code=plan_charts.code(item.plan),
        words=plan_texts.short(item.plan),
        item=item,
        billion_usd=billion_usd(
            _hour_usd(asked), item.iteration_s, tokens_per_step=_tokens_per_step(asked)
        ),
        why=plan_texts.why(item, result.plans[0] if place else None),
        chosen=item.plan == chosen.plan,
        tight=_is_tight(item, memory_bytes),
    )


def _is_tight(item: Ranked, memory_bytes: float) -> bool:
    return item.peak_bytes > memory_bytes * (1 - TIGHT)


def _export(make: Callable[[], str]) -> str:
    """The arguments, or why this program cannot express the plan, as a comment."""
    try:
        return make()
    except BadField as error:
        return f"# {error}"


def _opener(
    asked: Asked, plan: Plan, at: Site, held: Mapping[str, float]
) -> Callable[[Piece, Term, str], Opened]:
    """What opens a part: its term's formula, with every input's value and source."""
    shape, network_Bps = asked.shape, asked.cluster.network_Bps_per_chip
    layer = layers.layer_times(shape, plan, at.machine, at.constants)
    took = step.step(shape, plan, at.machine, at.constants)
    last = float(took.breakdown["head"]) > 0  # the last stage is then the slowest
    count = float(step.stage_layers(shape, plan)[1 if last else 0])
    micro = float(plans.micro_batches(plan))
    meanings = calibration.shipped().constants
    of_layer = {
        "gemm": layer.gemm_s,
        "attention": layer.attention_s,
        "experts": layer.expert_s,
        "elementwise": layer.elementwise_s,
        "recompute": layer.recompute_s,
        "head": layer.head_s,
        "tensor_comm": layer.tensor_comm_s,
        "context_comm": layer.context_comm_s,
        "expert_comm": layer.expert_comm_s,
        "host": layer.host_s,
    }
    bits, gemm, figures = _REACHED.get(DTYPES[int(float(plan.dtype))], _REACHED_16)
    reach = float(getattr(at.machine, f"reach_{bits}_flops"))
    if reach == at.machine.reach_16_flops:  # without units that are faster
        figures = _REACHED_16[2]
    of_machine: dict[str, tuple[Real, str, tuple[str, ...]]] = {
        "reach": (reach / 1e12, "TFLOP/s", figures),
        "reach_16": (at.machine.reach_16_flops / 1e12, "TFLOP/s", _REACHED_16[2]),
        "memory_Bps": (at.machine.memory_Bps / 1e9, "GB/s", ("memory_GBps",)),
        "memory": (at.machine.memory_bytes / GIB, "GiB", ("memory_gib",)),
        "intra": (at.machine.intra_Bps / 1e9, "GB/s", ("intra_GBps",)),
        "inter": (at.machine.inter_Bps / 1e9, "GB/s", () if network_Bps else ("inter_GBps",)),
    }
    common, routed = step.stage_parameters(shape, plan)
    above = took.iteration_s - took.breakdown["step_overhead"] - took.breakdown["stragglers"]
    rest = sum(held.values()) - held["framework"] - held["fragmentation"]
    stage_s = (shape.layers * layers.total(layer) + layer.head_s) / plan.pp
    width = float(plans.element_bytes(plan))
    copies = 2 * float(at.constants.weight_copies) if plan.dtype >= FP8 else 0.0
    of_plan: dict[str, tuple[Real, str, str]] = {
        "micro_batches": (micro, "", ""),
        "chips": (at.count, "", ""),
        "common": (common, "", _("weights of the fullest stage on a chip, without experts'")),
        "routed": (routed, "", _("weights of its experts on a chip")),
        "shards": (plans.shard_ranks(plan), "", _("chips that share those")),
        "replicas": (step.expert_replicas(plan), "", _("chips that share the experts'")),
        "width": (width, "B", _("of a weight and of an activation")),
        "weight": (width + copies, "B", _("of a weight, with its copies in 8 bits")),
        "kept": (
            memory.input_bytes(plan, at.constants),
            "B",
            _("of an input of a product until its backward"),
        ),
        "adam": (memory.ADAM_BYTES - (width if width > 2 else 0), "B", _("states of a weight")),
        "trained": (step.FROZEN_SHARE if plan.frozen else 1, "", _("share of the weights")),
        "stage_layers": (step.stage_layers(shape, plan)[0], "", ""),
        "stage": (1e3 * stage_s, "ms", _("mean of the stages, per micro-batch")),
        "hop": (1e3 * step.pipeline_hop(shape, plan, at.machine, at.constants), "ms", ""),
        "above": (above, "s", ""),
        "rest": (rest / GIB, "GiB", ""),
    }

    def value(name: str, part: str) -> Input:
        kind, _dot, field = name.replace("gemm_16", gemm).partition(".")
        if kind == "k":
            about = meanings.get(field, {})
            said = f"{about.get('meaning', '')} ({about.get('source', '')})" if about else ""
            return Input(name=field, value=number(float(getattr(at.constants, field))), about=said)
        if kind == "chip":
            amount, unit, told = of_machine[field]
            return Input(
                name=f"{at.chip.name}: {field}",
                value=f"{number(float(amount))} {unit}",
                about=_source(at, told) if told else _("as given in the form"),
            )
        if kind == "plan":
            word = plan_texts.SHORT.get(field, field)
            return Input(name=word, value=plan_texts.value_of(plan, field), about="")
        if kind == "layer":
            said = _("one layer and micro-batch, forward and backward")
            return Input(name=kind, value=f"{number(1e3 * float(of_layer[part]))} ms", about=said)
        if kind == "runs":
            said = _("layers of the slowest stage × micro-batches: %(layers)s × %(micro)s") % {
                "layers": f"{count:g}",
                "micro": f"{micro:g}",
            }
            return Input(name=kind, value=f"{count * micro:g}", about=said)
        amount, unit, said = of_plan[kind]
        return Input(name=kind, value=f"{number(float(amount))} {unit}".strip(), about=said)

    def opened(piece: Piece, term: Term, shown: str) -> Opened:
        inputs = [value(name, piece.name) for name in term.uses]
        return Opened(piece=piece, value=shown, formula=term.formula, inputs=inputs)

    return opened


def _source(at: Site, names: tuple[str, ...]) -> str:
    """Where a figure of the chip comes from, the first that it has of these; what nobody measured
    is taken from the data sheet."""
    name = next((name for name in names if name in at.chip.figures), "")
    if not name:
        return ""
    figure = at.chip.figures[name]
    if name.endswith("_tflops") and "measured" not in name:
        said = _("0.8 of the peak, since nobody measured it: %(source)s")
        return said % {"source": figure.source}
    return f"{figure.source} ({figure.year}, {figure.quality})"
