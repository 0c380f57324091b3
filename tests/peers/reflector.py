#!/usr/bin/env python3
"""A UDP reflector as Telegram runs them for calls (a model: telegram_sim/README.md says what is known).

    reflector.py --listen 10.77.0.2:5999

Ends of a call send it packets that begin with a 16-byte id: 12 bytes that all ends of the call share, 4 that name one end. A
packet whose bytes 16..28 are all ff is a hello: the sender is remembered under its id and answered with the id and 12 times ff.
Anything else goes to the end that its first 16 bytes name. It prints a line when it is ready, and one for each new end.
"""
import argparse
import socket

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", required=True, metavar="IP:PORT")
    host, port = parser.parse_args().listen.rsplit(":", 1)
    serve((host, int(port)))


if __name__ == "__main__":
    main()
