"""Channel: one worker's line to the loop, a socket pair that carries whole messages and descriptors.

Each worker has a line of its own, so there is no lock that a killed worker could take along, and the
end of a process is the end of its line: whoever waits is told at once. A message is 8 bytes of
length and its bytes; descriptors (of shared memory) ride along with the first byte of a message
and are handed over in the order in which they came.

The loop's end never blocks: what the socket does not take waits in `out` until it does, what has
come is kept until a message is whole. So a worker that is busy, stopped or gone holds up nobody. The
worker's end waits, which is how a worker that is ahead is slowed down.
"""

import array
import collections
import os
import socket
import struct
import weakref

__all__ = ["Channel", "can_pass_descriptors", "close_inherited", "pair"]

LENGTH = struct.Struct("<Q")
PIECE = 1 << 18  # bytes asked for at once
MOST_DESCRIPTORS = 64  # in one message

can_pass_descriptors = hasattr(socket, "SCM_RIGHTS")

# the loop's ends in this process: a forked child closes them, or no worker would notice the end
_LOOP_ENDS = weakref.WeakSet()


def pair():
    """(the loop's end, the socket of the worker's end)."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    ours.setblocking(False)
    _LOOP_ENDS.add(channel)
    return channel, theirs


def close_inherited():
    """In a new process: close the copies of the loops' ends that fork() made."""
    for channel in list(_LOOP_ENDS):
        channel.close()
    _LOOP_ENDS.clear()


class Channel:
    """One end. `closed` once the other end is gone or `close()` was called."""

    def __init__(self, sock):
        self.sock = sock
        self.closed = False
        self.out = bytearray()
        self._in = bytearray()
        self._riding = collections.deque()  # (bytes of `out` before it, descriptors)
        self.descriptors = collections.deque()  # received, not yet asked for

    def fileno(self):
        return self.sock.fileno()

    def send(self, message, descriptors=()):
        """Send a message; the loop's end keeps what does not go out now (see `flush`)."""
        if self.closed:
            return
        if descriptors:
            # they ride with the first byte of their own message
            self._riding.append((len(self.out), list(descriptors)))
        self.out += LENGTH.pack(len(message))
        self.out += message
        self.flush()

    def flush(self):
        """Send what waits, as far as the socket takes it; False while something is left."""
        try:
            while self.out:
                riders, end = [], len(self.out)
                if self._riding:
                    first = self._riding[0][0]
                    if first:
                        end = first
                    else:
                        riders = self._riding[0][1]
                        end = self._riding[1][0] if len(self._riding) > 1 else end
                with memoryview(self.out)[:end] as piece:
                    if riders:
                        rights = array.array("i", riders)
                        sent = self.sock.sendmsg(
                            [piece], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
                        )
                        self._riding.popleft()
                    else:
                        sent = self.sock.send(piece)
                del self.out[:sent]
                if self._riding:
                    self._riding = collections.deque((n - sent, d) for n, d in self._riding)
        except BlockingIOError:
            return False
        except OSError:
            # the other end is gone: reading will say so
            self.out.clear()
            self._riding.clear()
        return True

    def _receive(self):
        """One read; False at the end of the line. BlockingIOError where nothing has come."""
        try:
            if can_pass_descriptors:
                space = socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
                data, extra, _, _ = self.sock.recvmsg(PIECE, space)
                for level, kind, rights in extra:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        got = array.array("i")
                        got.frombytes(rights[: len(rights) - len(rights) % got.itemsize])
                        self.descriptors.extend(got)
            else:
                data = self.sock.recv(PIECE)
        except BlockingIOError:
            raise
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        self._in += data
        return True

    def _whole(self):
        """The next message that is complete, or None."""
        have = len(self._in)
        if have < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._in)[0]
        if have < end:
            return None
        message = bytes(memoryview(self._in)[LENGTH.size : end])
        del self._in[:end]
        return message

    def arrived(self):
        """The messages that have come, without waiting (the loop's end)."""
        found = []
        try:
            while not self.closed and self._receive():
                while (message := self._whole()) is not None:
                    found.append(message)
                if found:
                    break
        except BlockingIOError:
            pass
        return found

    def receive(self):
        """The next message, waiting for it (the worker's end); None at the end of the line."""
        while (message := self._whole()) is None:
            if not self._receive():
                return None
        return message

    def close(self):
        """Close this end; the other is told by the end of its line. May be called twice."""
        self.closed = True
        self.out.clear()
        _LOOP_ENDS.discard(self)
        while self.descriptors:
            os.close(self.descriptors.popleft())
        self.sock.close()
