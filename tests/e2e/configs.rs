//! Configurations that cannot be used: the program names the line, ends with 3, and has done nothing (operations.md 18, item 3).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::deadline::s;
use crate::house::STROWGER;
use crate::process::said;

/// A configuration that is broken: the settings, further files, variables, and what is said of it.
struct Broken {
    what: &'static str,
    settings: &'static str,
    files: &'static [(&'static str, &'static str)],
    variables: &'static [(&'static str, &'static str)],
    said: &'static str,
}

const fn settings(what: &'static str, settings: &'static str, said: &'static str) -> Broken {
    Broken {
        what,
        settings,
        files: &[],
        variables: &[],
        said,
    }
}

const BROKEN: &[Broken] = &[
    settings(
        "an unknown key",
        "[rtp]\n\nrnage = \"16384-32767\"\n",
        "strowger.toml:3:1: unknown key `rnage` in [rtp]; did you mean `range`?",
    ),
    settings(
        "a key that is elsewhere now",
        "[sip]\nlisten = \"127.0.0.1:8080\"\n",
        "strowger.toml:2:1: unknown key `listen` in [sip]; did you mean `admin.listen`?",
    ),
    settings(
        "a value of the wrong kind",
        "[telegram]\np2p = \"perhaps\"\n",
        "strowger.toml:2:7: `telegram.p2p`: ",
    ),
    settings(
        "a number that is too large",
        "[sip]\nt1_ms = 90000\n",
        "strowger.toml:2:9: `sip.t1_ms`: 90000 is out of range: expected 100 to 4000",
    ),
    settings(
        "a key that is there twice",
        "[node]\nname = \"a\"\nname = \"b\"\n",
        "strowger.toml:3:1: duplicate key, near `name`",
    ),
    settings(
        "a bracket that is never closed",
        "[node]\nname = \"a\"\n[sip\n",
        "strowger.toml:3:",
    ),
    settings(
        "an address without a port",
        "[sip]\nudp = [\n  \"0.0.0.0\",\n]\n",
        "strowger.toml:3:3: `sip.udp`: `0.0.0.0` is no address",
    ),
    settings(
        "a SIP port among those of RTP",
        "[rtp]\nrange = \"20000-21000\"\n[sip]\nudp = [\"127.0.0.1:20001\"]\n",
        "strowger.toml:4:7: `sip.udp`: port 20001 lies in rtp.range 20000-21000",
    ),
    settings(
        "two sockets at one address",
        "[sip]\nudp = \"0.0.0.0:5060\"\n[admin]\nlisten = \"127.0.0.1:5060\"\n",
        "strowger.toml:4:10: `admin.listen`: 127.0.0.1:5060 is that of sip.tcp 0.0.0.0:5060 already",
    ),
    settings(
        "a certificate that is not there",
        "[sip]\ntls_certificate = \"missing.pem\"\ntls_key = \"missing.key\"\n",
        "strowger.toml:2:19: `sip.tls_certificate`: the file missing.pem cannot be read",
    ),
    settings(
        "one half of what belongs together",
        "[telegram]\napi_id = 5\n",
        "strowger.toml:2:10: `telegram.api_id`: telegram.api_hash is missing",
    ),
    Broken {
        what: "a variable with a bad value",
        settings: "",
        files: &[],
        variables: &[("STROWGER__SIP__UDP", "nowhere")],
        said: "STROWGER__SIP__UDP: `sip.udp`: `nowhere` is no address",
    },
    Broken {
        what: "a variable that is no setting",
        settings: "",
        files: &[],
        variables: &[("STROWGER__SIP__UPD", "127.0.0.1:5060")],
        said: "did you mean `STROWGER__SIP__UDP`?",
    },
    Broken {
        what: "a fault in a further file",
        settings: "[sip]\nrealm = \"good\"\n",
        files: &[("conf.d/50-site.toml", "[log]\nlevel = \"inof\"\n")],
        variables: &[],
        said: "conf.d/50-site.toml:2:9: `log.level`: `inof` is no log level",
    },
    settings(
        "a file that is no text",
        "\u{0}\u{1}",
        "strowger.toml:1:1: ",
    ),
];

fn run(dir: &Path, broken: &Broken, args: &[&str]) -> (Option<i32>, String) {
    let began = Instant::now();
    let output = Command::new(STROWGER)
        .current_dir(dir)
        .args(["--config", "strowger.toml"])
        .args(args)
        .envs(broken.variables.iter().copied())
        .output()
        .unwrap();
    assert!(began.elapsed() < s(20), "it hangs");
    (output.status.code(), said(&output))
}

#[test]
fn broken_settings_name_their_line_and_nothing_starts() {
    for broken in BROKEN {
        let dir = tempfile::tempdir().unwrap();
        let data = "[data]\ndir = \"data\"\n";
        fs::create_dir(dir.path().join("conf.d")).unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("strowger.toml", broken.settings);
        write("conf.d/00-data.toml", data);
        for (name, text) in broken.files {
            write(name, text);
        }
        for args in [&["check-config"][..], &["run"], &["trunk", "list"]] {
            let (code, said) = run(dir.path(), broken, args);
            let what = broken.what;
            assert_eq!(code, Some(3), "{what}, {args:?}: {said}");
            assert!(said.contains(broken.said), "{what}, {args:?}: {said}");
        }
        let is_made = dir.path().join("data").exists() || dir.path().join("strowger.key").exists();
        assert!(!is_made, "{}: something was made", broken.what);
    }
}

#[test]
fn broken_records_name_their_line_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("strowger.toml"), "[data]\ndir = \"data\"\n").unwrap();
    let peer = "[[trunk]]\nname = \"a\"\nkind = \"peer\"\naddress = \"192.0.2.1:5060\"\n";
    let table = [
        (
            "inbound_rules = \"^(=1\"\n",
            ":5:17: `inbound_rules`: trunk a: character 5: ",
        ),
        (
            "lines = 2\ndial_rules = '^00=+ (?<!1)(\\d+)+(?!\\d)z$'\n",
            ":6:14: `dial_rules`: trunk a: character 7: this expression takes too long",
        ),
        (
            "[[trunk]]\nname = \"b\"\n[[route]]\ntrunk = \"a\"\nto = \"b\"\nmatch = \"^0\"\nrules = \"^1=\\\\4\"\n",
            ":11:9: `rules`: rules: character 1: \\4 in the replacement",
        ),
        (
            "quota = \"small\"\n",
            ":5:9: `quota`: there is no quota `small`",
        ),
        ("lines = \"many\"\n", ":5:9: `lines`: "),
        ("colour = 1\n", ":5:1: unknown key `colour` in [[trunk]]"),
        (
            "[[trunk]]\nname = \"a\"\n",
            ":6:8: `name`: there are two trunks `a`",
        ),
        (
            "[[route]]\ntrunk = \"a\"\nsession = \"nobody\"\n",
            ":7:11: `session`: there is no session `nobody`",
        ),
    ];
    let unbroken = settings("", "", "");
    for (line, expected) in table {
        fs::write(dir.path().join("records.toml"), format!("{peer}{line}")).unwrap();
        let (code, said) = run(dir.path(), &unbroken, &["apply", "records.toml"]);
        assert_eq!(code, Some(3), "{line}: {said}");
        let expected = format!("records.toml{expected}");
        assert!(said.contains(&expected), "{expected} is not said: {said}");
        let (_, said) = run(
            dir.path(),
            &unbroken,
            &["--output", "json", "trunk", "list"],
        );
        assert!(said.trim_start().starts_with("[]"), "{said}");
    }
}

#[test]
fn a_port_that_somebody_else_has_is_said_and_is_no_fault_of_the_settings() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!("[data]\ndir = \"data\"\n[sip]\nudp = \"{address}\"\ntcp = \"\"\n");
    fs::write(dir.path().join("strowger.toml"), text).unwrap();
    let unbroken = settings("", "", "");
    let check = || run(dir.path(), &unbroken, &["check-config"]);
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    let trouble = format!("udp {address} cannot be listened on");
    assert!(said.contains(&trouble), "{said}");
    drop(taken);
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("cannot be listened on"), "{said}");
}
