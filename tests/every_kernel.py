"""Every kernel that any test made is compiled as a GPU kernel and assembled for three architectures.

A plugin of pytest, with JITNET_ALL_KERNELS=1 (as in .ci/run) or JITNET_NIGHTLY=1. Kernels are noted where they are written, and
compiled by the workers whose own tests have run, whoever noted them. What fails is listed at the end, and the run fails.
"""
import hashlib
import os
import pathlib
import threading

from jitnet.codegen.cuda import cuda_kernel
from jitnet.codegen.gpu_steps import GpuBuilder
from jitnet.codegen.steps import Builder
from jitnet.runtime import cuda_compile
from jitnet.templates import OpenArena
from jitnet.testing_kernels import Sources
from jitnet.testing_ptx_gpu import PtxToolchain

ARCHITECTURES = [(8, 0), (9, 0), (10, 0)]
RUN = os.environ.setdefault("JITNET_EVERY_KERNEL", str(os.getpid()))   # of the run: its workers inherit it
PLACE = pathlib.Path(os.environ["JITNET_CACHE_DIR"], f"every-kernel-{RUN}")
sources: set[str] = set()


def noting(builder):
    """Notes the GPU kernel of every nest that a builder is given; those of open sizes have no numbers yet."""
    original = builder.nest

    def nest(self, nest, *args, **options):
        known = not isinstance(self.arena, OpenArena)
        if known:
            note(cuda_kernel(nest).source)
        original(self, nest, *args, **options)
        if known and builder is GpuBuilder:   # buffers that lie in one place are one by now
            note(cuda_kernel(nest).source)
    builder.nest = nest


def noting_images(toolchain):
    """Notes every kernel that a toolchain is given: several uses of one in a launch are a kernel too."""
    original = toolchain.image

    def image(self, source, name, capability):
        note(source)
        return original(self, source, name, capability)
    toolchain.image = image


def note(source):
    if source not in sources:
        sources.add(source)
        path = PLACE / f"{hashlib.sha256(source.encode()).hexdigest()[:32]}.py"
        part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        part.write_text(source)
        part.replace(path)   # whole, for whoever looks


def pytest_configure(config):
    noting(Builder)
    noting(GpuBuilder)
    noting_images(Sources)
    noting_images(PtxToolchain)
    PLACE.mkdir(parents=True, exist_ok=True)


def is_first(mark):
    try:
        os.close(os.open(PLACE / mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def failures():
    return sorted(path.read_text() for path in PLACE.glob("*.failed"))


def pytest_sessionfinish(session):
    for path in filter(lambda path: is_first(path.stem), sorted(PLACE.glob("*.py"))):
        source = path.read_text()
        for cc in ARCHITECTURES:
            mark = f"{path.stem}-{cc[0]}{cc[1]}"
            if not is_first(mark):   # test_cuda_ops.py leaves such marks too
                continue
            try:
                ptx = cuda_compile.compile_ptx(source, cc)
                if cuda_compile.has_assembler():
                    cuda_compile.machine_code(ptx, cc)
            except Exception as error:
                text = f"compute capability {cc[0]}.{cc[1]}: {type(error).__name__}: {error}\n{source}"
                (PLACE / f"{mark}.failed").write_text(text)
    if not hasattr(session.config, "workerinput") and failures():
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    made = len(list(PLACE.glob("*.py")))
    done = "compiled and assembled" if cuda_compile.has_assembler() else "compiled, but not assembled,"
    terminalreporter.write_line(f"{made} kernels {done} for {len(ARCHITECTURES)} GPU architectures")
    for text in failures():
        terminalreporter.write_line(text, red=True)
