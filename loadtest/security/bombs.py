"""Small bodies that become large ones, one per content encoding, made by hand where no library makes them."""

import gzip
import struct
import zlib

MIB = 1 << 20


def gzipped(size: int) -> bytes:
    return gzip.compress(bytes(size), 9)


def deflated(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def zstd(size: int, window: int = 23) -> bytes:
    """A frame of blocks that repeat one byte (RFC 8878, 3.1.1.2). `window` is the logarithm of the window it claims."""
    block = 128 * 1024
    out = bytearray(b"\x28\xb5\x2f\xfd\x00" + bytes([(window - 10) << 3]))
    for at in range(0, size, block):
        length = min(block, size - at)
        last = at + block >= size
        out += struct.pack("<I", last | 1 << 1 | length << 3)[:3] + b"\x00"
    return bytes(out)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def snappy(size: int, claimed: int | None = None) -> bytes:
    """A block of copies of the byte before (the format's description, 2.2)."""
    copies = b"\xfe\x01\x00" * (size // 64)  # 64 bytes, from one byte back
    return varint(size + 1 if claimed is None else claimed) + b"\x00\x00" + copies


def xxh32(data: bytes) -> int:
    """Of less than 16 bytes, as the header of an LZ4 frame has."""
    prime = (2654435761, 2246822519, 3266489917, 668265263, 374761393)
    mask = 0xFFFFFFFF
    value = (prime[4] + len(data)) & mask
    while len(data) >= 4:
        value = (value + int.from_bytes(data[:4], "little") * prime[2]) & mask
        value = ((value << 17 | value >> 15) & mask) * prime[3] & mask
        data = data[4:]
    for byte in data:
        value = (value + byte * prime[4]) & mask
        value = ((value << 11 | value >> 21) & mask) * prime[0] & mask
    for shift, factor in ((15, prime[1]), (13, prime[2]), (16, None)):
        value ^= value >> shift
        value = value * factor & mask if factor else value
    return value


def lz4(size: int) -> bytes:
    """A frame of blocks of 4 MiB, each one match that goes on and on."""
    descriptor = b"\x60\x70"  # version 1, blocks by themselves; 4 MiB
    out = bytearray(b"\x04\x22\x4d\x18" + descriptor + bytes([xxh32(descriptor) >> 8 & 255]))
    for _ in range(size // (4 * MIB)):
        match = 4 * MIB - 1 - 5 - 4 - 15  # less a literal, the last literals, the least match, and the token's own
        block = b"\x1f\x00\x01\x00" + b"\xff" * (match // 255) + bytes([match % 255]) + b"\x50" + bytes(5)
        out += struct.pack("<I", len(block)) + block
    return bytes(out + b"\x00\x00\x00\x00")


ALL = {
    "gzip": lambda: gzipped(512 * MIB),
    "deflate": lambda: deflated(512 * MIB),
    "zstd": lambda: zstd(2048 * MIB),
    "zstd window": lambda: zstd(MIB, 41),
    "snappy": lambda: snappy(192 * MIB),
    "snappy claim": lambda: snappy(MIB, 0xFFFFFFFF),
    "lz4": lambda: lz4(512 * MIB),
}

ENCODING = {"zstd window": "zstd", "snappy claim": "snappy"}
