#!/usr/bin/env python3
"""Talks to a server's serial console by its WebSocket: types a command into its shell, and waits for what it says.

    serial.py URL COMMAND ANSWER

Ends with 0 once a line of the guest's begins with ANSWER, which COMMAND must not contain: the line echoes it.
"""

import base64
import os
import socket
import struct
import sys
import time
from urllib.parse import urlsplit

WAIT_SECS = 60
ASK_AGAIN_SECS = 5


def frame(payload):
    """A binary message of a client: masked, as they have to be."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return struct.pack("!BB", 0x82, 0x80 | len(payload)) + mask + masked


def messages(buffer):
    """The whole messages of a server in the buffer, and what is left of it."""
    found = []
    while len(buffer) >= 2:
        kind, length, at = buffer[0] & 15, buffer[1] & 127, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(buffer) < 2 + size:
                break
            length, at = int.from_bytes(buffer[2 : 2 + size], "big"), 2 + size
        if len(buffer) < at + length:
            break
        found.append((kind, buffer[at : at + length]))
        buffer = buffer[at + length :]
    return found, buffer


def main():
    url, command, answer = urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3]
    connection = socket.create_connection((url.hostname, url.port))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    heard = b""
    while b"\r\n\r\n" not in heard:
        piece = connection.recv(4096)
        if not piece:
            sys.exit(f"serial: the cloud said: {heard.decode(errors='replace')}")
        heard += piece
    head, buffer = heard.split(b"\r\n\r\n", 1)
    if b" 101 " not in head.splitlines()[0]:
        sys.exit(f"serial: the cloud said: {(head + buffer).decode(errors='replace')}")
    said, until, ask_at = b"", time.monotonic() + WAIT_SECS, 0.0
    connection.settimeout(1)
    while time.monotonic() < until:
        if time.monotonic() >= ask_at:
            connection.sendall(frame(b"\n") + frame(command.encode() + b"\n"))
            ask_at = time.monotonic() + ASK_AGAIN_SECS
        found, buffer = messages(buffer)
        for kind, payload in found:
            if kind == 8:
                sys.exit(f"serial: it was closed: {payload[2:].decode(errors='replace')}")
            said += payload if kind == 2 else b""
        if any(line.strip().startswith(answer.encode()) for line in said.splitlines()):
            print(f"serial: the guest answered {answer}")
            return
        try:
            piece = connection.recv(65536)
            if not piece:
                sys.exit("serial: the cloud closed the connection")
            buffer += piece
        except TimeoutError:
            pass
    sys.exit(f"serial: no answer, but: {said.decode(errors='replace')}")


if __name__ == "__main__":
    main()
