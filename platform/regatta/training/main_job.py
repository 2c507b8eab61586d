"""The main job: a small GPT learns English on two workers of two Ray nodes.

python -m regatta.training.main_job [--steps 300] [--seconds 60] [--output DIR]
"""

from __future__ import annotations

import logging
import os
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from functools import partial
from pathlib import Path

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from regatta.training.loop import Recipe, log_to_stdout, work

log = logging.getLogger("regatta.training.main_job")

WORKERS = 2


def main() -> None:
    began, recipe = time.monotonic(), _recipe()
    log_to_stdout()
    recipe.output.mkdir(parents=True, exist_ok=True)
    ray.init()
    trainer = TorchTrainer(
        partial(work, recipe),
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=WORKERS, placement_strategy=_placement()),
        run_config=RunConfig(
            name="main-job",
            storage_path=str(recipe.output / "ray"),
            failure_config=FailureConfig(max_failures=1),  # to go on from the checkpoint
        ),
    )
    came_out = trainer.fit().return_value
    log.info("first loss: %.4f", came_out["first_loss"])
    log.info("final loss: %.4f", came_out["final_loss"])
    log.info("validation loss: %.4f", came_out["validation_loss"])
    log.info("trained: %d steps in %.1f s", came_out["steps"], came_out["train_s"])
    log.info("all in all: %.1f s", time.monotonic() - began)
    log.info("model: %s", recipe.output / "model.safetensors")
    log.info("sample: %s", came_out["sample"])


def _recipe() -> Recipe:
    parser = ArgumentParser(prog="regatta.training.main_job", description=__doc__)
    parser.add_argument("--steps", type=_count, default=Recipe.steps)
    parser.add_argument("--seconds", type=float, default=60.0, help="end the training after these")
    parser.add_argument("--output", type=Path, default=os.environ.get("REGATTA_OUTPUT_DIR"))
    asked = parser.parse_args()
    if asked.output is None:
        parser.error("say where the model goes: --output DIR, or set REGATTA_OUTPUT_DIR")
    earlier = os.environ.get("REGATTA_EARLIER_OUTPUT_DIRS", "").split(os.pathsep)
    return Recipe(
        asked.output.resolve(),
        earlier=tuple(Path(folder) for folder in earlier if folder),
        steps=asked.steps,
        seconds_at_most=asked.seconds,
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        msg = f"must be 1 or more, not {number}"
        raise ArgumentTypeError(msg)
    return number


def _placement() -> str:
    """Each worker on a node of its own, where there are as many; else wherever there is room."""
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    if sum(cpus) < WORKERS:
        sys.exit(f"the main job needs {WORKERS} CPUs on Ray nodes, this cluster has {sum(cpus)}")
    if sum(count > 0 for count in cpus) >= WORKERS:
        return "STRICT_SPREAD"
    log.warning("one node has all the CPUs: its workers share it, instead of a node for each")
    return "PACK"


if __name__ == "__main__":
    main()
