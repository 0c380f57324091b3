use std::path::Path;

use clap::{CommandFactory, Parser};
use store::Store;

use super::*;
use crate::master_key::KeyPlace;
use crate::records::Current;

/// A folder with settings and a store of its own.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("strowger.toml"), "").unwrap();
        Self { dir }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs a command line and returns whether it went well, or the exit code.
    fn run(&self, line: &[&str]) -> Result<(), u8> {
        let config = self.dir.path().join("strowger.toml").display().to_string();
        let data = self.dir.path().join("data").display().to_string();
        let words = ["strowger", "--config", &config, "--data", &data];
        let cli = Cli::try_parse_from(words.iter().chain(line)).map_err(|_| 2)?;
        let operator = Operator {
            sources: Sources {
                file: cli.config,
                data: cli.data,
                ..Sources::default()
            },
            output: cli.output,
            reach: reach(cli.socket, cli.api.as_deref(), cli.token_file.as_deref())
                .map_err(|failure| failure.code())?,
        };
        perform(operator, cli.command.unwrap())
            .map(|_| ())
            .map_err(|failure| failure.code())
    }

    /// Its store, with the key beside its settings.
    fn store(&self) -> SledStore {
        let settings = self.dir.path().join("strowger.toml");
        let data = self.dir.path().join("data");
        let key = KeyPlace::new(None, Path::new(""), Some(&settings), &data);
        SledStore::open(&data.join("store"), &key).unwrap()
    }

    fn current(&self) -> Current {
        Current::read(&self.store()).unwrap()
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn without_arguments_eight_lines_show_where_to_begin() {
    let text = welcome();
    assert_eq!(text.lines().count(), 8);
    for word in ["demo", "init", "run", "docs/"] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn a_trunk_is_added_shown_switched_off_and_removed_with_its_routes() {
    let desk = Desk::new();
    assert_eq!(
        desk.run(&[
            "trunk",
            "add",
            "office",
            "--codecs",
            "alaw,opus",
            "--lines",
            "2",
            "--number",
            "600"
        ]),
        Ok(())
    );
    assert_eq!(desk.run(&["trunk", "add", "office"]), Err(6));
    assert_eq!(desk.run(&["trunk", "add", "a b"]), Err(2));
    assert_eq!(desk.run(&["trunk", "show", "office"]), Ok(()));
    assert_eq!(desk.run(&["trunk", "show", "nobody"]), Err(5));
    assert_eq!(
        desk.run(&["session", "add", "gateway", "--phone", "+15550001"]),
        Ok(())
    );
    assert_eq!(desk.run(&["route", "add", "office", "gateway"]), Ok(()));
    for output in ["table", "json"] {
        let list = ["--output", output, "session", "list"];
        assert_eq!(desk.run(&list), Ok(()));
        let show = ["--output", output, "session", "show", "gateway"];
        assert_eq!(desk.run(&show), Ok(()));
    }
    assert_eq!(desk.run(&["session", "show", "nobody"]), Err(5));
    assert_eq!(desk.run(&["route", "add", "office", "nobody"]), Err(5));
    assert_eq!(desk.run(&["trunk", "disable", "office"]), Ok(()));
    let current = desk.current();
    assert!(!current.trunks[0].enabled);
    assert_eq!((current.trunks[0].lines, current.routes.len()), (2, 1));
    assert_eq!(desk.run(&["trunk", "remove", "office"]), Ok(()));
    let current = desk.current();
    assert!(current.trunks.is_empty() && current.routes.is_empty());
    assert_eq!(current.sessions.len(), 1);
}

#[test]
fn a_way_between_two_trunks_is_opened_listed_and_closed() {
    let desk = Desk::new();
    for (name, port) in [("office", "5060"), ("branch", "5062")] {
        let address = format!("192.0.2.10:{port}");
        let line = [
            "trunk",
            "add",
            name,
            "--kind",
            "peer",
            "--address",
            &address,
        ];
        assert_eq!(desk.run(&line), Ok(()));
    }
    let add = |more: &[&str]| desk.run(&[&["route", "add", "office"], more].concat());
    assert_eq!(add(&[]), Err(2), "to whom?");
    assert_eq!(
        add(&["gateway", "--to", "branch"]),
        Err(2),
        "one of the two"
    );
    assert_eq!(add(&["--to", "office"]), Err(2), "not to itself");
    assert_eq!(add(&["--to", "nobody"]), Err(5));
    assert_eq!(add(&["--to", "branch", "--priority", "5"]), Ok(()));
    let way = &desk.current().transits[0];
    assert_eq!((way.to.as_str(), way.priority), ("branch", 5));
    assert_eq!(desk.run(&["route", "list"]), Ok(()));
    let back = ["route", "remove", "branch", "--to", "office"];
    assert_eq!(desk.run(&back), Err(5), "there is no way back");
    assert_eq!(
        desk.run(&["route", "remove", "office", "--to", "branch"]),
        Ok(())
    );
    assert!(desk.current().transits.is_empty());
    assert_eq!(add(&["--to", "branch"]), Ok(()));
    assert_eq!(desk.run(&["trunk", "remove", "branch"]), Ok(()));
    assert!(desk.current().transits.is_empty(), "it went with its trunk");
}

#[test]
fn the_rules_of_a_trunk_are_given_one_by_one() {
    let desk = Desk::new();
    let add = |name, more: &[&str]| {
        let line = [&["trunk", "add", name], more].concat();
        desk.run(&line)
    };
    let rules = [
        "--caller-id",
        "+{phone}",
        "--caller-id",
        "9{userid}",
        "--caller-name",
        "{name}",
    ];
    let more = [
        "--bare-digits",
        "userid",
        "--tg-headers",
        "false",
        "--refer",
        "true",
        "--priority",
        "7",
    ];
    assert_eq!(add("office", &[&rules[..], &more].concat()), Ok(()));
    assert_eq!(desk.run(&["trunk", "show", "office"]), Ok(()));
    let trunk = desk.current().trunks.remove(0);
    assert_eq!(trunk.caller_id.to_string(), "+{phone}\n9{userid}");
    assert_eq!(trunk.caller_name.to_string(), "{name}");
    assert_eq!(trunk.bare_digits, model::BareDigits::UserId);
    assert_eq!((trunk.tg_headers, trunk.priority), (false, 7));
    assert!(trunk.refer);
    assert_eq!(add("a", &["--caller-id", "{name}"]), Err(2));
    assert_eq!(add("a", &["--bare-digits", "all"]), Err(2));
    assert_eq!(add("a", &["--caller-name", ""]), Ok(()), "no name at all");
}

#[test]
fn rules_for_dialled_numbers_are_tried_before_they_are_saved() {
    let desk = Desk::new();
    let add = |rules| desk.run(&["trunk", "add", "office", "--inbound-rules", rules]);
    assert_eq!(add("^8=7\\x"), Err(2), "an escape that is none");
    assert_eq!(add("(8=7"), Err(2), "an open group");
    assert_eq!(add("(?<!1)(\\d+)+(?!\\d)z$"), Err(2), "catastrophic");
    assert_eq!(add("^0(?=[1-9])=+49 ^\\+\\d{7,15}$"), Ok(()));
    let rules = desk.current().trunks.remove(0).inbound_rules;
    assert_eq!(rules.to_string(), "^0(?=[1-9])=+49 ^\\+\\d{7,15}$");
    assert_eq!(desk.run(&["trunk", "show", "office"]), Ok(()));
}

#[test]
fn a_new_password_is_made_for_a_pbx_that_registers_and_whoever_had_the_old_one_is_forgotten() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["trunk", "add", "office"]), Ok(()));
    let store = || desk.store();
    store()
        .put_durable(store::Space::Bindings, b"office", b"[]")
        .unwrap();
    let before = desk.current().trunks.remove(0);
    assert_eq!(desk.run(&["trunk", "reset-password", "office"]), Ok(()));
    let after = desk.current().trunks.remove(0);
    let password = |spec| trunk::password(spec).unwrap().to_owned();
    assert_ne!(password(&before), password(&after));
    assert_eq!(password(&after).len(), 24);
    assert_eq!(
        model::TrunkSpec {
            kind: before.kind.clone(),
            ..after
        },
        before,
        "nothing else"
    );
    let kept = store().get(store::Space::Bindings, b"office").unwrap();
    assert_eq!(kept, None);
    let peer = [
        "trunk",
        "add",
        "p",
        "--kind",
        "peer",
        "--address",
        "192.0.2.1:5060",
    ];
    assert_eq!(desk.run(&peer), Ok(()));
    assert_eq!(desk.run(&["trunk", "reset-password", "p"]), Err(6));
    assert_eq!(desk.run(&["trunk", "reset-password", "nobody"]), Err(5));
}

#[test]
fn a_trunk_is_tested_by_asking_or_by_what_the_store_knows() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["trunk", "test", "office"]), Err(5));
    assert_eq!(desk.run(&["trunk", "add", "office"]), Ok(()));
    assert_eq!(
        desk.run(&["trunk", "test", "office"]),
        Err(1),
        "never registered"
    );
    let keep = |expires_at: u64| {
        let binding = serde_json::json!([{ "uri": "sip:600@192.0.2.7", "send_to": "udp:192.0.2.7:5060", "expires_at": expires_at,
            "q": 1000, "call_id": "a", "cseq": 1 }]);
        let store = desk.store();
        let key = store::Space::Bindings;
        store
            .put_durable(key, b"office", binding.to_string().as_bytes())
            .unwrap();
    };
    keep(1);
    assert_eq!(desk.run(&["trunk", "test", "office"]), Err(1), "ran out");
    keep(u64::from(u32::MAX));
    assert_eq!(
        desk.run(&["trunk", "test", "office", "--output", "json"]),
        Ok(())
    );
    assert_eq!(desk.run(&["trunk", "disable", "office"]), Ok(()));
    assert_eq!(
        desk.run(&["trunk", "test", "office"]),
        Err(1),
        "switched off"
    );

    // A PBX that answers, refuses us, is not well, or is not there.
    let pbx = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = pbx.local_addr().unwrap().to_string();
    let add = ["trunk", "add", "p", "--kind", "peer", "--address", &address];
    assert_eq!(desk.run(&add), Ok(()));
    for (status, expected) in [
        (200, Ok(())),
        (404, Ok(())),
        (401, Ok(())),
        (403, Err(1)),
        (503, Err(1)),
    ] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = [0; 2048];
                let (length, from) = pbx.recv_from(&mut buffer).unwrap();
                let sip::Parsed::Message(sip::Message::Request(request)) =
                    sip::parse(&buffer[..length])
                else {
                    panic!("no request");
                };
                let answer = sip::respond(&request, status, "", Some("t")).encode();
                pbx.send_to(&answer, from).unwrap();
            });
            assert_eq!(desk.run(&["trunk", "test", "p"]), expected, "{status}");
        });
    }
    drop(pbx);
    assert_eq!(desk.run(&["trunk", "test", "p"]), Err(1), "nobody listens");
    let add = [
        "trunk",
        "add",
        "t",
        "--kind",
        "peer",
        "--transport",
        "tcp",
        "--address",
        &address,
    ];
    assert_eq!(desk.run(&["trunk", "remove", "p"]), Ok(()));
    assert_eq!(desk.run(&add), Ok(()));
    assert_eq!(
        desk.run(&["trunk", "test", "t"]),
        Err(1),
        "nor by connections"
    );
}

#[test]
fn srtp_needs_tls_or_a_word_of_the_owner() {
    let desk = Desk::new();
    let add = |more: &[&str]| {
        let peer = ["trunk", "add", "a", "--kind", "peer", "--address"];
        desk.run(&[&peer[..], &["192.0.2.1:5060"], more].concat())
    };
    assert_eq!(add(&["--srtp", "yes"]), Err(2));
    assert_eq!(add(&["--srtp", "required"]), Err(3));
    assert_eq!(add(&["--srtp", "optional", "--transport", "tcp"]), Err(3));
    let allowed = ["--srtp", "required", "--srtp-over-plain", "allow"];
    assert_eq!(add(&allowed), Ok(()));
    assert_eq!(desk.run(&["trunk", "show", "a"]), Ok(()));
    let trunk = desk.current().trunks.remove(0);
    assert_eq!(trunk.srtp, model::Srtp::Required);
    assert_eq!(trunk.srtp_over_plain, model::SrtpOverPlain::Allow);
}

#[test]
fn a_peer_needs_an_address_that_no_other_has() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["trunk", "add", "a", "--kind", "peer"]), Err(2));
    assert_eq!(
        desk.run(&[
            "trunk",
            "add",
            "a",
            "--kind",
            "peer",
            "--address",
            "192.0.2.1:5060"
        ]),
        Ok(())
    );
    assert_eq!(
        desk.run(&[
            "trunk",
            "add",
            "b",
            "--kind",
            "peer",
            "--address",
            "192.0.2.1:5060"
        ]),
        Err(6)
    );
    assert_eq!(
        desk.run(&[
            "trunk",
            "add",
            "b",
            "--kind",
            "peer",
            "--address",
            "0.0.0.0:5060"
        ]),
        Err(3)
    );
}

#[test]
fn applying_changes_everything_or_nothing() {
    let desk = Desk::new();
    let good = "[[trunk]]\nname = \"office\"\n[[session]]\nname = \"gateway\"\n[[route]]\ntrunk = \"office\"\nsession = \"gateway\"\n";
    let file = desk.file("records.toml", good);
    assert_eq!(desk.run(&["apply", &file, "--dry-run"]), Ok(()));
    assert_eq!(desk.current().generation, 0);
    assert_eq!(desk.run(&["apply", &file]), Ok(()));
    let before = desk.current();
    assert_eq!(
        (before.generation, before.trunks.len(), before.routes.len()),
        (1, 1, 1)
    );
    let bad = desk.file(
        "bad.toml",
        "[[trunk]]\nname = \"second\"\n[[trunk]]\nname = \"third\"\ncodecs = []\n",
    );
    assert_eq!(desk.run(&["apply", &bad]), Err(3));
    assert_eq!(desk.current().generation, 1);
    assert_eq!(desk.run(&["apply", "/nowhere/records.toml"]), Err(1));
}

#[test]
fn an_export_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    desk.run(&["trunk", "add", "office"]).unwrap();
    let file = desk.dir.path().join("out.toml");
    assert_eq!(desk.run(&["export", file.to_str().unwrap()]), Ok(()));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(file).unwrap().contains("[[trunk]]"));
}

#[test]
fn the_store_of_a_running_switch_is_left_alone() {
    let desk = Desk::new();
    let store = desk.store();
    assert_eq!(desk.run(&["trunk", "list"]), Err(4));
    drop(store);
    assert_eq!(desk.run(&["trunk", "list"]), Ok(()));
}

#[test]
fn settings_with_faults_stop_every_command() {
    let desk = Desk::new();
    desk.file("strowger.toml", "[rtp]\nrnage = 5\n");
    assert_eq!(desk.run(&["trunk", "list"]), Err(3));
    assert_eq!(desk.run(&["check-config"]), Err(3));
}

#[test]
fn init_writes_settings_that_are_good_and_does_not_overwrite() {
    let desk = Desk::new();
    let dir = desk.dir.path().join("new");
    let dir = dir.to_str().unwrap();
    assert_eq!(desk.run(&["init", dir]), Ok(()));
    assert_eq!(desk.run(&["init", dir]), Err(6));
    assert_eq!(
        desk.run(&["check-config", &format!("{dir}/strowger.toml")]),
        Ok(())
    );
}

#[test]
fn the_key_is_made_with_the_first_secret_and_without_it_nothing_opens() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    let key = desk.dir.path().join("strowger.key");
    assert_eq!(desk.run(&["key", "show"]), Ok(()));
    assert_eq!(desk.run(&["check-config"]), Ok(()));
    assert!(!key.exists(), "to look makes nothing");
    assert_eq!(desk.run(&["trunk", "add", "office"]), Ok(()));
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(desk.run(&["key", "show", "--output", "json"]), Ok(()));

    let aside = desk.dir.path().join("aside.key");
    std::fs::rename(&key, &aside).unwrap();
    for line in [
        &["trunk", "list"][..],
        &["run"],
        &["run", "--check"],
        &["cdr", "list"],
    ] {
        assert_eq!(desk.run(line), Err(3), "{line:?} without the key");
    }
    assert!(!key.exists(), "a new key in the place of the lost one");
    assert_eq!(desk.run(&["key", "make", key.to_str().unwrap()]), Ok(()));
    assert_eq!(desk.run(&["key", "make", key.to_str().unwrap()]), Err(6));
    for line in [&["trunk", "add", "branch"][..], &["run"]] {
        assert_eq!(desk.run(line), Err(3), "{line:?} with another key");
    }
    std::fs::rename(&aside, &key).unwrap();
    assert_eq!(desk.current().trunks.len(), 1, "nothing was overwritten");

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    for line in [&["trunk", "list"][..], &["run"], &["check-config"]] {
        assert_eq!(
            desk.run(line),
            Err(3),
            "{line:?} with a key that all can read"
        );
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    desk.file(
        "strowger.toml",
        &format!("data.key_file = {:?}", desk.dir.path().join("data/k")),
    );
    for line in [&["trunk", "list"][..], &["check-config"]] {
        assert_eq!(desk.run(line), Err(3), "{line:?} with a key in the data");
    }
}

#[test]
fn a_key_is_exchanged_and_an_exchange_that_was_cut_off_goes_on() {
    let desk = Desk::new();
    let path = |name: &str| desk.dir.path().join(name).display().to_string();
    let id = |name: &str| crate::master_key::read(path(name).as_ref()).unwrap().id();
    assert_eq!(desk.run(&["trunk", "add", "office"]), Ok(()));
    let first = id("strowger.key");
    std::fs::copy(path("strowger.key"), path("first")).unwrap();
    assert_eq!(desk.run(&["key", "rotate"]), Ok(()));
    let second = id("strowger.key");
    assert_ne!(first, second);
    assert_eq!(desk.store().master_keys().unwrap(), [second]);
    assert_eq!(desk.current().trunks.len(), 1);

    // Cut off after the new key was added, before it took the place.
    assert_eq!(
        desk.run(&["key", "make", &path("strowger.key.next")]),
        Ok(())
    );
    let third = id("strowger.key.next");
    assert_eq!(
        desk.run(&["key", "add", &path("strowger.key.next")]),
        Ok(())
    );
    assert_eq!(desk.run(&["key", "list"]), Ok(()));
    assert_eq!(desk.store().master_keys().unwrap().len(), 2);
    assert_eq!(desk.run(&["key", "rotate"]), Ok(()));
    assert_eq!(id("strowger.key"), third);
    assert_eq!(desk.store().master_keys().unwrap(), [third]);

    // A second one that opens it, such as one in a safe.
    assert_eq!(desk.run(&["key", "add", &path("first")]), Ok(()));
    assert_eq!(
        desk.run(&["key", "remove", &third.to_string()]),
        Err(6),
        "at hand"
    );
    assert_eq!(desk.run(&["key", "remove", &second.to_string()]), Err(5));
    assert_eq!(desk.run(&["key", "remove", &first.to_string()]), Ok(()));
    assert_eq!(desk.run(&["key", "remove", "x"]), Err(2));
}

/// Answers on a control socket as a switch does that takes every key, and removes one only from the second time on; what it was asked.
fn switch_that_fails_once(socket: &Path) -> std::sync::mpsc::Receiver<String> {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let (told, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut is_first = true;
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let lines = stream.by_ref().lines().map(Result::unwrap);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let Some(line) = head.first() else {
                // It was only looked whether somebody is there.
                continue;
            };
            let length = head.last().unwrap().strip_prefix("Content-Length: ");
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let fails = line.starts_with("DELETE") && std::mem::take(&mut is_first);
            let status = if fails { 500 } else { 204 };
            let answer = format!("HTTP/1.1 {status} -\r\nContent-Length: 0\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if told.send(line.clone()).is_err() {
                return;
            }
        }
    });
    asked
}

#[test]
fn an_exchange_that_was_cut_off_at_its_end_takes_the_old_key_away_all_the_same() {
    let desk = Desk::new();
    let key = desk.dir.path().join("strowger.key");
    let id = || crate::master_key::read(&key).unwrap().id();
    crate::master_key::make(&key).unwrap();
    let first = id();
    let socket = desk.dir.path().join("control.sock");
    let asked = switch_that_fails_once(&socket);
    let socket = socket.display().to_string();
    let rotate = ["--socket", &socket, "key", "rotate"];
    assert!(
        desk.run(&rotate).is_err(),
        "the old one could not be removed"
    );
    let second = id();
    assert_ne!(first, second);
    assert_eq!(desk.run(&rotate), Ok(()));
    assert_eq!(id(), second, "the same exchange goes on");
    let removed = |id| format!("DELETE /api/v1/keys?id={id} HTTP/1.1");
    let deleted = asked.try_iter().filter(|line| line.starts_with("DELETE"));
    let deleted: Vec<String> = deleted.collect();
    assert_eq!(deleted, [removed(first), removed(first)]);
    // And the next one is another one.
    assert_eq!(desk.run(&rotate), Ok(()));
    assert_ne!(id(), second);
    let last = asked.try_iter().last();
    assert_eq!(last, Some(removed(second)));
}

#[test]
fn a_backup_is_restored_where_no_store_is() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["trunk", "add", "office"]), Ok(()));
    let file = desk.file("b.backup", "no backup");
    assert_eq!(
        desk.run(&["backup", "restore", &file]),
        Err(6),
        "there is one"
    );
    std::fs::remove_dir_all(desk.dir.path().join("data/store")).unwrap();
    assert_eq!(desk.run(&["backup", "restore", &file]), Err(1), "no backup");
    assert_eq!(desk.run(&["backup", "restore", "/nowhere"]), Err(1));
}

#[test]
fn effective_settings_hide_the_secret() {
    let mut settings = Settings::default();
    settings.telegram.api_hash = model::Secret::new("0123456789abcdef0123456789abcdef".to_owned());
    let text = settings.effective();
    assert!(
        text.contains("api_hash = \"***\"") && !text.contains("0123456789abcdef"),
        "{text}"
    );
}

#[test]
fn call_records_are_listed_and_exported() {
    let desk = Desk::new();
    desk.store().flush().unwrap();
    for line in [
        &["cdr", "list"][..],
        &["cdr", "export", "--format", "json"],
        &["cdr", "export", "--format", "csv"],
    ] {
        assert_eq!(desk.run(line), Ok(()), "{line:?}");
    }
}

#[test]
fn bans_are_kept_in_the_store_while_no_switch_runs() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["ban", "list"]), Ok(()));
    let add = ["ban", "add", "192.0.2.0/24", "--for", "2h"];
    assert_eq!(desk.run(&add), Ok(()));
    assert_eq!(desk.run(&["ban", "add", "2001:db8::1"]), Ok(()));
    assert_eq!(desk.run(&["ban", "add", "192.0.2.0/33"]), Err(2));
    assert_eq!(desk.run(&["ban", "remove", "2001:db8::1"]), Ok(()));
    assert_eq!(desk.run(&["ban", "remove", "2001:db8::1"]), Err(5));
    let store = desk.store();
    let bans = store::read_bans(&store).unwrap();
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0].prefix.to_string(), "192.0.2.0/24");
}

#[test]
fn roles_are_switched_while_no_switch_runs() {
    let desk = Desk::new();
    for line in [
        &["worker", "list"][..],
        &["worker", "disable", "local"],
        &["storage", "disable"],
        &["storage", "enable"],
        &["--output", "json", "storage", "show"],
    ] {
        assert_eq!(desk.run(line), Ok(()), "{line:?}");
    }
    assert_eq!(desk.run(&["worker", "disable", "far"]), Err(5));
    let current = desk.current();
    assert!(!current.has_role(model::Role::Worker));
    assert!(current.has_role(model::Role::Storage));
    let far = ["trunk", "add", "office", "--worker", "far"];
    assert!(desk.run(&far).is_err());
    assert!(desk.current().trunks.is_empty());
}

#[test]
fn users_are_added_changed_listed_and_deleted() {
    let desk = Desk::new();
    let add = [
        "user",
        "add",
        "ann",
        "--telegram-id",
        "4242",
        "--lines",
        "1",
    ];
    assert_eq!(desk.run(&add), Ok(()));
    assert_eq!(desk.run(&add), Err(6));
    let same = ["user", "add", "bob", "--telegram-id", "4242"];
    assert!(desk.run(&same).is_err(), "the same person");
    let unknown = ["user", "set", "ann", "--quota", "small"];
    assert!(desk.run(&unknown).is_err(), "no such profile");
    assert_eq!(desk.run(&["quota", "add", "small"]), Ok(()));
    assert_eq!(desk.run(&unknown), Ok(()));
    assert!(
        desk.run(&["quota", "remove", "small"]).is_err(),
        "she has it"
    );
    for output in ["table", "json"] {
        assert_eq!(desk.run(&["--output", output, "user", "list"]), Ok(()));
    }
    let ann = desk.current().users[0].clone();
    assert_eq!((ann.telegram_id, ann.lines), (4242, 1));
    assert_eq!(desk.run(&["user", "set", "ann", "--no-quota"]), Ok(()));
    assert_eq!(desk.current().users[0].quota, None);
    assert_eq!(desk.run(&["user", "set", "bob", "--lines", "1"]), Err(5));
    assert_eq!(desk.run(&["user", "remove", "ann"]), Ok(()));
    assert_eq!(desk.run(&["user", "delete", "ann"]), Err(5));
    assert!(desk.current().users.is_empty());
}

#[test]
fn webhooks_are_added_changed_shown_and_removed() {
    let desk = Desk::new();
    let url = "https://crm.example.com/x";
    let add = ["webhook", "add", "crm", url, "--events", "call.ended"];
    assert_eq!(desk.run(&add), Ok(()));
    assert_eq!(desk.run(&add), Err(6));
    let plain = ["webhook", "add", "far", "http://crm.example.com/"];
    assert_eq!(desk.run(&plain), Err(3), "everybody reads it on the way");
    let meant = [&plain[..], &["--insecure"]].concat();
    assert_eq!(desk.run(&meant), Ok(()));
    let before = desk.current().webhooks[0].clone();
    assert_eq!(before.secret.expose().len(), 64);
    let set = |options: &[&str]| desk.run(&[&["webhook", "set", "crm"][..], options].concat());
    assert_eq!(set(&["--all-events", "--enabled", "false"]), Ok(()));
    let off = desk.current().webhooks[0].clone();
    assert!(off.events.is_empty() && !off.enabled);
    assert_eq!(off.secret, before.secret);
    assert_eq!(set(&["--new-secret", "--enabled"]), Ok(()));
    assert_ne!(desk.current().webhooks[0].secret, before.secret);
    assert_eq!(set(&["--url", "http://192.0.2.1/"]), Err(3));
    for output in ["table", "json"] {
        for line in [
            &["list"][..],
            &["show", "crm"],
            &["show", "crm", "--secrets"],
        ] {
            let line = [&["--output", output, "webhook"][..], line].concat();
            assert_eq!(desk.run(&line), Ok(()), "{line:?}");
        }
    }
    // Who posts is the switch.
    assert_eq!(desk.run(&["webhook", "test", "crm"]), Err(4));
    assert_eq!(desk.run(&["webhook", "deliveries", "crm"]), Err(4));
    assert_eq!(desk.run(&["webhook", "remove", "crm"]), Ok(()));
    assert_eq!(desk.run(&["webhook", "remove", "crm"]), Err(5));
    for n in 1..32 {
        let name = format!("hook-{n}");
        assert_eq!(desk.run(&["webhook", "add", &name, url]), Ok(()));
    }
    assert!(
        desk.run(&["webhook", "add", "one-too-many", url]).is_err(),
        "there are 32"
    );
}

#[test]
fn a_store_is_made_small_again_with_all_that_is_in_it() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["trunk", "add", "office"]), Ok(()));
    assert_eq!(desk.run(&["session", "add", "gateway"]), Ok(()));
    let name = "gateway".parse().unwrap();
    let space = || store::Space::Telegram(&name);
    let counters = || store::Space::Counters;
    let deliveries = || store::Space::Deliveries;
    {
        let store = desk.store();
        store.put_durable(space(), b"dc/2", b"auth key").unwrap();
        store
            .put_durable(deliveries(), b"16 octets of one", b"a body")
            .unwrap();
        for n in 0..2000_u32 {
            let value: Vec<u8> = (0..4096_u32).map(|at| (at * n).to_le_bytes()[1]).collect();
            let key = (n % 8).to_be_bytes();
            store.put_soft(counters(), &key, &value).unwrap();
        }
        store.flush().unwrap();
    }
    let before = (desk.current(), desk.store().stats().unwrap().size_bytes);
    for command in ["stats", "check"] {
        assert_eq!(desk.run(&["store", command]), Ok(()));
        let json = ["--output", "json", "store", command];
        assert_eq!(desk.run(&json), Ok(()));
    }
    {
        // The store of a switch is its own.
        let _open = desk.store();
        assert_eq!(desk.run(&["store", "compact"]), Err(4));
    }
    // What one left that was killed.
    let data = desk.dir.path().join("data");
    std::fs::write(data.join("store.compact-copy"), "half").unwrap();
    std::fs::create_dir(data.join("store.compact-new")).unwrap();
    assert_eq!(desk.run(&["store", "compact"]), Ok(()));
    let store = desk.store();
    let after = store.stats().unwrap().size_bytes;
    assert!(after * 2 < before.1, "{after} of {}", before.1);
    let key = store.get(space(), b"dc/2").unwrap();
    assert_eq!(key.as_deref(), Some(&b"auth key"[..]));
    assert!(!store.is_restored(&name).unwrap(), "it goes on as it is");
    assert_eq!(store.scan(counters(), b"").unwrap().len(), 8);
    let waits = (b"16 octets of one".to_vec(), b"a body".to_vec());
    let kept = store.scan(deliveries(), b"").unwrap();
    assert_eq!(kept, [waits], "what waits for webhooks");
    let read = crate::survey::StoreCheck::of(&store);
    assert_eq!((read.soft, read.fault), (9, None));
    drop(store);
    assert_eq!(desk.current(), before.0);
    let left = std::fs::read_dir(&data).unwrap().flatten();
    let left: Vec<String> = left
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        left.iter().all(|name| !name.contains("compact")),
        "{left:?}"
    );
    let db = data.join("store/db");
    let length = std::fs::read(&db).unwrap().len();
    std::fs::write(&db, vec![0xa5; length]).unwrap();
    assert_eq!(desk.run(&["store", "check"]), Err(74));
}
