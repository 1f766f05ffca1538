"""Eight bytes at a time: what kernels need of the machine beyond numba's arrays, as three instructions."""

from __future__ import annotations

import stages.text.compiled  # noqa: F401 I001  (numba is first loaded there)
from numba.core import cgutils, types
from numba.extending import intrinsic


def _address(context, builder, kind, array, index):
    made = context.make_array(kind)(context, builder, array)
    place = cgutils.gep_inbounds(builder, made.data, index)
    return builder.bitcast(place, cgutils.ir.IntType(64).as_pointer())


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
def trailing_zeros(typing, value):
    """How many zero bits stand below the lowest one of a uint64 that is not 0."""

    def made(context, builder, signature, given):
        return builder.cttz(given[0], cgutils.true_bit)

    return types.uint64(types.uint64), made
