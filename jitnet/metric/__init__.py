"""Metrics: `create("acc")`, then `update(labels, preds)` batch by batch, then `get()`.

>>> import jitnet as mx
>>> metric = mx.metric.create("acc")
>>> metric.update([mx.nd.array([1, 0])], [mx.nd.array([[0.2, 0.8], [0.4, 0.6]])])
>>> metric.get()
('accuracy', 0.5)
"""
from .base import CompositeEvalMetric as CompositeEvalMetric, CustomMetric as CustomMetric, EvalMetric as EvalMetric
from .base import alias as alias, check_label_shapes as check_label_shapes, create as create, from_numpy as np
from .base import register as register
from .classification import F1 as F1, MCC as MCC, PCC as PCC, Accuracy as Accuracy, CrossEntropy as CrossEntropy
from .classification import NegativeLogLikelihood as NegativeLogLikelihood, Perplexity as Perplexity
from .classification import TopKAccuracy as TopKAccuracy
from .regression import MAE as MAE, MSE as MSE, RMSE as RMSE, Loss as Loss, PearsonCorrelation as PearsonCorrelation

__all__ = ["F1", "MAE", "MCC", "MSE", "PCC", "RMSE", "Accuracy", "CompositeEvalMetric", "CrossEntropy", "CustomMetric",
           "EvalMetric", "Loss", "NegativeLogLikelihood", "PearsonCorrelation", "Perplexity", "TopKAccuracy", "alias",
           "check_label_shapes", "create", "np", "register"]
