"""Checkpoints of a symbol and its parameters, in MXNet's files."""
from __future__ import annotations

import logging
from collections import namedtuple
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .context import cpu
from .later import module_getattr
from .nd.ndarray import NDArray
from .nd.saving import load, save
from .sym.symbol import load as load_symbol

BatchEndParam = namedtuple("BatchEndParams", ["epoch", "nbatch", "eval_metric", "locals"])  # what callbacks after a batch get


def save_checkpoint(prefix: str, epoch: int, symbol, arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray],
                    remove_amp_cast: bool = True) -> None:
    """Writes `prefix-symbol.json` (unless the symbol is None) and `prefix-0001.params`, with the epoch's number."""
    if symbol is not None:
        symbol.save(f"{prefix}-symbol.json")
    save_params(f"{prefix}-{epoch:04d}.params", arg_params, aux_params)
    logging.info('Saved checkpoint to "%s-%04d.params"', prefix, epoch)


def save_params(fname: str, arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray]) -> None:
    """Writes parameters ("arg:name") and auxiliary states ("aux:name") to a file."""
    parts = (("arg", arg_params), ("aux", aux_params))
    save(fname, {f"{kind}:{name}": value.as_in_context(cpu()) for kind, given in parts for name, value in given.items()})


def load_param_file(fname: str) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """(parameters, auxiliary states) of a file; ValueError when it holds anything else."""
    found: dict[str, dict[str, NDArray]] = {"arg": {}, "aux": {}}
    arrays = load(fname)
    if not arrays:
        logging.warning("Params file '%s' is empty", fname)
    elif not isinstance(arrays, dict):
        raise ValueError(f"Invalid param file {fname}: its arrays have no names")
    for key, value in dict(arrays).items():
        kind, _, name = key.partition(":")
        if kind not in found:
            raise ValueError(f"Invalid param file {fname}: {key} is neither arg: nor aux:")
        found[kind][name] = value
    return found["arg"], found["aux"]


def load_params(prefix: str, epoch: int) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """(parameters, auxiliary states) of the checkpoint of an epoch."""
    return load_param_file(f"{prefix}-{epoch:04d}.params")


def load_checkpoint(prefix: str, epoch: int):
    """(symbol, parameters, auxiliary states) of the checkpoint of an epoch."""
    return load_symbol(f"{prefix}-symbol.json"), *load_params(prefix, epoch)


if not TYPE_CHECKING:
    __getattr__ = module_getattr(__name__)
