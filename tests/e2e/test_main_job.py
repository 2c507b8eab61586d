"""The main job on a real cluster: it learns, it tells, and it leaves a model."""

from __future__ import annotations

import json
import math

import pytest
import torch
from portals import ENDED, a_portal, until
from safetensors.torch import load_file

from regatta.training.gpt import GPT, GPTConfig, next_token_loss
from regatta.training.text import CharTokenizer, batch_at, python_topics

pytestmark = pytest.mark.timeout(1200)
SAMPLES = """
from apps.insights.models import NodeSample
print(NodeSample.objects.filter(cpus=1, cpus_allocated=1, cpus_used__gt=0.1).exists())
"""


@pytest.fixture(scope="module")
def portal():
    with a_portal() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(portal):
    return portal.a_cluster(workers=2, cpus=1)


def run_main_job(portal, cluster, output, *, steps):
    """The log of the job, which has succeeded, and its row."""
    words = f"python -m regatta.training.main_job --steps {steps} --seconds 300 --output {output}"
    pk = portal.submit(cluster, words, resources={"cpus": 2})["id"]
    until(lambda: portal.api.get(f"/jobs/{pk}")["state"]["state"] in ENDED, "it ends", 450)
    job = portal.api.get(f"/jobs/{pk}")
    until(lambda: portal.api.log(pk)[1], "its log is whole", 90)
    log, _whole = portal.api.log(pk)
    assert job["state"]["state"] == "succeeded", log[-3000:]
    return log, job


def series(portal, job):
    told = portal.api.get(f"/jobs/{job['id']}/metrics")
    assert told["dropped"] == 0
    return {(one["key"], one["rank"]): one for one in told["series"]}


def the_loss_of(folder):
    """The mean loss of the saved model over text that it was not trained on."""
    corpus = python_topics()
    tokenizer = CharTokenizer(corpus.train + corpus.validation)
    model = GPT(GPTConfig(vocabulary=tokenizer.size))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    tokens_N = tokenizer.encode(corpus.validation)
    inputs_BT, targets_BT = batch_at(tokens_N, step=0, rank=0, sequences=16, length=128, seed=1)
    with torch.no_grad():
        return next_token_loss(model(inputs_BT), targets_BT).item(), tokenizer.size


def test_the_main_job_learns_tells_and_leaves_a_model(portal, cluster, tmp_path):
    log, job = run_main_job(portal, cluster, tmp_path, steps=40)
    assert "instead of a node for each" not in log  # its workers are on two nodes
    assert "\nsample: The " in log

    loss, words = the_loss_of(tmp_path)
    assert loss < math.log(words) - 1
    config = json.loads((tmp_path / "config.json").read_text())
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert config["vocab_size"] == len(vocabulary) == words

    told = series(portal, job)
    line = dict(told["loss", 0]["points"])
    assert list(line) == list(range(1, 41))
    assert line[40] < line[1] - 1
    assert told["tokens_per_s", 0]["count"] == 40
    assert [told["step_s", rank]["count"] for rank in (0, 1)] == [40, 40]
    progress = portal.api.get(f"/jobs/{job['id']}")["progress"]
    assert (progress["step"], progress["total_steps"]) == (40, 40)
    assert portal.manage("shell", "-c", SAMPLES).splitlines()[-1] == "True"


def test_a_second_try_goes_on_where_the_first_one_ended(portal, cluster, tmp_path):
    run_main_job(portal, cluster, tmp_path, steps=3)
    log, job = run_main_job(portal, cluster, tmp_path, steps=6)
    assert "going on after step 3" in log
    assert list(dict(series(portal, job)["loss", 0]["points"])) == [4, 5, 6]
