"""What names of MXNet 1.x say that are not here, and one of JAX: which part they belong to, whether it comes later, what is
there instead."""
from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

from .errors import MissingError, TraceAttributeError

_PARTS = {
    "convolution, pooling and operators on images come later": """Convolution Convolution_v1 Deconvolution
        Pooling Pooling_v1 BatchNorm_v1 LRN UpSampling BilinearSampler SpatialTransformer GridGenerator ROIPooling
        Correlation Crop im2col col2im
        AdaptiveAvgPooling2D BilinearResize2D ROIAlign SyncBatchNorm box_iou box_nms MultiBoxPrior MultiBoxTarget
        MultiBoxDetection""",
    "recurrent layers come later; BucketingModule and `jitnet.scan` are there": "RNN rnn CTCLoss ctc_loss FusedRNN",
    "gluon comes later; `mod.Module`, and `autograd` with `optimizer`, are there": "gluon",
    "loops and branches are `jitnet.scan`, `while_loop` and `cond`, in functions of `jitnet.jit`": "foreach while_loop cond",
    "operators of one's own come later; `autograd.Function` and `jitnet.custom_vjp` are there":
        "Custom operator CustomOp CustomOpProp rtc",
    "arrays are dense: there are no sparse ones": "sparse cast_storage LibSVMIter SparseEmbedding getnnz",
    "NumPy's functions are in `jitnet.numpy`": "np npx numpy_extension set_np use_np is_np_array is_np_shape",
    "images come later; NDArrayIter, CSVIter and MNISTIter are there": """image img imdecode recordio ImageRecordIter
        ImageRecordIter_v1 ImageRecordUInt8Iter ImageDetRecordIter""",
    "`Executor.explain`, `f.explain` of a jitted function and JITNET_DEBUG show what runs": "profiler engine runtime",
    "quantization comes later": "quantize quantize_v2 dequantize requantize quantization",
    "the model has become `mod.Module`": "FeedForward",
    "chains of modules come later: join the symbols, and make one Module of them":
        "SequentialModule PythonModule PythonLossModule",
    "the optimizers are sgd, nag, adam, adagrad, rmsprop, adadelta, ftrl, signum, adamax, nadam, lamb and ftml":
        "LARS LBSGD DCASGD SGLD",
    "exchange with other frameworks is by MXNet's files: `sym.save`, `nd.save`": "onnx contrib th tvmop notebook",
    "draws have no densities here; `jitnet.numpy` has what they are made of": """random_pdf_dirichlet random_pdf_exponential
        random_pdf_gamma random_pdf_generalized_negative_binomial random_pdf_negative_binomial random_pdf_normal
        random_pdf_poisson random_pdf_uniform""",
    "the steps of all parameters are one program already: `optimizer.get_updater`": """multi_sgd_update multi_sgd_mom_update
        multi_mp_sgd_update multi_mp_sgd_mom_update preloaded_multi_sgd_update preloaded_multi_sgd_mom_update
        preloaded_multi_mp_sgd_update preloaded_multi_mp_sgd_mom_update mp_lamb_update_phase1 mp_lamb_update_phase2
        multi_lars""",
    "no data is downloaded; scikit-learn has small real sets": "get_mnist get_mnist_iterator get_cifar10 download",
    "a `jitnet.random.Generator(seed)` holds its state: pass it to a compiled function, and draw": "PRNGKey",
}
PARTS = {name: text for text, names in _PARTS.items() for name in names.split()}


def missing(where: str, name: str) -> AttributeError:
    """The error for a name that `where` does not have."""
    what = f"{where} has no attribute {name!r}"
    if name in PARTS:
        return TraceAttributeError(what, PARTS[name])
    return AttributeError(what, name=name, obj=sys.modules.get(where.removeprefix("module ").strip("'")))


class Finder:
    """The last that Python asks for a module: so `from jitnet import gluon` and `import jitnet.gluon` say what is there."""

    @staticmethod
    def find_spec(module: str, path=None, target=None) -> None:
        parent, _, name = module.rpartition(".")
        if name in PARTS and parent.split(".")[0] == __package__:
            raise MissingError(f"cannot import {name!r} from {parent!r}", PARTS[name])


sys.meta_path.append(Finder)


def module_getattr(module: str) -> Callable:
    """The `__getattr__` of a module whose further names MXNet has."""
    def __getattr__(name: str):
        raise missing(f"module {module!r}", name)
    return __getattr__


def module_dir(scope: dict) -> Callable:
    """The `__dir__` of a package: of its modules completion shows `random` alone, the others implement what is there."""
    def __dir__() -> list[str]:
        return sorted(name for name, value in scope.items() if name == "random" or not isinstance(value, ModuleType))
    return __dir__


class Names(SimpleNamespace):
    """A namespace of operators, as `nd.contrib`, whose further names MXNet has."""

    def __getattr__(self, name: str):
        raise missing("this namespace", name)
