"""The model and its data, on one process."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import distributed

from regatta import telemetry
from regatta.training import checkpoint, loop
from regatta.training.gpt import GPT, GPTConfig, next_token_loss
from regatta.training.loop import Recipe, Run, left_behind
from regatta.training.text import CharTokenizer, batch_at, python_topics

TINY = GPTConfig(vocabulary=11, width=16, layers=2, heads=2, mlp_width=32, context_tokens=8)


@pytest.fixture
def tiny():
    torch.manual_seed(1)
    return GPT(TINY).eval()


@pytest.fixture
def alone(tmp_path):
    """A group of one process."""
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


def test_the_main_job_s_model_has_between_one_and_five_million_parameters():
    corpus = python_topics()
    model = GPT(GPTConfig(vocabulary=CharTokenizer(corpus.train + corpus.validation).size))
    assert 1_000_000 <= sum(weight.numel() for weight in model.parameters()) <= 5_000_000


def test_an_untrained_model_knows_nothing(tiny):
    rng = torch.Generator().manual_seed(1)
    inputs_BT, targets_BT = torch.randint(11, (2, 64, 8), generator=rng)
    loss = next_token_loss(tiny(inputs_BT), targets_BT).item()
    assert loss == pytest.approx(math.log(11), abs=0.05)


def test_no_token_sees_what_comes_after_it(tiny):
    one = torch.tensor([[1, 2, 3, 4, 5]])
    other = torch.tensor([[1, 2, 3, 9, 10]])
    torch.testing.assert_close(tiny(one)[:, :3], tiny(other)[:, :3])
    assert not torch.allclose(tiny(one)[:, 3:], tiny(other)[:, 3:])


def test_the_order_of_tokens_matters(tiny):
    ends = [tiny(torch.tensor([row]))[0, -1] for row in ([1, 2, 3], [2, 1, 3])]
    assert not torch.allclose(ends[0], ends[1])


def test_a_sample_goes_on_from_its_start_beyond_the_context(tiny):
    start_T = torch.tensor([1, 2])
    rng = torch.Generator().manual_seed(1)
    sample_T = tiny.sample(start_T, count=20, temperature=1.0, rng=rng)
    assert sample_T.shape == (22,)
    assert sample_T[:2].tolist() == [1, 2]


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="multiple of twice the heads"):
        GPTConfig(vocabulary=11, width=20, heads=4)


def test_no_topic_is_in_training_and_validation():
    corpus = python_topics()
    assert corpus.validation[:400] not in corpus.train
    assert len(corpus.train) > 5 * len(corpus.validation) > 100_000


def test_text_comes_back_from_its_tokens_and_strange_characters_as_unknown():
    tokenizer = CharTokenizer("hello world")
    assert tokenizer.decode(tokenizer.encode("world hello")) == "world hello"
    assert tokenizer.encode("é").tolist() == [0]


def test_the_saved_tokenizer_holds_each_character_once(tmp_path):
    CharTokenizer("abca").save(tmp_path / "tokenizer.json")
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    assert saved["model"]["vocab"] == {"<unk>": 0, "a": 1, "b": 2, "c": 3}


def test_a_batch_is_the_text_and_the_text_one_further():
    tokens_N = torch.arange(100)
    inputs_BT, targets_BT = batch_at(tokens_N, step=1, rank=0, sequences=3, length=5, seed=1)
    assert inputs_BT.shape == (3, 5)
    torch.testing.assert_close(inputs_BT + 1, targets_BT)


def test_a_batch_depends_on_step_and_rank_and_on_nothing_else():
    tokens_N = torch.arange(10_000)

    def starts(step, rank):
        return batch_at(tokens_N, step=step, rank=rank, sequences=4, length=5, seed=1)[0][:, 0]

    assert torch.equal(starts(3, 0), starts(3, 0))
    assert not torch.equal(starts(3, 0), starts(3, 1))
    assert not torch.equal(starts(3, 0), starts(4, 0))


def test_the_newest_whole_checkpoint_is_the_one_taken_up(tmp_path):
    assert checkpoint.newest(tmp_path) is None
    for step in (50, 100, 150):
        checkpoint.save(tmp_path, step=step, state={"step": step})
    (tmp_path / "step-00000200.pt.part").write_bytes(b"killed half-way")
    assert checkpoint.newest(tmp_path) == {"step": 150}
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == [
        "step-00000100.pt",
        "step-00000150.pt",
    ]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("old")

    def fails(part):
        part.write_text("half")
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011  (any will do)
        checkpoint.write_whole(path, fails)
    assert path.read_text() == "old"


def test_a_new_attempt_goes_on_from_the_latest_former_one_that_saved_anything(tmp_path):
    saved = {name: tmp_path / name for name in ("a1", "a2", "a3", "a4")}
    for name, step in [("a1", 50), ("a2", 100)]:
        checkpoint.save(saved[name] / "checkpoints", step=step, state={"step": step})
    earlier = saved["a3"], saved["a2"], saved["a1"]  # the third died before its first checkpoint
    assert left_behind(Recipe(saved["a4"], earlier=earlier)) == {"step": 100}
    checkpoint.save(saved["a4"] / "checkpoints", step=150, state={"step": 150})
    assert left_behind(Recipe(saved["a4"], earlier=earlier)) == {"step": 150}
    assert left_behind(Recipe(tmp_path / "another")) is None


@pytest.mark.parametrize(("seconds", "steps_done"), [(-1.0, 1), (math.inf, 3)])
def test_a_training_whose_time_is_up_is_done_with_the_steps_it_took(
    alone, tmp_path, monkeypatch, tiny, seconds, steps_done
):
    told = []
    monkeypatch.setattr(telemetry, "report", lambda **said: told.append(said))
    recipe = Recipe(tmp_path, steps=3, seconds_at_most=seconds, sequences=2)
    run = Run(0, 1, recipe, TINY, tiny, torch.optim.AdamW(tiny.parameters()))
    tokens_N = torch.arange(200) % TINY.vocabulary
    loop.train(run, tokens_N, tokens_N)
    last = [said for said in told if "total_steps" in said][-1]
    assert (last["step"], last["total_steps"]) == (steps_done, steps_done)
    assert left_behind(recipe)["step"] == steps_done
