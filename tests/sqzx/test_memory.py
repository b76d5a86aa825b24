"""Batches near the core, and what a trial's process takes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqzx.config import resolve
from sqzx.counting import count
from sqzx.data.info import dataset_info
from sqzx.memory import NEAR_BYTES, expected_memory_mb, micro_batch


class TestMicroBatches:
    @pytest.mark.parametrize(
        ("batch", "peak", "expected"),
        [
            (128, 31_360, 16),  # squeezenet_small on 28x28 pixels: 125 kB an image
            (64, 2_560, 64),  # the same on 8x8: the whole batch is near
            (100, 31_360, 10),
            (127, 31_360, 127),  # no part divides it
            (30, 31_360, 15),
            (32, 1_473_216, 1),  # v1.0 on 227x227: one image is more than is near
        ],
    )
    def test_the_largest_part_that_is_near(self, batch, peak, expected):
        assert micro_batch(batch, peak) == expected

    @given(batch=st.integers(1, 600), peak=st.integers(1, 10**7))
    def test_parts_make_up_the_batch(self, batch, peak):
        part = micro_batch(batch, peak)
        assert batch % part == 0
        assert part == batch or part == 1 or 4 * peak * part <= NEAR_BYTES


def expected(settings):
    config = resolve(settings, "test")
    network = count(config.model, config.data.image_shape)
    return expected_memory_mb(
        config,
        dataset_info(config.data.name),
        params=network.params,
        layers=sum(layer.params > 0 for layer in network.layers),
        peak_activations=network.peak_activations,
    )


class TestExpectedMemory:
    def test_images_that_are_read_from_records_need_none(self, monkeypatch):
        settings = {"model.preset": "squeezenet_small", "data.name": "fashion_mnist"}
        info, before = dataset_info("fashion_mnist"), expected(settings)
        monkeypatch.setattr(
            "tests.sqzx.test_memory.dataset_info", lambda name: replace(info, storage="records")
        )
        assert before - expected(settings) == pytest.approx(70_000 * 28 * 28 / 1e6)

    @pytest.mark.parametrize(
        ("settings", "measured"),
        [
            ({"model.preset": "squeezenet_small"}, (501, 473)),
            ({"model.preset": "alexnet_small"}, (501, 515)),
            ({"model.preset": "squeezenet_small", "data.name": "fashion_mnist"}, (508, 564)),
            (
                {
                    "model.preset": "squeezenet_small",
                    "data.name": "fashion_mnist",
                    "model.base_e": 128,
                    "model.incr_e": 128,
                    "train.batch_size": 256,
                },
                (693, 637),
            ),
            ({"model.preset": "alexnet_small", "data.name": "fashion_mnist"}, (573, 533)),
            (
                {
                    "model.preset": "alexnet_small",
                    "data.name": "fashion_mnist",
                    "model.fc_features": (2048, 2048),
                },
                (888, 945),
            ),
            (
                {
                    "model.preset": "alexnet_small",
                    "data.name": "fashion_mnist",
                    "model.fc_features": (4096, 4096),
                },
                (1844, 1808),
            ),
        ],
    )
    def test_it_is_within_30_percent_of_what_trials_took(self, settings, measured):
        """`peak_memory_mb` of two trials each, the first compiled and the second took from the cache."""
        for peak in measured:
            assert expected(settings) == pytest.approx(peak, rel=0.3)

    def test_a_batch_that_no_part_divides_needs_more(self):
        settings = {"model.preset": "squeezenet_small", "data.name": "fashion_mnist"}
        odd = expected(settings | {"train.batch_size": 509})
        assert odd > expected(settings | {"train.batch_size": 512}) + 300
