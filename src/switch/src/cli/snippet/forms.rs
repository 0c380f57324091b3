//! PBXs that are configured in forms: where each form is, and what goes into its fields. What is not listed stays as it is.

use model::{Codec, DtmfMethod, TrunkKind};

use super::{Facts, Part};

/// What phones dial to reach Telegram, everywhere alike.
fn dialling() -> Part {
    Part::Note(
        "Phones dial a number with its +, or a username. Where phones cannot dial a +, let the route turn a prefix of your choice into it."
            .to_owned(),
    )
}

pub(super) fn freepbx(facts: &Facts<'_>) -> Vec<Part> {
    let mut fields = vec![
        ("General: Trunk Name", facts.trunk.name.to_string()),
        ("General: Maximum Channels", or_empty(facts.lines())),
    ];
    let general = |label, value: &str| (label, value.to_owned());
    let (auth, registration) = match &facts.trunk.kind {
        TrunkKind::InboundRegister { .. } => ("Outbound", "Send"),
        TrunkKind::OutboundRegister { .. } => ("Inbound", "Receive"),
        TrunkKind::Peer { .. } => ("None", "None"),
    };
    if !facts.login().is_empty() {
        fields.push(general("pjsip General: Username", facts.login()));
        fields.push(general("pjsip General: Auth username", facts.auth_user()));
        fields.push(general("pjsip General: Secret", facts.password()));
    }
    fields.push(general("pjsip General: Authentication", auth));
    fields.push(general("pjsip General: Registration", registration));
    if !matches!(facts.trunk.kind, TrunkKind::OutboundRegister { .. }) {
        fields.push(general("pjsip General: SIP Server", &facts.host));
        fields.push(("pjsip General: SIP Server Port", facts.port.to_string()));
    }
    fields.push(general("pjsip General: Context", "from-pstn"));
    let transport = format!("0.0.0.0-{}", facts.trunk.transport.as_str());
    fields.push(("pjsip General: Transport", transport));
    fields.push(general(
        "pjsip Advanced: DTMF Mode",
        match facts.dtmf() {
            DtmfMethod::Rfc2833 => "RFC 4733",
            DtmfMethod::Info => "SIP INFO",
            DtmfMethod::Inband => "Inband",
        },
    ));
    match &facts.trunk.kind {
        TrunkKind::InboundRegister { .. } => {
            fields.push(general("pjsip Advanced: Contact User", facts.arrival()));
            fields.push(general("pjsip Advanced: From Domain", &facts.host));
            fields.push(general("pjsip Advanced: Support Path", "No"));
        }
        TrunkKind::Peer { .. } => {
            fields.push(general("pjsip Advanced: Match (Permit)", &facts.host));
        }
        TrunkKind::OutboundRegister { .. } => {}
    }
    fields.push(general(
        "pjsip Advanced: Send RPID/PAI",
        "Send P-Asserted-Identity header",
    ));
    fields.push(general("pjsip Advanced: Direct Media", "No"));
    fields.push((
        "pjsip Codecs, in this order",
        facts.codecs(asterisk_codec, ", "),
    ));
    vec![
        Part::Form {
            place: "Connectivity > Trunks > Add Trunk > Add SIP (chan_pjsip) Trunk",
            fields,
        },
        Part::Form {
            place: "Connectivity > Inbound Routes > Add Inbound Route",
            fields: vec![
                ("Description", facts.trunk.name.to_string()),
                ("DID Number", facts.arrival().to_owned()),
                (
                    "Set Destination",
                    "the extension, queue or menu that Telegram users reach".to_owned(),
                ),
            ],
        },
        Part::Form {
            place: "Connectivity > Outbound Routes > Add Outbound Route",
            fields: vec![
                ("Route Name", facts.trunk.name.to_string()),
                (
                    "Trunk Sequence for Matched Routes",
                    facts.trunk.name.to_string(),
                ),
                ("Dial Patterns: match pattern", "+X.".to_owned()),
                ("Dial Patterns: prefix tg, match pattern", ".".to_owned()),
            ],
        },
        dialling(),
    ]
}

pub(super) fn three_cx(facts: &Facts<'_>) -> Vec<Part> {
    let text = |label, value: &str| (label, value.to_owned());
    let codecs = facts.codecs(
        |codec| match codec {
            Codec::Alaw => "G.711 A-law",
            Codec::Mulaw => "G.711 U-law",
            Codec::Opus => "OPUS",
            Codec::G722 => "G722",
            Codec::L16 => "(L16 is not there)",
        },
        ", ",
    );
    if let TrunkKind::OutboundRegister { .. } = facts.trunk.kind {
        return vec![
            Part::Form {
                place: "Users > Add User",
                fields: vec![
                    text("Extension number", facts.login()),
                    text("Phone > IP Phone > ID", facts.auth_user()),
                    text("Phone > IP Phone > Password", facts.password()),
                    text(
                        "Options > Restrictions > Disallow use of extension outside the LAN",
                        "off, if Strowger is outside",
                    ),
                    text("Options > Troubleshooting > PBX delivers audio", "on"),
                ],
            },
            Part::Note(format!(
                "Telegram users call {}; Telegram is called by calling extension {}, which has one number: for more, make the trunk inbound_register or peer.",
                facts.arrival(),
                facts.login()
            )),
        ];
    }
    let mut fields = vec![
        text("Select Country / Provider", "Generic / Generic SIP Trunk"),
        text("Name", facts.trunk.name.as_str()),
        text("Registrar/Server/Gateway Hostname or IP", &facts.host),
        ("Port", facts.port.to_string()),
        (
            "Number of SIM Calls",
            if facts.trunk.lines == 0 {
                "as many as the licence has".to_owned()
            } else {
                facts.lines()
            },
        ),
    ];
    if facts.login().is_empty() {
        fields.push(text("Type of Authentication", "Do not require - IP Based"));
    } else {
        fields.push(text("Type of Authentication", "Register/Account based"));
        fields.push(text(
            "Authentication ID (aka SIP User ID)",
            facts.auth_user(),
        ));
        fields.push(text("Authentication Password", facts.password()));
        fields.push(text("Re-Register Timeout", "600"));
    }
    fields.push(text("Main Trunk No", facts.arrival()));
    fields.push(("Options > Transport Protocol", facts.transport()));
    fields.push(("Options > Codec Priority", codecs));
    fields.push(text("Options > PBX delivers audio", "on"));
    vec![
        Part::Form {
            place: "Voice & Chat > Add Trunk",
            fields,
        },
        Part::Form {
            place: "the trunk > DIDs, and Inbound Rules",
            fields: vec![
                text("DID Number/mask", facts.arrival()),
                text(
                    "Route calls to",
                    "the extension, queue or menu that Telegram users reach",
                ),
            ],
        },
        Part::Form {
            place: "Outbound Rules > Add",
            fields: vec![
                text("Rule Name", facts.trunk.name.as_str()),
                text("Calls to numbers starting with prefix", "+"),
                text("Make outbound calls on", facts.trunk.name.as_str()),
            ],
        },
        dialling(),
    ]
}

pub(super) fn fusionpbx(facts: &Facts<'_>) -> Vec<Part> {
    let text = |label, value: &str| (label, value.to_owned());
    let codecs = facts.codecs(
        |codec| match codec {
            Codec::Alaw => "PCMA",
            Codec::Mulaw => "PCMU",
            Codec::Opus => "OPUS",
            Codec::G722 => "G722",
            Codec::L16 => "L16@48000h@10i",
        },
        ",",
    );
    let name = facts.trunk.name.as_str();
    let mut parts = Vec::new();
    match &facts.trunk.kind {
        TrunkKind::OutboundRegister { .. } => parts.push(Part::Form {
            place: "Accounts > Extensions > Add",
            fields: vec![
                text("Extension", facts.login()),
                text("Password", facts.password()),
                text("User Context", "public"),
                text("Absolute Codec String", &codecs),
                text("Enabled", "True"),
            ],
        }),
        TrunkKind::InboundRegister { .. } | TrunkKind::Peer { .. } => {
            let registers = !facts.login().is_empty();
            let mut fields = vec![text("Gateway", name)];
            if registers {
                fields.push(text("Username", facts.login()));
                fields.push(text("Password", facts.password()));
                fields.push(text("From User", facts.login()));
            }
            fields.push(text("From Domain", &facts.host));
            fields.push(("Proxy", facts.server()));
            if registers {
                fields.push(text("Realm", facts.realm));
                fields.push(text("Expire Seconds", "600"));
                fields.push(text("Retry Seconds", "30"));
            }
            fields.push(text("Register", if registers { "True" } else { "False" }));
            fields.push(text("Extension (Advanced)", facts.arrival()));
            fields.push(text(
                "Register Transport (Advanced)",
                facts.trunk.transport.as_str(),
            ));
            fields.push(text(
                "Caller ID In From (Advanced)",
                if registers { "False" } else { "True" },
            ));
            fields.push(text("Codec Preferences (Advanced)", &codecs));
            fields.push(text("Context", "public"));
            fields.push(text("Profile", "external"));
            fields.push(text("Enabled", "True"));
            parts.push(Part::Form {
                place: "Accounts > Gateways > Add",
                fields,
            });
            if !registers {
                let cidr = format!(
                    "{}/{}",
                    facts.host.trim_matches(['[', ']']),
                    if facts.host.starts_with('[') { 128 } else { 32 }
                );
                parts.push(Part::Form {
                    place: "Advanced > Access Controls > providers > Add node",
                    fields: vec![
                        text("Type", "allow"),
                        ("CIDR", cidr),
                        text("Description", name),
                    ],
                });
            }
        }
    }
    parts.push(Part::Form {
        place: "Dialplan > Destinations > Add",
        fields: vec![
            text("Type", "Inbound"),
            text("Destination", facts.arrival()),
            text("Context", "public"),
            text(
                "Actions",
                "the extension, queue or menu that Telegram users reach",
            ),
            text("Description", name),
        ],
    });
    if !matches!(facts.trunk.kind, TrunkKind::OutboundRegister { .. }) {
        parts.push(Part::Form {
            place: "Dialplan > Outbound Routes > Add",
            fields: vec![
                text("Gateway", name),
                text("Dialplan Expression", r"^(\+\d+)$"),
                text("Enabled", "True"),
            ],
        });
        parts.push(dialling());
    }
    parts
}

pub(super) fn mikopbx(facts: &Facts<'_>) -> Vec<Part> {
    let text = |label, value: &str| (label, value.to_owned());
    let mut fields = vec![text("Provider name", facts.trunk.name.as_str())];
    fields.push(text(
        "Account type",
        match &facts.trunk.kind {
            TrunkKind::InboundRegister { .. } => "Outbound registration",
            TrunkKind::OutboundRegister { .. } => "Inbound registration",
            TrunkKind::Peer { .. } => "Without registration (by address)",
        },
    ));
    if !matches!(facts.trunk.kind, TrunkKind::OutboundRegister { .. }) {
        fields.push(text("Provider host or IP address", &facts.host));
        fields.push(("SIP port", facts.port.to_string()));
    }
    if !facts.login().is_empty() {
        fields.push(text("Login", facts.login()));
        fields.push(text("Password", facts.password()));
    }
    fields.push(text(
        "DTMF mode",
        match facts.dtmf() {
            DtmfMethod::Rfc2833 => "rfc4733",
            DtmfMethod::Info => "info",
            DtmfMethod::Inband => "inband",
        },
    ));
    fields.push(("Advanced settings > Transport protocol", facts.transport()));
    fields.push((
        "Advanced settings > Additional parameters",
        format!(
            "[endpoint] disallow=all allow={} direct_media=no",
            facts.codecs(asterisk_codec, ",")
        ),
    ));
    vec![
        Part::Form {
            place: "Routing > Telephony providers > Connect SIP",
            fields,
        },
        Part::Form {
            place: "Routing > Incoming routing > Add rule",
            fields: vec![
                text("Provider", facts.trunk.name.as_str()),
                text("Number (DID)", facts.arrival()),
                text(
                    "Forward to",
                    "the extension, queue or menu that Telegram users reach",
                ),
            ],
        },
        Part::Form {
            place: "Routing > Outgoing routing > Add rule",
            fields: vec![
                text("Provider", facts.trunk.name.as_str()),
                text("Number begins with", r"\+"),
                text("The rest of the number has", "7 to 15 digits"),
            ],
        },
        dialling(),
    ]
}

/// In FreePBX an empty field is unlimited.
fn or_empty(lines: String) -> String {
    if lines == "0" {
        "(empty)".to_owned()
    } else {
        lines
    }
}

fn asterisk_codec(codec: Codec) -> &'static str {
    match codec {
        Codec::Alaw => "alaw",
        Codec::Mulaw => "ulaw",
        Codec::Opus => "opus",
        Codec::G722 => "g722",
        Codec::L16 => "slin48",
    }
}
