"""Every cluster has a legal next step, whatever happened to it, and comes to what was asked."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regatta.lifecycle.cluster import (
    MAX_FAILURES,
    MOVES,
    NODE_MOVES,
    NODE_TERMINAL,
    TERMINAL,
    Act,
    ClusterFacts,
    ClusterState,
    Decision,
    Desired,
    Door,
    NodeFacts,
    NodeState,
    Role,
    Seen,
    Sight,
    backoff_s,
    decide,
)

C, N = ClusterState, NodeState
HEAD, WORKER = "clu-1-s1-n0", "clu-1-s1-n1"
LIVE = [state for state in N if state not in NODE_TERMINAL]


def a_node(name=HEAD, state=N.READY, for_s=1.0):
    number = int(name.rpartition("n")[2])
    role = Role.WORKER if number else Role.HEAD
    return NodeFacts(name=name, number=number, role=role, state=state, for_s=for_s)


def a_cluster(state=C.READY, *nodes, desired=Desired.RUNNING, workers=1, **facts):
    facts = {"for_s": 1.0, **facts}
    return ClusterFacts(state=state, desired=desired, workers=workers, nodes=nodes, **facts)


def a_sight(door=Door.GUARDED, head=Seen.ALIVE, worker=Seen.ALIVE, **seen):
    return Sight(door=door, joinable=True, nodes={HEAD: head, WORKER: worker, **seen})


def moves_of(decision):
    return {step.name: step.to for step in decision.nodes}


def test_the_tables_name_every_state_and_ends_have_no_way_out():
    assert set(MOVES) == set(C)
    assert set(NODE_MOVES) == set(N)
    assert {state for state, ways in MOVES.items() if not ways} == TERMINAL == {C.DELETED}
    assert {state for state, ways in NODE_MOVES.items() if not ways} == NODE_TERMINAL


@pytest.mark.parametrize(("table", "ends"), [(MOVES, TERMINAL), (NODE_MOVES, NODE_TERMINAL)])
def test_every_state_reaches_an_end(table, ends):
    reaching = set(ends)
    for _ in table:
        reaching |= {state for state, ways in table.items() if ways & reaching}
    assert reaching == set(table)


@pytest.mark.parametrize("state", list(C))
@pytest.mark.parametrize("desired", list(Desired))
@pytest.mark.parametrize("door", list(Door))
def test_every_step_is_legal_and_no_row_is_forgotten(state, desired, door):
    for states in product([None, *LIVE], repeat=2):
        for head, worker, failures in product(Seen, Seen, (0, 4, 5)):
            nodes = [
                a_node(name, node)
                for name, node in zip((HEAD, WORKER), states, strict=True)
                if node
            ]
            cluster = a_cluster(state, *nodes, desired=desired, failures=failures)
            check(cluster, decide(cluster, a_sight(door, head, worker)))


def check(cluster: ClusterFacts, decision: Decision) -> None:
    """The step is legal, and another look follows while there is anything to do."""
    if decision.to is not None:
        assert decision.to in MOVES[cluster.state]
        assert decision.reason
    for step in decision.nodes:
        [node] = [node for node in cluster.nodes if node.name == step.name]
        if step.to is not None:
            assert step.to in NODE_MOVES[node.state]
            assert step.reason
    if decision.new_session:
        assert not cluster.nodes
    at_rest = {C.DELETED} | ({C.STOPPED} if cluster.desired is Desired.STOPPED else set())
    if cluster.failures >= MAX_FAILURES and not cluster.nodes:
        at_rest |= {C.FAILED}
    if (decision.to or cluster.state) not in at_rest:
        assert decision.look_again_s is not None


def test_a_new_cluster_gets_a_session_of_its_own():
    decision = decide(a_cluster(C.REQUESTED), Sight())
    assert (decision.to, decision.new_session) == (C.PROVISIONING, True)


def test_workers_wait_for_a_head_that_takes_them_in():
    cluster = a_cluster(C.PROVISIONING, a_node(state=N.STARTING), a_node(WORKER, N.WANTED))
    early = Sight(nodes={HEAD: Seen.PRESENT})
    assert decide(cluster, early).nodes == ()
    [step] = decide(cluster, replace(early, joinable=True)).nodes
    assert (step.name, step.act, step.to) == (WORKER, Act.START, N.STARTING)


def test_a_cluster_is_ready_when_all_its_nodes_have_joined_and_its_door_is_guarded():
    cluster = a_cluster(C.PROVISIONING, a_node(state=N.STARTING), a_node(WORKER, N.STARTING))
    assert decide(cluster, a_sight()).to is C.READY
    assert decide(cluster, a_sight(worker=Seen.PRESENT)).to is None
    assert decide(cluster, a_sight(Door.SILENT)).to is None


def test_a_cluster_that_serves_anybody_fails_and_is_ended():
    cluster = a_cluster(C.PROVISIONING, a_node(state=N.STARTING), a_node(WORKER, N.STARTING))
    decision = decide(cluster, a_sight(Door.OPEN))
    assert (decision.to, decision.reason) == (C.FAILED, "authentication_off")
    assert {step.act for step in decision.nodes} == {Act.KILL}
    assert decide(a_cluster(C.FAILED, failures=decision.failures), Sight()) == Decision()


def test_a_silent_head_whose_process_lives_is_trouble_and_changes_nothing():
    cluster = a_cluster(C.READY, a_node(), a_node(WORKER))
    decision = decide(cluster, a_sight(Door.SILENT, Seen.PRESENT, Seen.PRESENT))
    assert (decision.nodes, decision.to, decision.trouble) == ((), None, "head_silent")


def test_a_lost_worker_is_replaced_by_another():
    decision = decide(a_cluster(C.READY, a_node(), a_node(WORKER)), a_sight(worker=Seen.DEAD))
    assert moves_of(decision) == {WORKER: N.LOST}
    assert (decision.to, decision.add_workers, decision.failures) == (C.DEGRADED, 1, 1)


def test_a_lost_head_ends_its_session_before_another_begins():
    cluster = a_cluster(C.READY, a_node(), a_node(WORKER))
    decision = decide(cluster, a_sight(Door.SILENT, Seen.ABSENT, Seen.PRESENT))
    assert moves_of(decision) == {HEAD: N.LOST, WORKER: N.STOPPING}
    assert (decision.to, decision.new_session) == (C.PROVISIONING, False)
    emptied = a_cluster(C.PROVISIONING, failures=1)
    assert decide(emptied, Sight()).new_session


def test_failing_again_and_again_waits_longer_and_then_gives_up_visibly():
    waits = [backoff_s(failures) for failures in range(6)]
    assert waits == [0, 0, 2, 4, 8, 16]
    assert decide(a_cluster(C.PROVISIONING, failures=3), Sight()).look_again_s == 4.0
    last = a_cluster(C.PROVISIONING, a_node(state=N.STARTING), failures=MAX_FAILURES - 1)
    decision = decide(last, Sight())
    assert (decision.to, decision.reason) == (C.FAILED, "nodes_keep_failing")


def test_a_worker_that_cannot_be_replaced_never_ends_the_healthy_rest():
    cluster = a_cluster(C.DEGRADED, a_node(), a_node(WORKER, N.STARTING), failures=40)
    decision = decide(cluster, a_sight(worker=Seen.ABSENT))
    assert (decision.to, moves_of(decision)) == (None, {WORKER: N.LOST})
    later = replace(cluster, nodes=(a_node(),), failures=41, since_failure_s=299.0)
    assert decide(later, a_sight()).add_workers == 0
    assert decide(replace(later, since_failure_s=300.0), a_sight()).add_workers == 1


def test_failures_are_forgotten_once_the_cluster_has_settled():
    cluster = a_cluster(C.READY, a_node(), a_node(WORKER), failures=3, for_s=60.0)
    assert decide(cluster, a_sight()).failures == 0
    assert decide(replace(cluster, for_s=59.0), a_sight()).failures is None


def test_of_too_many_workers_the_idle_go_first_and_of_those_the_youngest():
    names = [f"clu-1-s1-n{number}" for number in range(1, 5)]
    states = [N.READY, N.READY, N.READY, N.STARTING]
    nodes = [a_node(name, state) for name, state in zip(names, states, strict=True)]
    sight = replace(a_sight(**dict.fromkeys(names, Seen.ALIVE)), busy=frozenset({"clu-1-s1-n3"}))
    for workers, gone in [(3, {4}), (2, {4, 2}), (1, {4, 2, 1}), (0, {4, 3, 2, 1})]:
        steps = decide(a_cluster(C.READY, a_node(), *nodes, workers=workers), sight).nodes
        stopped = {step.name for step in steps if step.to is N.STOPPING}
        assert stopped == {f"clu-1-s1-n{number}" for number in gone}


class World:
    """A cluster, its rows and its processes, moved on by one clock; any process may be killed."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.facts = a_cluster(C.REQUESTED, workers=2, for_s=0.0)
        self.failed_at_s = self.moved_at_s = 0.0
        self.session = 0
        self.rows: dict[str, tuple[NodeFacts, float]] = {}
        self.running: dict[str, float] = {}

    def live(self):
        rows = [row for row in self.rows.items() if row[1][0].state not in NODE_TERMINAL]
        return [replace(node, for_s=self.now_s - since) for _, (node, since) in rows]

    def see(self) -> Sight:
        heads = [name for name in self.running if name.endswith("n0")]
        up = bool(heads) and self.now_s - self.running[heads[0]] >= 5.0
        joined = {
            name: Seen.ALIVE if up and self.now_s - began >= 4.0 else Seen.PRESENT
            for name, began in self.running.items()
        }
        return Sight(door=Door.GUARDED if up else Door.SILENT, joinable=bool(heads), nodes=joined)

    def step(self) -> Decision:
        self.facts = replace(
            self.facts,
            nodes=tuple(self.live()),
            for_s=self.now_s - self.moved_at_s,
            since_failure_s=self.now_s - self.failed_at_s,
        )
        decision = decide(self.facts, self.see())
        check(self.facts, decision)
        self.carry_out(decision)
        return decision

    def carry_out(self, decision: Decision) -> None:
        for step in decision.nodes:
            if step.act is Act.START:
                self.running.setdefault(step.name, self.now_s)
            elif step.act is not None:
                self.running.pop(step.name, None)
            if step.to is not None:
                node, _ = self.rows[step.name]
                self.rows[step.name] = (replace(node, state=step.to), self.now_s)
        self.session += decision.new_session
        if decision.new_session:
            self.add(0)
        for _ in range(self.facts.workers if decision.new_session else decision.add_workers):
            of_session = [name for name in self.rows if f"-s{self.session}-" in name]
            self.add(len(of_session))
        if decision.to is not None:
            self.facts = replace(self.facts, state=decision.to)
            self.moved_at_s = self.now_s
        if decision.failures is not None:
            if decision.failures > self.facts.failures:
                self.failed_at_s = self.now_s
            self.facts = replace(self.facts, failures=decision.failures)

    def add(self, number: int) -> None:
        name = f"clu-1-s{self.session}-n{number}"
        self.rows[name] = (a_node(name, N.WANTED), self.now_s)

    def settle(self, steps=600) -> None:
        """Until nothing changes any more, but for time."""
        for _ in range(steps):
            again_s = self.step().look_again_s
            if again_s is None:
                return
            self.now_s += max(again_s, 0.1)


wishes = st.one_of(
    st.tuples(st.just("kill"), st.integers(0, 5)),
    st.tuples(st.just("workers"), st.integers(0, 4)),
    st.tuples(st.just("desired"), st.sampled_from([Desired.RUNNING, Desired.STOPPED])),
    st.tuples(st.just("wait"), st.integers(1, 30)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(wishes, max_size=25), st.sampled_from(list(Desired)))
def test_whatever_is_killed_and_wished_the_cluster_comes_to_what_was_asked_last(events, last):
    world = World()
    for kind, value in events:
        if kind == "kill" and world.running:
            world.running.pop(sorted(world.running)[value % len(world.running)])
        elif kind == "workers":
            world.facts = replace(world.facts, workers=value)
        elif kind == "desired":
            world.facts = replace(world.facts, desired=value)
        for _ in range(value if kind == "wait" else 1):
            world.step()
            world.now_s += 0.5
    asked_again = 0 if world.facts.state is C.FAILED else world.facts.failures
    world.facts = replace(world.facts, desired=last, failures=asked_again)
    world.settle()
    end = {Desired.RUNNING: C.READY, Desired.STOPPED: C.STOPPED, Desired.DELETED: C.DELETED}[last]
    assert world.facts.state is end
    ready = sorted(node.name for node in world.live() if node.state is N.READY)
    assert sorted(world.running) == ready
    assert len(ready) == (world.facts.workers + 1 if last is Desired.RUNNING else 0)
