import math

import numpy as np
import pytest

from sqzx.evaluation import Scores, logits_of, score


def test_scores_count_the_images_whose_label_is_among_the_first():
    # Class 6 scores highest, then 5, ...: of the labels 6, 2, 1 and 0, one is first, two among five.
    logits = np.tile(np.arange(7, dtype=np.float32), (4, 1))
    scores = score(logits, np.array([6, 2, 1, 0], np.int32))
    assert (scores.top1, scores.top5) == (0.25, 0.5)


def test_scores_agree_with_a_plain_computation():
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, 11)).astype(np.float32)
    labels = random.integers(0, 11, 200).astype(np.int32)
    best = np.argsort(-logits, axis=1)
    scores = score(logits, labels)
    assert scores.top1 == np.mean(best[:, 0] == labels)
    assert scores.top5 == np.mean([label in row[:5] for label, row in zip(labels, best, strict=True)])
    losses = [
        -math.log(math.exp(row[label]) / sum(math.exp(x) for x in row))
        for row, label in zip(logits.tolist(), labels, strict=True)
    ]
    assert scores.loss == pytest.approx(sum(losses) / 200, rel=1e-12)


class TestTies:
    def test_a_silent_network_scores_what_always_naming_class_0_scores(self):
        labels = np.repeat(np.arange(10), 3).astype(np.int32)
        scores = score(np.zeros((30, 10), np.float32), labels)
        assert (scores.top1, scores.top5) == (0.1, 0.5)
        assert scores.loss == pytest.approx(math.log(10))

    def test_top_1_is_what_argmax_says(self):
        random = np.random.default_rng(1)
        logits = random.integers(0, 3, (500, 7)).astype(np.float32)
        labels = random.integers(0, 7, 500).astype(np.int32)
        assert score(logits, labels).top1 == np.mean(logits.argmax(axis=1) == labels)

    def test_equal_logits_rank_by_class_number(self):
        logits = np.array([[0, 1, 1, 1, 1, 1, 1, 0]], np.float32)
        ranks = [score(logits, np.array([label], np.int32)) for label in range(8)]
        assert [s.top1 for s in ranks] == [0, 1, 0, 0, 0, 0, 0, 0]
        assert [s.top5 for s in ranks] == [0, 1, 1, 1, 1, 1, 0, 0]


def test_a_logit_that_is_no_number_is_never_the_best():
    logits = np.array([[np.nan, 1, 2, 3, 4, 5, 6]], np.float32)
    with np.errstate(invalid="ignore"):
        assert score(logits, np.array([0], np.int32))[:2] == (0, 0)


@pytest.mark.parametrize(("classes", "available"), [(2, False), (5, False), (6, True)])
def test_there_is_no_top_5_where_it_could_not_miss(classes, available):
    scores = score(np.zeros((3, classes), np.float32), np.array([0, 1, 1], np.int32))
    assert (scores.top5 is not None) == available


def test_the_loss_of_huge_logits_is_finite():
    logits = np.array([[3e38, -3e38], [1e30, 0]], np.float32)
    assert score(logits, np.array([0, 0], np.int32)).loss == 0


def test_scores_are_named_by_their_split():
    assert Scores(0.5, None, 1.5).named("val") == {"val_top1": 0.5, "val_top5": None, "val_loss": 1.5}


@pytest.mark.parametrize(("n", "size"), [(7, 3), (6, 3), (2, 5), (1, 1), (5, 5)])
def test_every_image_counts_and_predict_always_gets_a_whole_batch(n, size):
    images = np.random.default_rng(n).integers(0, 256, (n, 4, 3, 2), dtype=np.uint8)
    shapes = []

    def predict(batch):
        shapes.append(batch.shape)
        return batch.reshape(len(batch), -1)[:, :3].astype(np.float32)

    logits = logits_of(predict, images, size)
    assert set(shapes) == {(size, 4, 3, 2)}
    assert np.array_equal(logits, images.reshape(n, -1)[:, :3].astype(np.float32))
