"""Any number of processes on any number of hosts: never two writers, and no trial left for ever.

A machine of rules lets simulated processes make their file operations in any order, kills, stops and wakes
them between any two, and lets time pass on clocks that differ by days. That no write of one that is not the
holder comes into place, and that no checkpoint is made twice or left out, the simulated folder checks itself.
"""

import errno

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sqzx.claim_protocol import FREE, TRIES, Holder, Watch, claimed, release
from sqzx.processes import Process
from tests.sqzx.simulated_runners import GOAL, PATIENCE, PERIOD, NoSpaceError, SimulatedProcess, World

MOST = 6
which = st.integers(0, MOST - 1)


class Runners(RuleBasedStateMachine):
    world: World | None = None

    @initialize(
        remembering=st.booleans(),
        torn=st.booleans(),
        hosts=st.lists(st.integers(0, 2), min_size=2, max_size=3),
    )
    def begin(self, remembering, torn, hosts):
        self.world = World(remembering=remembering, torn_listing=torn)
        for host in hosts:
            self.world.start(host)

    def chosen(self, number):
        return self.world.processes[number % len(self.world.processes)]

    @rule(number=which, steps=st.integers(1, 12))
    def some_operations(self, number, steps):
        for _ in range(steps):
            self.chosen(number).step()

    @rule(number=which, steps=st.integers(1, 12), seconds=st.floats(0.1, PERIOD))
    def some_operations_over_time(self, number, steps, seconds):
        for _ in range(steps):
            self.world.time += seconds
            self.chosen(number).step()

    @rule(number=which)
    def beats(self, number):
        self.chosen(number).tick()

    @rule(number=which)
    def is_killed(self, number):
        self.chosen(number).kill()

    @rule(number=which)
    def is_stopped(self, number):
        self.chosen(number).stopped = True

    @rule(number=which)
    def wakes_up(self, number):
        self.chosen(number).stopped = False

    @rule(number=which, changes=st.integers(1, 4))
    def has_no_space(self, number, changes):
        self.chosen(number).failing = changes

    @rule(number=which, times=st.integers(1, 2 * TRIES))
    def meets_a_late_writer(self, number, times):
        self.chosen(number).busy = times

    @rule(host=st.none() | st.integers(0, 3))
    def an_earlier_study_is_copied_over(self, host):
        self.world.copy_over(host)

    @precondition(lambda self: self.world is not None and len(self.world.processes) < MOST)
    @rule(host=st.integers(0, 2))
    def another_starts(self, host):
        self.world.start(host)

    @rule(rounds=st.integers(1, 30))
    def time_passes_for_all(self, rounds):
        self.world.pass_fairly(rounds)

    def teardown(self):
        if self.world is not None:
            try:
                assert_ends_well(self.world)
            finally:
                self.world.end()


def assert_ends_well(world):
    """Somebody on a host that sees none of the others finishes; who wakes up changes nothing."""
    world.start(3)
    world.pass_fairly(200)
    assert world.disk.checkpoint == GOAL, "a trial was left for ever"
    assert world.disk.metrics == list(range(1, GOAL + 1))
    for process in world.processes:
        process.stopped = False
    world.pass_fairly(50)
    assert world.disk.checkpoint == GOAL
    assert world.disk.metrics == list(range(1, GOAL + 1)), "a late writer was heard"
    assert not any(process.alive for process in world.processes)


NAME = "00ff.aaaaaaaaaaaa.7.1"


class Taker(SimulatedProcess):
    """A process that does what the test calls."""

    def __init__(self, world):
        self.world, self.disk, self.identity = world, world.disk, Holder.of(NAME).process
        self.failing = self.busy = 0
        self.full = False

    def pause(self):
        pass

    def beat(self, name, count):
        if self.full:
            raise NoSpaceError(errno.ENOSPC, "no space left")
        return super().beat(name, count)


@pytest.fixture(params=[False, True], ids=["local", "remembering"])
def world(request):
    world = World(remembering=request.param, torn_listing=False)
    yield world
    world.end()


MOST_OPERATIONS = 20
"""A process alone makes fewer until the trial is done."""


@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.parametrize("operations", range(MOST_OPERATIONS))
def test_one_that_is_cut_anywhere_leaves_all_to_the_next(world, operations, end):
    process = world.start(0)
    for _ in range(operations):
        process.step()
    process.stopped = True
    if end == "killed":
        process.kill()
    assert_ends_well(world)


@pytest.mark.parametrize("second", range(MOST_OPERATIONS))
def test_of_two_that_are_stopped_anywhere_the_first_wakes_while_the_second_sleeps(world, second):
    """The second has taken over by then, and is stopped after so many operations from its taking over on."""
    for first in range(3, 12):
        world = World(remembering=world.disk.remembering, torn_listing=False)
        one, two = world.start(0), world.start(1)
        try:
            for _ in range(first):
                one.step()
            one.stopped = True
            name = next(iter(world.disk.writer))
            while name in world.disk.writer:
                world.time += PERIOD / 6
                two.step()
            for _ in range(second):
                two.step()
            two.stopped, one.stopped = True, False
            for _ in range(MOST_OPERATIONS):
                one.step()
            one.stopped = True
            assert_ends_well(world)
        finally:
            world.end()


@pytest.mark.parametrize("operations", range(MOST_OPERATIONS))
def test_one_that_wakes_up_while_another_works_disturbs_nothing(world, operations):
    for done in range(8):
        world = World(remembering=world.disk.remembering, torn_listing=False)
        sleeper, heir = world.start(0), world.start(1)
        try:
            for _ in range(operations):
                sleeper.step()
            sleeper.stopped = True
            while heir.name is None and heir.alive:
                world.time += PERIOD / 6
                heir.step()
            for _ in range(done):
                heir.step()
            sleeper.stopped = False
            for _ in range(MOST_OPERATIONS):
                sleeper.step()
            sleeper.stopped = True
            assert_ends_well(world)
        finally:
            world.end()


@pytest.mark.parametrize("copied", [None, 0, 1, 3], ids=["free", "own host", "other host", "unseen host"])
@pytest.mark.parametrize("first", range(3, 12))
def test_of_several_entries_one_is_left_and_never_two_hold_one_each(world, copied, first):
    """One process is stopped after any of its operations, while another goes on beside a copied entry."""
    for second in range(1, 12):
        world = World(remembering=world.disk.remembering, torn_listing=False)
        one, two = world.start(0), world.start(1)
        try:
            for _ in range(first):
                one.step()
            world.copy_over(copied)
            for _ in range(second):
                two.step()
            for _ in range(MOST_OPERATIONS):
                one.step()
                two.step()
            world.pass_fairly(100)
            assert_ends_well(world)
        finally:
            world.end()


def holding(world):
    """Start a process on host 0 and let it take the claim."""
    holder = world.start(0)
    while world.disk.holder is None:
        holder.step()
    return holder, world.disk.holder


def others_want_it(world, holder):
    """Let processes of three hosts look again and again while the holder does nothing but beat."""
    for host in (0, 1, 2):
        world.start(host)
    for _ in range(100):
        world.time += PERIOD
        holder.tick()
        for process in world.processes[1:]:
            for _ in range(6):
                process.step()


def test_one_that_lives_and_beats_keeps_its_claim_beside_a_copied_entry(world):
    holder, name = holding(world)
    for host in (None, 0, 3):
        world.copy_over(host)
    others_want_it(world, holder)
    world.pass_fairly(100)
    assert world.disk.writers == [name] * GOAL


class TestErrors:
    """An error of the disk may come at any change, and leaves the claim to somebody."""

    @pytest.mark.parametrize("operations", range(MOST_OPERATIONS))
    def test_one_for_which_there_is_no_space_at_any_change_goes_on_when_there_is(self, world, operations):
        process = world.start(0)
        for _ in range(operations):
            process.step()
        process.failing = 3
        assert_ends_well(world)

    def test_what_could_not_be_taken_is_free_again(self, world):
        other = Taker(world)
        other.full = True
        with pytest.raises(OSError, match="no space"):
            claimed(other, NAME)
        assert list(world.disk.writer) == [FREE]

    def test_a_late_writer_that_is_soon_done_is_got_round_and_one_that_is_not_costs_the_claim(self, world):
        other = Taker(world)
        other.busy = TRIES - 1
        assert claimed(other, NAME)
        release(other, NAME, NAME)
        other.busy = TRIES
        assert not claimed(other, NAME)
        assert list(world.disk.writer) == [FREE]

    def test_where_a_copy_brought_another_free_entry_the_own_one_is_removed(self, world):
        other = Taker(world)
        assert claimed(other, NAME)
        world.copy_over(None)
        release(other, NAME, NAME)
        assert list(world.disk.writer) == [FREE]


def test_one_that_lives_and_beats_keeps_its_claim(world):
    """Whoever else starts, on its host or another: nobody takes a claim from the living by accident."""
    holder, name = holding(world)
    others_want_it(world, holder)
    world.pass_fairly(20)
    assert world.disk.writers == [name] * GOAL


def test_a_dead_process_of_the_same_host_is_followed_at_once(world):
    holder = world.start(0)
    while world.disk.holder is None:
        holder.step()
    holder.kill()
    heir = world.start(0)
    for _ in range(MOST_OPERATIONS + 5):
        heir.step()
    assert world.time == 0
    assert world.disk.checkpoint == GOAL


Runners.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestRunners = Runners.TestCase


class Seen:
    """What a watch sees: one holder, with a beat that the test sets."""

    def __init__(self, *, lives=None):
        self.name, self.beat_now, self.alive = "0.elsewhere.7.1", "0", lives

    def names(self):
        return [self.name]

    def heard(self, name):
        return self.beat_now

    def lives(self, name):
        return self.alive


class TestWatch:
    """Another's claim is judged by its beat's change, seen by our own clock."""

    @pytest.fixture
    def watch(self):
        return Watch(PATIENCE, PERIOD)

    def test_a_beat_that_stands_still_for_our_patience_is_abandoned(self, watch):
        seen = Seen()
        found = [watch.look(seen, 1e6 + second) for second in range(13)]
        assert found == ["held"] * 12 + ["abandoned"]

    def test_one_change_is_a_sign_of_life_and_the_waiting_begins_anew(self, watch):
        seen = Seen()
        for second in range(12):
            watch.look(seen, second)
        seen.beat_now = "a smaller number, or anything"
        assert watch.look(seen, 12) == "beating"
        assert [watch.look(seen, 13 + second) for second in range(12)] == ["beating"] * 11 + ["abandoned"]

    def test_another_holder_is_watched_anew(self, watch):
        seen = Seen()
        for second in range(12):
            watch.look(seen, second)
        seen.name = "1.elsewhere.7.1"
        assert [watch.look(seen, 12 + second) for second in range(12)] == ["held"] * 12

    def test_our_own_pause_is_no_silence_of_the_holder(self, watch):
        """Stopped together with the holder for a day, we look before it has beaten again."""
        seen = Seen()
        watch.look(seen, 0)
        assert watch.look(seen, 86_400) == "held"
        assert watch.look(seen, 172_800) == "held"

    @pytest.mark.parametrize(("lives", "standing"), [(False, "free"), (True, "held"), (None, "held")])
    def test_a_process_that_is_seen_to_be_dead_needs_no_patience(self, watch, lives, standing):
        assert watch.look(Seen(lives=lives), 0) == standing

    def test_a_living_process_that_is_stopped_is_abandoned_too(self, watch):
        seen = Seen(lives=True)
        assert [watch.look(seen, second) for second in range(13)][-1] == "abandoned"


def test_a_holders_name_tells_its_process():
    holder = Holder("00ff", Process("0123456789ab", 4711, "98765"))
    assert holder.name == "00ff.0123456789ab.4711.98765"
    assert Holder.of(holder.name) == holder


@pytest.mark.parametrize(
    "name",
    ["free", "", "a.b.c.d", "a.b.1", "a.b.1.c.d", ".DS_Store", "@eaDir", "00ff.b.1.c 2", "notes.b.1.txt"],
)
def test_other_names_are_no_holders(name):
    assert Holder.of(name) is None
