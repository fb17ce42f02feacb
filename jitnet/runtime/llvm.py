"""LLVM: IR text -> optimized object file -> address of a loaded function.

Objects are position independent and self-contained: scalar math is inline, and the few symbols that LLVM makes up
by itself (memset, memcpy) come from the process. Each symbol carries its key, so none can collide.
"""
from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Sequence

import llvmlite.binding as llvm

from .forks import renewed

lock = renewed(threading.Lock())
_serial = itertools.count()


@functools.cache
def host() -> tuple[str, str, str]:
    """(target triple, CPU name, feature string) that objects of this machine are compiled for."""
    features = llvm.get_host_cpu_features()
    text = features.flatten()
    if features.get("avx512vbmi2"):
        # Ice Lake, Zen 4 and later run 512-bit code without slowing down: tanh and exp kernels gain a quarter.
        # LLVM's tuning for some of them prefers 256 bits.
        text += ",-prefer-256-bit"
    return llvm.get_process_triple(), llvm.get_host_cpu_name(), text


@functools.cache
def target_machine() -> llvm.TargetMachine:
    """The machine that objects are compiled for: this one, position independent, optimized."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple, cpu, features = host()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default")


@functools.cache
def _jit() -> llvm.LLJIT:
    # JITLink lays code and constants of one object side by side, so relative addresses always reach.
    triple = host()[0]
    return llvm.create_lljit_compiler(target_machine(), use_jit_link="windows" not in triple)


def everything() -> llvm.LLJIT:
    """What holds the code of all loaded objects."""
    return _jit()


@contextlib.contextmanager
def _without_strength_reduction():
    """Keeps LLVM's loop strength reduction off.

    It takes half of the time of machine code, and x86 addresses (base + 4 * index) need none of it: kernels are as fast
    without, those with several strides up to a tenth faster. LLVM knows it as a switch of the process alone; a compilation by
    Numba in another thread meanwhile would do without it too.
    """
    llvm.set_option("jitnet", "-disable-lsr=true")
    try:
        yield
    finally:
        llvm.set_option("jitnet", "-disable-lsr=false")


def emit_object(modules: list[str], vectorize: bool = True, finished: Sequence[str] = ()) -> bytes:
    """The object file of the IR texts, linked together and optimized: at -O1 with the loop vectorizer, or just tidied up.

    -O2 and -O3 gain nothing on kernels, whose source is loops as they should run, and take a third longer. Modules in
    `finished` join them after that: their IR goes straight to instructions.
    """
    with lock, _without_strength_reduction():
        machine = target_machine()
        module = llvm.parse_assembly(modules[0])
        for text in modules[1:]:
            module.link_in(llvm.parse_assembly(text))
        module.verify()
        _optimize(module, machine, vectorize)
        for text in finished:
            module.link_in(llvm.parse_assembly(text))
        if finished:
            module.verify()
        return machine.emit_object(module)


def _optimize(module, machine, vectorize: bool) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.slp_vectorization = options.loop_unrolling = False   # what the vectorizer leaves gains nothing from it
    options.loop_vectorization = options.loop_interleaving = True
    builder = llvm.create_pass_builder(machine, options)
    if vectorize:
        passes = builder.getModulePassManager()
    else:  # what words.py writes: variables in stack slots, blocks that only jump
        passes = llvm.create_new_module_pass_manager()
        passes.add_global_dead_code_eliminate_pass()   # primitives that this object does not use
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
    passes.run(module, builder)


class LoadedObject:
    """Functions of one object file, in memory until this is dropped."""

    def __init__(self, image: bytes, symbols: tuple[str, ...]):
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for symbol in symbols:
            builder.export_symbol(symbol)
        with lock:
            self._tracker = builder.link(_jit(), f"jitnet.{next(_serial)}")
        self.address = {symbol: self._tracker[symbol] for symbol in symbols}
