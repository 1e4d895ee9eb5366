"""A store as a gateway reaches it: TCP passed on to the real one, until it is cut off or slowed down."""

from __future__ import annotations

import socket
import threading
import time


class Proxy:
    """Passes connections on to `target`. `cut` ends them and refuses new ones; `delay_s` is added to each answer."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.delay_s = 0.0
        self._listener = self._listen(0)
        self.port = self._listener.getsockname()[1]

    def cut(self) -> None:
        """The store is gone."""
        # A thread in accept keeps a socket that is merely closed listening.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def mend(self) -> None:
        """The store is back."""
        self._listener = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            with self._lock:
                self._open |= {client, server}
            threading.Thread(target=self._pass, args=[client, server, False], daemon=True).start()
            threading.Thread(target=self._pass, args=[server, client, True], daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(65536):
                if is_answer and self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        except OSError:
            pass
        for connection in (source, sink):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            with self._lock:
                self._open.discard(connection)
