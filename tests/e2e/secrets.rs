//! Secrets that this test knows are looked for wherever the switch writes: in the folder of its data, in its log at TRACE, in what its
//! commands print. And what an operator meets who has lost the key, or has another.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use crate::deadline::s;
use crate::house::{House, LOGIN, PASSWORD, SESSION, TRUNK};
use crate::pbx::Sipp;
use crate::talk::{ALAW, Caller, Ends, Talk};

const API_HASH: &str = "0123456789abcdef0123456789abcdef";
const CLOUD_PASSWORD: &str = "canary cloud password";
const LOGIN_CODE: &str = "8675309271";
const PROVIDER_PASSWORD: &str = "canary-of-the-provider";

/// A secret and every form in which it could lie about.
struct Canary {
    name: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    /// As it is, in hexadecimal digits, in base64 at each of the three places within four characters, and as Rust prints a list.
    fn new(name: &'static str, octets: &[u8]) -> Self {
        let hex: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let hex = hex.concat();
        let mut forms = vec![
            octets.to_vec(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
        ];
        if octets.len() >= 8 {
            let list: Vec<String> = octets[..8].iter().map(ToString::to_string).collect();
            forms.push(list.join(", ").into_bytes());
            forms.push(list.join(",").into_bytes());
        }
        for before in 0..3usize {
            let shifted = [&vec![0; before][..], octets].concat();
            for alphabet in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
                let text = alphabet.encode(&shifted);
                // What its neighbours have a part in is left out.
                let from = (before * 8).div_ceil(6);
                let whole = shifted.len() * 8 / 6;
                forms.push(text.as_bytes()[from..whole].to_vec());
            }
        }
        forms.retain(|form| form.len() >= 8);
        assert!(!forms.is_empty(), "{name} is too short to be found");
        Self { name, forms }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.forms.iter().any(|form| contains(text, form))
    }
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(octets) = fs::read(&path) {
            found.push((path.display().to_string(), octets));
        }
    }
}

/// Everything that the switch has written: its data and its logs.
fn written(house: &House) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    files(&house.dir().join("data"), &mut found);
    assert!(
        found
            .iter()
            .any(|(_, octets)| contains(octets, SESSION.as_bytes())),
        "the store is not where it was looked for"
    );
    for entry in fs::read_dir(house.dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("strowger-") {
            let log = fs::read(&path).unwrap();
            assert!(contains(&log, b"call begins"), "no calls in {name}");
            found.push((name, log));
        }
    }
    found
}

fn assert_none(canaries: &[Canary], written: &[(String, Vec<u8>)]) {
    let found: Vec<String> = written
        .iter()
        .flat_map(|(name, octets)| {
            let here = canaries.iter().filter(|canary| canary.is_in(octets));
            here.map(move |canary| format!("{} is in {name}", canary.name))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn octets(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn master_key(house: &House) -> String {
    let text = fs::read_to_string(house.dir().join("strowger.key")).unwrap();
    let line = text.lines().find(|line| line.len() == 64);
    line.unwrap().to_owned()
}

fn ha1(login: &str, realm: &str, password: &str) -> [u8; 16] {
    md5::compute(format!("{login}:{realm}:{password}")).0
}

/// Two trunks with passwords, a login with code and cloud password, calls both ways, a crash in a call, a second run.
fn no_secret_is_written(log: &'static str) {
    let port = crate::ports::one();
    let mut house = House::new()
        .logging(log)
        .srtp("optional")
        .registering_trunk(&["alaw"])
        .not_logged_in()
        .build();
    house.telegram.patch_account(
        SESSION,
        &json!({"login_code": LOGIN_CODE, "password": CLOUD_PASSWORD, "hint": "bird"}),
    );
    let provider = format!(
        "[[trunk]]\nname = \"provider\"\nkind = \"outbound_register\"\nlogin = \"1001\"\npassword = \"{PROVIDER_PASSWORD}\"\n\
         domain = \"127.0.0.2:{port}\"\n"
    );
    fs::write(house.dir().join("provider.toml"), provider).unwrap();
    let mut said = house.expect_command(&["apply", "provider.toml"], "");
    let auth_key = house.telegram.new_key();
    said += &house.expect_command(
        &House::login_line(&auth_key).each_ref().map(String::as_str),
        &format!("{LOGIN_CODE}\n{CLOUD_PASSWORD}\n"),
    );
    for line in [
        &["trunk", "show", "provider"][..],
        &["trunk", "list"],
        &["session", "show", SESSION],
        &["check-config", "--effective"],
        &["key", "show"],
    ] {
        said += &house.expect_command(line, "");
    }
    let master = master_key(&house);
    let mut canaries = vec![
        Canary::new("the password of the PBX", PASSWORD.as_bytes()),
        Canary::new("its HA1", &ha1(LOGIN, "strowger", PASSWORD)),
        Canary::new("our password at the provider", PROVIDER_PASSWORD.as_bytes()),
        Canary::new("its HA1", &ha1("1001", "peer", PROVIDER_PASSWORD)),
        Canary::new("the cloud password", CLOUD_PASSWORD.as_bytes()),
        Canary::new("the login code", LOGIN_CODE.as_bytes()),
        Canary::new("the auth key", &octets(&auth_key)),
        Canary::new("a part of the auth key", &octets(&auth_key)[100..132]),
        Canary::new("api_hash", API_HASH.as_bytes()),
        Canary::new("the octets of api_hash", &octets(API_HASH)),
        Canary::new("the master key", &octets(&master)),
    ];

    let registrar = Sipp::on(house.dir(), "registrar", port)
        .ip("127.0.0.2")
        .login("1001", PROVIDER_PASSWORD)
        .start("registrar");
    house.start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", house.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let core: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "a crash leaves a core dump");
    registrar.wait(s(20)).expect_ok();
    house = Talk::start_in(house, Caller::Pbx, "9.0.0", ALAW).end(Ends::Pbx);
    said += &house.expect_command(&["key", "rotate"], "");
    let next = master_key(&house);
    assert_ne!(master, next);
    canaries.push(Canary::new("the next master key", &octets(&next)));
    said += &house.expect_command(&["key", "list"], "");
    let talk = Talk::start_in(house, Caller::Telegram, "13.0.0", ALAW);
    house = talk.house;
    house.kill();
    talk.phone.vanish();
    drop(talk.talker);
    assert_none(&canaries, &written(&house));

    house.start();
    // The next process ends the calls of the one that was killed.
    house.telegram.wait_call(&talk.call, "discarded", s(20));
    house = Talk::start_in(house, Caller::Pbx, "9.0.0", ALAW).end(Ends::Telegram);
    house.stop();
    said += &house.expect_command(&["cdr", "export"], "");
    let mut written = written(&house);
    written.push(("what the commands print".into(), said.into_bytes()));
    assert_none(&canaries, &written);
    for (name, octets) in &written {
        assert!(!contains(octets, b"inline:"), "a key of SRTP is in {name}");
        assert!(!contains(octets, b"response=\""), "a digest is in {name}");
    }

    // The search finds what is there.
    let shown = house.expect_command(&["trunk", "show", "provider", "--secrets"], "");
    assert!(canaries[2].is_in(shown.as_bytes()), "{shown}");
    let records = house.expect_command(&["export", "--secrets"], "");
    assert!(canaries[0].is_in(records.as_bytes()));
    let settings = fs::read(house.dir().join("strowger.toml")).unwrap();
    assert!(canaries[8].is_in(&settings));
}

#[test]
fn no_secret_is_in_the_data_or_the_trace_log() {
    no_secret_is_written("trace");
}

#[test]
fn nor_where_the_libraries_trace_as_well() {
    no_secret_is_written("trace,actors=trace");
}

#[test]
fn the_search_finds_every_form() {
    let secret = b"correct-horse-9";
    let canary = Canary::new("a password", secret);
    for before in ["", "x", "xy", "xyz"] {
        let text = [before.as_bytes(), secret, b"and more"].concat();
        assert!(canary.is_in(&text));
        assert!(canary.is_in(BASE64_STANDARD_NO_PAD.encode(&text).as_bytes()));
        let hex: Vec<String> = text.iter().map(|octet| format!("{octet:02X}")).collect();
        assert!(canary.is_in(hex.concat().as_bytes()));
        assert!(canary.is_in(format!("{text:?}").as_bytes()));
    }
    assert!(!canary.is_in(b"correct-horse-8 and more, Y29ycmVjdC1ob3JzZS04"));
}

#[test]
fn a_lost_or_other_key_stops_the_switch_and_changes_nothing() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    house.stop();
    let (key, aside) = (house.dir().join("strowger.key"), house.dir().join("aside"));
    let store = || {
        let mut found = Vec::new();
        files(&house.dir().join("data"), &mut found);
        found.retain(|(name, _)| name.ends_with("/db"));
        found
    };
    let before = store();
    fs::rename(&key, &aside).unwrap();
    let refused = |word: &str| {
        for line in [&["run"][..], &["trunk", "list"]] {
            let (code, said) = house.command(line, "");
            assert_eq!(code, 3, "{said}");
            assert!(
                said.contains(word) && said.contains("strowger.key"),
                "{said}"
            );
        }
    };
    refused("no key file");
    house.expect_command(&["key", "make", "strowger.key"], "");
    let (code, said) = house.command(&["run"], "");
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("data.key_file") && said.contains("nothing was changed"),
        "{said}"
    );
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    refused("chmod 600");
    let (code, said) = house.command(&["check-config"], "");
    assert_eq!(code, 3, "{said}");
    fs::remove_file(&key).unwrap();
    assert!(before == store(), "the store was changed");

    fs::rename(&aside, &key).unwrap();
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn a_credential_of_systemd_opens_the_store_and_another_does_not() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    house.stop();
    let (key, credentials) = (
        house.dir().join("strowger.key"),
        house.dir().join("credentials"),
    );
    fs::create_dir(&credentials).unwrap();
    let given = credentials.join("strowger.key");
    fs::rename(&key, &given).unwrap();
    // The rights that systemd gives to what only the service may read.
    fs::set_permissions(&given, Permissions::from_mode(0o440)).unwrap();
    let (code, said) = house.command(&["trunk", "list"], "");
    assert_eq!(code, 3, "{said}");
    house.give_credentials(&credentials);
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
    house.stop();
    assert!(house.expect_command(&["trunk", "list"], "").contains(TRUNK));
    assert!(!key.exists(), "a key was made beside the credential");

    let aside = credentials.join("aside");
    fs::rename(&given, &aside).unwrap();
    house.expect_command(&["key", "make", &given.display().to_string()], "");
    let (code, said) = house.command(&["run"], "");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    fs::rename(&aside, &given).unwrap();
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}
