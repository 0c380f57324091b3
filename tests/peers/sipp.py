#!/usr/bin/env python3
"""Runs one sipp scenario from the sipp/ folder and judges it.

  sipp.py run SCENARIO --dir D --to host:port [--number 600] [--from 1001] [--auth user:pass]
        [--port 5091] [--rtp 30000] [-d 2000] [--calls 1] [--rate 1] [--limit N] [--timeout 60]
        [--transport u1|t1|l1|w1|x1] [--key name=value ...] [--echo] [--audio PORT]
  sipp.py start SCENARIO --dir D --port 5092 ...   a callee or registrar in the background
  sipp.py wait  --dir D [--timeout 60]             its verdict, after --calls calls
  sipp.py stop  --dir D
  sipp.py kill  --dir D                            without a last word
Exit status 0 when every call went as the scenario says; the verdict is one JSON line.
"""
import argparse, csv, glob, json, os, subprocess, sys, time
import peerlib as P

HERE = os.path.dirname(os.path.abspath(__file__))

def build(a, d):
    sc = a.scenario if os.path.sep in a.scenario else f"{HERE}/sipp/{a.scenario}.xml"
    media = d + "/media"
    import media as M
    if not os.path.exists(media + "/signal.al"):
        M.main(media)
    for f in glob.glob(d + "/sipp_*"):
        os.unlink(f)
    user, _, pw = (a.auth or f"{a.from_}:secret").partition(":")
    keys = {"from_user": a.from_, "auth_user": user, "auth_pass": pw, "media_dir": media, "digits": "1234#",
            "expires": "120", "pt": "8", "code": "480", "reason": "Temporarily Unavailable", "refer_to": a.to or "127.0.0.1:5060"}
    keys.update(k.split("=", 1) for k in a.key)
    text = open(sc).read()
    if "[code]" in text:                       # sipp wants the status code literally in the scenario
        text = text.replace("[code]", keys["code"]).replace("[reason]", keys["reason"])
        sc = d + "/scenario.xml"; P.write(sc, text)
    if a.audio:                                # somebody else listens there
        sc = d + "/scenario.xml"; P.write(sc, text.replace("[media_port]", str(a.audio)))
    M.dtmf_pcap(media + "/dtmf.pcap", keys["digits"])
    c = ["sipp"] + ([a.to] if a.to else []) + ["-sf", sc, "-i", a.ip, "-p", str(a.port), "-mi", a.ip if ":" in a.ip else "127.0.0.1",
         "-mp", str(a.rtp), "-m", str(a.calls), "-d", str(a.d), "-s", a.number,
         "-t", a.transport, "-au", user, "-ap", pw, "-nostdin", "-trace_err", "-error_file", d + "/sipp_err.log",
         "-trace_stat", "-stf", d + "/sipp_stat.csv", "-fd", "1", "-trace_logs", "-log_file", d + "/sipp_log.log",
         "-trace_msg", "-message_file", d + "/sipp_msg.log", "-timeout", str(a.timeout), "-timeout_error",
         "-cp", str(a.port + 20000)]
    if a.to:
        c += ["-r", str(a.rate), "-l", str(a.limit)]
    if ":" in a.ip and a.to:                   # sipp itself forgets the brackets
        c += ["-auth_uri", a.to]
    if "-aa)" in text:
        c += ["-aa"]
    if a.echo:
        c += ["-rtp_echo"]
    if a.transport[0] in "lx":
        cert, key = P.tls_files(d)
        c += ["-tls_cert", cert, "-tls_key", key]
    for k, v in keys.items():
        c += ["-key", k, v]
    return c

def verdict(d, rc):
    out = {"rc": rc, "ok": False}
    try:
        rows = list(csv.DictReader(open(d + "/sipp_stat.csv"), delimiter=";"))
        last = rows[-1]
        out.update(calls=int(last["TotalCallCreated"]), ok_calls=int(last["SuccessfulCall(C)"]),
                   failed=int(last["FailedCall(C)"]), retrans=int(last["Retransmissions(C)"]),
                   unexpected=int(last["FailedUnexpectedMessage(C)"]))
        out["ok"] = rc == 0 and out["failed"] == 0 and out["ok_calls"] > 0
    except (OSError, IndexError, KeyError, ValueError) as e:
        out["error"] = repr(e)
    if not out["ok"] and os.path.exists(d + "/sipp_err.log"):
        out["why"] = open(d + "/sipp_err.log", errors="replace").read()[-600:]
    print(json.dumps(out))
    return 0 if out["ok"] else 1

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("verb", choices=["run", "start", "wait", "stop", "kill"]); p.add_argument("scenario", nargs="?")
    p.add_argument("--dir", required=True); p.add_argument("--to"); p.add_argument("--number", default="600")
    p.add_argument("--from", dest="from_", default="1001"); p.add_argument("--auth"); p.add_argument("--port", type=int, default=5091)
    p.add_argument("--rtp", type=int, default=30000); p.add_argument("-d", type=int, default=1000)
    p.add_argument("--calls", type=int, default=1); p.add_argument("--rate", type=float, default=1)
    p.add_argument("--ip", default="127.0.0.1"); p.add_argument("--limit", type=int, default=1000); p.add_argument("--timeout", type=int, default=60)
    p.add_argument("--transport", default="u1"); p.add_argument("--key", action="append", default=[])
    p.add_argument("--echo", action="store_true"); p.add_argument("--audio", type=int)
    a = p.parse_intermixed_args(); d = os.path.abspath(a.dir); os.makedirs(d, exist_ok=True)
    if a.verb in ("stop", "kill"):
        P.stop("sipp", d, 5.0 if a.verb == "stop" else 0); print("{}"); return 0
    if a.verb == "wait":
        pid = int(open(d + "/sipp.pid").read()); end = time.time() + a.timeout
        while time.time() < end and os.path.exists(f"/proc/{pid}") and \
                open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z":
            time.sleep(0.1)
        rc = 0 if time.time() < end else 124
        P.stop("sipp", d, 2)
        return verdict(d, rc)
    cmd = build(a, d)
    if a.verb == "start":
        proc = P.spawn("sipp", cmd, d)
        if not P.wait_bound(a.port, proc):
            sys.exit(open(d + "/sipp.out", errors="replace").read()[-1500:])
        P.ready(peer="sipp", pid=proc.pid, port=a.port); return 0
    with open(d + "/sipp.out", "wb") as out:
        rc = subprocess.run(P.argv_for(cmd, d), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=d,
                            env=dict(os.environ, TERM="dumb")).returncode
    return verdict(d, rc)

sys.exit(main())
