//! FreeSWITCH: a gateway of the profile `external`, and the dialplan of both directions.

use model::{Codec, DtmfMethod, TrunkKind};

use super::{Facts, Part};

const COMMENT: (&str, &str) = ("<!--", " -->");

pub(super) fn parts(facts: &Facts<'_>) -> Vec<Part> {
    let name = facts.trunk.name.as_str();
    let mut parts = Vec::new();
    match &facts.trunk.kind {
        TrunkKind::InboundRegister { .. } => parts.push(gateway(facts, true)),
        TrunkKind::Peer { address } => {
            parts.push(gateway(facts, false));
            parts.push(file(
                "/etc/freeswitch/autoload_configs/acl.conf.xml",
                format!(
                    "<!-- inside of <list name=\"domains\">: Strowger needs no password -->\n<node type=\"allow\" cidr=\"{}/{}\"/>\n",
                    facts.host.trim_matches(['[', ']']),
                    if address.is_ipv4() { 32 } else { 128 }
                ),
            ));
        }
        TrunkKind::OutboundRegister { login, .. } => parts.push(file(
            &format!("/etc/freeswitch/directory/default/{login}.xml"),
            format!(
                "<include>\n  <user id=\"{login}\">\n    <params>\n      <param name=\"password\" value=\"{}\"/>\n    </params>\n    \
                 <variables>\n      <variable name=\"user_context\" value=\"public\"/>\n      \
                 <variable name=\"absolute_codec_string\" value=\"{}\"/>\n    </variables>\n  </user>\n</include>\n",
                xml(facts.password()),
                facts.codecs(codec, ",")
            ),
        )),
    }
    let arrival = facts.arrival();
    let rings = facts.trunk.number.as_deref().unwrap_or("1000");
    parts.push(file(
        &format!("/etc/freeswitch/dialplan/public/00_{name}.xml"),
        format!(
            "<include>\n  <!-- calls of Telegram users -->\n  <extension name=\"from-{name}\">\n    \
             <condition field=\"destination_number\" expression=\"^{}$\">\n      \
             <action application=\"transfer\" data=\"{} XML default\"/>\n    </condition>\n  </extension>\n</include>\n",
            literal(arrival),
            xml(rings)
        ),
    ));
    let (number, username) = match &facts.trunk.kind {
        TrunkKind::InboundRegister { .. } | TrunkKind::Peer { .. } => (
            format!("sofia/gateway/{name}/$1"),
            format!("sofia/gateway/{name}/$1"),
        ),
        TrunkKind::OutboundRegister { login, .. } => {
            let contact = format!("${{sofia_contact({login}@${{domain_name}})}}");
            let called = format!("{{sip_invite_to_uri=<sip:$1@${{domain_name}}>}}{contact}");
            (called.clone(), called)
        }
    };
    parts.push(file(
        &format!("/etc/freeswitch/dialplan/default/00_{name}.xml"),
        format!(
            "<include>\n  <!-- numbers with their +, and usernames behind tg, as in tgann -->\n  <extension name=\"to-{name}\">\n    \
             <condition field=\"destination_number\" expression=\"^(\\+\\d+)$\">\n      \
             <action application=\"bridge\" data=\"{number}\"/>\n    </condition>\n  </extension>\n  \
             <extension name=\"to-{name}-by-name\">\n    <condition field=\"destination_number\" expression=\"^tg(.+)$\">\n      \
             <action application=\"bridge\" data=\"{username}\"/>\n    </condition>\n  </extension>\n</include>\n"
        ),
    ));
    parts
}

fn gateway(facts: &Facts<'_>, registers: bool) -> Part {
    let name = facts.trunk.name.as_str();
    let parameter = |name: &str, value: &str| {
        format!("    <param name=\"{name}\" value=\"{}\"/>\n", xml(value))
    };
    let mut lines = String::new();
    if registers {
        lines += &parameter("username", facts.login());
        lines += &parameter("password", facts.password());
        lines += &parameter("realm", facts.realm);
        lines += &parameter("from-user", facts.login());
        lines += &parameter("expire-seconds", "600");
        lines += &parameter("retry-seconds", "30");
    } else {
        lines += &parameter("username", name);
        lines += &parameter("password", "none");
    }
    lines += &parameter("from-domain", &facts.host);
    lines += &parameter("proxy", &facts.server());
    lines += &parameter("register", if registers { "true" } else { "false" });
    lines += &parameter("register-transport", facts.trunk.transport.as_str());
    lines += &parameter(
        "contact-params",
        &format!("transport={}", facts.trunk.transport.as_str()),
    );
    lines += &parameter("extension", facts.arrival());
    lines += &parameter(
        "caller-id-in-from",
        if registers { "false" } else { "true" },
    );
    lines += &parameter("ping", "60");
    let variable = |name: &str, value: &str| {
        format!("      <variable name=\"{name}\" value=\"{value}\" direction=\"both\"/>\n")
    };
    lines += "    <variables>\n";
    lines += &variable("absolute_codec_string", &facts.codecs(codec, ","));
    lines += &variable("dtmf_type", dtmf(facts.dtmf()));
    lines += "    </variables>\n";
    file(
        &format!("/etc/freeswitch/sip_profiles/external/{name}.xml"),
        format!("<include>\n  <gateway name=\"{name}\">\n{lines}  </gateway>\n</include>\n"),
    )
}

fn file(path: &str, text: String) -> Part {
    Part::File {
        path: path.to_owned(),
        comment: COMMENT,
        text,
    }
}

fn xml(value: &str) -> String {
    value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A number as a regular expression that matches nothing else.
fn literal(number: &str) -> String {
    let mut text = String::new();
    for c in number.chars() {
        if !c.is_alphanumeric() {
            text.push('\\');
        }
        text.push(c);
    }
    xml(&text)
}

fn codec(codec: Codec) -> &'static str {
    match codec {
        Codec::Alaw => "PCMA",
        Codec::Mulaw => "PCMU",
        Codec::Opus => "OPUS",
        Codec::G722 => "G722",
        Codec::L16 => "L16@48000h@10i",
    }
}

fn dtmf(method: DtmfMethod) -> &'static str {
    match method {
        DtmfMethod::Rfc2833 => "rfc2833",
        DtmfMethod::Info => "info",
        DtmfMethod::Inband => "none",
    }
}
