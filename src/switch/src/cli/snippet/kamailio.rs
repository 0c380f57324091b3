//! Kamailio: routes that are called from its own configuration.

use model::TrunkKind;

use super::{Facts, Part};
use crate::failure::Failure;

const COMMENT: (&str, &str) = ("#", "");

pub(super) fn parts(facts: &Facts<'_>) -> Result<Vec<Part>, Failure> {
    match &facts.trunk.kind {
        TrunkKind::InboundRegister { .. } => Err(Failure::Refused(format!(
            "trunk {}: a proxy has no reason to register: make the trunk kind = \"peer\" with the address of Kamailio, or \
             \"outbound_register\" with an account there",
            facts.trunk.name
        ))),
        TrunkKind::Peer { .. } => Ok(peer(facts)),
        TrunkKind::OutboundRegister { .. } => Ok(registered(facts)),
    }
}

/// What stands at the head of the file of routes.
const HEAD: &str = "# In kamailio.cfg: include_file \"strowger.cfg\" behind the last loadmodule, and in request_route, right behind\n\
                    # record_route(): route(STROWGER);\n";

/// Strowger is known by its address, and is asked whether it is alive.
fn peer(facts: &Facts<'_>) -> Vec<Part> {
    let (server, via) = (facts.server(), facts.transport_parameter());
    let arrival = facts.arrival();
    vec![
        Part::File {
            path: "/etc/kamailio/dispatcher.list".to_owned(),
            comment: COMMENT,
            text: format!("1 sip:{server}{via}\n"),
        },
        Part::File {
            path: "/etc/kamailio/strowger.cfg".to_owned(),
            comment: COMMENT,
            text: format!(
                "{HEAD}loadmodule \"dispatcher.so\"\n\
                 modparam(\"dispatcher\", \"list_file\", \"/etc/kamailio/dispatcher.list\")\n\
                 modparam(\"dispatcher\", \"ds_ping_interval\", 60)\n\
                 modparam(\"dispatcher\", \"ds_probing_mode\", 1)\n\
                 route[STROWGER] {{\n\
                 \t# From Strowger: a Telegram user calls {arrival}, which your own routing knows.\n\
                 \tif (ds_is_from_list(\"1\")) return;\n\
                 \t# To Telegram: numbers with their +, and usernames behind tg, as in tgann.\n\
                 \tif (!is_method(\"INVITE\") || !($rU =~ \"^(\\+[0-9]+|tg.+)$\")) return;\n\
                 \tif ($rU =~ \"^tg\") strip(2);\n\
                 \tif (!ds_select_dst(\"1\", \"4\")) {{\n\
                 \t\tsl_send_reply(\"503\", \"Strowger does not answer\");\n\
                 \t\texit;\n\
                 \t}}\n\
                 \troute(RELAY);\n\
                 \texit;\n\
                 }}\n"
            ),
        },
    ]
}

/// Strowger has registered as a subscriber: it is called at its contact, and finds the number in To.
fn registered(facts: &Facts<'_>) -> Vec<Part> {
    let login = facts.login();
    vec![Part::File {
        path: "/etc/kamailio/strowger.cfg".to_owned(),
        comment: COMMENT,
        text: format!(
            "{HEAD}# The account, where subscribers are in a database: kamctl add {} {}\n\
             route[STROWGER] {{\n\
             \t# To Telegram: numbers with their +. Strowger is called at what it registered, and reads the number in To.\n\
             \tif (!is_method(\"INVITE\") || !($rU =~ \"^\\+[0-9]+$\")) return;\n\
             \t$rU = \"{login}\";\n\
             \tif (!lookup(\"location\")) {{\n\
             \t\tsl_send_reply(\"503\", \"Strowger is not registered\");\n\
             \t\texit;\n\
             \t}}\n\
             \troute(RELAY);\n\
             \texit;\n\
             }}\n",
            in_shell(facts.auth_user()),
            in_shell(facts.password())
        ),
    }]
}

/// A word that the shell takes as it is.
fn in_shell(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
