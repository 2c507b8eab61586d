"""The terms of a step's time and of the peak of memory: their names, formulas and inputs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext_lazy

from apps.http.looks import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One part of a step's time or of the peak: its name, its kind, its formula, what goes in.

    kind: 1 to 7, the colour of its like. uses: names that `plan_answers` finds the values of.
    """

    word: Words
    kind: int
    formula: Words
    uses: tuple[str, ...] = ()


_RUN = ("runs", "layer")
_CHIP = ("chip.reach", "k.gemm_16", "chip.memory_Bps", "k.memory")
_LINKS = ("chip.intra", "k.intra", "chip.inter", "k.inter", "k.latency_s")
_WEIGHTS = ("common", "shards", "routed", "replicas")
COMPUTE, AGAIN, TALK, WAIT, REST = 1, 5, 2, 4, 3  # kinds of time, by the colours of charts

TIME: Mapping[str, Term] = {
    "gemm": Term(
        word=gettext_lazy("matrix products"),
        kind=COMPUTE,
        formula=gettext_lazy(
            "runs × layer; a product of m × k by k × n takes 2·m·n·k ÷ (reached FLOP/s × gemm_16) "
            "+ moved bytes × gemm_traffic ÷ (bandwidth × memory), three times with the backward"
        ),
        uses=(*_RUN, *_CHIP, "k.gemm_traffic", "plan.tp"),
    ),
    "attention": Term(
        word=gettext_lazy("attention"),
        kind=COMPUTE,
        formula=gettext_lazy(
            "runs × layer; causal scores and values ÷ (reached FLOP/s × attention) where it is "
            "fused, 3.5 times with the backward"
        ),
        uses=(*_RUN, "chip.reach_16", "k.attention", "k.fused_attention"),
    ),
    "experts": Term(
        word=gettext_lazy("experts"),
        kind=COMPUTE,
        formula=gettext_lazy(
            "runs × layer; grouped products of the local experts, router and permutation, three "
            "times with the backward"
        ),
        uses=(*_RUN, "k.expert_gemm", "k.expert_traffic", "k.permute_traffic", "plan.ep"),
    ),
    "elementwise": Term(
        word=gettext_lazy("norms and activations"),
        kind=COMPUTE,
        formula=gettext_lazy("runs × layer; bytes moved ÷ (bandwidth × memory)"),
        uses=(*_RUN, "chip.memory_Bps", "k.memory", "k.norm_traffic", "k.activation_traffic"),
    ),
    "recompute": Term(
        word=gettext_lazy("recomputation"),
        kind=AGAIN,
        formula=gettext_lazy(
            "runs × layer; the forward once more: of the whole layer (full), of attention "
            "(selective), or nothing (none)"
        ),
        uses=(*_RUN, "plan.recompute"),
    ),
    "head": Term(
        word=gettext_lazy("output head"),
        kind=COMPUTE,
        formula=gettext_lazy(
            "micro-batches × (three products of hidden × vocabulary ÷ TP, and the bytes of the "
            "loss); only where the last stage is the slowest"
        ),
        uses=("micro_batches", "layer", "chip.reach", "k.loss_traffic"),
    ),
    "tensor_comm": Term(
        word=gettext_lazy("tensor-parallel communication"),
        kind=TALK,
        formula=gettext_lazy(
            "runs × layer; tensor_exposed × 4 pairs of reduce-scatter and all-gather of tokens × "
            "hidden × 2 bytes over TP chips"
        ),
        uses=(*_RUN, *_LINKS, "k.tensor_exposed", "plan.tp"),
    ),
    "context_comm": Term(
        word=gettext_lazy("context-parallel communication"),
        kind=TALK,
        formula=gettext_lazy(
            "runs × layer; keys and values three times round the ring, what attention cannot hide "
            "and context_exposed of the rest"
        ),
        uses=(*_RUN, *_LINKS, "k.context_exposed", "plan.cp"),
    ),
    "expert_comm": Term(
        word=gettext_lazy("expert-parallel communication"),
        kind=TALK,
        formula=gettext_lazy(
            "runs × layer; expert_exposed × four all-to-alls over EP × ETP chips"
        ),
        uses=(*_RUN, *_LINKS, "k.expert_exposed", "plan.ep"),
    ),
    "host": Term(
        word=gettext_lazy("waiting for kernel launches"),
        kind=REST,
        formula=gettext_lazy("runs × layer; what launching takes beyond the chip's own time"),
        uses=(*_RUN, "k.launch_s", "k.launch_moe"),
    ),
    "bubble": Term(
        word=gettext_lazy("pipeline bubble"),
        kind=WAIT,
        formula=gettext_lazy(
            "(PP - 1) ÷ VPP × (stage + hop): what a stage computes and what passing on takes"
        ),
        uses=("plan.pp", "plan.vpp", "stage", "hop"),
    ),
    "pipeline_comm": Term(
        word=gettext_lazy("passing activations between stages"),
        kind=TALK,
        formula=gettext_lazy(
            "micro-batches × 2 · VPP × (pipeline_exposed × bytes ÷ bandwidth + latency)"
        ),
        uses=("micro_batches", "plan.vpp", *_LINKS, "k.pipeline_exposed"),
    ),
    "data_comm": Term(
        word=gettext_lazy("gradient and parameter communication"),
        kind=TALK,
        formula=gettext_lazy(
            "data_exposed × (reduction of the gradients, and from ZeRO 1 gathering of the "
            "parameters, over DP × CP chips); with ZeRO 3 every layer, what computing cannot hide"
        ),
        uses=(
            *("plan.dp", "plan.cp", "plan.zero_stage", "plan.grad_bytes", *_WEIGHTS),
            *(*_LINKS, "k.data_exposed", "k.fsdp_exposed", "k.hop_s"),
        ),
    ),
    "optimizer": Term(
        word=gettext_lazy("optimizer"),
        kind=REST,
        formula=gettext_lazy(
            "optimizer_traffic bytes × trained × (common ÷ shards + routed ÷ replicas) ÷ "
            "(bandwidth × memory); with ZeRO 0 nothing is divided"
        ),
        uses=(
            *("k.optimizer_traffic", "trained", *_WEIGHTS),
            *("chip.memory_Bps", "k.memory", "plan.zero_stage"),
        ),
    ),
    "stragglers": Term(
        word=gettext_lazy("stragglers"),
        kind=WAIT,
        formula=gettext_lazy("straggle × log2(chips ÷ 8, at least 1) × all of the above"),
        uses=("k.straggle", "chips", "above"),
    ),
    "step_overhead": Term(
        word=gettext_lazy("overhead of a step"),
        kind=REST,
        formula=gettext_lazy("step_s, alike for every plan"),
        uses=("k.step_s",),
    ),
}
MEMORY: Mapping[str, Term] = {
    "weights": Term(
        word=gettext_lazy("weights"),
        kind=1,
        formula=gettext_lazy(
            "weight × (common ÷ shards + routed ÷ replicas); below ZeRO 3 nothing is divided"
        ),
        uses=("weight", *_WEIGHTS, "plan.zero_stage"),
    ),
    "gradients": Term(
        word=gettext_lazy("gradients"),
        kind=2,
        formula=gettext_lazy(
            "gradient_copies × bytes of a gradient × trained × (common ÷ shards + routed ÷ "
            "replicas); below ZeRO 2 nothing is divided"
        ),
        uses=("k.gradient_copies", "plan.grad_bytes", "trained", *_WEIGHTS, "plan.zero_stage"),
    ),
    "optimizer": Term(
        word=gettext_lazy("optimizer states"),
        kind=3,
        formula=gettext_lazy(
            "optimizer_copies × adam × trained × (common ÷ shards + routed ÷ replicas); below "
            "ZeRO 1 nothing is divided"
        ),
        uses=("k.optimizer_copies", "adam", "trained", *_WEIGHTS, "plan.zero_stage"),
    ),
    "gathered": Term(
        word=gettext_lazy("gathered layers"),
        kind=4,
        formula=gettext_lazy(
            "with ZeRO 3, three layers: 3 × width × (common + routed) ÷ stage_layers"
        ),
        uses=("width", *_WEIGHTS, "stage_layers", "plan.zero_stage"),
    ),
    "activations": Term(
        word=gettext_lazy("activations"),
        kind=5,
        formula=gettext_lazy(
            "layers of the stage × bytes that a layer keeps × micro-batches in flight, and what "
            "one layer needs while it works; activation_share of the count by formula, "
            "selective_share of that with selective recomputation, and matrix_copies of the "
            "scores where attention is not fused"
        ),
        uses=(
            *("width", "kept", "stage_layers", "plan.micro_batch", "plan.recompute", "plan.pp"),
            *("k.activation_share", "k.selective_share", "k.matrix_copies", "k.fused_attention"),
        ),
    ),
    "logits": Term(
        word=gettext_lazy("logits"),
        kind=6,
        formula=gettext_lazy("logit_bytes × tokens of a micro-batch × vocabulary ÷ TP"),
        uses=("k.logit_bytes", "plan.micro_batch", "plan.tp"),
    ),
    "framework": Term(
        word=gettext_lazy("framework and context"),
        kind=7,
        formula=gettext_lazy("context_gib + framework_share × memory of the chip"),
        uses=("k.context_gib", "k.framework_share", "chip.memory"),
    ),
    "fragmentation": Term(
        word=gettext_lazy("fragmentation"),
        kind=7,
        formula=gettext_lazy("fragmentation × all but the framework"),
        uses=("k.fragmentation", "rest"),
    ),
}
