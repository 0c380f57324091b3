//! Requests and results, there and back.

use tl::{Identifiable, Serializable as _};

use super::*;
use crate::testing;

fn resolve() -> Rpc {
    Rpc::ResolveUsername {
        username: "name".to_owned(),
    }
}

fn resolved(peer: tl::enums::Peer) -> Vec<u8> {
    let resolved = tl::types::contacts::ResolvedPeer {
        peer,
        chats: vec![],
        users: vec![testing::user(1), testing::user(7)],
    };
    tl::enums::contacts::ResolvedPeer::from(resolved).to_bytes()
}

#[test]
fn every_request_begins_with_its_constructor() {
    use tl::functions as f;
    let peer = tl::types::InputPhoneCall {
        id: 1,
        access_hash: 2,
    };
    let user = tl::types::InputUser {
        user_id: 1,
        access_hash: 2,
    };
    let rows = [
        (
            Rpc::GetDhConfig { version: 0 },
            f::messages::GetDhConfig::CONSTRUCTOR_ID,
        ),
        (
            Rpc::ReceivedCall { peer },
            f::phone::ReceivedCall::CONSTRUCTOR_ID,
        ),
        (resolve(), f::contacts::ResolveUsername::CONSTRUCTOR_ID),
        (
            Rpc::ResolvePhone { phone: "1".into() },
            f::contacts::ResolvePhone::CONSTRUCTOR_ID,
        ),
        (
            Rpc::ImportContact { phone: "1".into() },
            f::contacts::ImportContacts::CONSTRUCTOR_ID,
        ),
        (
            Rpc::GetUser { user: user.clone() },
            f::users::GetUsers::CONSTRUCTOR_ID,
        ),
        (Rpc::GetSelf, f::users::GetUsers::CONSTRUCTOR_ID),
        (Rpc::GetContacts, f::contacts::GetContacts::CONSTRUCTOR_ID),
        (Rpc::GetConfig, f::help::GetConfig::CONSTRUCTOR_ID),
        (Rpc::GetState, f::updates::GetState::CONSTRUCTOR_ID),
        (
            Rpc::InlineQuery {
                bot: user.clone(),
                user: user.clone(),
                query: "hours?".into(),
            },
            f::messages::GetInlineBotResults::CONSTRUCTOR_ID,
        ),
        (
            Rpc::SendInlineResult {
                user: user.clone(),
                result: InlineResult {
                    query_id: 3,
                    id: "1".into(),
                },
                random_id: 4,
            },
            f::messages::SendInlineBotResult::CONSTRUCTOR_ID,
        ),
        (
            Rpc::SendMessage {
                user,
                text: "hi".into(),
                random_id: 1,
            },
            f::messages::SendMessage::CONSTRUCTOR_ID,
        ),
        (Rpc::GetPassword, f::account::GetPassword::CONSTRUCTOR_ID),
        (Rpc::LogOut, f::auth::LogOut::CONSTRUCTOR_ID),
        (
            Rpc::GetAuthorizations,
            f::account::GetAuthorizations::CONSTRUCTOR_ID,
        ),
        (
            Rpc::DisableCalls { hash: 1 },
            f::account::ChangeAuthorizationSettings::CONSTRUCTOR_ID,
        ),
        (Rpc::AllowCalls, f::account::SetPrivacy::CONSTRUCTOR_ID),
        (Rpc::AllowP2p, f::account::SetPrivacy::CONSTRUCTOR_ID),
        (
            Rpc::RefuseInvitations,
            f::account::SetPrivacy::CONSTRUCTOR_ID,
        ),
        (
            Rpc::RequestPasswordRecovery,
            f::auth::RequestPasswordRecovery::CONSTRUCTOR_ID,
        ),
        (
            Rpc::RecoverPassword {
                code: Secret::default(),
            },
            f::auth::RecoverPassword::CONSTRUCTOR_ID,
        ),
        (
            Rpc::ImportLoginToken {
                token: Secret::default(),
            },
            f::auth::ImportLoginToken::CONSTRUCTOR_ID,
        ),
        (
            Rpc::ExportLoginToken {
                api_id: 1,
                api_hash: Secret::default(),
            },
            f::auth::ExportLoginToken::CONSTRUCTOR_ID,
        ),
        (
            Rpc::ImportBotAuthorization {
                api_id: 1,
                api_hash: Secret::default(),
                token: Secret::default(),
            },
            f::auth::ImportBotAuthorization::CONSTRUCTOR_ID,
        ),
        (
            Rpc::SendVerifyEmailCode {
                phone: String::new(),
                phone_code_hash: String::new(),
                email: Secret::default(),
            },
            f::account::SendVerifyEmailCode::CONSTRUCTOR_ID,
        ),
        (
            Rpc::VerifyEmail {
                phone: String::new(),
                phone_code_hash: String::new(),
                code: Secret::default(),
            },
            f::account::VerifyEmail::CONSTRUCTOR_ID,
        ),
    ];
    for (rpc, constructor) in rows {
        assert_eq!(rpc.encode()[..4], constructor.to_le_bytes(), "{rpc:?}");
    }
}

#[test]
fn a_name_is_a_user_a_group_or_nobody() {
    let user = resolve().decode(&resolved(tl::types::PeerUser { user_id: 7 }.into()));
    let Ok(Reply::User(user)) = user else {
        panic!("{user:?}")
    };
    assert_eq!(
        (user.id, user.access_hash, user.is_self),
        (7, Some(99), true)
    );
    assert_eq!(user.input().map(|input| input.user_id), Some(7));
    let group = resolve().decode(&resolved(tl::types::PeerChat { chat_id: 7 }.into()));
    assert_eq!(group, Ok(Reply::NotAUser));
    let nobody = resolve().decode(&resolved(tl::types::PeerUser { user_id: 8 }.into()));
    assert_eq!(nobody, Ok(Reply::Nobody));
    assert!(resolve().decode(&[1, 2, 3]).is_err());
}

#[test]
fn a_boolean_reads_from_the_wire() {
    let peer = tl::types::InputPhoneCall {
        id: 1,
        access_hash: 2,
    };
    let rpc = Rpc::SendSignalingData { peer, data: vec![] };
    assert_eq!(rpc.decode(&true.to_bytes()), Ok(Reply::Bool(true)));
    assert_eq!(rpc.decode(&false.to_bytes()), Ok(Reply::Bool(false)));
}

#[test]
fn a_name_with_a_number_is_taken_apart() {
    let error = |name: &str| RpcError::Rpc {
        code: 420,
        name: name.to_owned(),
    };
    let wait = error("FLOOD_WAIT_17");
    assert_eq!(wait.name_and_number(), Some(("FLOOD_WAIT", Some(17))));
    assert!(wait.is("FLOOD_WAIT"));
    let plain = error("PEER_FLOOD");
    assert_eq!(plain.name_and_number(), Some(("PEER_FLOOD", None)));
    assert!(plain.is("PEER_FLOOD") && !RpcError::TimedOut.is("PEER_FLOOD"));
}

#[test]
fn what_makes_something_happen_is_not_carried_out_twice() {
    let peer = || tl::types::InputPhoneCall {
        id: 1,
        access_hash: 2,
    };
    let discard = Rpc::DiscardCall {
        peer: peer(),
        duration: 0,
        reason: tl::enums::PhoneCallDiscardReason::Hangup,
    };
    // A hang-up that is lost leaves the other side talking to nobody.
    assert!(discard.manner().may_repeat);
    let accept = Rpc::AcceptCall {
        peer: peer(),
        g_b: Vec::new(),
        protocol: tl::types::PhoneCallProtocol {
            udp_p2p: true,
            udp_reflector: true,
            min_layer: 65,
            max_layer: 92,
            library_versions: Vec::new(),
        },
    };
    let manner = accept.manner();
    assert!(!manner.may_repeat);
    assert_eq!(manner.patience, Patience::Call);
    assert_eq!(manner.concern, Some(Concern::Call));
    let phone = "15550001".to_owned();
    assert!(!Rpc::ImportContact { phone }.manner().may_repeat);
    let usual = Rpc::LogOut.manner();
    assert_eq!((usual.concern, usual.patience), (None, Patience::Usual));
}

#[test]
fn the_first_result_of_a_bot_counts_and_none_is_no_fault() {
    let query = Rpc::InlineQuery {
        bot: tl::types::InputUser {
            user_id: 1,
            access_hash: 2,
        },
        user: tl::types::InputUser {
            user_id: 7,
            access_hash: 2,
        },
        query: String::new(),
    };
    let article = |id: &str| {
        let send_message = tl::types::BotInlineMessageText {
            no_webpage: false,
            invert_media: false,
            message: "from nine to five".into(),
            entities: None,
            reply_markup: None,
        };
        tl::types::BotInlineResult {
            id: id.to_owned(),
            r#type: "article".into(),
            title: None,
            description: None,
            url: None,
            thumb: None,
            content: None,
            send_message: send_message.into(),
        }
        .into()
    };
    let answered = |results: Vec<tl::enums::BotInlineResult>| {
        let results = tl::types::messages::BotResults {
            gallery: false,
            query_id: 5,
            next_offset: None,
            switch_pm: None,
            switch_webview: None,
            results,
            cache_time: 0,
            users: vec![],
        };
        let bytes = tl::enums::messages::BotResults::from(results).to_bytes();
        query.decode(&bytes).unwrap()
    };
    let first = InlineResult {
        query_id: 5,
        id: "a".into(),
    };
    let found = answered(vec![article("a"), article("b")]);
    assert_eq!(found, Reply::InlineResult(Some(first)));
    assert_eq!(answered(vec![]), Reply::InlineResult(None));
}
