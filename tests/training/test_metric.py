"""Metrics against their definitions, in batches and by name, with local and global figures."""
import math

import numpy as np
import pytest

import jitnet as mx

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, (3, 8))
SCORES = RNG.dirichlet([1, 1], (3, 8)).astype(np.float32)
NUMBERS, GUESSES = RNG.normal(size=(2, 3, 8)).astype(np.float32)


def gathered(metric, labels, preds):
    for label, pred in zip(labels, preds):
        metric.update([mx.nd.array(label)], [mx.nd.array(pred)])
    return metric.get()[1]


def test_accuracy():
    assert gathered(mx.metric.create("acc"), LABELS, SCORES) == np.mean(SCORES.argmax(2) == LABELS)
    metric = mx.metric.Accuracy(axis=0)
    metric.update(mx.nd.array([1, 0, 1]), mx.nd.array([[0, 1, 0], [1, 0, 0]]))
    assert metric.get() == ("accuracy", pytest.approx(2 / 3))
    metric.update([mx.nd.array([1, 0])], [mx.nd.array([1, 1])])  # classes, not scores
    assert metric.num_inst == 5


def test_top_k():
    scores = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]], np.float32)
    assert gathered(mx.metric.create("top_k_accuracy", top_k=2), [[2, 3]], [scores]) == 0.5
    assert gathered(mx.metric.create("top_k_acc", top_k=9), [[2, 3]], [scores]) == 1
    assert mx.metric.TopKAccuracy(3).name == "top_k_accuracy_3"
    with pytest.raises(ValueError, match="Please use Accuracy"):
        mx.metric.create("top_k_accuracy")


def table(label, score):
    pred = score.argmax(-1)
    return [np.sum((label == k) & (pred == j)) for k in (0, 1) for j in (0, 1)]


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_f1_and_mcc(average):
    def f1(tn, fp, fn, tp):
        return 2 * tp / (2 * tp + fp + fn)

    def mcc(tn, fp, fn, tp):
        return (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    for name, figure in (("f1", f1), ("mcc", mcc)):
        batches = [figure(*map(float, table(label, score))) for label, score in zip(LABELS, SCORES)]
        expected = np.mean(batches) if average == "macro" else figure(*map(float, table(LABELS, SCORES)))
        metric = mx.metric.create(name, average=average)
        assert gathered(metric, LABELS, SCORES) == pytest.approx(expected)
        metric.reset_local()
        assert math.isnan(metric.get()[1]) and metric.get_global()[1] == pytest.approx(expected)
    with pytest.raises(ValueError, match="binary"):
        gathered(mx.metric.F1(), [[0, 1, 2]], [np.ones((3, 3))])
    assert gathered(mx.metric.F1(), [[0, 0]], [[[1, 0], [1, 0]]]) == 0


def test_likelihoods():
    chosen = np.take_along_axis(SCORES, LABELS[..., None], 2)
    expected = -np.mean(np.log(chosen + 1e-12))
    for name in ("ce", "cross-entropy", "nll_loss"):
        if name != "cross-entropy":
            assert gathered(mx.metric.create(name), LABELS, SCORES) == pytest.approx(expected, rel=1e-6)
    assert gathered(mx.metric.Perplexity(None), LABELS, SCORES) == pytest.approx(math.exp(expected), rel=1e-6)
    kept = -np.mean(np.log(chosen[LABELS == 1]))
    assert gathered(mx.metric.Perplexity(0), LABELS, SCORES) == pytest.approx(math.exp(kept), rel=1e-6)


def test_errors_of_numbers():
    d = NUMBERS - GUESSES
    assert gathered(mx.metric.create("mae"), NUMBERS, GUESSES) == pytest.approx(np.abs(d).mean(), rel=1e-6)
    assert gathered(mx.metric.create("mse"), NUMBERS, GUESSES) == pytest.approx((d ** 2).mean(), rel=1e-6)
    assert gathered(mx.metric.create("rmse"), NUMBERS, GUESSES[..., None]) == pytest.approx(
        np.sqrt((d ** 2).mean(1)).mean(), rel=1e-6)
    each = np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(NUMBERS, GUESSES)])
    assert gathered(mx.metric.create("pearsonr"), NUMBERS, GUESSES) == pytest.approx(each)
    together = np.corrcoef(NUMBERS.ravel(), GUESSES.ravel())[0, 1]
    assert gathered(mx.metric.PearsonCorrelation(average="micro"), NUMBERS, GUESSES) == pytest.approx(together)


def test_losses_and_functions():
    metric = mx.metric.Loss()
    metric.update(None, [mx.nd.array([1, 2]), mx.nd.array([6])])
    assert metric.get() == ("loss", 3)
    assert gathered(mx.metric.np(lambda label, pred: float(np.abs(label - pred).max())), NUMBERS, GUESSES) == pytest.approx(
        np.abs(NUMBERS - GUESSES).max(1).mean(), rel=1e-6)

    def pair(label, pred):
        return float(label.sum()), label.size
    metric = mx.metric.create(pair)
    assert gathered(metric, NUMBERS, GUESSES) == pytest.approx(NUMBERS.mean(), rel=1e-5)
    assert metric.name == "pair" and mx.metric.CustomMetric(lambda a, b: 0).name == "custom(<lambda>)"


def test_composite_and_local_resets():
    both = mx.metric.create(["acc", "ce"])
    both.add("mse")
    assert [name for name, _ in both.get_name_value()] == ["accuracy", "cross-entropy", "mse"]
    both = mx.metric.create(["acc", mx.metric.CrossEntropy()])
    first = gathered(both, LABELS[:1], SCORES[:1])
    both.reset_local()
    gathered(both, LABELS[1:], SCORES[1:])
    assert both.get_global()[1][0] == np.mean(SCORES.argmax(2) == LABELS) and both.get()[1][0] != first[0]
    assert isinstance(both.get_metric(0), mx.metric.Accuracy)
    both.reset()
    assert all(math.isnan(v) for v in both.get()[1])
    with pytest.raises(IndexError, match="out of range 0 and 2"):
        both.get_metric(2)


def test_by_name():
    metric = mx.metric.Accuracy(output_names=["b_output"], label_names=["b_label"])
    wrong, right = mx.nd.array([0, 0]), mx.nd.array([1, 1])
    metric.update_dict({"a_label": wrong, "b_label": right}, {"a_output": wrong, "b_output": right})
    assert metric.get()[1] == 1
    assert mx.metric.create(metric.get_config()["metric"]).name == "accuracy"
    with pytest.raises(ValueError, match="Shape of labels 2 does not match shape of predictions 1"):
        metric.update([right, right], [right])
    with pytest.raises(ValueError, match="nothing is not registered: the metrics are acc"):
        mx.metric.create("nothing")
