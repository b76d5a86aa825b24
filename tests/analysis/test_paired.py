import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.paired import holm, mcnemar, paired, resampled_differences, verdict
from analysis.predictions import Predictions, read_predictions, read_right
from sqzx.errors import InputError
from sqzx.trial import TrialFolder

LABELS = np.arange(200) % 10


def predictions(right, labels=None):
    right = np.asarray(right, dtype=bool)
    labels = np.arange(right.shape[1]) % 10 if labels is None else labels
    return Predictions(right, labels, tuple(range(len(right))))


def some(rate, seeds=3, images=200, *, seed=0):
    return predictions(np.random.default_rng(seed).random((seeds, images)) < rate)


class TestMcNemar:
    """Truth from outside: the two tails of the binomial distribution with p = 1/2, added up in integers."""

    @given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 5), st.integers(0, 5))
    @settings(max_examples=80, deadline=None)
    def test_p_is_the_two_tails_added_up(self, only_a, only_b, both, neither):
        a = np.repeat([1, 0, 1, 0], [only_a, only_b, both, neither])
        b = np.repeat([0, 1, 1, 0], [only_a, only_b, both, neither])
        found = mcnemar(a, b)
        assert found[:4] == (both, only_a, only_b, neither)
        n, k = only_a + only_b, min(only_a, only_b)
        tails = sum(math.comb(n, i) for i in range(n + 1) if min(i, n - i) <= k)
        assert found.p == pytest.approx(tails / 2**n)

    def test_equal_answers_are_nothing_to_tell_apart(self):
        found = mcnemar(np.ones(9), np.ones(9))
        assert (found.p, found.note) == (1.0, "both are right on the same images")

    @pytest.mark.parametrize("b", [np.ones(3), np.ones((2, 2))])
    def test_lists_of_other_images_are_refused(self, b):
        with pytest.raises(ValueError, match="the same images"):
            mcnemar(np.ones(4), b)


class TestHolm:
    @given(st.lists(st.floats(0, 1), max_size=6))
    @settings(max_examples=60, deadline=None)
    def test_rejects_what_the_step_down_procedure_rejects(self, p):
        """As published: compare the smallest with 0.05 / m, the next with 0.05 / (m - 1), and so on."""
        rejected = set()
        for step, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if (len(p) - step) * p[place] > 0.05:
                break
            rejected.add(place)
        assert {i for i, value in enumerate(holm(p)) if value <= 0.05} == rejected

    def test_as_r_adjusts(self):
        """p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_a_pair_without_a_test_is_not_counted(self):
        assert holm([0.02, None]) == [0.02, None]
        assert holm([]) == []


class TestPaired:
    def test_two_networks_have_mcnemar_s_p_and_no_interval(self):
        a, b = some(0.7, seeds=1), some(0.9, seeds=1, seed=1)
        found = paired(a, b)
        assert found.p == mcnemar(a.right[0], b.right[0]).p
        assert (found.low, found.high, found.note) == (None, None, "not enough seeds to say")
        assert found.difference == pytest.approx(b.right.mean() - a.right.mean())

    def test_of_more_networks_p_is_twice_the_median_of_all_pairs(self):
        a, b = some(0.7, seeds=2), some(0.75, seeds=3, seed=1)
        found = paired(a, b)
        every = sorted(mcnemar(x, y).p for x in a.right for y in b.right)
        assert len(found.tests) == 6
        assert found.p == pytest.approx(min(1, every[2] + every[3]))

    def test_one_seed_on_one_side_is_not_enough_to_say(self):
        assert paired(some(0.7), some(0.9, seeds=1)).note == "not enough seeds to say"

    def test_a_configuration_and_itself_do_not_differ(self):
        found = paired(some(0.7, seeds=1), some(0.7, seeds=1))
        assert (found.difference, found.p, found.low) == (0, 1, None)
        assert found.note == "both are right on the same images"
        assert paired(some(0.7), some(0.7)).p == 1

    def test_identical_seeds_are_no_interval_of_width_zero(self):
        twins = predictions(np.repeat(some(0.7, seeds=1).right, 3, axis=0))
        found = paired(twins, some(0.9, seed=1))
        assert (found.low, found.note) == (None, "equal seeds on one side: no interval")
        assert paired(twins, predictions(~twins.right)).note == "equal seeds on both sides: no interval"

    def test_other_images_are_not_compared(self):
        a = some(0.7)
        assert paired(a, predictions(a.right, a.labels[::-1])).note.startswith("not the same test images")
        assert paired(a, some(0.7, images=100)).tests == ()

    def test_the_same_answers_give_the_same_interval(self):
        a, b = some(0.7), some(0.9, seed=1)
        assert paired(a, b) == paired(a, b)
        assert paired(a, b, seed=1).low != paired(a, b).low
        assert paired(a, b, samples=50).low != paired(a, b).low

    def test_the_draw_has_the_variance_of_theory(self):
        """Independent answers: p (1 - p) / images of the images, s^2 / n of the seeds, on both sides."""
        a, b = some(0.7, seeds=4, images=400), some(0.8, seeds=4, images=400, seed=1)
        draws = resampled_differences(a.right, b.right, samples=20_000, seed=0)
        of_images = (b.right.mean(axis=0) - a.right.mean(axis=0)).var() / 400
        of_seeds = sum(x.right.mean(axis=1).var(ddof=1) / 4 for x in (a, b))
        assert draws.mean() == pytest.approx(b.right.mean() - a.right.mean(), abs=2e-3)
        # What seeds and images do together comes on top; it is small.
        assert of_images + of_seeds < draws.var() * 1.05 < 2 * (of_images + of_seeds)

    def test_a_draw_of_seeds_alone_is_counted_exactly(self):
        """All images alike within a network: only the seeds move, and of two one is drawn."""
        a, b = predictions(np.zeros((2, 50))), predictions(np.repeat([[0], [1]], 50, axis=1))
        draws = resampled_differences(a.right, b.right, samples=4000, seed=0)
        assert set(draws) == {0.0, 1.0}
        assert draws.mean() == pytest.approx(0.5, abs=0.03)

    @pytest.mark.parametrize("n", [2, 3])
    def test_the_interval_holds_the_truth_in_simulated_studies(self, n):
        """Seeds that differ by 0.4 in the logit and images of every difficulty; the true difference is 0."""
        rng = np.random.default_rng(7)

        def network_answers(difficulty):
            ability = 2 + rng.normal(0, 0.4, (n, 1)) + rng.normal(0, 0.5, (1, 1000))
            return rng.random((n, 1000)) < 1 / (1 + np.exp(-ability - difficulty))

        held = 0
        for _ in range(100):
            difficulty = rng.normal(0, 1.2, (1, 1000))
            found = paired(*(predictions(network_answers(difficulty)) for _ in "ab"), samples=300)
            held += found.low <= 0 <= found.high
        assert held >= 90  # 95 expected, binomial standard deviation 2.2

    def test_matched_networks_are_tested_in_their_pairs_alone(self):
        a, b = some(0.7, seeds=2), some(0.8, seeds=2, seed=1)
        found = paired(a, b, matched=True)
        assert found.tests == tuple(mcnemar(a.right[i], b.right[i]) for i in range(2))
        assert found.p == pytest.approx(min(1, found.tests[0].p + found.tests[1].p))

    def test_what_matched_seeds_share_is_no_part_of_the_error(self):
        """Seeds of .5 to .9, and each compressed network right on ten images more than its own."""
        order = np.random.default_rng(0).permutation(1000)
        a, b = (
            predictions([np.argsort(order) < 1000 * rate + more for rate in (0.5, 0.7, 0.9)])
            for more in (0, 10)
        )
        b.right[0, order[990]] = True  # else all differences are equal
        apart, together = paired(a, b), paired(a, b, matched=True)
        assert apart.low < 0 < together.low
        assert together.difference == pytest.approx(apart.difference)

    def test_a_draw_of_matched_seeds_is_one_of_both_sides(self):
        a, b = (np.repeat([[x], [y]], 50, axis=1) for x, y in ((0, 1), (1, 1)))
        draws = resampled_differences(a, b, samples=4000, seed=0, matched=True)
        assert set(draws) == {0.0, 1.0}
        assert draws.mean() == pytest.approx(0.5, abs=0.03)

    def test_only_seeds_of_both_sides_are_matched(self):
        right = np.random.default_rng(0).random((3, 200)) < 0.7
        labels = np.arange(200) % 10
        a, b = Predictions(right, labels, (0, 1, 2)), Predictions(right[[2, 0]], labels, (2, 0))
        found = paired(a, b, matched=True)
        assert (found.difference, [test.only_a for test in found.tests]) == (0, [0, 0])
        other = Predictions(right[:1], labels, (7,))
        assert paired(a, other, matched=True).note == "no seed that both have"

    def test_the_matched_interval_holds_the_truth_in_simulated_studies(self):
        """As above, with an ability that the two networks of a seed share."""
        rng = np.random.default_rng(7)
        held = 0
        for _ in range(100):
            difficulty, ability = rng.normal(0, 1.2, (1, 1000)), 2 + rng.normal(0, 0.4, (3, 1))

            def answers(difficulty=difficulty, ability=ability):
                own = ability + rng.normal(0, 0.1, (3, 1)) + rng.normal(0, 0.5, (1, 1000))
                return predictions(rng.random((3, 1000)) < 1 / (1 + np.exp(-own - difficulty)))

            found = paired(answers(), answers(), matched=True, samples=300)
            held += found.low <= 0 <= found.high
        assert held >= 90

    def test_a_clear_difference_is_said_and_an_unclear_one_is_not(self):
        a, b = some(0.6, images=1000), some(0.9, images=1000, seed=1)
        clear = paired(a, b)
        assert verdict(clear, clear.p, "A", "B") == "B is more accurate than A"
        back = paired(b, a)
        assert verdict(back, back.p, "B", "A") == "B is more accurate than A"
        assert "cannot tell them apart" in verdict(clear, 0.2, "A", "B")
        unclear = paired(a, some(0.6, images=1000, seed=2))
        assert "cannot tell them apart" in verdict(unclear, 0.001, "A", "B")
        single = paired(some(0.6, seeds=1), some(0.9, seeds=1, seed=1))
        assert verdict(single, 0.06, "A", "B") == "not enough seeds to say"
        networks = "not enough seeds to say; of these trained networks B is more accurate"
        assert verdict(single, single.p, "A", "B") == networks
        itself = paired(some(0.6), some(0.6))
        told = verdict(itself, itself.p, "A", "B")
        assert told == "equal means; these seeds and images cannot tell them apart"


class TestReadPredictions:
    @pytest.fixture
    def folders(self, make_study):
        return [TrialFolder(path) for path in sorted((make_study() / "trials").iterdir())]

    def test_right_is_what_the_result_counts(self, folders):
        for folder in folders:
            right, labels = read_right(folder)
            assert right.mean() == pytest.approx(folder.read_result()["test_top1"])
            assert labels.tolist() == (np.arange(360) % 10).tolist()

    def test_equal_logits_name_the_first_class_as_the_score_does(self, folders):
        file = folders[0].predictions_file
        np.savez(file, test_logits=np.zeros((10, 10), np.float32), test_labels=np.arange(10))
        folders[0].result_file.write_text('{"test_top1": 0.1}')
        assert read_right(folders[0])[0].tolist() == [True] + [False] * 9

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "no such file"),
            (b"PK\x03\x04 cut", "not readable"),
            ({"test_logits": np.zeros((3, 10))}, "not readable"),
            ({"test_logits": np.zeros((3, 10)), "test_labels": np.arange(4)}, "do not belong together"),
            ({"test_logits": np.zeros((3, 10)), "test_labels": np.array([0, 1, 10])}, "from 0 to 9"),
            ({"test_logits": np.zeros((0, 10)), "test_labels": np.zeros(0, int)}, "from 0 to 9"),
            ({"test_logits": np.zeros((3, 10)), "test_labels": np.zeros(3)}, "do not belong together"),
            ({"test_logits": np.zeros((2, 10)), "test_labels": np.array([0, 1])}, "its accuracy is 0.5000"),
            ({"test_logits": np.array([{}], dtype=object), "test_labels": np.array([0])}, "not readable"),
        ],
    )  # fmt: skip
    def test_damage_is_one_line_and_that_trial_s_alone(self, folders, content, message):
        file = folders[0].predictions_file
        file.unlink()
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif content is not None:
            np.savez(file, **content)
        with pytest.raises(InputError, match=message) as error:
            read_right(folders[0])
        assert "\n" not in str(error.value)
        found, why = read_predictions(enumerate(folders[:2]))
        assert found.seeds == (1,)
        assert message in why[0]

    def test_nor_is_one_that_seems_to_need_a_password(self, folders):
        content = bytearray(folders[0].predictions_file.read_bytes())
        for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(header) + flags] |= 1
        folders[0].predictions_file.write_bytes(content)
        with pytest.raises(InputError, match=r"not readable .*password"):
            read_right(folders[0])

    def test_other_images_than_the_first_s_are_left_out(self, folders):
        with np.load(folders[1].predictions_file) as content:
            logits, labels = content["test_logits"], content["test_labels"]
        np.savez(folders[1].predictions_file, test_logits=logits[::-1], test_labels=labels[::-1])
        found, why = read_predictions(enumerate(folders[:3]))
        assert (found.seeds, why) == ((0, 2), {1: "not the same test images"})

    def test_no_trial_has_none(self):
        assert read_predictions([]) == (None, {})
