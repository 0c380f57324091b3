use model::TrunkKind;
use store::Change;

use super::*;

const GOOD: &str = r#"
[[trunk]]
name = "office"
kind = "inbound_register"
login = "office7k2m9"
password = "correct-horse-9"
codecs = ["alaw"]
number = "600"
ring_seconds = 20

[[trunk]]
name = "other"
kind = "peer"
address = "127.0.0.1:5080"
inbound_rules = '^0(?=[1-9])=+49 ^\+\d{7,15}$'

[[trunk]]
name = "provider"
kind = "outbound_register"
login = "1001"
password = "x1"
domain = "sip.example.com"
proxy = "192.0.2.7:5062"
auth_user = "auth1001"

[[session]]
name = "gateway"
phone = "+15550001"

[[route]]
trunk = "office"
session = "gateway"

[[route]]
trunk = "other"
to = "provider"
priority = 7
"#;

fn faults(text: &str) -> Vec<String> {
    let read = Records::read("records.toml", text);
    let planned =
        read.and_then(|records| Plan::new(&records, &Current::default(), false).map(|_| ()));
    planned
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn plan(text: &str, current: &Current, prune: bool) -> Plan {
    Plan::new(
        &Records::read("records.toml", text).unwrap(),
        current,
        prune,
    )
    .unwrap()
}

/// What the store holds after these changes.
fn after(changes: &[Change]) -> Current {
    let mut current = Current::default();
    for change in changes {
        match change {
            Change::PutTrunk(spec) => current.trunks.push((**spec).clone()),
            Change::PutSession(spec) => current.sessions.push(spec.clone()),
            Change::PutRoute(spec) => current.routes.push(spec.clone()),
            Change::PutTransit(spec) => current.transits.push(spec.clone()),
            Change::PutQuota(spec) => current.quotas.push(spec.clone()),
            Change::PutUser(spec) => current.users.push(spec.clone()),
            other => panic!("{other:?}"),
        }
    }
    current
}

/// A broken file, and what is said about it.
const BROKEN: &[(&str, &str)] = &[
    (
        "[[trunk]]\nname = \"a\"\ninbound_rules = '^8=7\\x'",
        "records.toml:3:17: `inbound_rules`: character 5: after `=` a backslash stands before a digit, a backslash or a dot; a \
         literal `=` is written [=]",
    ),
    (
        "[[trunk]]\nname = \"a\"\ninbound_rules = '^8=7 (9=7'",
        "records.toml:3:17: `inbound_rules`: trunk a: character 10: opening parenthesis without closing parenthesis",
    ),
    (
        "[[trunk]]\nname = \"a\"\ninbound_rules = '^8=7 (?<!1)(\\d+)+(?!\\d)z$'",
        "records.toml:3:17: `inbound_rules`: trunk a: character 6: this expression takes too long on some numbers, for one and the \
         same text matches it in too many ways; write it without one repetition inside another",
    ),
    (
        "[[trnk]]\nname = \"a\"",
        "records.toml:1:3: unknown key `trnk`; did you mean `trunk`?",
    ),
    (
        "[trunk]\nname = \"a\"",
        "records.toml:1:1: `trunk`: write [[trunk]], once for each trunk",
    ),
    (
        "[[trunk]]\nname = \"a\"\ncodec = [\"alaw\"]",
        "records.toml:3:1: unknown key `codec` in [[trunk]]; did you mean `codecs`?",
    ),
    (
        "[[trunk]]\nname = \"a b\"",
        "records.toml:2:8: `name`: a name has 1 to 64",
    ),
    (
        "[[trunk]]\nname = \"a\"\ncodecs = [\"alaw\",\n\"g729\"]",
        "records.toml:4:1: `codecs`: unknown variant `g729`, expected one of `alaw`, `mulaw`, `opus`, `g722`, `l16`",
    ),
    (
        "[[trunk]]\nname = \"a\"\ncodecs = []",
        "records.toml:1:1: `trunk`: trunk a: the codec list is empty",
    ),
    (
        "[[trunk]]\nname = \"a\"\ndtmf = [\"sms\"]",
        "records.toml:3:9: `dtmf`: unknown variant `sms`, expected one of `rfc2833`, `info`, `inband`",
    ),
    (
        "[[trunk]]\nname = \"a\"\nsrtp = \"yes\"",
        "records.toml:3:8: `srtp`: unknown variant `yes`, expected one of `off`, `optional`, `required`",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"peer\"\naddress = \"192.0.2.1:5060\"\nsrtp = \"required\"",
        "records.toml:1:1: `trunk`: trunk a: with srtp = \"required\" the keys of the audio travel in SIP, which over udp",
    ),
    (
        "[[trunk]]\nname = \"a\"\nlines = -1",
        "records.toml:3:9: `lines`: found integer `-1`, expected a whole number",
    ),
    (
        "[[trunk]]\nname = \"a\"\nnumber = 600",
        "records.toml:3:10: `number`: found integer `600`, expected a text in quotes",
    ),
    (
        "[[trunk]]\nname = \"a\"\ncaller_id = [\"+{phone}\",\n\"{fone}\"]",
        "records.toml:4:1: `caller_id`: rule 2: unknown tag `{fone}`; there are {phone}, {username}, {userid}",
    ),
    (
        "[[trunk]]\nname = \"a\"\ncaller_name = [\"{name\"]",
        "records.toml:3:16: `caller_name`: rule 1: unbalanced brace",
    ),
    (
        "[[trunk]]\nname = \"a\"\nbare_digits = \"extension\"",
        "records.toml:3:15: `bare_digits`: unknown variant `extension`, expected `phone` or `userid`",
    ),
    (
        "[[trunk]]\nname = \"a\"\ntrusted_ips = [\"192.0.2.0/24\", \"192.0.2.0/33\"]",
        "records.toml:3:32: `trusted_ips`: `192.0.2.0/33` is no address or network",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"peer\"\naddress = \"1.2.3.4:5060\"\ntrusted_ips = \"1.2.3.4\"",
        "records.toml:5:15: `trusted_ips`: trunk a: only the account of a PBX that registers",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"peer\"\naddress = \"1.2.3.4:5060\"\nheader = \"Via:x\"",
        "records.toml:5:10: `header`: `Via:x` is no header of its own",
    ),
    (
        "[[trunk]]\nname = \"a\"\nheader = \"X-Line:7\"",
        "records.toml:3:10: `header`: trunk a: only a peer has it",
    ),
    (
        "[[trunk]]\nname = \"a\"\nqualify = true",
        "records.toml:3:11: `qualify`: trunk a: only a peer has it",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"peer\"\naddress = \"1.2.3.4:5060\"\nheader = \"X-Line:7\"\n[[trunk]]\nname = \"b\"\nkind = \"peer\"\naddress = \"1.2.3.4:5060\"\nheader = \"x-line: 7\"",
        "records.toml:6:1: `trunk`: trunks a and b have the same address 1.2.3.4:5060",
    ),
    (
        "[[trunk]]\nkind = \"peer\"",
        "records.toml:1:1: `name`: every [[trunk]] needs a name",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"peer\"",
        "records.toml:1:1: `address`: trunk a: a peer needs one",
    ),
    (
        "[[trunk]]\nname = \"a\"\naddress = \"1.2.3.4:5060\"",
        "records.toml:3:11: `address`: trunk a: a PBX that registers",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"outbound_register\"\nlogin = \"1001\"",
        "records.toml:4:9: `login`: trunk a: the PBX or provider has given you a login, a password and a domain",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"outbound_register\"\nlogin = \"1001\"\npassword = \"x\"",
        "records.toml:1:1: `domain`: trunk a: the PBX or provider has given you",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"outbound_register\"\nlogin = \"1001\"\npassword = \"x\"\ndomain = \"a b\"",
        "records.toml:6:10: `domain`: `a b` is no host",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"outbound_register\"\nlogin = \"1001\"\npassword = \"\"\ndomain = \"pbx.example\"",
        "records.toml:1:1: `trunk`: trunk a: login, password and auth_user are those",
    ),
    (
        "[[trunk]]\nname = \"a\"\nproxy = \"192.0.2.1\"",
        "records.toml:3:9: `proxy`: trunk a: a PBX that registers here needs none",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"peer\"\ndomain = \"pbx.example\"\naddress = \"1.2.3.4:5060\"",
        "records.toml:4:10: `domain`: trunk a: a peer has none",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"register\"",
        "records.toml:3:8: `kind`: unknown variant `register`",
    ),
    (
        "[[trunk]]\nname = \"a\"\n[[trunk]]\nname = \"a\"",
        "records.toml:4:8: `name`: there are two trunks `a`",
    ),
    (
        "[[session]]\nname = \"a\"\nphone = \"\"\nphone = \"\"",
        "records.toml:4:1: duplicate key",
    ),
    (
        "[[route]]\ntrunk = \"a\"",
        "records.toml:1:1: `route`: every [[route]] needs a trunk and a session, or a trunk and `to`",
    ),
    (
        "[[route]]\ntrunk = \"a\"\nsession = \"s\"\nto = \"b\"",
        "records.toml:1:1: `route`: every [[route]] needs a trunk and a session, or a trunk and `to`",
    ),
    (
        "[[trunk]]\nname = \"a\"\n[[route]]\ntrunk = \"a\"\nto = \"a\"",
        "records.toml:5:6: `to`: a trunk has no way to itself",
    ),
    (
        "[[trunk]]\nname = \"a\"\n[[route]]\ntrunk = \"a\"\nto = \"b\"",
        "records.toml:5:6: `to`: there is no trunk `b`",
    ),
    (
        "[[session]]\nname = \"s\"\n[[route]]\ntrunk = \"a\"\nsession = \"s\"",
        "records.toml:4:9: `trunk`: there is no trunk `a`",
    ),
    (
        "[[trunk]]\nname = \"a\"\nkind = \"peer\"\naddress = \"1.2.3.4:5060\"\n[[trunk]]\nname = \"b\"\nkind = \"peer\"\naddress = \"1.2.3.4:5060\"",
        "records.toml:5:1: `trunk`: trunks a and b have the same address 1.2.3.4:5060",
    ),
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
fn a_password_is_not_in_the_fault_about_it() {
    let said = faults("[[trunk]]\nname = \"a\"\npassword = 987654321\n").concat();
    assert!(
        said.contains("records.toml:3:12") && !said.contains("987654321"),
        "{said}"
    );
}

#[test]
fn a_good_file_becomes_changes_and_the_same_file_again_none() {
    let first = plan(GOOD, &Current::default(), false);
    assert_eq!(
        first.said,
        [
            "+ trunk office",
            "+ trunk other",
            "+ trunk provider",
            "+ session gateway",
            "+ route office gateway",
            "+ route other --to provider"
        ]
    );
    let current = after(&first.changes);
    assert!(plan(GOOD, &current, true).changes.is_empty());
    assert_eq!(current.trunks[0].number.as_deref(), Some("600"));
    assert_eq!(current.trunks[1].codecs, Codec::DEFAULT);
}

#[test]
fn an_answer_for_who_writes_is_given_unless_the_file_says_that_nothing_is_looked_at() {
    for (said, is_on) in [
        ("", false),
        ("autoreply = ''", false),
        ("autoreply = 'Call us.'", true),
        ("autoreply = 'Call us.'\nmessages_processing = true", true),
        ("autoreply = 'Call us.'\nmessages_processing = false", false),
    ] {
        let text = format!("[[session]]\nname = \"gateway\"\n{said}\n");
        let current = after(&plan(&text, &Current::default(), false).changes);
        assert_eq!(current.sessions[0].messages_processing, is_on, "{said}");
    }
}

#[test]
fn what_is_exported_reads_back_as_the_same() {
    let current = after(&plan(GOOD, &Current::default(), false).changes);
    let text = write(&current, true).unwrap();
    assert!(plan(&text, &current, true).changes.is_empty(), "{text}");
    let again = after(&plan(&text, &Current::default(), false).changes);
    assert_eq!(
        (again.trunks, again.sessions, again.routes, again.transits),
        (
            current.trunks,
            current.sessions,
            current.routes,
            current.transits
        )
    );
    assert!(
        plan(
            &write(&Current::default(), true).unwrap(),
            &Current::default(),
            true
        )
        .changes
        .is_empty()
    );
}

#[test]
fn rules_are_exported_as_they_were_written_also_when_there_are_none() {
    let text = "[[trunk]]\nname = \"a\"\ncaller_id = [\" `8{phone}` \", \"\"]\ncaller_name = []\nbare_digits = \"userid\"\n\
                tg_headers = false\nrefer = true\npriority = 7\n";
    let current = after(&plan(text, &Current::default(), false).changes);
    let trunk = &current.trunks[0];
    assert_eq!(trunk.caller_id.to_string(), "8{phone}");
    assert!(trunk.caller_name.rules().is_empty() && !trunk.tg_headers);
    assert!(trunk.refer);
    assert_eq!(trunk.priority, 7);
    let text = write(&current, true).unwrap();
    let again = after(&plan(&text, &Current::default(), false).changes);
    assert_eq!(again.trunks, current.trunks, "{text}");
    let default = after(&plan("[[trunk]]\nname = \"a\"\n", &Current::default(), false).changes);
    let default = &default.trunks[0];
    assert_eq!(
        default.caller_id.to_string(),
        "+{phone}\n{username}\n0{userid}"
    );
    assert_eq!((default.tg_headers, default.priority), (true, 100));
    assert!(!default.refer);
}

#[test]
fn quotas_are_written_and_read_and_must_be_there_for_those_who_name_them() {
    let text = "[[trunk]]\nname = \"a\"\nquota = \"small\"\nfailure_limit = 0\n\n[[session]]\nname = \"s\"\nquota = \"small\"\n\n\
                [[quota]]\nname = \"small\"\ncall_seconds = 120\nfail_calls = 3\n";
    let current = after(&plan(text, &Current::default(), false).changes);
    let quota = &current.quotas[0];
    assert_eq!((quota.call_seconds, quota.fail_calls), (120, 3));
    assert_eq!((quota.total_seconds, quota.fail_window_seconds), (0, 3600));
    let trunk = &current.trunks[0];
    assert_eq!((trunk.failure_limit, trunk.failure_wait_seconds), (0, 60));
    let users = [&current.trunks[0].quota, &current.sessions[0].quota];
    assert!(users.iter().all(|it| it.as_ref() == Some(&quota.name)));
    let text = write(&current, true).unwrap();
    assert!(plan(&text, &current, true).changes.is_empty(), "{text}");
    // A profile goes when nobody needs it any more; sessions stay, and so does theirs.
    let without =
        |session: &str| format!("[[trunk]]\nname = \"a\"\n\n[[session]]\nname = \"s\"\n{session}");
    let gone = plan(&without(""), &current, true).changes;
    assert!(matches!(&gone[..], [.., Change::RemoveQuota(name)] if name.as_str() == "small"));
    let records = Records::read("records.toml", &without("quota = \"small\"\n")).unwrap();
    let faults = Plan::new(&records, &current, true).unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "records.toml:6:9: `quota`: there is no quota `small`"
    );
    let records = Records::read("records.toml", "[[trunk]]\nname = \"a\"\n").unwrap();
    let faults = Plan::new(&records, &current, true).unwrap_err();
    assert!(
        faults[0]
            .to_string()
            .contains("session s has the quota `small`")
    );
}

#[test]
fn a_trunk_without_credentials_gets_new_ones_once_and_keeps_them() {
    let text = "[[trunk]]\nname = \"a\"\n";
    let current = after(&plan(text, &Current::default(), false).changes);
    let TrunkKind::InboundRegister { login, password } = &current.trunks[0].kind else {
        panic!()
    };
    assert_eq!(login.len(), 10);
    assert!(password.expose().len() >= 20);
    assert!(plan(text, &current, false).changes.is_empty());
}

#[test]
fn pruning_removes_trunks_and_routes_but_never_a_session() {
    let current = after(&plan(GOOD, &Current::default(), false).changes);
    assert!(plan("", &current, false).changes.is_empty());
    let pruned = plan("", &current, true);
    assert_eq!(
        pruned.said,
        [
            "- route office gateway",
            "- route other --to provider",
            "- trunk office",
            "- trunk other",
            "- trunk provider"
        ]
    );
}

#[test]
fn an_export_without_passwords_is_applied_without_touching_them() {
    let current = after(&plan(GOOD, &Current::default(), false).changes);
    let text = write(&current, false).unwrap();
    assert!(!text.contains("password ="), "{text}");
    assert!(plan(&text, &current, true).changes.is_empty(), "{text}");
}

#[test]
fn users_are_written_and_read_and_are_different_people() {
    let text = "[[user]]\nname = \"ann\"\ntelegram_id = 4242\nlines = 2\nquota = \"small\"\nnote = \"sales\"\n\n\
                [[user]]\nname = \"bob\"\ntelegram_id = 4243\n\n[[quota]]\nname = \"small\"\n";
    let current = after(&plan(text, &Current::default(), false).changes);
    let ann = &current.users[0];
    assert_eq!((ann.telegram_id, ann.lines), (4242, 2));
    assert_eq!(ann.note, "sales");
    assert_eq!(
        ann.quota.as_ref().map(ToString::to_string).as_deref(),
        Some("small")
    );
    let text = write(&current, true).unwrap();
    assert!(plan(&text, &current, true).changes.is_empty(), "{text}");
    let gone = plan("[[quota]]\nname = \"small\"\n", &current, true).changes;
    assert!(matches!(
        &gone[..],
        [Change::RemoveUser(_), Change::RemoveUser(_)]
    ));
    for (wrong, said) in [
        ("name = \"c\"\n", "user c needs a telegram_id"),
        ("name = \"c\"\ntelegram_id = -1\n", "-1 is no id"),
        (
            "name = \"c\"\ntelegram_id = 7\nquota = \"none\"\n",
            "there is no quota `none`",
        ),
        (
            "name = \"c\"\ntelegram_id = 7\n[[user]]\nname = \"d\"\ntelegram_id = 7\n",
            "users c and d have the same telegram_id",
        ),
    ] {
        let records = Records::read("r.toml", &format!("[[user]]\n{wrong}")).unwrap();
        let faults = Plan::new(&records, &Current::default(), false).unwrap_err();
        assert!(faults[0].to_string().contains(said), "{}", faults[0]);
    }
}

/// The records that a page shows, for a file: behind a fence, or indented.
fn shown(page: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let (mut is_fenced, mut is_open) = (false, false);
    for line in page.lines() {
        let is_fence = line.starts_with("```");
        if is_fence {
            is_fenced = line == "```toml";
        }
        let is_shown = is_fenced || line.starts_with("    ") || line.is_empty();
        if is_fence || !is_shown {
            is_open = false;
            continue;
        }
        let line = line.trim_start();
        if line.starts_with("[[") && !is_open {
            is_open = true;
            found.push(String::new());
        }
        if let Some(records) = found.last_mut().filter(|_| is_open) {
            records.push_str(line);
            records.push('\n');
        }
    }
    found
}

/// Whoever begins types what the page shows.
#[test]
fn the_records_that_pages_show_can_be_applied() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut known = GOOD.replace("\"other\"", "\"branch\"");
    known.push_str("[[session]]\nname = \"sales\"\n");
    let mut pages = vec![std::path::PathBuf::from(format!("{root}/README.md"))];
    let docs = std::fs::read_dir(format!("{root}/docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    let mut count = 0;
    for page in pages {
        for text in shown(&std::fs::read_to_string(&page).unwrap()) {
            count += 1;
            // A file that begins with whom it needs is applied to an empty store, as a newcomer does.
            let current = if text.starts_with("[[trunk]]") {
                Current::default()
            } else {
                after(&plan(&known, &Current::default(), false).changes)
            };
            let read = Records::read("records.toml", &text);
            let planned = read.and_then(|records| Plan::new(&records, &current, false));
            assert!(planned.is_ok(), "{page:?}: {:?}\n{text}", planned.err());
        }
    }
    assert!(count >= 4, "{count}");
}
