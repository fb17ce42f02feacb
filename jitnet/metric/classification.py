"""Metrics of classifiers: labels are class numbers, predictions a score per class."""
from __future__ import annotations

import functools
import math

import numpy as np

from ..jit import jit
from .base import EvalMetric, alias, check_label_shapes, host, late, register

COMPILE_FROM = 4096  # scores: below, a trace of each new shape would cost more than it saves


@functools.partial(jit, static_argnames="axis")
def _right(label, pred, axis):
    """How many of the labels are where the scores are largest."""
    best = np.argmax(pred, axis=axis).astype(np.int32)
    return np.sum(label.astype(np.int32).reshape(-1) == best.reshape(-1))


def pairs(labels, preds):
    """Labels and predictions of each output as NumPy arrays."""
    labels, preds = check_label_shapes(labels, preds, wrap=True)
    return [(host(label), host(pred)) for label, pred in zip(labels, preds)]


@register
@alias("acc")
class Accuracy(EvalMetric):
    """The share of predictions that are right. Predictions of another shape than the labels are scores along `axis`."""

    def __init__(self, axis=1, name="accuracy", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names, axis=axis, has_global_stats=True)
        self.axis = axis

    @late
    def update(self, labels, preds) -> None:
        for label, pred in pairs(labels, preds):
            if pred.shape != label.shape:
                if pred.size >= COMPILE_FROM and pred.ndim > 1 and label.size * pred.shape[self.axis] == pred.size:
                    self.add(int(_right(label, pred, self.axis)), label.size)
                    continue
                pred = np.argmax(pred, axis=self.axis)
            label, pred = label.astype(np.int32).ravel(), pred.astype(np.int32).ravel()
            check_label_shapes(label, pred)
            self.add(int(np.count_nonzero(label == pred)), len(pred))


@register
@alias("top_k_accuracy", "top_k_acc")
class TopKAccuracy(EvalMetric):
    """The share of labels among the top_k highest scores."""

    def __init__(self, top_k=1, name="top_k_accuracy", output_names=None, label_names=None):
        if top_k <= 1:
            raise ValueError(f"Please use Accuracy if top_k is no more than 1: got {top_k}")
        super().__init__(f"{name}_{top_k}", output_names, label_names, top_k=top_k, has_global_stats=True)
        self.top_k = top_k

    @late
    def update(self, labels, preds) -> None:
        for label, pred in pairs(labels, preds):
            if pred.ndim > 2:
                raise ValueError(f"Predictions should be no more than 2 dims: got {pred.ndim}")
            check_label_shapes(label, pred)
            label = label.astype(np.int32).ravel()
            if pred.ndim == 1:
                right = pred.astype(np.int32) == label
            else:
                best = np.argpartition(pred, -min(self.top_k, pred.shape[1]), axis=1)[:, -self.top_k:]
                right = best == label[:, None]
            self.add(int(np.count_nonzero(right)), len(pred))


class Counts:
    """A table of two classes: how often each was predicted for each."""

    def __init__(self, table: np.ndarray | None = None):
        self.table = np.zeros((2, 2)) if table is None else table  # [label, prediction]

    def update(self, label: np.ndarray, pred: np.ndarray, metric: str) -> None:
        """Adds labels and scores (n, 2)."""
        label = label.astype(np.int32).ravel()
        check_label_shapes(label, pred)
        if len(np.unique(label)) > 2:
            raise ValueError(f"{metric} currently only supports binary classification.")
        np.add.at(self.table, ((label == 1).astype(int), (np.argmax(pred, axis=1) == 1).astype(int)), 1)

    @property
    def total(self) -> float:
        """How many there are."""
        return self.table.sum()

    def f1(self) -> float:
        """Twice the product of precision and recall, over their sum; 0 where that is undefined."""
        (_, wrong), (missed, right) = self.table
        return float(2 * right / (2 * right + wrong + missed)) if right else 0.0

    def mcc(self) -> float:
        """Matthews' correlation; factors of 0 are left out of the denominator."""
        if not self.total:
            return 0.0
        (tn, fp), (fn, tp) = self.table
        product = math.prod([float(t) for t in (tp + fp, tp + fn, tn + fp, tn + fn) if t])
        return float((tp * tn - fp * fn) / math.sqrt(product))


class _Binary(EvalMetric):
    """A figure of a table of counts: the mean over batches ("macro"), or of all together ("micro")."""

    def __init__(self, name, output_names, label_names, average):
        self.average = average
        super().__init__(name, output_names, label_names, average=average, has_global_stats=True)

    def figure(self, counts: Counts) -> float:
        """The metric of a table."""
        raise TypeError(f"{type(self).__name__} is abstract")

    @late
    def update(self, labels, preds) -> None:
        batch = Counts()
        for label, pred in pairs(labels, preds):
            batch.update(label, pred, type(self).__name__)
        if self.average == "macro":
            self.add(self.figure(batch), 1)
            return
        self._local.table += batch.table
        self._all.table += batch.table
        self.num_inst, self.global_num_inst = self._local.total, self._all.total
        self.sum_metric = self.figure(self._local) * self.num_inst
        self.global_sum_metric = self.figure(self._all) * self.global_num_inst

    def reset(self) -> None:
        self._all = Counts()
        super().reset()

    def reset_local(self) -> None:
        self._local = Counts()
        super().reset_local()


@register
class F1(_Binary):
    """The F1 score of class 1 against class 0."""

    def __init__(self, name="f1", output_names=None, label_names=None, average="macro"):
        super().__init__(name, output_names, label_names, average)

    def figure(self, counts: Counts) -> float:
        return counts.f1()


@register
class MCC(_Binary):
    """Matthews' correlation coefficient of two classes. Matthews 1975."""

    def __init__(self, name="mcc", output_names=None, label_names=None, average="macro"):
        super().__init__(name, output_names, label_names, average)

    def figure(self, counts: Counts) -> float:
        return counts.mcc()


@register
class Perplexity(EvalMetric):
    """exp of the mean cross entropy; labels equal to `ignore_label` do not count."""

    def __init__(self, ignore_label, axis=-1, name="perplexity", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names, ignore_label=ignore_label, axis=axis, has_global_stats=True)
        self.ignore_label, self.axis = ignore_label, axis

    @late
    def update(self, labels, preds) -> None:
        for label, pred in pairs(labels, preds):
            pred = np.moveaxis(pred, self.axis, -1).reshape(-1, pred.shape[self.axis])
            if label.size != len(pred):
                raise ValueError(f"shape mismatch: {label.shape} labels for {len(pred)} predictions")
            label = label.astype(np.int64).ravel()
            chosen = pred[np.arange(len(pred)), np.clip(label, 0, pred.shape[1] - 1)]
            if self.ignore_label is not None:
                chosen = chosen[label != self.ignore_label]
            self.add(-float(np.sum(np.log(np.maximum(chosen, 1e-10)), dtype=np.float64)), len(chosen))

    def value(self, total: float, count: int) -> float:
        return math.exp(total / count)


class _LogLikelihood(EvalMetric):
    """The mean of -log(p + eps), where p is what the prediction (n, classes) gives the label."""

    def __init__(self, eps, name, output_names, label_names):
        super().__init__(name, output_names, label_names, eps=eps, has_global_stats=True)
        self.eps = eps

    @late
    def update(self, labels, preds) -> None:
        for label, pred in pairs(labels, preds):
            label = label.ravel().astype(np.int64)
            check_label_shapes(label, pred)
            chosen = pred[np.arange(len(label)), label]
            self.add(float(-np.log(chosen + self.eps).sum()), len(label))


@register
@alias("ce")
class CrossEntropy(_LogLikelihood):
    """The mean cross entropy of class numbers under predicted probabilities (n, classes)."""

    def __init__(self, eps=1e-12, name="cross-entropy", output_names=None, label_names=None):
        super().__init__(eps, name, output_names, label_names)


@register
@alias("nll_loss")
class NegativeLogLikelihood(_LogLikelihood):
    """The mean negative log likelihood of class numbers under predicted probabilities (n, classes)."""

    def __init__(self, eps=1e-12, name="nll-loss", output_names=None, label_names=None):
        super().__init__(eps, name, output_names, label_names)


@register
class PCC(EvalMetric):
    """Matthews' correlation coefficient of any number of classes, of all batches together. Gorodkin 2004."""

    def __init__(self, name="pcc", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def reset(self) -> None:
        self._all = np.zeros((0, 0))
        super().reset()

    def reset_local(self) -> None:
        self._local = np.zeros((0, 0))  # [prediction, label]
        super().reset_local()

    @late
    def update(self, labels, preds) -> None:
        for label, pred in pairs(labels, preds):
            pred = pred if pred.shape == label.shape else np.argmax(pred, axis=1)
            label, pred = label.astype(np.int64).ravel(), pred.astype(np.int64).ravel()
            check_label_shapes(label, pred)
            self._local, self._all = _counted(self._local, pred, label), _counted(self._all, pred, label)
        self.num_inst += 1
        self.global_num_inst += 1
        self.sum_metric = _correlation(self._local) * self.num_inst
        self.global_sum_metric = _correlation(self._all) * self.global_num_inst


def _counted(table: np.ndarray, pred: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The table with these pairs counted too, larger where there are more classes."""
    more = max(int(pred.max(initial=-1)), int(label.max(initial=-1))) + 1 - len(table)
    table = np.pad(table, (0, max(more, 0)))
    np.add.at(table, (pred, label), 1)
    return table


def _correlation(table: np.ndarray) -> float:
    """The correlation of predictions and labels; NaN while either is always the same class."""
    n, predicted, labelled = table.sum(), table.sum(axis=1), table.sum(axis=0)
    spread = float((predicted * (n - predicted)).sum() * (labelled * (n - labelled)).sum())
    return float((table.diagonal() * n - predicted * labelled).sum()) / math.sqrt(spread) if spread else math.nan
