"""Numba as a front end: Python functions on scalars and pointers -> LLVM IR text with plain C functions.

Numba's own pipeline serves arrays, objects, inlining and parallel loops; kernels need none of that. This one keeps
bytecode -> Numba IR -> types -> LLVM IR, in a target of its own that knows numbers, ranges and pointers: Numba's CPU
target imports all of scipy.linalg. Imported only when something has to be compiled.
"""
from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import operator
import re
from collections.abc import Callable, Mapping, Sequence

from llvmlite import ir
from llvmlite.ir.transforms import Visitor
from numba.core import (
    bytecode,
    callconv,
    codegen,
    compiler,
    cpu,
    errors,
    funcdesc,
    interpreter,
    ir_utils,
    ssa,
    typed_passes,
    typeinfer,
    types,
    typing,
)
from numba.core.compiler_lock import global_compiler_lock
from numba.core.target_extension import CPU, dispatcher_registry, jit_registry, target_override, target_registry
from numba.core.targetconfig import ConfigStack

from ..codegen.builtin import ALIAS_BITS
from ..codegen.numba_scope import BUFFERS
from . import llvm as backend
from .lower import Lower, member, range_function

ERROR_MODEL = "numpy"
LOOP_HINTS = {"masked": '!{!"llvm.loop.vectorize.predicate.enable", i1 true}'}
_loops = itertools.count()   # each loop is marked apart

KERNEL = types.void(BUFFERS, types.CPointer(types.int64), types.int64, types.int64)
"""The type of every CPU kernel: kernel(buffers, sizes, start, stop)."""


class _KernelTarget(CPU):
    """Numba's name for what code is compiled for; intrinsics of any CPU target serve it too."""


class _TypingContext(typing.context.BaseContext):
    """Numba's knowledge of types; what a call of one function on one list of types gives is found out once per process."""

    def __init__(self):
        super().__init__()
        self._signatures = {}

    def load_additional_registries(self):
        from numba.core.typing import mathdecl
        self.install_registry(mathdecl.registry)

    def resolve_value_type(self, val):
        """The type of a global; for a class Numba would load its own lists and dicts, which takes longer than a kernel."""
        known = self._get_global_type(val) if val is range or type(val) is type(operator.add) else None
        return super().resolve_value_type(val) if known is None else known

    def resolve_function_type(self, func, args, kws):
        if kws or func == "static_getitem":   # whose arguments are values too
            return super().resolve_function_type(func, args, kws)
        key = func, tuple(args)
        found = self._signatures.get(key)
        if found is None:
            found = super().resolve_function_type(func, args, kws)
            if found is not None:
                self._signatures[key] = found
        return found


class _Contractable(Visitor):
    """Lets products be fused into an addition that allows it too: those of reductions do.

    Others must not: where a value is computed twice, in two loops or two kernels, LLVM would fuse in one and not in the other,
    and an element would differ from the maximum that it is.
    """

    def visit_Instruction(self, instruction):
        if instruction.opname == "fmul" and not instruction.flags:
            instruction.flags.append("contract")


class _TargetContext(cpu.CPUContext):
    def init(self):
        self.is32bit = False
        self._internal_codegen = _Codegen()
        self._implementations, self._sizes = {}, {}

    def get_function(self, fn, sig, _firstcall=True):
        key = fn, sig
        found = self._implementations.get(key)
        if found is None:
            own = range_function(fn, sig)
            found = functools.partial(own, self, sig) if own else super().get_function(fn, sig, _firstcall)
            self._implementations[key] = found
        return found

    def pair_first(self, builder, val, ty):
        return member(builder, val, 0)

    def pair_second(self, builder, val, ty):
        return member(builder, val, 1)

    def get_abi_sizeof(self, ty):
        found = self._sizes.get(ty)
        if found is None:
            found = self._sizes[ty] = super().get_abi_sizeof(ty)
        return found

    def load_additional_registries(self):
        from numba.core import optional  # noqa: F401  (each import registers what it implements)
        from numba.cpython import builtins, mathimpl, numbers, rangeobj, tupleobj  # noqa: F401
        self.install_registry(mathimpl.registry)

    def post_lowering(self, mod, library):
        _Contractable().visit(mod)


class _Interpreter(interpreter.Interpreter):
    """Bytecode -> Numba IR, without what serves `with` blocks, lists and dicts: kernels have none."""

    def post_process(self, peepholes, func_ir):
        return func_ir


class _Constraints(typeinfer.ConstraintNetwork):
    """What has to hold between types; Numba's looks after warnings around every single one."""

    def propagate(self, inference):
        failed = []
        for constraint in self.constraints:
            try:
                constraint(inference)
            except errors.TypingError as error:
                failed.append(errors.TypingError(str(error), loc=constraint.loc, highlighting=False))
        return failed


class _Inference(typeinfer.TypeInferer):
    """Numba's inference, which ends after one round over the code if that settled everything: another would change nothing."""

    def __init__(self, context, func_ir):
        super().__init__(context, func_ir, warnings=None)
        self.constraints, self.widened, self.token = _Constraints(), False, None
        self.late = []   # (name, another that takes its type) where the first had none yet: a loop's names, on their way round

    def add_type(self, var, tp, loc, unless_locked=False):
        known = self.typevars[var].type
        super().add_type(var, tp, loc, unless_locked)
        self.widened |= known is not None and self.typevars[var].type != known

    def copy_type(self, src_var, dest_var, loc):
        known = self.typevars[dest_var].type
        if not self.typevars[src_var].defined:
            self.late.append((src_var, dest_var))
        super().copy_type(src_var, dest_var, loc)
        self.widened |= known is not None and self.typevars[dest_var].type != known

    def settled(self) -> bool:
        """Whether every name has a type, which nothing has widened, nor will in another round, and each call a signature.

        In `q = 0; while q < n: q += 4` the name in the loop is the literal 0 until the sum, an int64, comes round.
        """
        calls = (getattr(constraint, "signature", constraint) for constraint in self.constraints.constraints)
        return (not self.widened and all(var.defined for var in self.typevars.values()) and None not in calls
                and all(self.typevars[a].type == self.typevars[b].type for a, b in self.late))

    def get_state_token(self):
        """What Numba compares after every round with the one before."""
        if not self.settled():
            self.token = super().get_state_token()
        return self.token


def _infer(typing_context, target, func_ir, signature):
    """(types of names, type of the result, signatures of calls) of Numba IR."""
    inference = _Inference(typing_context, func_ir)
    with typing_context.callstack.register(target.target, inference, func_ir.func_id, signature.args):
        for k, (name, kind) in enumerate(zip(func_ir.arg_names, signature.args, strict=True)):
            inference.seed_argument(name, k, kind)
        inference.seed_return(signature.return_type)
        inference.build_constraint()
        inference.propagate()
        return inference.unify()


class _Library(codegen.CodeLibrary):
    """Keeps the IR modules as they come; optimizing and linking happen in llvm.py."""

    def __init__(self, owner, name):
        super().__init__(owner, name)
        self.modules = []
        self.libraries = []

    def add_ir_module(self, ir_module):
        self.modules.append(ir_module)

    def add_linking_library(self, library):
        self.libraries.append(library)

    def all_modules(self):
        """The modules of this library and of those that it calls into (helpers that Numba compiled by itself)."""
        found = list(self.modules)
        for library in dict.fromkeys(self.libraries):
            found += [module for module in library.all_modules() if module not in found]
        return found

    def finalize(self):
        self._finalized = True

    def get_function(self, name):
        return next(f for module in self.modules for f in module.functions if f.name == name)

    def get_llvm_str(self):
        return "\n".join(map(str, self.modules))

    def get_asm_str(self):
        raise RuntimeError("no machine code is kept here; disassemble the kernel's object file")


class _Codegen(codegen.Codegen):
    _library_class = _Library

    def __init__(self):
        self._target_data = backend.target_machine().target_data
        self.host = backend.host()[0], str(self._target_data)
        self.machine = self.host  # (triple, data layout) of the modules to come
        self.alias_bits = ALIAS_BITS

    def _create_empty_module(self, name):
        module = ir.Module(name)
        module.triple, module.data_layout = self.machine
        module.jitnet_alias_bits = self.alias_bits
        return module

    def _add_module(self, module):
        pass


class _Description:
    """Where Numba finds the contexts when an intrinsic registers itself."""
    typing_context = None
    target_context = None


class _Dispatcher:
    targetdescr = _Description


def _no_overloads(*args, **options):
    raise errors.TypingError("kernels call intrinsics; functions that Numba implements in Python have no place here")


TARGET = "jitnet"
target_registry[TARGET] = _KernelTarget
dispatcher_registry[_KernelTarget] = _Dispatcher
jit_registry[_KernelTarget] = _no_overloads


def _contexts():
    if _Description.target_context is None:
        _Description.typing_context = _TypingContext()
        target = _TargetContext(_Description.typing_context, TARGET)
        target.error_model = callconv.create_error_model(ERROR_MODEL, target)
        _Description.target_context = target
        target.refresh()
    return _Description.typing_context, _Description.target_context


def prepare() -> None:
    """Loads what Numba knows of types and of lowering: done before a fork, it serves both processes."""
    with _compiling():
        _contexts()


def _flags():
    flags = compiler.Flags()
    flags.error_model = ERROR_MODEL
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
    flags.enable_pyobject = flags.nrt = False
    return flags


@contextlib.contextmanager
def _compiling():
    """Numba with our target and flags. It logs hundreds of lines per kernel at DEBUG: a program that sets the root logger to
    DEBUG, for lines of its own, gets them only if it sets a level for "numba" too."""
    logger = logging.getLogger("numba")
    unset = logger.level == logging.NOTSET
    if unset:
        logger.setLevel(logging.WARNING)
    try:
        with ConfigStack().enter(_flags()), target_override(TARGET):
            yield
    finally:
        if unset:
            logger.setLevel(logging.NOTSET)


def _lower(function, signature, renamed: bool = False):
    """The library with the IR of one function, and Numba's description of it.

    renamed: a name may be used again for values of another type; each assignment gets a name of its own then.
    """
    typing_context, target = _contexts()
    identity = bytecode.FunctionIdentity.from_function(function)
    func_ir = _Interpreter(identity).interpret(bytecode.ByteCode(identity))
    if renamed:
        func_ir.blocks = ssa.reconstruct_ssa(func_ir).blocks
    func_ir._definitions = ir_utils.build_definitions(func_ir.blocks)
    typemap, result, calltypes = _infer(typing_context, target, func_ir, signature)
    if renamed:
        func_ir = typed_passes.PreLowerStripPhis()._strip_phi_nodes(func_ir)
    library = target.codegen().create_library(identity.func_qualname)
    description = funcdesc.PythonFunctionDescriptor.from_specialized_function(
        func_ir, typemap, result, calltypes, mangler=target.mangler, inline=False, noalias=False, abi_tags=[])
    with target.push_code_library(library):
        Lower(target, library, description, func_ir, metadata={}).lower()
    return library, description


def _add_c_function(module, description, signature, symbol):
    """Adds the C function `symbol`, which wraps Numba's (it returns a status and takes two pointers more); returns it."""
    target = _Description.target_context
    inner = next(f for f in module.functions if f.name == description.llvm_func_name)
    inner.linkage = "internal"
    inner.attributes.add("alwaysinline")
    arguments = [target.get_value_type(a) for a in signature.args]
    wrapper = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), symbol)
    builder = ir.IRBuilder(wrapper.append_basic_block())
    value = builder.alloca(inner.args[0].type.pointee)
    error = builder.alloca(inner.args[1].type.pointee)
    builder.call(inner, [value, error, *wrapper.args])
    builder.ret_void()
    return wrapper


def _mark_loops(module) -> None:
    """Marks the branches that end the bodies of loops with a hint, for `_with_loop_hints` to find."""
    for function in module.functions:
        for block in function.blocks:
            hint = getattr(block, "loop_hint", None)
            if hint:
                block.terminator.set_metadata("llvm.loop", module.add_metadata([f"jitnet.{hint}.{next(_loops)}"]))


def _with_loop_hints(text: str) -> str:
    """The IR text with LLVM's hints in place of every mark: a loop's node names itself, which llvmlite cannot write."""
    def hinted(mark):
        return f"{mark[1]} = distinct !{{{mark[1]}, {LOOP_HINTS[mark[2]]}}}"
    return re.sub(r'^(!\d+) = !{ !"jitnet\.([a-z]+)\.\d+" }$', hinted, text, flags=re.MULTILINE)


def _texts(library) -> list[str]:
    """The IR texts of a library."""
    for module in library.all_modules():
        _mark_loops(module)
        for variable in module.global_values:
            if isinstance(variable, ir.GlobalVariable) and variable.linkage == "common":
                variable.linkage = "internal"  # Numba's slot for an environment that C functions never have
    return [_with_loop_hints(str(module)) for module in library.all_modules()]


@global_compiler_lock
def lower_kernel(source: str, symbol: str, scope: Mapping[str, object]) -> list[str]:
    """LLVM IR texts of the CPU kernel in `source`, a C function named `symbol`; its text may use the names in `scope`.

    Raises Numba's errors.
    """
    names = dict(scope)
    exec(compile(source, f"<{symbol}>", "exec"), names)
    with _compiling():
        _contexts()[1].codegen().alias_bits = max(1, (source.count("= buffer_") - 1).bit_length())
        library, description = _lower(names["kernel"], KERNEL)
        _add_c_function(library.modules[0], description, KERNEL, symbol)
        return _texts(library)


@global_compiler_lock
def lower_cuda_kernel(function: Callable, arguments: Sequence[types.Type], symbol: str, machine: tuple[str, str],
                      most_threads: int) -> list[str]:
    """LLVM IR texts of a GPU kernel `symbol` of these argument types; machine: the (triple, data layout) they are for.

    No buffer that is written overlaps another one.
    """
    signature = types.void(*arguments)
    with _compiling():
        for context in _contexts():
            context.refresh()  # names of GPU kernels may have come after the first CPU kernel
        codegen_ = _Description.target_context.codegen()
        codegen_.machine, codegen_.alias_bits = machine, ALIAS_BITS
        try:
            library, description = _lower(function, signature, renamed=True)
        finally:
            codegen_.machine = codegen_.host
        kernel = _add_c_function(library.modules[0], description, signature, symbol)
        kernel.calling_convention = "ptx_kernel"
        set.add(kernel.attributes, f'"nvvm.maxntid"="{most_threads}"')  # llvmlite knows a fixed list of attributes
        for argument, kind in zip(kernel.args, arguments):
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
            if getattr(kind, "constant", False):
                set.add(argument.attributes, "readonly")  # vector loads go through the read-only cache for it alone
        return _texts(library)
