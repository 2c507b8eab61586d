"""How one worker trains: the story of a run, from its seed to its saved model."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from regatta import telemetry
from regatta.training import checkpoint
from regatta.training.gpt import GPT, GPTConfig, next_token_loss
from regatta.training.text import CharTokenizer, batch_at, python_topics

log = logging.getLogger(__name__)

_VALIDATION_BATCHES = 4
_SAMPLE_START = "The "
_SAMPLE_TOKENS = 120


@dataclass(frozen=True)
class Recipe:
    """What decides a run.

    earlier: output folders of former attempts, the latest first, to go on from.
    seconds_at_most: ends it early, counted from the first step of an attempt.
    sequences: of a step on one worker, each as long as the model's context.
    """

    output: Path
    earlier: tuple[Path, ...] = ()
    steps: int = 300
    seconds_at_most: float = math.inf
    sequences: int = 4
    learning_rate: float = 3e-3
    warmup_steps: int = 30
    log_every: int = 10
    validate_every: int = 50
    checkpoint_every: int = 50
    seed: int = 2026


@dataclass
class Run:
    """One worker's part in a run; every worker holds the same but for its rank."""

    rank: int
    ranks: int
    recipe: Recipe
    config: GPTConfig
    model: GPT
    optimizer: torch.optim.Optimizer
    step: int = 0
    first_loss: float = math.nan
    loss: float = math.nan

    @property
    def leads(self) -> bool:
        return self.rank == 0


def work(recipe: Recipe) -> dict[str, Any]:
    """Train on this worker, leave the model in the output folder, and say what came out."""
    log_to_stdout()
    torch.set_num_threads(1)
    corpus = python_topics()
    tokenizer = CharTokenizer(corpus.train + corpus.validation)
    validation_N = tokenizer.encode(corpus.validation)
    run = _begin(recipe, GPTConfig(vocabulary=tokenizer.size))
    began = time.monotonic()
    train(run, tokenizer.encode(corpus.train), validation_N)
    train_s = time.monotonic() - began
    outcome: dict[str, Any] = {
        "steps": run.step,
        "first_loss": run.first_loss,
        "final_loss": run.loss,
    }
    outcome |= {"validation_loss": _validate(run, validation_N), "train_s": train_s}
    if run.leads:
        _save_model(run, tokenizer)
        outcome |= {"sample": _sample(run, tokenizer)}
    telemetry.close()  # Ray ends this process without the usual exit
    return outcome


def _begin(recipe: Recipe, config: GPTConfig) -> Run:
    """A fresh run, or the one that a former attempt left, the same on every rank."""
    torch.manual_seed(recipe.seed)
    model = GPT(config)
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    run = Run(rank, ranks, recipe, config, model, optimizer)
    states = [left_behind(recipe) if run.leads else None]
    distributed.broadcast_object_list(states)  # another node may not see the folder
    if states[0] is not None:
        _take_up(run, states[0])
    return run


def left_behind(recipe: Recipe) -> dict[str, Any] | None:
    """What this attempt saved last, or else the latest former one that saved anything."""
    folders = [recipe.output, *recipe.earlier]
    states = (checkpoint.newest(_checkpoints(folder)) for folder in folders)
    return next((state for state in states if state is not None), None)


def _take_up(run: Run, state: dict[str, Any]) -> None:
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.first_loss, run.loss = state["step"], state["first_loss"], state["loss"]
    if run.leads:
        log.info("going on after step %d, where the loss was %.4f", run.step, run.loss)


def train(run: Run, tokens_N: Tensor, validation_N: Tensor) -> None:
    """Step after step, until all are done or the time is up."""
    recipe, parallel = run.recipe, DistributedDataParallel(run.model)
    deadline = time.monotonic() + recipe.seconds_at_most
    over = run.step >= recipe.steps
    while not over:
        began = time.monotonic()
        late = _one_step(run, parallel, tokens_N, late=began > deadline)
        over = late or run.step >= recipe.steps
        # Ended by its time, it is done with what it did: nothing broke off.
        total_steps = run.step if over else recipe.steps
        _tell(run, step_s=time.monotonic() - began, total_steps=total_steps)
        if run.step % recipe.validate_every == 0:
            _tell_validation(run, _validate(run, validation_N))
        if run.leads and (over or run.step % recipe.checkpoint_every == 0):
            _save_checkpoint(run)
    if run.leads and run.step < recipe.steps:
        told = recipe.seconds_at_most, run.step, recipe.steps
        log.info("the time of %g s is up: ended after step %d of %d", *told)


def _one_step(run: Run, parallel: nn.Module, tokens_N: Tensor, *, late: bool) -> bool:
    """Learn from one batch. Returns whether any rank found itself late: all stop together."""
    inputs_BT, targets_BT = _batch(run, tokens_N, step=run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = _learning_rate(run.recipe, run.step)
    loss = next_token_loss(parallel(inputs_BT), targets_BT)
    loss.backward()  # type: ignore[no-untyped-call]
    clip_grad_norm_(run.model.parameters(), max_norm=1.0)
    run.optimizer.step()
    run.optimizer.zero_grad()
    seen = torch.stack([loss.detach(), torch.tensor(float(late))])
    distributed.all_reduce(seen)
    run.loss = seen[0].item() / run.ranks
    if run.step == 0:
        run.first_loss = run.loss
    run.step += 1
    return seen[1].item() > 0


def _learning_rate(recipe: Recipe, step: int) -> float:
    """Up in a straight line, then down along a cosine to a tenth."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    done = step / recipe.steps
    return recipe.learning_rate * warm * (0.55 + 0.45 * math.cos(math.pi * done))


def _batch(run: Run, tokens_N: Tensor, *, step: int) -> tuple[Tensor, Tensor]:
    return batch_at(
        tokens_N,
        step=step,
        rank=run.rank,
        sequences=run.recipe.sequences,
        length=run.config.context_tokens,
        seed=run.recipe.seed,
    )


@torch.no_grad()
def _validate(run: Run, validation_N: Tensor) -> float:
    """Mean loss over text that is never trained on; always the same batches."""
    batches = [_batch(run, validation_N, step=i) for i in range(_VALIDATION_BATCHES)]
    losses = [next_token_loss(run.model(inputs), targets) for inputs, targets in batches]
    total = torch.stack(losses).mean()
    distributed.all_reduce(total)
    return total.item() / run.ranks


def _tell(run: Run, *, step_s: float, total_steps: int) -> None:
    telemetry.report(step=run.step, step_s=step_s)
    if not run.leads:
        return
    tokens_per_s = run.ranks * run.recipe.sequences * run.config.context_tokens / step_s
    telemetry.report(
        step=run.step,
        total_steps=total_steps,
        loss=run.loss,
        tokens_per_s=tokens_per_s,
        learning_rate=_learning_rate(run.recipe, run.step - 1),
    )
    if run.step == 1 or run.step % run.recipe.log_every == 0:
        told = run.step, run.recipe.steps, run.loss, tokens_per_s, step_s
        log.info("step %d/%d  loss %.4f  %.0f tokens/s  %.3f s a step", *told)


def _tell_validation(run: Run, loss: float) -> None:
    if run.leads:
        telemetry.report(step=run.step, val_loss=loss)
        log.info("step %d/%d  validation loss %.4f", run.step, run.recipe.steps, loss)


def _checkpoints(output: Path) -> Path:
    return output / "checkpoints"


def _save_checkpoint(run: Run) -> None:
    state: dict[str, Any] = {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
    }
    state |= {"step": run.step, "first_loss": run.first_loss, "loss": run.loss}
    checkpoint.save(_checkpoints(run.recipe.output), step=run.step, state=state)


def _save_model(run: Run, tokenizer: CharTokenizer) -> None:
    weights, config = run.model.state_dict(), json.dumps(run.config.as_llama(), indent=2)
    write, output = checkpoint.write_whole, run.recipe.output
    write(output / "tokenizer.json", tokenizer.save)
    write(output / "config.json", lambda part: part.write_text(config))
    write(output / "model.safetensors", lambda part: save_file(weights, part, {"format": "pt"}))


def _sample(run: Run, tokenizer: CharTokenizer) -> str:
    """A line of text that the model makes up."""
    rng = torch.Generator().manual_seed(run.recipe.seed)
    tokens_T = run.model.sample(
        tokenizer.encode(_SAMPLE_START), count=_SAMPLE_TOKENS, temperature=0.7, rng=rng
    )
    return " ".join(tokenizer.decode(tokens_T).split())


def log_to_stdout() -> None:
    """Ray carries a worker's standard output into the job's log."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("regatta")
    ours.setLevel(logging.INFO)
    ours.handlers[:] = [handler]
    ours.propagate = False
