"""GPU kernels compiled without a GPU: Python source -> PTX -> machine code (a cubin).

Numba reads the source, as it does that of CPU kernels; LLVM's own back end for NVIDIA GPUs writes the PTX. Neither needs a
GPU, a driver or a CUDA package: those are needed to assemble, by nvJitLink or by `ptxas`, whichever is there.

NVIDIA's own LLVM (libNVVM, which numba-cuda goes through) reads the IR of LLVM 7 for every GPU before Blackwell: no `ptr`,
no `freeze`, no `llvm.maximum`. codegen/math.py would be another text there; with one LLVM it is the same code on both targets.
"""
from __future__ import annotations

import functools
import os
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding as llvm

from ..codegen.cuda_names import INPUTS, parameters
from ..errors import DeviceError
from . import llvm as objects

TRIPLE = "nvptx64-nvidia-cuda"
MOST_THREADS = 512        # of a block: leaves every thread 128 registers
BOUND = f".maxntid {MOST_THREADS}"
FEW_LOCAL_BYTES = 16      # of a thread: four registers, which stay in the first cache; half of the threads would be the price
NEWEST_PTX = 88           # PTX ISA of CUDA 12.9: every driver from 575 on takes it, those of CUDA 13 too
PTX_OF = {(8, 0): 70, (8, 6): 71, (8, 7): 74, (8, 9): 78, (9, 0): 78, (10, 0): 86, (10, 1): 86, (10, 3): 88, (12, 0): 87}
"""Compute capability -> the oldest PTX ISA that knows it."""
OLDEST = 7, 5   # compute capability
INSTALL = "pip install 'jitnet[cuda]'"


def compile_kernel(source: str, cc: tuple[int, int], name: str = "kernel") -> bytes:
    """The machine code (cubin) of a kernel for GPUs of that compute capability, with `name` as its symbol."""
    return machine_code(compile_ptx(source, cc, name), cc)


def machine_code(ptx: str, cc: tuple[int, int]) -> bytes:
    """The cubin of a kernel, whose threads find as many others as their registers allow.

    Two of the largest blocks are to run at once, which leaves a thread 64 registers: more threads hide more of the time that
    memory takes. Where 64 do not suffice, but for a few words, one block may have them all.
    """
    cubin = assemble(ptx.replace(BOUND, f"{BOUND}\n.minnctapersm 2", 1), cc)
    if resources(cubin).local_bytes > FEW_LOCAL_BYTES:
        cubin = min(cubin, assemble(ptx, cc), key=lambda cubin: resources(cubin).local_bytes)
    return cubin


def compile_ptx(source: str, cc: tuple[int, int], name: str = "kernel") -> str:
    """The PTX of a kernel: `.entry name`, whose parameters are those of the source, pointers to device memory and numbers."""
    machine = target_machine(cc)
    texts = _lowered(source, name, str(machine.target_data))
    with objects.lock:  # read now: a forked child has another one
        module = llvm.parse_assembly(texts[0])
        for text in texts[1:]:
            module.link_in(llvm.parse_assembly(text))
        module.verify()
        # -O3 takes half as long again for the same PTX: what it would add, the assembler does, and threads are the lanes.
        options = llvm.create_pipeline_tuning_options(speed_level=1)
        options.loop_vectorization = options.slp_vectorization = False
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        return machine.emit_assembly(module)


@functools.lru_cache(maxsize=16)   # for several GPUs of one machine
def _lowered(source: str, name: str, data_layout: str) -> tuple[str, ...]:
    """The IR texts of a kernel."""
    from ..codegen.cuda_scope import CUDA_SCOPE, NUMBA_TYPES, BufferType
    from . import frontend

    scope = dict(CUDA_SCOPE)
    exec(compile(source, f"<{name}>", "exec"), scope)
    kinds = [BufferType(NUMBA_TYPES[kind[:-1]], slot, parameter.startswith(INPUTS)) if kind.endswith("*") else NUMBA_TYPES[kind]
             for slot, (parameter, kind) in enumerate(parameters(source))]
    return tuple(frontend.lower_cuda_kernel(scope["kernel"], kinds, name, (TRIPLE, data_layout), MOST_THREADS))


@functools.cache
def target_machine(cc: tuple[int, int]) -> llvm.TargetMachine:
    """LLVM's back end for GPUs of a compute capability."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    ptx = PTX_OF.get(cc, 78 if cc < (10, 0) else NEWEST_PTX)
    major, minor = cc
    return llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=f"sm_{major}{minor}", features=f"+ptx{ptx}", opt=3)


# Assembling

def has_assembler() -> bool:
    """Whether this machine can assemble."""
    return _nvjitlink() is not None or _ptxas() is not None


def assemble(ptx: str, cc: tuple[int, int]) -> bytes:
    """The cubin of a PTX text; DeviceError when there is no assembler, or it refuses the text."""
    if cc < OLDEST:
        raise DeviceError("a GPU of compute capability {}.{} is older than all that CUDA 13 compiles for".format(*cc),
                          "use one of compute capability {}.{} or newer, or `jitnet.cpu()`".format(*OLDEST))
    assembler = next((a for a in (_nvjitlink(), _ptxas()) if a is not None), None)
    if assembler is None:
        raise DeviceError("no assembler for GPU kernels was found: looked for nvJitLink and for ptxas", INSTALL)
    return assembler(ptx, "sm_{}{}".format(*cc))


REGISTERS, FRAME = 0x2F, 0x11   # what the entries of a cubin's section .nv.info are about
OF_A_SYMBOL = 4                 # the form of an entry whose payload is (symbol, number)


@dataclass(frozen=True)
class Resources:
    """What a thread of a kernel needs. Local memory, which is slow, holds what found no register."""

    registers: int
    local_bytes: int


def resources(cubin: bytes) -> Resources:
    """What the kernels of a cubin need at most, as the assembler notes it there."""
    (table,), (size, count, names) = struct.unpack_from("<Q", cubin, 40), struct.unpack_from("<HHH", cubin, 58)
    # name, kind, flags, address, offset, bytes
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + size * k) for k in range(count)]
    found = {REGISTERS: 0, FRAME: 0}
    for name, _, _, _, start, length in sections:
        at = sections[names][4] + name
        if cubin[at:cubin.index(b"\0", at)] == b".nv.info":
            while length > 0:
                form, what, nbytes = struct.unpack_from("<BBH", cubin, start)
                step = 4 + (nbytes if form == OF_A_SYMBOL else 0)
                if what in found:
                    found[what] = max(found[what], struct.unpack_from("<I", cubin, start + 8)[0])
                start, length = start + step, length - step
    return Resources(found[REGISTERS], found[FRAME])


@functools.cache
def _nvjitlink():
    """nvJitLink as a function (PTX, architecture) -> cubin; None when it is not installed."""
    try:
        from cuda.bindings import nvjitlink
        nvjitlink.version()
    except Exception:  # the package, or the library that it opens: each has errors of its own for being absent
        return None

    def link(ptx: str, arch: str) -> bytes:
        handle = nvjitlink.create(2, [f"-arch={arch}", "-O3"])
        text = ptx.encode()
        try:
            nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel")
            nvjitlink.complete(handle)
            cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
            nvjitlink.get_linked_cubin(handle, cubin)
            return bytes(cubin)
        except nvjitlink.nvJitLinkError as error:
            log = bytearray(nvjitlink.get_error_log_size(handle))
            nvjitlink.get_error_log(handle, log)
            raise _refused(arch, log.decode(errors="replace").rstrip("\0") or str(error)) from None
        finally:
            nvjitlink.destroy(handle)
    return link


@functools.cache
def _ptxas():
    """The program ptxas as such a function; None when it is not there."""
    program = _ptxas_of_a_wheel() or shutil.which("ptxas")
    if program is None:
        return None

    def run(ptx: str, arch: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            text, cubin = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
            text.write_text(ptx)
            command = [program, f"-arch={arch}", "-O3", str(text), "-o", str(cubin)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise _refused(arch, done.stderr or done.stdout)
            return cubin.read_bytes()
    return run


def _ptxas_of_a_wheel() -> str | None:
    """The ptxas that the package nvidia-cuda-nvcc brings."""
    try:
        import nvidia
    except ImportError:
        return None
    for folder in nvidia.__path__:
        for path in sorted(Path(folder).glob("*/bin/ptxas")):
            if os.access(path, os.X_OK):
                return str(path)
    return None


def _refused(arch: str, log: str) -> DeviceError:
    lines = [line for line in log.splitlines() if line.strip()]
    return DeviceError(f"a GPU kernel does not assemble for {arch}: {lines[0] if lines else 'no reason given'}",
                       "the toolkit may be older than the GPU: " + INSTALL)
