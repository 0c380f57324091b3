#!/usr/bin/env python3
"""Asterisk as the PBX on the other side of a trunk.

  asterisk.py start --dir D [--sip 5070] [--rtp 20000-20199] [--ami 5038] [--tls 5071]
        [--ext 1001:secret ...]            extensions that may register (phones, or the switch)
        [--register user:pass@host:port]   registration of Asterisk at the switch (PBX->switch)
        [--trunk host:port]                IP<->IP trunk, no registration
        [--trunk-auth user:pass]           ask digest of calls that arrive on the IP trunk
        [--codecs alaw,ulaw,g722,opus,gsm] [--trunk-codecs opus]
        [--dtmf rfc4733|info|inband|auto|auto_info] [--srtp no|sdes|sdes-optional|dtls] [--timers yes|no|required]
        [--prack yes|no|required] [--pass-hold] [--transport udp|tcp|tls] [--named 600: where a call to a name goes] [--mode peer|b2bua] [--dest host:port]
        [--pjsip FILE] [--extensions FILE]  more configuration, as an operator pastes it; it finds the service numbers in [internal]
  asterisk.py cli  --dir D 'core show channels concise'
  asterisk.py stop --dir D
Service numbers are listed in tests/peers/README.md.
"""
import argparse, os, subprocess, sys, time
import peerlib as P

MODULES = """res_timing_timerfd res_sorcery_config res_sorcery_memory res_sorcery_astdb
res_pjproject res_pjsip res_pjsip_session res_pjsip_sdp_rtp res_pjsip_registrar
res_pjsip_outbound_registration res_pjsip_authenticator_digest res_pjsip_outbound_authenticator_digest
res_pjsip_endpoint_identifier_user res_pjsip_endpoint_identifier_ip res_pjsip_endpoint_identifier_anonymous
res_pjsip_dtmf_info res_pjsip_rfc3326 res_pjsip_rfc3329 res_pjsip_nat res_pjsip_caller_id
res_pjsip_diversion res_pjsip_refer res_pjsip_messaging res_pjsip_acl res_pjsip_logger
res_pjsip_pubsub res_pjsip_exten_state res_pjsip_dialog_info_body_generator res_pjsip_pidf_body_generator
res_pjsip_mwi res_pjsip_mwi_body_generator res_pjsip_path res_pjsip_header_funcs res_pjsip_sips_contact
res_pjsip_outbound_publish res_pjsip_history res_clioriginate
res_rtp_asterisk res_srtp res_format_attr_opus res_musiconhold res_http_websocket res_pjsip_transport_websocket
chan_pjsip pbx_config bridge_simple bridge_native_rtp bridge_softmix bridge_holding bridge_builtin_features
codec_a_mu codec_alaw codec_ulaw codec_g722 codec_gsm codec_resample codec_opus_open_source
format_gsm format_wav format_wav_gsm format_pcm format_sln
app_dial app_echo app_playback app_playtones app_read app_record app_mixmonitor app_senddtmf app_transfer
app_verbose app_userevent app_milliwatt app_stack app_exec app_waituntil app_bridgewait app_confbridge
app_originate app_controlplayback app_waitforsilence app_chanspy
func_callerid func_channel func_logic func_strings func_cdr func_periodic_hook func_hangupcause func_env
func_math func_global func_pjsip_endpoint func_sprintf func_uri func_jitterbuffer func_dialplan
func_cut func_groupcount""".split()

DTMF = {"rfc4733": "rfc4733", "info": "info", "inband": "inband", "auto": "auto", "auto_info": "auto_info"}

def endpoint(name, a, codecs, extra=""):
    enc = {"no": "", "sdes": "media_encryption=sdes\n",
           "sdes-optional": "media_encryption=sdes\nmedia_encryption_optimistic=yes\n",
           "dtls": "media_encryption=dtls\ndtls_auto_generate_cert=yes\ndtls_setup=actpass\ndtls_verify=no\nuse_avpf=yes\nrtcp_mux=no\n"}[a.srtp]
    return (f"[{name}]\ntype=endpoint\ntransport={a.transport}\ndisallow=all\nallow={codecs}\n"
            f"direct_media=no\nrtp_symmetric=yes\nforce_rport=yes\nrewrite_contact=yes\n"
            f"dtmf_mode={DTMF[a.dtmf]}\ntimers={a.timers}\n100rel={a.prack}\nsend_pai=yes\ntrust_id_inbound=yes\n"
            f"{enc}{extra}\n")

def pjsip(a, d):
    t = f"[global]\ntype=global\nuser_agent=peer-asterisk\nendpoint_identifier_order=auth_username,username,ip\n\n"
    via = "" if a.transport == "udp" else "\\;transport=" + a.transport
    t += f"[udp]\ntype=transport\nprotocol=udp\nbind=127.0.0.1:{a.sip}\n\n"
    t += f"[tcp]\ntype=transport\nprotocol=tcp\nbind=127.0.0.1:{a.sip}\n\n"
    if a.tls:
        cert, key = P.tls_files(d)
        t += (f"[tls]\ntype=transport\nprotocol=tls\nbind=127.0.0.1:{a.tls}\ncert_file={cert}\n"
              f"priv_key_file={key}\nmethod=tlsv1_2\n\n")
    for e in a.ext:
        user, _, pw = e.partition(":")
        t += f"[{user}]\ntype=auth\nauth_type=digest\nusername={user}\npassword={pw}\n\n"
        t += f"[{user}]\ntype=aor\nmax_contacts=5\nremove_existing=no\nminimum_expiration=10\ndefault_expiration=120\n\n"
        t += endpoint(user, a, a.codecs, f"context=in\nauth={user}\naors={user}\ncallerid={user} <{user}>\n").replace(f"transport={a.transport}\n", "")
    if a.register:
        cred, _, hp = a.register.rpartition("@")
        user, _, pw = cred.partition(":")
        t += f"[reg]\ntype=auth\nauth_type=digest\nusername={user}\npassword={pw}\n\n"
        t += (f"[reg]\ntype=registration\ntransport={a.transport}\noutbound_auth=reg\nserver_uri=sip:{hp}{via}\n"
              f"client_uri=sip:{user}@{hp}\ncontact_user={user}\nretry_interval=5\nforbidden_retry_interval=10\n"
              f"expiration=120\nline=yes\nendpoint=reg\n\n")
        t += f"[reg]\ntype=aor\ncontact=sip:{hp}{via}\n\n"
        t += endpoint("reg", a, a.trunk_codecs or a.codecs,
                      f"context=in\noutbound_auth=reg\naors=reg\nfrom_user={user}\nfrom_domain={hp.split(':')[0]}\n")
    if a.trunk:
        host, _, port = a.trunk.partition(":")
        t += f"[trunk]\ntype=aor\ncontact=sip:{a.trunk}{via}\nqualify_frequency={a.qualify}\n\n"
        t += f"[trunk]\ntype=identify\nendpoint=trunk\nmatch={host}\n\n"
        auth = ""
        if a.trunk_auth:
            user, _, pw = a.trunk_auth.partition(":")
            t += f"[trunk]\ntype=auth\nauth_type=digest\nusername={user}\npassword={pw}\n\n"
            auth = "auth=trunk\n"
        t += endpoint("trunk", a, a.trunk_codecs or a.codecs, f"context=in\naors=trunk\n{auth}" + ("moh_passthrough=yes\n" if a.pass_hold else ""))
    if a.pjsip:
        t += open(a.pjsip).read()
    if a.mode == "b2bua":
        t += endpoint("bench-in", a, a.codecs, "context=bench\nsend_connected_line=no\n").replace(f"transport={a.transport}\n", "")
        t += f"[bench-in]\ntype=identify\nendpoint=bench-in\nmatch=127.0.0.1\n\n"
        t += f"[bench-out]\ntype=aor\ncontact=sip:{a.dest}\n\n"
        t += endpoint("bench-out", a, a.trunk_codecs or a.codecs, "context=bench\naors=bench-out\nsend_connected_line=no\n")
    return t

DIALPLAN = r"""
[globals]
[bench]
exten => _X!,1,Dial(PJSIP/${EXTEN}@bench-out,60)
[in]
include => services
; four digits beginning with 1: a registered extension; anything else out through the trunk
exten => _1XXX,1,Dial(PJSIP/${EXTEN},30)
 same => n,Hangup(${HANGUPCAUSE})
exten => _+X.,1,Dial(PJSIP/${EXTEN}@@OUT@,60)
 same => n,Hangup(${HANGUPCAUSE})
exten => _0X.,1,Dial(PJSIP/${EXTEN:1}@@OUT@,60)
 same => n,Hangup(${HANGUPCAUSE})
exten => _tg.,1,Dial(PJSIP/${EXTEN}@@OUT@,60)
 same => n,Hangup(${HANGUPCAUSE})
exten => _[a-z].,1,Goto(@NAMED@,1)
[internal]
include => services
[services]
exten => 600,1,Answer()
 same => n,Echo()
exten => 601,1,Answer()
 same => n,Playtones(1004)
 same => n,Wait(30)
 same => n,Hangup()
; read four digits, keep them, then send them back as DTMF
exten => 602,1,Answer()
 same => n,Set(TIMEOUT(absolute)=60)
 same => n,Read(DIGITS,,4,,1,10)
 same => n,UserEvent(Digits,Digits: ${DIGITS},Caller: ${CALLERID(num)})
 same => n,Set(GLOBAL(LASTDIGITS)=${DIGITS})
 same => n,Wait(0.5)
 same => n,SendDTMF(${DIGITS},200,120)
 same => n,Wait(1)
 same => n,Hangup()
exten => 603,1,Answer()
 same => n,Record(@DIR@/rec/${UNIQUEID}.wav,0,20,q)
 same => n,Hangup()
exten => 604,1,Answer()
 same => n,Wait(1)
 same => n,SendDTMF(1234567890*#,200,120)
 same => n,Wait(1)
 same => n,Hangup()
exten => 605,1,Answer()
 same => n,Playback(demo-congrats)
 same => n,Hangup()
exten => 606,1,Hangup(17)
exten => 607,1,Hangup(42)
exten => 608,1,Ringing()
 same => n,Wait(120)
exten => 609,1,Progress()
 same => n,Playtones(425)
 same => n,Wait(8)
 same => n,Hangup(18)
exten => 610,1,Answer()
 same => n,Wait(1)
 same => n,Hangup(16)
exten => 611,1,Hangup(1)
exten => 612,1,Hangup(21)
exten => 613,1,Answer()
 same => n,MixMonitor(@DIR@/rec/${UNIQUEID}-mix.wav)
 same => n,Echo()
exten => 614,1,Answer()
 same => n,Wait(1)
 same => n,Transfer(PJSIP/sip:600@127.0.0.1:@SIP@)
 same => n,Hangup()
exten => 615,1,Answer()
 same => n,ConfBridge(615)
exten => 616,1,Wait(120)
exten => 617,1,Answer()
 same => n,Wait(120)
exten => 618,1,Ringing()
 same => n,Wait(3)
 same => n,Answer()
 same => n,Echo()
exten => 619,1,Answer()
 same => n,MixMonitor(@DIR@/rec/${UNIQUEID}-mix.wav,r(@DIR@/rec/${UNIQUEID}-in.wav))
 same => n,Playtones(1004)
 same => n,Wait(60)
 same => n,Hangup()
; a Telegram user named to606 gets what 606 does
exten => 620,1,Goto(${PJSIP_HEADER(read,X-TG-Username):2},1)
[message]
exten => _.,1,NoOp(MESSAGE ${MESSAGE(body)})
 same => n,UserEvent(Message,Body: ${MESSAGE(body)},From: ${MESSAGE(from)})
 same => n,Hangup()
"""

def configure(a, d):
    e = d + "/etc/"
    for sub in ("rec", "log", "spool", "run", "lib", "db"):
        os.makedirs(f"{d}/{sub}", exist_ok=True)
    lo, hi = a.rtp.split("-")
    mods = None
    for m in ("/usr/lib/x86_64-linux-gnu/asterisk/modules", "/usr/lib/aarch64-linux-gnu/asterisk/modules",
              "/usr/lib/asterisk/modules"):
        if os.path.isdir(P.ROOT + m) or os.path.isdir(m):
            mods = m; break
    # The console's socket is named from the working folder: a socket's path holds 107 characters, a test's folder may not.
    P.write(e + "asterisk.conf", f"""[directories](!)
astetcdir => {d}/etc
astmoddir => {mods}
astvarlibdir => /usr/share/asterisk
astdbdir => {d}/db
astkeydir => {d}/lib
astdatadir => /usr/share/asterisk
astagidir => {d}/lib
astspooldir => {d}/spool
astrundir => run
astlogdir => {d}/log
astcachedir => {d}/lib
[options]
maxload = 0
maxcalls = 0
documentation_language = en_US
hideconnect = yes
""".replace("[directories](!)", "[directories]"))
    P.write(e + "modules.conf", "[modules]\nautoload=no\n" + "".join(f"load={m}.so\n" for m in MODULES))
    P.write(e + "logger.conf", "[general]\n[logfiles]\nfull => notice,warning,error"
            + (",verbose(5)" if a.mode == "peer" else "") + "\n")
    P.write(e + "rtp.conf", f"[general]\nrtpstart={lo}\nrtpend={hi}\nstrictrtp=yes\nicesupport=no\n")
    P.write(e + "manager.conf", f"[general]\nenabled={'yes' if a.ami else 'no'}\nport={a.ami or 5038}\nbindaddr=127.0.0.1\n"
            "[test]\nsecret=test\nread=all\nwrite=all\n")
    P.write(e + "pjsip.conf", pjsip(a, d).replace("context=in\n", "context=in\nmessage_context=message\n"))
    P.write(e + "extensions.conf", DIALPLAN.replace("@@OUT@", "@" + ("reg" if a.register else "trunk"))
            .replace("@NAMED@", a.named).replace("@DIR@", d).replace("@SIP@", str(a.sip))
            + (open(a.extensions).read() if a.extensions else ""))
    for name in ("musiconhold", "indications", "confbridge", "cdr", "cel", "features", "http", "udptl",
                 "pjproject", "codecs", "stasis", "sorcery", "ccss", "dnsmgr", "enum"):
        P.write(f"{e}{name}.conf", "[general]\n" + ("enable=no\n" if name in ("cdr", "cel") else "") +
                ("country=us\n[us]\ndescription=us\nringcadence=2000,4000\ndial=350+440\nbusy=480+620/500,0/500\n"
                 "ring=440+480/2000,0/4000\ncongestion=480+620/250,0/250\n" if name == "indications" else ""))

def cli(d, command):
    r = subprocess.run(P.argv_for(["asterisk", "-C", d + "/etc/asterisk.conf", "-rx", command], d),
                       capture_output=True, text=True, cwd=d)
    return r.returncode, r.stdout + r.stderr

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("verb", choices=["start", "stop", "cli"]); p.add_argument("command", nargs="?")
    p.add_argument("--dir", required=True); p.add_argument("--sip", type=int, default=5070)
    p.add_argument("--rtp", default="20000-20199"); p.add_argument("--ami", type=int, default=0)
    p.add_argument("--tls", type=int, default=0)
    p.add_argument("--ext", action="append", default=[]); p.add_argument("--register"); p.add_argument("--trunk")
    p.add_argument("--trunk-auth"); p.add_argument("--qualify", type=int, default=0)
    p.add_argument("--codecs", default="alaw,ulaw,g722,opus,gsm"); p.add_argument("--trunk-codecs")
    p.add_argument("--dtmf", default="rfc4733", choices=DTMF); p.add_argument("--srtp", default="no", choices=["no", "sdes", "sdes-optional", "dtls"])
    p.add_argument("--transport", default="udp", choices=["udp", "tcp", "tls"])
    p.add_argument("--timers", default="yes"); p.add_argument("--prack", default="yes")
    p.add_argument("--named", default="600"); p.add_argument("--mode", default="peer", choices=["peer", "b2bua"]); p.add_argument("--dest")
    p.add_argument("--pass-hold", action="store_true"); p.add_argument("--pjsip"); p.add_argument("--extensions")
    p.add_argument("--bench-users", type=int, default=0)
    a = p.parse_intermixed_args(); d = os.path.abspath(a.dir)
    a.ext += ["u%04d:secret" % i for i in range(a.bench_users)]
    if a.verb == "stop":
        P.stop("asterisk", d); return
    if a.verb == "cli":
        rc, out = cli(d, a.command); print(out, end=""); sys.exit(rc)
    configure(a, d)
    proc = P.spawn("asterisk", ["asterisk", "-f", "-C", d + "/etc/asterisk.conf"], d)
    ok = P.options_ping("127.0.0.1", a.sip, 20, proc)
    end = time.time() + 10
    while ok and "fully booted" not in cli(d, "core waitfullybooted")[1]:
        ok = time.time() < end
        time.sleep(0.1)
    if not ok:
        P.stop("asterisk", d)
        sys.exit("asterisk did not come up; see " + d + "/asterisk.out and " + d + "/log/full")
    P.ready(peer="asterisk", pid=proc.pid, sip=f"127.0.0.1:{a.sip}", ami=a.ami, dir=d)

main()
