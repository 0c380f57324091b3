"""Shared parts of the peer launchers: where a program lives, start, wait, stop."""
import json, os, shutil, signal, socket, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.environ.get("PEERS_ROOT", os.path.join(HERE, "..", "..", "target", "peers-root"))
ROOT = os.path.abspath(ROOT)
PREFER_TREE = os.environ.get("PEERS_FROM") == "tree"

_ENTER = """
root=$1; dir=$2; here=$3; shift 3
mount --rbind /proc "$root/proc"; mount --rbind /dev "$root/dev"
for d in "$dir" "$here"; do mkdir -p "$root$d"; mount --bind "$d" "$root$d"; done
exec chroot "$root" env -C "$dir" "$@"
"""

def argv_for(cmd, workdir):
    """Command line for `cmd`: the host's program, or the one in the peer root when the host has none.

    PEERS_FROM=tree turns the order round, for the newer versions that root.sh installs.

    The mounts live in a private mount namespace and vanish with the process;
    the process keeps its pid through every exec, so it can be signalled.
    """
    in_root = any(os.access(ROOT + d + cmd[0], os.X_OK)
                  for d in ("/usr/sbin/", "/usr/bin/"))
    if in_root and (PREFER_TREE or not shutil.which(cmd[0])):
        user = [] if os.geteuid() == 0 else ["-r"]
        return (["unshare", "-m"] + user + ["sh", "-euc", _ENTER, "sh", ROOT,
                os.path.abspath(workdir), HERE] + list(cmd))
    if shutil.which(cmd[0]):
        return list(cmd)
    sys.exit(f"{cmd[0]}: not on this host and not under {ROOT}; run root.sh")

def spawn(name, cmd, d, **kw):
    """Start a long-running peer; its pid goes to <d>/<name>.pid, output to <d>/<name>.out."""
    out = open(os.path.join(d, name + ".out"), "ab")
    p = subprocess.Popen(argv_for(cmd, d), stdin=subprocess.DEVNULL, stdout=out,
                         stderr=subprocess.STDOUT, start_new_session=True, cwd=d, **kw)
    with open(os.path.join(d, name + ".pid"), "w") as f:
        f.write(str(p.pid))
    return p

def stop(name, d, grace=5.0):
    """Ask the peer to end, and kill it after `grace` seconds; at once, without asking, when that is 0."""
    path = os.path.join(d, name + ".pid")
    try:
        pid = int(open(path).read())
    except (OSError, ValueError):
        return
    for sig in (signal.SIGTERM, signal.SIGKILL) if grace else (signal.SIGKILL,):
        try:
            os.killpg(pid, sig)
        except ProcessLookupError:
            break
        end = time.time() + (grace or 5.0)
        while time.time() < end:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
            try:
                os.killpg(pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.05)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass

def options_ping(host, port, timeout=15.0, proc=None):
    """Wait until something answers a SIP OPTIONS over UDP (any status code)."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0)); s.settimeout(0.2)
    me = "127.0.0.1:%d" % s.getsockname()[1]
    end, n = time.time() + timeout, 0
    while time.time() < end:
        if proc is not None and proc.poll() is not None:
            return False
        n += 1
        s.sendto((f"OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bKping{n};rport\r\n"
                  f"From: <sip:ping@{me}>;tag=p{n}\r\nTo: <sip:{host}:{port}>\r\nCall-ID: ping{n}-{me}\r\n"
                  f"CSeq: 1 OPTIONS\r\nContact: <sip:ping@{me}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n").encode(),
                 (host, port))
        try:
            if s.recv(4096).startswith(b"SIP/2.0"):
                return True
        except OSError:
            time.sleep(0.05)
    return False

def bound(port, tables=("udp", "udp6", "tcp", "tcp6")):
    """Whether any socket of this network namespace is bound to the port."""
    for table in tables:
        try:
            for line in open("/proc/net/" + table).read().splitlines()[1:]:
                if int(line.split()[1].rsplit(":", 1)[1], 16) == port:
                    return True
        except OSError:
            pass
    return False

def wait_bound(port, proc, timeout=10.0):
    """Wait until the port is taken; False when the program ended before."""
    end = time.time() + timeout
    while time.time() < end and proc.poll() is None:
        if bound(port):
            return True
        time.sleep(0.02)
    return False

def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)

def tls_files(d, name="127.0.0.1"):
    """Self-signed certificate for tests; returns (cert, key)."""
    cert, key = os.path.join(d, "cert.pem"), os.path.join(d, "key.pem")
    if not os.path.exists(cert):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                        "-subj", "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
                        "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
    return cert, key

def ready(**info):
    print(json.dumps(info), flush=True)
