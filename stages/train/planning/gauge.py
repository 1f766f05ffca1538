"""What a run took: its highest memory, tokens per second, share of the card's peak; and the same, step by step, for TensorBoard."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any, BinaryIO


class Gauge:
    """The highest memory of this process (or of its card) since it was begun; None where the system does not say."""

    def __init__(self, device: Any):
        import torch

        self.cuda = device.type == "cuda"
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self.before = _status("VmRSS")
        except (OSError, StopIteration):
            self.before = None

    def peak(self) -> int | None:
        """Bytes: of the card, all that was allocated; of a process, what it grew by."""
        import torch

        if self.cuda:
            return int(torch.cuda.max_memory_allocated())
        return None if self.before is None else max(0, _status("VmHWM") - self.before)


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def utilisation(flops_per_token: float, tokens_per_second: float, peak: float | None) -> float | None:
    """MFU: the share of the card's peak that goes into the model's own arithmetic; None where the peak is not known."""
    return flops_per_token * tokens_per_second / peak if peak else None


# -- TensorBoard ---------------------------------------------------------------------------------------------------
# An event file is a row of records: length, its checksum, the bytes of one protocol buffer, their checksum. Written here in
# forty lines, so that looking at a curve needs no package on the machine that trains.


class Events:
    """A TensorBoard event file in `folder`; one scalar per number told."""

    def __init__(self, folder: str | Path):
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.path = Path(folder) / f"events.out.tfevents.{int(time.time())}.maetdol"
        self._out: BinaryIO = open(self.path, "ab")
        self._record(_double(1, time.time()) + _bytes(3, b"brain.Event:2"))

    def tell(self, step: int, values: dict[str, float]) -> None:
        summary = b"".join(_bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in values.items())
        self._record(_double(1, time.time()) + _varint(2, step) + _bytes(5, summary))
        self._out.flush()

    def close(self) -> None:
        self._out.close()

    def _record(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        self._out.write(length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data)))


def _number(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def _varint(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _double(field: int, value: float) -> bytes:
    return _number(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _number(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(value)) + value


def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)


TABLE = _table()


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    value = 0xFFFFFFFF
    for byte in data:
        value = TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """A checksum as TensorFlow's record files hold it."""
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
