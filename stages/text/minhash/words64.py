"""Eight and sixty-four bytes at a time: what kernels need of the machine beyond numba's arrays, an instruction or two each.

All are LLVM's own operations and so run anywhere; on x86 with AVX-512 the mask of 64 bytes is one comparison.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

import stages.text.compiled  # noqa: F401  (numba is first loaded there)

WORD, LANES = ir.IntType(64), ir.VectorType(ir.IntType(8), 64)


def _address(context, builder, kind, array, index, to=WORD):
    made = context.make_array(kind)(context, builder, array)
    return builder.bitcast(cgutils.gep_inbounds(builder, made.data, index), to.as_pointer())


def _lanes(context, builder, kind, array, index):
    return builder.load(_address(context, builder, kind, array, index, LANES), align=1)


@intrinsic
def load64(typing, array, index):
    """The eight bytes of a uint8 array from `index` on, little-endian; it must have them."""

    def made(context, builder, signature, given):
        return builder.load(_address(context, builder, signature.args[0], given[0], given[1]), align=1)

    return types.uint64(array, types.int64), made


@intrinsic
def store64(typing, array, index, value):
    """Write eight bytes into a uint8 array from `index` on; it must have room."""

    def made(context, builder, signature, given):
        builder.store(given[2], _address(context, builder, signature.args[0], given[0], given[1]), align=1)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint64), made


@intrinsic
def copy64(typing, source, index, sink, position):
    """Copy 64 bytes of a uint8 array from `index` on to another from `position` on; both must have them."""

    def made(context, builder, signature, given):
        value = _lanes(context, builder, signature.args[0], given[0], given[1])
        builder.store(value, _address(context, builder, signature.args[2], given[2], given[3], LANES), align=1)
        return context.get_dummy_value()

    return types.void(source, types.int64, sink, types.int64), made


@intrinsic
def others64(typing, array, index, byte):
    """A bit for each of the 64 bytes of a uint8 array from `index` on, the first lowest: is it another than `byte`?"""

    def made(context, builder, signature, given):
        found = _lanes(context, builder, signature.args[0], given[0], given[1])
        one = builder.insert_element(ir.Constant(LANES, ir.Undefined), given[2], ir.Constant(ir.IntType(32), 0))
        every = builder.shuffle_vector(
            one, ir.Constant(LANES, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        )
        return builder.bitcast(builder.icmp_unsigned("!=", found, every), WORD)

    return types.uint64(array, types.int64, types.uint8), made


@intrinsic
def trailing_zeros(typing, value):
    """How many zero bits stand below the lowest one of a uint64; 64 for 0."""

    def made(context, builder, signature, given):
        return builder.cttz(given[0], cgutils.false_bit)

    return types.uint64(types.uint64), made


@intrinsic
def ones(typing, value):
    """How many bits of a uint64 are set."""

    def made(context, builder, signature, given):
        return builder.ctpop(given[0])

    return types.uint64(types.uint64), made
