//! Whether a PBX may have another number called in the place of a leg (SEC-F4).

use std::net::IpAddr;

use model::{Cause, Reason, TrunkKind, TrunkSpec};

/// The longest number that is passed on.
const LONGEST: usize = 64;

/// Decides on a transfer: the number to call in the PBX that asked, as a fresh call would be placed there.
///
/// `user` and `host` are those of Refer-To, the user percent-decoded; `contacts` is where the trunk is reached now, and `here`
/// what it knows us by, as a PBX that registers here writes its numbers at our address. Whatever the host: packets only ever
/// go to where the trunk is reached.
pub fn decide_transfer(
    trunk: &TrunkSpec,
    user: &str,
    host: &str,
    contacts: &[IpAddr],
    here: IpAddr,
) -> Result<String, Cause> {
    let refused = Cause::new(Reason::TransferNotPermitted);
    if !trunk.refer || !trunk.enabled {
        return Err(refused);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let named = match &trunk.kind {
        TrunkKind::OutboundRegister { domain, proxy, .. } => {
            let is_it = |have: &model::HostPort| have.host().eq_ignore_ascii_case(host);
            is_it(domain) || proxy.as_ref().is_some_and(is_it)
        }
        TrunkKind::InboundRegister { .. } | TrunkKind::Peer { .. } => false,
    };
    let reached = host.parse::<IpAddr>().is_ok_and(|ip| {
        let ip = ip.to_canonical();
        let mut known = contacts.iter().chain([&here]);
        known.any(|known| known.to_canonical() == ip)
    });
    if !named && !reached {
        return Err(refused);
    }
    if is_transfer_number(user) {
        Ok(user.to_owned())
    } else {
        Err(refused)
    }
}

/// Whether this is a number that a call can be transferred to.
pub fn is_transfer_number(number: &str) -> bool {
    let is_fine = |c: char| c.is_alphanumeric() || "+*#-_.~".contains(c);
    (1..=LONGEST).contains(&number.len()) && number.chars().all(is_fine)
}

/// The same for a number that an owner wants: his word is enough, but the trunk must be on.
pub fn decide_owner_transfer(trunk: &TrunkSpec, number: &str) -> Result<String, Cause> {
    if !trunk.enabled {
        return Err(Cause::new(Reason::AccountNotRunning));
    }
    if !is_transfer_number(number) {
        return Err(Cause::new(Reason::TransferNotPermitted));
    }
    Ok(number.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_leads_to_the_pbx_that_asked_and_nowhere_else() {
        let here: IpAddr = [192, 0, 2, 9].into();
        let contacts = [IpAddr::from([192, 0, 2, 1])];
        let kind = TrunkKind::Peer {
            address: "192.0.2.1:5060".parse().unwrap(),
        };
        let mut trunk = TrunkSpec::new("office".parse().unwrap(), kind);
        let decide = |trunk: &TrunkSpec, user: &str, host: &str| {
            decide_transfer(trunk, user, host, &contacts, here).ok()
        };
        assert_eq!(decide(&trunk, "601", "192.0.2.1"), None, "off by default");
        trunk.refer = true;
        assert_eq!(decide(&trunk, "601", "192.0.2.1").unwrap(), "601");
        assert_eq!(decide(&trunk, "+4930*1#", "192.0.2.9").unwrap(), "+4930*1#");
        assert_eq!(decide(&trunk, "601", "::ffff:192.0.2.1").unwrap(), "601");
        for (user, host) in [
            ("601", "203.0.113.7"),
            ("601", "127.0.0.1"),
            ("601", "pbx.example.com"),
            ("601", ""),
            ("", "192.0.2.1"),
            ("6 1", "192.0.2.1"),
            ("6@1", "192.0.2.1"),
            ("6;x=1", "192.0.2.1"),
            (&"1".repeat(65), "192.0.2.1"),
        ] {
            assert_eq!(decide(&trunk, user, host), None, "{user}@{host}");
        }
        let kind = TrunkKind::OutboundRegister {
            login: "1001".into(),
            password: model::Secret::new("x".into()),
            domain: "PBX.example.com:5070".parse().unwrap(),
            proxy: Some("proxy.example.com".parse().unwrap()),
            auth_user: None,
        };
        trunk.kind = kind;
        assert_eq!(decide(&trunk, "601", "pbx.example.com").unwrap(), "601");
        assert_eq!(decide(&trunk, "601", "proxy.example.com").unwrap(), "601");
        assert_eq!(decide(&trunk, "601", "example.com"), None);
        trunk.enabled = false;
        assert_eq!(decide(&trunk, "601", "pbx.example.com"), None);
    }
}
