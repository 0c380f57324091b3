#!/usr/bin/env python3
"""A reflector as Telegram runs them for calls (a model: telegram_sim/README.md says what is known).

    reflector.py --listen 10.77.0.2:5999 [--tcp]

Ends of a call send it packets that begin with a 16-byte id: 12 bytes that all ends of the call share, 4 that name one end. A
packet whose bytes 16..28 are all ff is a hello: the sender is remembered under its id and answered with the id and 12 times ff.
Anything else goes to the end that its first 16 bytes name. Over TCP a connection begins with four times ee, each packet follows its
length (32 bits, little-endian), and a hello is an id and 4 zeros, which is not answered. It prints a line when it is ready, and one for each new end.
"""
import argparse
import socket
import struct
import threading

HELLO = b"\xff" * 12
ENDS = 256


def serve(address):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(address)
    print("ready", flush=True)
    ends = {}
    while True:
        data, source = sock.recvfrom(4096)
        name = data[:16]
        if len(data) < 24:
            continue
        if data[16:28] == HELLO:
            if name not in ends and len(ends) < ENDS:
                print("end", name.hex(), "%s:%d" % source, flush=True)
                ends[name] = source
            elif name in ends:
                ends[name] = source
            sock.sendto(name + HELLO, source)
        elif name in ends:
            sock.sendto(data, ends[name])


def exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def carry(sock, peer, ends):
    try:
        if exactly(sock, 4) != b"\xee" * 4:
            return
        while True:
            length, = struct.unpack("<I", exactly(sock, 4))
            if length > 4096:
                return
            data = exactly(sock, length)
            name = data[:16]
            if length == 20 and data[16:] == bytes(4):
                if name not in ends:
                    print("end", name.hex(), "%s:%d" % peer, flush=True)
                ends[name] = sock
            elif name in ends:
                try:
                    ends[name].sendall(struct.pack("<I", length) + data)
                except OSError:
                    del ends[name]
    except OSError:
        pass
    finally:
        sock.close()


def serve_tcp(address):
    listener = socket.create_server(address)
    print("ready", flush=True)
    ends = {}
    while True:
        sock, peer = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=carry, args=(sock, peer, ends), daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", required=True, metavar="IP:PORT")
    parser.add_argument("--tcp", action="store_true")
    args = parser.parse_args()
    host, port = args.listen.rsplit(":", 1)
    (serve_tcp if args.tcp else serve)((host, int(port)))


if __name__ == "__main__":
    main()
