"""Metrics of numbers: errors, correlations, and losses that the network computes."""
from __future__ import annotations

import numpy as np

from ..nd.ndarray import NDArray
from .base import EvalMetric, alias, check_label_shapes, host, late, register
from .classification import pairs


class _Error(EvalMetric):
    """The mean over batches of a figure of label minus prediction."""

    def __init__(self, name, output_names, label_names):
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def figure(self, difference: np.ndarray) -> float:
        """The metric of one batch."""
        raise TypeError(f"{type(self).__name__} is abstract")

    @late
    def update(self, labels, preds) -> None:
        for label, pred in pairs(labels, preds):
            label, pred = (x.reshape(len(x), 1) if x.ndim == 1 else x for x in (label, pred))
            self.add(float(self.figure(label - pred)), 1)


@register
class MAE(_Error):
    """The mean absolute error."""

    def __init__(self, name="mae", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)

    def figure(self, difference: np.ndarray) -> float:
        return np.abs(difference).mean()


@register
class MSE(_Error):
    """The mean squared error."""

    def __init__(self, name="mse", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)

    def figure(self, difference: np.ndarray) -> float:
        return (difference ** 2).mean()


@register
class RMSE(_Error):
    """The root of the mean squared error of each batch."""

    def __init__(self, name="rmse", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)

    def figure(self, difference: np.ndarray) -> float:
        return np.sqrt((difference ** 2).mean())


@register
@alias("pearsonr")
class PearsonCorrelation(EvalMetric):
    """Pearson's correlation of labels and predictions: the mean over batches ("macro"), or of all together ("micro")."""

    def __init__(self, name="pearsonr", output_names=None, label_names=None, average="macro"):
        self.average = average
        super().__init__(name, output_names, label_names, average=average, has_global_stats=True)

    def reset_local(self) -> None:
        super().reset_local()
        self._seen, self._mean, self._cov = 0, np.zeros(2), np.zeros((2, 2))

    @late
    def update(self, labels, preds) -> None:
        for label, pred in pairs(labels, preds):
            check_label_shapes(label, pred, shape=True)
            both = np.stack([label.ravel(), pred.ravel()]).astype(np.float64)
            if self.average == "macro":
                self.add(float(np.corrcoef(both)[0, 1]), 1)
                continue
            # means and sums of products of two parts, put together: Chan, Golub and LeVeque 1979
            count, mean = both.shape[1], both.mean(axis=1)
            total, apart = self._seen + count, mean - self._mean
            self._cov += (both - mean[:, None]) @ (both - mean[:, None]).T + np.outer(apart, apart) * self._seen * count / total
            self._mean, self._seen = self._mean + apart * count / total, total
            self.add(0.0, 1)

    def get(self) -> tuple:
        if self.average == "macro" or not self.num_inst:
            return super().get()
        return self.name, float(self._cov[0, 1] / np.sqrt(self._cov[0, 0] * self._cov[1, 1]))

    def get_global(self) -> tuple:
        return super().get_global() if self.average == "macro" else self.get()


@register
@alias("torch", "caffe")
class Loss(EvalMetric):
    """The mean of what the network puts out; labels do not count."""

    def __init__(self, name="loss", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names, has_global_stats=True)

    @late
    def update(self, labels, preds) -> None:
        for pred in [preds] if isinstance(preds, NDArray) else preds:
            self.add(float(np.sum(host(pred))), pred.size)
