//! Asterisk with PJSIP. Sections of one trunk share a name and differ in `type`; a semicolon in a value is escaped.

use model::{Codec, DtmfMethod, TrunkKind};

use super::{Facts, Part};

const COMMENT: (&str, &str) = (";", "");

pub(super) fn parts(facts: &Facts<'_>) -> Vec<Part> {
    vec![
        Part::File {
            path: "/etc/asterisk/pjsip.conf".to_owned(),
            comment: COMMENT,
            text: pjsip(facts),
        },
        Part::File {
            path: "/etc/asterisk/extensions.conf".to_owned(),
            comment: COMMENT,
            text: extensions(facts),
        },
    ]
}

fn pjsip(facts: &Facts<'_>) -> String {
    let name = endpoint(facts);
    let (login, arrival) = (facts.login(), facts.arrival());
    let server = facts.server();
    let via = facts.transport_parameter().replace(';', "\\;");
    let auth = format!(
        "[{name}]\ntype=auth\nauth_type=userpass\nusername={}\npassword={}\n\n",
        facts.auth_user(),
        escaped(facts.password())
    );
    let contact =
        format!("[{name}]\ntype=aor\ncontact=sip:{server}{via}\nqualify_frequency=60\n\n");
    let (sections, more) = match &facts.trunk.kind {
        TrunkKind::InboundRegister { .. } => (
            format!(
                "{auth}[{name}]\ntype=registration\noutbound_auth={name}\nserver_uri=sip:{server}{via}\n\
                 client_uri=sip:{login}@{server}{via}\ncontact_user={arrival}\nexpiration=600\nretry_interval=30\n\
                 forbidden_retry_interval=300\nline=yes\nendpoint={name}\n\n{contact}"
            ),
            format!("outbound_auth={name}\n"),
        ),
        TrunkKind::OutboundRegister { .. } => (
            format!(
                "; Strowger registers here as {login}.\n{auth}[{name}]\ntype=aor\nmax_contacts=1\nremove_existing=yes\n\
                 qualify_frequency=60\n\n"
            ),
            format!("auth={name}\n"),
        ),
        TrunkKind::Peer { .. } => (
            format!(
                "{contact}[{name}]\ntype=identify\nendpoint={name}\nmatch={}\n\n",
                facts.host
            ),
            String::new(),
        ),
    };
    let by = facts.trunk.transport.as_str();
    format!(
        "; A transport of {} must be there, such as\n;   [transport-{by}]\n;   type=transport\n;   protocol={by}\n;   bind=0.0.0.0\n\
         {sections}[{name}]\ntype=endpoint\ncontext=from-strowger\naors={name}\n{more}disallow=all\nallow={}\n\
         dtmf_mode={}\ndirect_media=no\nrtp_symmetric=yes\nforce_rport=yes\nrewrite_contact=yes\nsend_pai=yes\n\
         trust_id_inbound=yes\n",
        facts.transport(),
        facts.codecs(codec, ","),
        dtmf(facts.dtmf()),
    )
}

fn extensions(facts: &Facts<'_>) -> String {
    let name = endpoint(facts);
    let arrives = match facts.trunk.number.as_deref() {
        Some(number) => {
            format!("; Calls of Telegram users arrive here, at {number}, which is looked for in:\n")
        }
        None => format!(
            "; Calls of Telegram users arrive here, at {0}: write the extension that shall ring in place of 100.\nexten => {0},1,Goto(internal,100,1)\n",
            facts.arrival()
        ),
    };
    format!(
        "[from-strowger]\n{arrives}; internal: the context with your extensions\ninclude => internal\n\n\
         [to-strowger]\n; Write include => to-strowger into the context of your phones. They dial a number with its +,\n\
         ; or a username behind tg, as in tgann.\n\
         exten => _+X.,1,Dial(PJSIP/${{EXTEN}}@{name},90)\n same => n,Hangup(${{HANGUPCAUSE}})\n\
         exten => _tg.,1,Dial(PJSIP/${{EXTEN:2}}@{name},90)\n same => n,Hangup(${{HANGUPCAUSE}})\n"
    )
}

/// A phone is known by the name of its endpoint, which must be our login then.
fn endpoint<'a>(facts: &'a Facts<'_>) -> &'a str {
    match &facts.trunk.kind {
        TrunkKind::OutboundRegister { login, .. } => login,
        TrunkKind::InboundRegister { .. } | TrunkKind::Peer { .. } => facts.trunk.name.as_str(),
    }
}

/// A semicolon begins a comment, unless it is escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(';', "\\;")
}

fn codec(codec: Codec) -> &'static str {
    match codec {
        Codec::Alaw => "alaw",
        Codec::Mulaw => "ulaw",
        Codec::Opus => "opus",
        Codec::G722 => "g722",
        Codec::L16 => "slin48",
    }
}

fn dtmf(method: DtmfMethod) -> &'static str {
    match method {
        DtmfMethod::Rfc2833 => "rfc4733",
        DtmfMethod::Info => "info",
        DtmfMethod::Inband => "inband",
    }
}
