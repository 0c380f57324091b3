//! Calls of Telegram users: what the PBX is told, which trunks ring, who wins.

use net::fake::{Phase, Simulation};
use sip::{HeaderName, Method};

use super::pbx::{Habit, Pbx, added};
use super::scene::{Scene, play, reaches};

#[test]
fn a_pbx_is_told_who_calls_by_the_rules_of_its_trunk() {
    play(async {
        let usual = Pbx::start(Habit::Refuse(486)).await;
        let own = Pbx::start(Habit::Refuse(486)).await;
        let nameless = Pbx::start(Habit::Refuse(486)).await;
        let mut records = added(usual.trunk("usual"), 1).to_vec();
        let mut trunk = own.trunk("own");
        trunk.number = Some("700".into());
        trunk.caller_id = "9{userid}".parse().unwrap();
        trunk.caller_name = "{name}, \"{username}\"".parse().unwrap();
        trunk.tg_headers = false;
        records.extend(added(trunk, 2));
        let mut trunk = nameless.trunk("nameless");
        trunk.caller_id = "".parse().unwrap();
        trunk.caller_name = "".parse().unwrap();
        records.extend(added(trunk, 3));
        let scene = Scene::with(Simulation::default(), &records).await;
        let (user, _) = scene.user_calls("bobby").await;

        let invite = usual.got(Method::Invite).await;
        assert_eq!(invite.uri.user().as_deref(), Some("s"));
        let from = invite.headers.from().unwrap();
        assert_eq!(from.uri.user().as_deref(), Some("+15551002000"));
        assert_eq!(from.display.as_deref(), Some("+15551002000 (bobby)"));
        let header = |name: &str| invite.headers.get(&HeaderName::from(name));
        let asserted = header("P-Asserted-Identity").unwrap();
        assert!(
            asserted.starts_with("\"+15551002000 (bobby)\" <sip:+15551002000@127.0.0.1:"),
            "{asserted}"
        );
        assert_eq!(header("X-TG-ID"), Some("1002"));
        assert_eq!(header("X-TG-FirstName"), Some("bobby"));
        assert_eq!(header("X-TG-LastName"), None);
        assert_eq!(header("X-TG-Username"), Some("bobby"));
        assert_eq!(header("X-TG-Phone"), Some("15551002000"));
        assert!(header("X-GW-Context").unwrap().starts_with("call-"));

        let invite = own.got(Method::Invite).await;
        assert_eq!(invite.uri.user().as_deref(), Some("700"));
        let from = invite.headers.from().unwrap();
        assert_eq!(from.uri.user().as_deref(), Some("91002"));
        assert_eq!(from.display.as_deref(), Some("bobby, \"bobby\""));
        let ours = invite.headers.iter().map(|(name, _)| name.as_str());
        assert_eq!(ours.filter(|name| name.starts_with("X-")).count(), 0);

        let invite = nameless.got(Method::Invite).await;
        let from = invite.headers.from().unwrap();
        assert_eq!(from.uri.user().as_deref(), Some("anonymous"));
        assert_eq!(from.display, None);
        assert!(!invite.headers.has(&HeaderName::PAssertedIdentity));

        user.hang_up();
        reaches(&user, Phase::Over).await;
        scene.settles_at(0).await;
    });
}
