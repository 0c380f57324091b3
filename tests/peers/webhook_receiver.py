#!/usr/bin/env python3
"""A receiver of webhooks that checks their signatures with Python's own hmac.

    webhook_receiver.py --port 8081 --log FILE --secret FILE [--cert PEM --key PEM]

What it answers is in the path: /ok 200, /fail-once 500 for the first post of each delivery and 200 then, /gone 410, /moved 307 to /ok,
/silent nothing, ever; /status/NNN that status. Of each post it writes a line of JSON to the log before it answers: path, event, delivery, good (whether the signature
is right, null while the file with the secret is not there), age of the signature in seconds, at (seconds since 1970), user_agent, body.
"""

import argparse
import hashlib
import hmac
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def check(secret: bytes, header: str, body: bytes) -> tuple[bool, float]:
    """Whether a body was signed so, and how long ago. This is what docs/events.md shows."""
    fields = dict(field.split("=", 1) for field in header.split(","))
    signed = fields["t"].encode() + b"." + body
    expected = hmac.new(secret, signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, fields["v1"]), time.time() - int(fields["t"])


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    options: argparse.Namespace
    lock = threading.Lock()
    seen: set = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        delivery = self.headers["X-Strowger-Delivery"]
        good = age = None
        try:
            secret = Path(self.options.secret).read_bytes().strip()
            good, age = check(secret, self.headers["X-Strowger-Signature"], body)
        except FileNotFoundError:
            pass
        with self.lock:
            again = (self.path, delivery) in self.seen
            self.seen.add((self.path, delivery))
            line = {
                "path": self.path, "event": self.headers["X-Strowger-Event"], "delivery": delivery, "good": good, "age": age,
                "at": time.time(), "type": self.headers["Content-Type"], "user_agent": self.headers["User-Agent"], "body": json.loads(body),
            }
            with open(self.options.log, "a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        if self.path == "/silent":
            threading.Event().wait()
        status = {"/ok": 200, "/gone": 410, "/moved": 307}.get(self.path)
        if self.path == "/fail-once":
            status = 200 if again else 500
        if self.path.startswith("/status/"):
            status = int(self.path.rsplit("/", 1)[1])
        said = b"thank you\n" if status == 200 else b"not today\n"
        self.send_response(status or 404)
        if status == 307:
            self.send_header("Location", "/ok")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    Receiver.options = parser.parse_args()
    server = Server(("127.0.0.1", Receiver.options.port), Receiver)
    if Receiver.options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Receiver.options.cert, Receiver.options.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


main()
