use clap::ValueEnum as _;
use model::{Secret, TrunkKind};

use super::*;

const PASSWORD: &str = "p&ss;w'rd<12";

fn kinds() -> [TrunkKind; 3] {
    let (login, password) = ("office7k2m9".to_owned(), Secret::new(PASSWORD.to_owned()));
    [
        TrunkKind::InboundRegister {
            login: login.clone(),
            password: password.clone(),
        },
        TrunkKind::OutboundRegister {
            login,
            password,
            domain: "192.0.2.7".parse().unwrap(),
            proxy: None,
            auth_user: Some("other".to_owned()),
        },
        TrunkKind::Peer {
            address: "192.0.2.7:5070".parse().unwrap(),
        },
    ]
}

fn parts(pbx: Pbx, facts: &Facts<'_>) -> Option<Vec<Part>> {
    Some(match pbx {
        Pbx::AsteriskPjsip => asterisk::parts(facts),
        Pbx::Freepbx => forms::freepbx(facts),
        Pbx::ThreeCx => forms::three_cx(facts),
        Pbx::Fusionpbx => forms::fusionpbx(facts),
        Pbx::Mikopbx => forms::mikopbx(facts),
        Pbx::Freeswitch => freeswitch::parts(facts),
        Pbx::Kamailio => kamailio::parts(facts).ok()?,
    })
}

#[test]
fn every_pbx_gets_server_login_password_number_and_codecs_for_every_kind() {
    let settings = Settings::default();
    for pbx in Pbx::value_variants() {
        for kind in kinds() {
            for transport in Transport::ALL {
                let trunk = TrunkSpec {
                    transport,
                    number: Some("600".to_owned()),
                    codecs: vec![Codec::Alaw, Codec::G722],
                    dtmf: vec![DtmfMethod::Info],
                    ..TrunkSpec::new("office".parse().unwrap(), kind.clone())
                };
                let server = "sip.example.com:5066".parse().ok();
                let facts = Facts::new(&trunk, &settings, server);
                let Some(parts) = parts(*pbx, &facts) else {
                    assert_eq!((*pbx, facts.login()), (Pbx::Kamailio, "office7k2m9"));
                    continue;
                };
                let text = as_text(&parts);
                let what = format!("{pbx:?} {transport} {text}");
                let registers_here = matches!(kind, TrunkKind::InboundRegister { .. });
                let registers_there = matches!(kind, TrunkKind::OutboundRegister { .. });
                let mut words = Vec::new();
                if !registers_there {
                    words.extend(["sip.example.com", "5066"]);
                }
                if registers_here || registers_there {
                    words.push("office7k2m9");
                    words.push(match pbx {
                        Pbx::AsteriskPjsip => r"p&ss\;w'rd<12",
                        Pbx::Freeswitch => "p&amp;ss;w'rd&lt;12",
                        Pbx::Kamailio => r"'p&ss;w'\''rd<12'",
                        _ => PASSWORD,
                    });
                }
                if *pbx != Pbx::Kamailio {
                    words.push("600");
                }
                for word in words {
                    assert!(text.contains(word), "{word} is not in {what}");
                }
                if !matches!(pbx, Pbx::Kamailio) {
                    let order = [("alaw", "g722"), ("PCMA", "G722"), ("A-law", "G722")];
                    let in_order = order.iter().any(|(first, second)| {
                        text.find(first) < text.find(second) && text.contains(first)
                    });
                    assert!(
                        in_order || registers_there && *pbx == Pbx::ThreeCx,
                        "{what}"
                    );
                }
                assert!(
                    !text.contains(PLACEHOLDER) && !text.contains("{}"),
                    "{what}"
                );
                assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{what}");
                let json = as_json(&trunk, &parts);
                assert_eq!(json["parts"].as_array().map(Vec::len), Some(parts.len()));
            }
        }
    }
}

#[test]
fn where_a_pbx_finds_us_is_what_is_said_or_set_or_listened_on_or_left_open() {
    let inbound = TrunkSpec::new("office".parse().unwrap(), kinds()[0].clone());
    let found = |settings: &Settings, server: Option<&str>| {
        Facts::new(
            &inbound,
            settings,
            server.map(|server| server.parse().unwrap()),
        )
        .server()
    };
    let mut settings = Settings::default();
    assert_eq!(found(&settings, None), "ADDRESS-OF-STROWGER:5060");
    assert_eq!(
        found(&settings, Some("sip.example.com")),
        "sip.example.com:5060"
    );
    assert_eq!(
        found(&settings, Some("[2001:db8::1]:5066")),
        "[2001:db8::1]:5066"
    );
    settings.sip.udp = vec!["192.0.2.1:5062".parse().unwrap()];
    assert_eq!(found(&settings, None), "192.0.2.1:5062");
    settings.sip.public_address = "203.0.113.5".parse().ok();
    assert_eq!(found(&settings, None), "203.0.113.5:5062");
    settings.sip.udp = vec!["0.0.0.0:5060".parse().unwrap()];
    settings.sip.public_address = None;
    let here = TrunkKind::Peer {
        address: "127.0.0.1:5070".parse().unwrap(),
    };
    let peer = TrunkSpec::new("office".parse().unwrap(), here);
    let facts = Facts::new(&peer, &settings, None);
    assert_eq!(
        facts.server(),
        "127.0.0.1:5060",
        "where packets to it leave from"
    );
}

#[test]
fn a_trunk_without_a_number_says_where_calls_arrive() {
    let settings = Settings::default();
    for (kind, arrival) in kinds().into_iter().zip(["office7k2m9", "s", "s"]) {
        let trunk = TrunkSpec::new("office".parse().unwrap(), kind);
        let facts = Facts::new(&trunk, &settings, None);
        let text = as_text(&asterisk::parts(&facts));
        assert!(
            text.contains(&format!("exten => {arrival},1,Goto(")),
            "{text}"
        );
    }
}
