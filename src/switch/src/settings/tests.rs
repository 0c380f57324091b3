use std::collections::BTreeMap;

use super::check::{known, leaves, variable};
use super::*;

/// What is said about this file, one fault a line, with the folder taken off.
fn faults(text: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strowger.toml");
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    match load(&sources) {
        Ok(_) => Vec::new(),
        Err(faults) => {
            let folder = format!("{}/", dir.path().display());
            faults
                .iter()
                .map(|fault| fault.to_string().replace(&folder, ""))
                .collect()
        }
    }
}

fn loaded(text: &str, variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strowger.toml");
    std::fs::write(&file, text).unwrap();
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    load(&Sources {
        file: Some(file),
        variables,
        ..Sources::default()
    })
    .map(|loaded| loaded.settings)
    .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// A broken file, and what is said about it.
const BROKEN: &[(&str, &str)] = &[
    (
        "[rtp]\nrnage = \"1-2\"",
        "strowger.toml:2:1: unknown key `rnage` in [rtp]; did you mean `range`?",
    ),
    (
        "\n[spi]\nudp = []",
        "strowger.toml:2:2: unknown key `spi`; did you mean `sip`?",
    ),
    (
        "[sip]\nrealm = \"a\"\nlisten = \"x\"",
        "strowger.toml:3:1: unknown key `listen` in [sip]; did you mean `admin.listen`?",
    ),
    ("colour = 1", "strowger.toml:1:1: unknown key `colour`"),
    (
        "[sip]\nt1_ms = \"500\"",
        "strowger.toml:2:9: `sip.t1_ms`: found string \"500\", expected a whole number",
    ),
    (
        "[sip]\nt1_ms = 7",
        "strowger.toml:2:9: `sip.t1_ms`: 7 is out of range: expected 100 to 4000",
    ),
    (
        "[sip]\nt1_ms = -7",
        "strowger.toml:2:9: `sip.t1_ms`: -7 is out of range: expected 100 to 4000",
    ),
    (
        "[sip]\nudp = [\n  \"0.0.0.0:5060\",\n  \"0.0.0.0\",\n]",
        "strowger.toml:4:3: `sip.udp`: `0.0.0.0` is no address: expected for example 127.0.0.1:5060",
    ),
    (
        "[sip]\nudp = []",
        "strowger.toml:2:7: `sip.udp`: the list is empty: expected at least one address with a port",
    ),
    (
        "[sip]\nudp = [\"0.0.0.0:5060\", 5]",
        "strowger.toml:2:24: `sip.udp`: found integer `5`, expected a text in quotes",
    ),
    (
        "[sip]\nverbose_rejects = \"some\"",
        "strowger.toml:2:19: `sip.verbose_rejects`: unknown variant `some`, expected one of `all`, `trusted`, `none`",
    ),
    (
        "[sip]\nrealm = \"a\\\"b\"",
        "strowger.toml:2:9: `sip.realm`: expected 1 to 64 printable characters without quotes",
    ),
    (
        "sip = 5",
        "strowger.toml:1:7: `sip` is a section of settings, not a value; write [sip] and its keys below",
    ),
    (
        "[log]\nlevel = \"inof\"",
        "strowger.toml:2:9: `log.level`: `inof` is no log level: expected error, warn, info, debug, trace or off; did you mean `info`?",
    ),
    (
        "[log]\nformat = \"xml\"",
        "strowger.toml:2:10: `log.format`: unknown variant `xml`, expected `text` or `json`",
    ),
    (
        "[rtp]\nrange = \"16384\"",
        "strowger.toml:2:9: `rtp.range`: `16384` is no range of ports: expected for example 16384-32767",
    ),
    (
        "[rtp]\nrange = \"200-100\"",
        "strowger.toml:2:9: `rtp.range`: the range 200-100 is empty: the first port must be 1024 or above and below the last",
    ),
    (
        "[telegram]\nframe_ms = 30",
        "strowger.toml:2:12: `telegram.frame_ms`: 30 ms is no frame: expected 20, 40 or 60",
    ),
    (
        "[telegram]\nlibrary_versions = [\"9\"]",
        "strowger.toml:2:21: `telegram.library_versions`: `9` is no library version: expected for example 9.0.0",
    ),
    (
        "[telegram]\napi_id = 5",
        "strowger.toml:2:10: `telegram.api_id`: telegram.api_hash is missing; both come from my.telegram.org",
    ),
    (
        "[telegram]\np2p = 1",
        "strowger.toml:2:7: `telegram.p2p`: found integer `1`, expected a boolean",
    ),
    (
        "[admin]\nlisten = 8080",
        "strowger.toml:2:10: `admin.listen`: found integer `8080`, expected a text in quotes",
    ),
    (
        "[sip]\nudp = \"0.0.0.0:20000\"",
        "strowger.toml:2:7: `sip.udp`: port 20000 lies in rtp.range 16384-32767",
    ),
    (
        "[node]\nname = \"a\"\nname = \"b\"",
        "strowger.toml:3:1: duplicate key, near `name`",
    ),
    (
        "[sip]\nudp = \"0.0.0.0:5060\"\n[admin]\nlisten = \"127.0.0.1:5060\"",
        "strowger.toml:4:10: `admin.listen`: 127.0.0.1:5060 is that of sip.tcp 0.0.0.0:5060 already",
    ),
    (
        "[sip]\ntls_ca = \"/there/is/no.pem\"",
        "strowger.toml:2:10: `sip.tls_ca`: the file /there/is/no.pem cannot be read: No such file or directory (os error 2)",
    ),
    ("[node]\nname = \"a\n[sip]", "strowger.toml:2:10: "),
    ("[node\nname = \"a\"", "strowger.toml:1:6: "),
];

#[test]
fn every_broken_file_names_the_right_line() {
    for (text, expected) in BROKEN {
        let said = faults(text);
        assert!(
            said.iter().any(|fault| fault.starts_with(expected)),
            "{text}\n  said     {said:#?}\n  expected {expected}"
        );
    }
}

#[test]
fn further_files_lie_over_the_first_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strowger.toml");
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("strowger.toml", "[sip]\nrealm = \"one\"\nt1_ms = 600\n");
    write("conf.d/20-last.toml", "[sip]\nrealm = \"three\"\n");
    write(
        "conf.d/10-first.toml",
        "[sip]\nrealm = \"two\"\nt1_ms = 700\n",
    );
    write("conf.d/readme.txt", "no settings");
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let settings = load(&sources).unwrap().settings;
    assert_eq!(settings.sip.realm.to_string(), "three");
    assert_eq!(settings.sip.t1_ms, 700);
    write("conf.d/10-first.toml", "[sip]\n\nrelam = \"two\"\n");
    let faults = load(&sources).unwrap_err();
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(
        said[0].contains("conf.d/10-first.toml:3:1: unknown key `relam`"),
        "{said:?}"
    );
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let said = faults("[sip]\nt1_ms = 1\nudb = \"x\"\n[rtp]\nrange = 5\ntimeout_s = 99999\n");
    let lines: Vec<&str> = said
        .iter()
        .map(|fault| fault.split(':').nth(1).unwrap())
        .collect();
    assert_eq!(lines, ["2", "3", "5", "6"], "{said:#?}");
}

#[test]
fn a_fault_on_the_line_of_a_secret_does_not_show_it() {
    for text in [
        "[telegram]\napi_hash = 333777",
        "[telegram]\napi_hash = s3cret",
        "[telegram]\napi_hash = \"s3cret",
        "[telegram]\napi_id = 1\napi_hash = \"s3cret\"",
    ] {
        let said = faults(text).concat();
        assert!(
            !said.is_empty() && !said.contains("s3cret") && !said.contains("333777"),
            "{said}"
        );
    }
}

#[test]
fn an_empty_file_is_valid_and_means_the_defaults() {
    assert_eq!(loaded("", &[]).unwrap(), Settings::default());
}

#[test]
fn the_default_file_says_what_the_defaults_are() {
    assert_eq!(loaded(DEFAULT_FILE, &[]).unwrap(), Settings::default());
    let uncommented: String = DEFAULT_FILE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(loaded(&uncommented, &[]).unwrap(), Settings::default());
    let written: toml::Table = uncommented.parse().unwrap();
    assert_eq!(
        written,
        known(),
        "config/strowger.toml has every key with its default"
    );
}

#[test]
fn every_key_is_described() {
    let text = include_str!("../../../../docs/configuration.md");
    for key in leaves(&known()) {
        assert!(
            text.contains(&format!("| `{key}` |")),
            "docs/configuration.md does not describe `{key}`"
        );
    }
}

#[test]
fn the_environment_goes_over_the_file() {
    let file = "[sip]\nt1_ms = 250\nrealm = \"file\"\n";
    let settings = loaded(
        file,
        &[
            ("STROWGER__SIP__REALM", "environment"),
            ("STROWGER__LOG__FORMAT", "json"),
        ],
    )
    .unwrap();
    assert_eq!(settings.sip.t1_ms, 250);
    assert_eq!(settings.sip.realm.as_str(), "environment");
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn the_environment_sets_numbers_lists_and_switches() {
    let settings = loaded(
        "",
        &[
            ("STROWGER__SIP__UDP", "127.0.0.1:5070, [::1]:5070"),
            ("STROWGER__SIP__T1_MS", "200"),
            ("STROWGER__TELEGRAM__P2P", "false"),
            ("STROWGER__TELEGRAM__TEST_DC__ID", "2"),
            ("STROWGER__TELEGRAM__TEST_DC__ADDRESS", "127.0.0.1:4430"),
            ("STROWGER__RTP__ADDRESS", ""),
        ],
    )
    .unwrap();
    assert_eq!(settings.sip.udp.len(), 2);
    assert_eq!(settings.sip.t1_ms, 200);
    assert!(!settings.telegram.p2p);
    assert_eq!(
        settings.telegram.test_dc.server(),
        Some((2, "127.0.0.1:4430".parse().unwrap()))
    );
    assert_eq!(settings.rtp.address, None);
}

#[test]
fn a_secret_that_looks_like_a_number_stays_what_it_is() {
    for hash in [
        "00000000000000000000000000000012",
        "12345678901234567890123456789012",
        "1234567890123456789012345678e012",
    ] {
        let variables = [
            ("STROWGER__TELEGRAM__API_ID", "7"),
            ("STROWGER__TELEGRAM__API_HASH", hash),
        ];
        let settings = loaded("", &variables).unwrap();
        assert_eq!(
            settings
                .telegram
                .application()
                .map(|(id, secret)| (id, secret.expose().as_str())),
            Some((7, hash))
        );
    }
}

#[test]
fn a_fault_of_the_environment_names_the_variable() {
    let table = [
        (
            ("STROWGER__SIP__T1_MS", "fast"),
            "STROWGER__SIP__T1_MS: `sip.t1_ms`: ",
        ),
        (
            ("STROWGER__SIP__T1_MS", "5"),
            "STROWGER__SIP__T1_MS: `sip.t1_ms`: 5 is out of range: expected 100 to 4000",
        ),
        (
            ("STROWGER__SIP__UPD", "x"),
            "STROWGER__SIP__UPD: unknown setting; did you mean `STROWGER__SIP__UDP`?",
        ),
        (("STROWGER__SIP", "x"), "STROWGER__SIP: `sip` is a section"),
        (
            ("STROWGER__ADMIN__LISTEN", "8080"),
            "STROWGER__ADMIN__LISTEN: `admin.listen`: `8080` is no address",
        ),
        (
            ("STROWGER__TELEGRAM__API_ID", "5"),
            "STROWGER__TELEGRAM__API_ID: `telegram.api_id`: telegram.api_hash is missing",
        ),
    ];
    for (set, expected) in table {
        let said = loaded("", &[set]).unwrap_err();
        assert!(
            said.iter().any(|fault| fault.starts_with(expected)),
            "{set:?}: {said:#?}"
        );
    }
}

#[test]
fn the_data_folder_of_the_command_line_wins() {
    let sources = Sources {
        file: None,
        data: Some("/tmp/x".into()),
        variables: BTreeMap::from([("STROWGER__DATA__DIR".to_owned(), "/tmp/y".to_owned())]),
        ..Sources::default()
    };
    assert_eq!(
        load(&sources).unwrap().settings.data.dir,
        PathBuf::from("/tmp/x")
    );
}

#[test]
fn variables_are_named_after_keys() {
    assert_eq!(
        variable("telegram.test_dc.id"),
        "STROWGER__TELEGRAM__TEST_DC__ID"
    );
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let sources = Sources {
        file: Some("/nowhere/strowger.toml".into()),
        ..Sources::default()
    };
    let faults = load(&sources).unwrap_err();
    assert!(
        faults[0].to_string().contains("/nowhere/strowger.toml"),
        "{}",
        faults[0]
    );
}
