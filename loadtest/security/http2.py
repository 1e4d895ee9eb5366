"""HTTP/2 by hand (RFC 9113): frames that no library would send."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def number(value: int, bits: int, first: int) -> bytes:
    """An integer of HPACK (RFC 7541, 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = bytearray([first | most]), value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + bytes([value]))


def field(name: str, value: str, kept: bool = False) -> bytes:
    """A field in letters; `kept` puts it into the receiver's table."""
    text = b"".join(number(len(part), 7, 0) + part for part in (name.encode(), value.encode()))
    return (b"\x40" if kept else b"\x00") + text


def post(path: str, *fields: tuple[str, str]) -> bytes:
    """The block of a gRPC call's header."""
    static = b"\x83\x86"  # POST, http
    rest = [(":path", path), (":authority", "x"), ("content-type", "application/grpc"), ("te", "trailers"), *fields]
    return static + b"".join(field(name, value) for name, value in rest)


class Connection:
    """A connection that has said hello."""

    def __init__(self, address: tuple[str, int], timeout: float = 10) -> None:
        self.socket = socket.create_connection(address, timeout)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.rest = b""

    def send(self, data: bytes) -> bool:
        """Whether the other side still takes anything."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def frames(self):
        """What the other side says until it ends the connection or falls silent."""
        try:
            while True:
                while len(self.rest) < 9 or len(self.rest) < 9 + int.from_bytes(self.rest[:3], "big"):
                    more = self.socket.recv(65536)
                    if not more:
                        return
                    self.rest += more
                length = int.from_bytes(self.rest[:3], "big")
                kind, flags = self.rest[3], self.rest[4]
                stream = int.from_bytes(self.rest[5:9], "big")
                payload, self.rest = self.rest[9 : 9 + length], self.rest[9 + length :]
                yield kind, flags, stream, payload
        except OSError:
            return

    def call(self, path: str, message: bytes, *fields: tuple[str, str]) -> str:
        """The grpc-status of a call, `reset` or `closed`. Fields of an answer are read as far as a status goes."""
        self.send(frame(HEADERS, END_HEADERS, 1, post(path, *fields)))
        for at in range(0, max(len(message), 1), 16384):
            piece = message[at : at + 16384]
            self.send(frame(DATA, END_STREAM if at + 16384 >= len(message) else 0, 1, piece))
        for kind, _, stream, payload in self.frames():
            if kind == RESET and stream == 1:
                return "reset"
            if kind == GOAWAY:
                return "closed"
            if kind == HEADERS and stream == 1:
                status = grpc_status(payload)
                if status is not None:
                    return status
        return "closed"

    def close(self) -> None:
        self.socket.close()


# Digits in the Huffman code of HPACK (RFC 7541, appendix B), by their bits.
DIGITS = {"00000": "0", "00001": "1", "00010": "2", "011001": "3", "011010": "4", "011011": "5", "011100": "6", "011101": "7", "011110": "8", "011111": "9"}


def huffman_digits(data: bytes) -> str:
    bits, out = "".join(f"{byte:08b}" for byte in data), ""
    while bits and set(bits) != {"1"}:
        code = next((code for code in DIGITS if bits.startswith(code)), None)
        if code is None:
            return "?"
        out, bits = out + DIGITS[code], bits[len(code) :]
    return out


def grpc_status(block: bytes) -> str | None:
    """The value behind the name `grpc-status`, in letters or in the Huffman code of HPACK."""
    for name in (b"grpc-status", bytes.fromhex("9acac8b21234da8f")):
        at = block.find(name)
        if at >= 0:
            length = block[at + len(name)]
            value = block[at + len(name) + 1 :][: length & 127]
            return huffman_digits(value) if length & 128 else value.decode()
    return None


def grpc(message: bytes, compressed: bool = False) -> bytes:
    """A message with its prefix."""
    return bytes([compressed]) + struct.pack(">I", len(message)) + message
