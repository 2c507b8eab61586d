"""How a step is split over chips: degrees, schedule, batch, ZeRO, recomputation, dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from regatta.planning.shapes import BadField, Real, Shape, count, number

DTYPES = ("fp32", "fp16", "bf16", "fp8", "mxfp8", "fp4")
FP32, FP16, BF16, FP8, MXFP8, FP4 = (float(code) for code in range(len(DTYPES)))
RECOMPUTE = ("none", "selective", "full")
SEQUENCE_PARALLEL = ("", "megatron-core", "maxtext", "torchtitan")  # on by recipe; "" is the first
# Its published recipes say grad_reduce_in_fp32=False: NVIDIA-NeMo/Megatron-Bridge @067f987,
# src/megatron/bridge/perf_recipes/_common.py, `_benchmark_common`.
BF16_REDUCED = ("megatron-core",)
NONE, SELECTIVE, FULL = (float(code) for code in range(len(RECOMPUTE)))
LIKE_LAYERS = 3  # embedding, head and multi-token prediction may each stand for a layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One way to run a step, or arrays of ways.

    tp, pp, vpp, dp, cp, ep: degrees of tensor, pipeline, virtual-pipeline, data, context and
    expert parallelism; the experts use the ranks of dp x cp (and of tp where etp < tp).
    etp: tensor parallelism inside an expert. sequence_parallel: 0 or 1 (Korthikanti 2022).
    zero_stage: 0 to 3; 1 is Megatron's distributed optimizer, 3 is FSDP (Rajbhandari 2020).
    shard_ranks: over how many ranks ZeRO shards, 0 for all of dp x cp.
    recompute: 0 none, 1 selective (attention core), 2 full. micro_batch, global_batch: sequences.
    dtype: index into DTYPES. grad_bytes: of a reduced gradient element.
    frozen: 1 when the base weights are not trained (LoRA).
    """

    tp: Real
    pp: Real
    vpp: Real
    dp: Real
    cp: Real
    ep: Real
    micro_batch: Real
    global_batch: Real
    etp: Real = 1.0
    sequence_parallel: Real = 0.0
    zero_stage: Real = 1.0
    shard_ranks: Real = 0.0
    recompute: Real = NONE
    dtype: Real = BF16
    grad_bytes: Real = 4.0
    frozen: Real = 0.0


def chips(plan: Plan) -> Real:
    """How many chips the plan uses."""
    return plan.tp * plan.pp * plan.dp * plan.cp


def micro_batches(plan: Plan) -> Real:
    """Micro-batches that each pipeline plays in one step (gradient accumulation without one)."""
    return plan.global_batch / (plan.dp * plan.micro_batch)


def element_bytes(plan: Plan) -> Real:
    """Bytes of a weight and of an activation element; 8 bits and fewer are cast to by products."""
    return np.where(np.asarray(plan.dtype) == FP32, 4.0, 2.0)


def shard_ranks(plan: Plan) -> Real:
    """Over how many ranks the states are sharded when they are: dp x cp, or fewer if said so."""
    ranks = plan.dp * plan.cp
    given = np.asarray(plan.shard_ranks)
    return np.where(given > 0, np.minimum(given, ranks), ranks)


def check(plan: Plan, shape: Shape) -> None:
    """Refuse one plan that cannot run this model. Raises: BadField naming the degree."""
    if micro_batches(plan) < 1:
        right = plan.dp * plan.micro_batch
        raise BadField(
            "global_batch",
            f"{plan.global_batch:g}; at least dp x micro_batch = {right:g} is right",
        )
    if plan.pp * plan.vpp > shape.layers + LIKE_LAYERS:
        raise BadField("pp", f"pp x vpp = {plan.pp * plan.vpp:g} for {shape.layers:g} layers")
    if plan.vpp > 1 and plan.pp == 1:
        raise BadField("vpp", f"{plan.vpp:g} without a pipeline; 1 is right where pp is 1")
    _divides("tp", plan.tp, "heads", shape.heads)
    if plan.ep > 1:
        if not shape.experts:
            raise BadField("ep", f"{plan.ep:g} for a dense model; 1 is right")
        _divides("ep", plan.ep, "experts", shape.experts)


def check_split(plan: Plan) -> None:
    """Refuse one plan whose parts do not come out even. Raises: BadField naming the part.

    Tables of measured runs have such plans: rounded batches, recipes that changed.
    """
    _divides("dp x micro_batch", plan.dp * plan.micro_batch, "global_batch", plan.global_batch)
    _divides("ep x etp", plan.ep * plan.etp, "tp x cp x dp", plan.tp * plan.cp * plan.dp)


def _divides(name: str, degree: Real, total_name: str, total: Real) -> None:
    if total % degree:
        raise BadField(name, f"{degree:g} does not divide {total_name} = {total:g}")


def from_columns(row: Mapping[str, str]) -> Plan:
    """The plan that one row of a runs table describes; columns as in the reference of `predict`.

    Empty degrees are 1, yet etp is tp where there is no ep; dp is what remains of n_gpus, and
    global_batch what grad_accum makes of it.
    Sequence parallelism is on with tp where the row does not say, in the SEQUENCE_PARALLEL stacks.
    Gradients are reduced in 32 bits as Megatron-LM and DeepSpeed do by default, but not of fp16
    and in the BF16_REDUCED stacks.
    Raises: BadField for a missing or impossible value.
    """
    n, micro = count(row, "n_gpus"), number(row, "micro_batch", least=1)
    tp, pp, cp, ep, vpp = (count(row, name, default=1) for name in ("tp", "pp", "cp", "ep", "vpp"))
    etp = count(row, "etp", default=1 if ep > 1 else tp)
    dp = n / (tp * pp * cp)
    if dp != int(dp):
        raise BadField("n_gpus", f"{n:g} is not a multiple of tp x pp x cp = {tp * pp * cp:g}")
    if (said := number(row, "dp", default=dp)) != dp:
        raise BadField("dp", f"{said:g}, but n_gpus over tp x pp x cp is {dp:g}")
    rounds = number(row, "grad_accum", default=0)
    batch = number(row, "global_batch", default=rounds * dp * micro or None, least=1)
    note, task = row.get("zero_note") or "", row.get("task") or ""
    dtype = _dtype(row.get("dtype") or "")
    stack = (row.get("stack") or "").strip()
    return Plan(
        tp=tp,
        pp=pp,
        vpp=vpp,
        dp=dp,
        cp=cp,
        ep=ep,
        etp=etp,
        micro_batch=micro,
        global_batch=batch,
        sequence_parallel=count(
            row,
            "sequence_parallel",
            default=float(stack in SEQUENCE_PARALLEL and tp > 1),
            least=0,
            most=1,
        ),
        zero_stage=count(row, "zero_stage", default=1.0, least=0, most=3),
        recompute=_recompute(row.get("recompute") or ""),
        dtype=dtype,
        shard_ranks=_shard_ranks(note),
        grad_bytes=2.0 if "PURE" in note or dtype == FP16 or stack in BF16_REDUCED else 4.0,
        frozen=float("lora" in task.lower()),
    )


def _dtype(text: str) -> float:
    """The code of a free description such as `FP8-MX/blockwise`; bf16 where there is none."""
    low = text.lower()
    words = (("fp4", FP4), ("mx", MXFP8), ("fp8", FP8), ("bf", BF16), ("16", FP16), ("32", FP32))
    for word, code in words:
        if word in low:
            return code
    if low:
        raise BadField("dtype", f"{text!r} is none of {', '.join(DTYPES)}")
    return BF16


def _recompute(text: str) -> float:
    """`full …` recomputes whole layers, `selective` attention; named modules are small: none."""
    low = text.lower()
    if low.startswith("full"):
        return FULL
    return SELECTIVE if low.startswith("selective") and "modules=[" not in low else NONE


def _shard_ranks(note: str) -> float:
    """`zero1 size=8 (…)` shards over eight ranks, `FSDP 8 within node` too; else 0 for all."""
    words = note.replace("size=", "size= ").split()
    for before, word in pairwise(words):
        if before in {"size=", "FSDP"} and word.isdigit():
            return float(word)
    return 0.0
