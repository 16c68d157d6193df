"""Small numbers <-> bits: fixed width, Rice and varint codes for tables and headers.

Plain Python: what is written here is a few hundred numbers a tile. Bits fill bytes from the lowest up.
"""

from __future__ import annotations

from lossyzip.errors import CorruptError, TruncatedError

_LONGEST_QUOTIENT = 64  # a Rice code with a longer unary part is damage, or an attack


class BitWriter:
    """Collects bits; `finish` pads the last byte with zeros."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._pending = 0
        self._count = 0

    def bits(self, value: int, width: int) -> None:
        """``value`` as ``width`` bits."""
        self._pending |= value << self._count
        self._count += width
        while self._count >= 8:
            self._bytes.append(self._pending & 0xFF)
            self._pending >>= 8
            self._count -= 8

    def rice(self, value: int, parameter: int) -> None:
        """``value`` >= 0: its quotient by 2**parameter in unary (ones, then a zero), then the remainder."""
        quotient = value >> parameter
        self.bits((1 << quotient) - 1, quotient + 1)
        self.bits(value & ((1 << parameter) - 1), parameter)

    def signed(self, value: int, parameter: int) -> None:
        """Any integer: 0, -1, 1, -2, ... as 0, 1, 2, 3, ... in a Rice code."""
        self.rice(2 * value if value >= 0 else -2 * value - 1, parameter)

    def finish(self) -> bytes:
        if self._count:
            self._bytes.append(self._pending & 0xFF)
            self._pending = self._count = 0
        return bytes(self._bytes)


class BitReader:
    """Reads what `BitWriter` wrote; raises TruncatedError behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._pending = 0
        self._count = 0

    def bits(self, width: int) -> int:
        while self._count < width:
            if self._position >= len(self._data):
                raise TruncatedError(f"a table ends after {len(self._data)} bytes, in the middle of a number")
            self._pending |= self._data[self._position] << self._count
            self._position += 1
            self._count += 8
        value = self._pending & ((1 << width) - 1)
        self._pending >>= width
        self._count -= width
        return value

    def rice(self, parameter: int) -> int:
        quotient = 0
        while self.bits(1):
            quotient += 1
            if quotient > _LONGEST_QUOTIENT << 4:
                raise CorruptError("a number in a table is longer than any that lossyzip writes")
        return (quotient << parameter) | self.bits(parameter)

    def signed(self, parameter: int) -> int:
        folded = self.rice(parameter)
        return -((folded + 1) >> 1) if folded & 1 else folded >> 1


def put_varint(out: bytearray, value: int) -> None:
    """``value`` >= 0, seven bits a byte, lowest first, the top bit set while more follow (LEB128)."""
    while value >= 0x80:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)


def get_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """(value, position behind it)."""
    value = shift = 0
    while True:
        if position >= len(data):
            raise TruncatedError(f"ends after {len(data)} bytes, in the middle of a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise CorruptError("a number is longer than 64 bits")


def put_sized(out: bytearray, data: bytes) -> None:
    """The length of ``data`` as a varint, and ``data``."""
    put_varint(out, len(data))
    out += data


def get_sized(data: bytes, position: int) -> tuple[bytes, int]:
    """(bytes that `put_sized` put, position behind them)."""
    size, position = get_varint(data, position)
    if position + size > len(data):
        raise TruncatedError(f"a part has {size} bytes, {len(data) - position} are left")
    return data[position : position + size], position + size
