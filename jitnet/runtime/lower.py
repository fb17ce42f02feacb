"""Numba IR -> LLVM IR, by Numba's own lowering, for code on numbers, ranges and pointers.

Much of what Numba writes for any Python object is what LLVM would have to take away again: a stack slot for every name that is
read in another block, a load before every store, ranges as structs, a branch around every division. Here a name that is
assigned once is a value wherever it is read, the members of a struct stay values of their own, and ranges count upwards.
"""
from __future__ import annotations

import operator
from collections import Counter
from typing import ClassVar

from llvmlite import ir
from numba.core import errors, lowering, types
from numba.core import ir as numba_ir


class Members(ir.Constant):
    """The value of a struct that is never put together: its members are values of their own."""

    def __init__(self, kind, members):
        super().__init__(kind, ir.Undefined)
        self.members = members


def member(builder, value, i: int):
    """Member `i` of a struct."""
    return value.members[i] if isinstance(value, Members) else builder.extract_value(value, i)


def whole(builder, value):
    """A value as LLVM knows it."""
    if not isinstance(value, Members):
        return value
    struct = ir.Constant(value.type, ir.Undefined)
    for i, part in enumerate(value.members):
        struct = builder.insert_value(struct, part, i)
    return struct


def slot(builder, kind, name: str = ""):
    """A place on the stack for a value of that type."""
    with builder.goto_entry_block():
        return builder.alloca(kind, name=name)


# Ranges that count upwards. Each function is a lowering as Numba calls it.


def range_function(fn, sig):
    """The lowering (context, signature, builder, args) of calls of range and of iteration over one; None for all else."""
    if sig.return_type == types.range_state64_type:
        return _make_range
    if sig.args and sig.args[0] == types.range_state64_type and fn == "getiter":
        return _start_range
    return _next_of_range if sig.args and sig.args[0] == types.range_iter64_type and fn == "iternext" else None


def _members(context, kind, values):
    return Members(context.get_value_type(kind), values)


def _make_range(context, sig, builder, args, loc=None):
    start, stop = (context.get_constant(types.int64, 0), *args) if len(args) == 1 else args[:2]
    step = args[2] if len(args) == 3 else context.get_constant(types.int64, 1)
    return _members(context, sig.return_type, [start, stop, step])


def _start_range(context, sig, builder, args, loc=None):
    start, stop, step = (member(builder, args[0], i) for i in range(3))
    position = slot(builder, start.type)
    builder.store(start, position)
    return _members(context, sig.return_type, [position, stop, step])


def _next_of_range(context, sig, builder, args, loc=None):
    position, stop, step = (member(builder, args[0], i) for i in range(3))
    current = builder.load(position)
    builder.store(builder.add(current, step, flags=["nsw"]), position)
    return _members(context, sig.return_type, [current, builder.icmp_signed("<", current, stop)])


class Lower(lowering.Lower):
    """Numba's lowering, without what numbers and pointers never need: no reference counts, no debug information.

    Every name has one type, and is assigned before it is read, in whatever order blocks run: kernels are written that way.
    An operator on two types is resolved once per process, and not tried on constants first.
    """

    _resolved: ClassVar[dict] = {}

    def _find_singly_assigned_variable(self):
        assigned = [inst for block in self.blocks.values() for inst in block.find_insts(numba_ir.Assign)]
        counts = Counter(inst.target.name for inst in assigned)
        self._singly_assigned_vars = {name for name, count in counts.items() if count == 1}
        self._blk_local_varmap = {}
        for inst in assigned:
            if counts[inst.target.name] > 1:
                self._check_type(inst)

    def _check_type(self, inst):
        """Raises TypingError where an assignment would change the type of a name, which Numba would widen without a word."""
        name, value = inst.target.name, inst.value
        signature = self.fndesc.calltypes.get(value) if isinstance(value, numba_ir.Expr) else None
        found = signature.return_type if signature else self.typeof(value.name) if isinstance(value, numba_ir.Var) else None
        if found is not None and types.unliteral(found) != types.unliteral(self.typeof(name)):
            raise errors.TypingError(f"`{name}` is {self.typeof(name)} in one place and {found} in another", loc=inst.loc)

    def lower_block(self, block):
        for inst in block.body:
            self.loc = inst.loc
            self.lower_inst(inst)

    def lower_inst(self, inst):
        if isinstance(inst, numba_ir.Assign):
            name = inst.target.name
            self.storevar(self.lower_assign(self.typeof(name), inst), name)
        else:
            super().lower_inst(inst)

    def loadvar(self, name):
        found = self._blk_local_varmap.get(name)
        return self.builder.load(self.getvar(name)) if found is None else found

    def storevar(self, value, name, argidx=None):
        if name in self._singly_assigned_vars:
            self._blk_local_varmap[name] = value
        else:
            self.builder.store(whole(self.builder, value), self.getvar(name))

    def getvar(self, name):
        if name not in self.varmap:
            self.varmap[name] = slot(self.builder, self.context.get_value_type(self.typeof(name)), name)
        return self.varmap[name]

    def lower_binop(self, resty, expr, op):
        return self._operator(resty, op, self.fndesc.calltypes[expr], (expr.lhs, expr.rhs))

    def lower_getitem(self, resty, expr, value, index, signature):
        return self._operator(resty, operator.getitem, signature, (value, index))

    def _operator(self, resty, op, signature, operands):
        """The value of an operator on variables, as the type `resty`."""
        key = op, signature.args
        if key not in self._resolved:
            typing_context = self.context.typing_context
            function = typing_context.resolve_value_type(op)
            self._resolved[key] = function, function.get_call_type(typing_context, signature.args, {})
        function, signature = self._resolved[key]
        values = [self.context.cast(self.builder, self.loadvar(operand.name), self.typeof(operand.name), kind)
                  for operand, kind in zip(operands, signature.args)]
        if op is operator.truediv and isinstance(signature.args[0], types.Float):   # Numba tests for 0, whatever comes of it
            result = self.builder.fdiv(*values)
        else:
            result = self.context.get_function(function, signature)(self.builder, values)
        return self.context.cast(self.builder, result, signature.return_type, resty)
