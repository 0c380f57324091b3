//! The inline bot that is asked about what people write, when it is no number (product 2.12): its first result is sent to them.

use std::time::{Duration, Instant};

use actix::Context;
use grammers_tl_types as tl;
use model::{QueryTag, Secret};
use routing::{Errand, Group, SessionState};
use telegram::{Reply, Rpc};

use super::Session;

/// How long nobody looks again for a bot that was not found.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// What is known of the bot, under the name that was looked for: the owner may name another.
#[derive(Default)]
pub(super) struct Bot {
    found: Option<(String, tl::types::InputUser)>,
    /// When it was looked for and not found.
    missed: Option<(String, Instant)>,
}

impl Session {
    /// Asks the bot, if there is one, and sends its first result to who wrote.
    pub(super) fn ask_bot(&mut self, user_id: i64, text: &Secret<String>, ctx: &mut Context<Self>) {
        let Some(name) = self.spec.inline_bot.get().map(str::to_owned) else {
            return;
        };
        let user = self.user(user_id).and_then(|user| user.input());
        let now = crate::house::steady_millis();
        let is_open = self.limiter.open(now, Group::Text).is_ok();
        let can = self.spec.messages_processing && self.state == SessionState::Running && is_open;
        let Some(user) = user.filter(|_| can) else {
            return;
        };
        let query = self.query(user_id, text);
        if let Some(bot) = self.known_bot(&name) {
            return self.put_question(bot, user, query, ctx);
        }
        let missed = self.bot.missed.as_ref();
        let was_missed = missed.is_some_and(|(of, at)| *of == name && at.elapsed() < LOOK_AGAIN);
        if was_missed || self.admit(Errand::Username).is_err() {
            return;
        }
        let username = name.clone();
        let rpc = Rpc::ResolveUsername { username };
        self.ask(rpc, ctx, move |session, result, ctx| {
            let bot = match result {
                Ok(Reply::User(found)) if found.is_bot => found.input(),
                Ok(_) | Err(_) => None,
            };
            if let Some(bot) = bot {
                session.bot.found = Some((name, bot.clone()));
                session.put_question(bot, user, query, ctx);
            } else {
                tracing::warn!(session = %session.spec.name, bot = name, "there is no such bot to be asked");
                session.bot.missed = Some((name, Instant::now()));
            }
        });
    }

    /// The bot, if the account has met it or has looked for it.
    fn known_bot(&self, name: &str) -> Option<tl::types::InputUser> {
        let is_it = |user: &&telegram::User| {
            let username = user.username.as_deref().unwrap_or_default();
            user.is_bot && username.eq_ignore_ascii_case(name)
        };
        let met = || self.users.values().find(is_it)?.input();
        let found = self.bot.found.as_ref().filter(|(of, _)| of == name);
        found.map(|(_, bot)| bot.clone()).or_else(met)
    }

    fn query(&self, user_id: i64, text: &Secret<String>) -> String {
        let writer = self.caller(user_id);
        self.spec.inline_query.fill(|tag| match tag {
            QueryTag::Text => text.expose().clone(),
            QueryTag::UserId => user_id.to_string(),
            QueryTag::Username => writer.username.clone().unwrap_or_default(),
            QueryTag::Phone => writer.phone.clone().unwrap_or_default(),
            QueryTag::Name => {
                let name = format!("{} {}", writer.first_name, writer.last_name);
                name.trim().to_owned()
            }
            QueryTag::Session => self.spec.name.to_string(),
        })
    }

    fn put_question(
        &self,
        bot: tl::types::InputUser,
        user: tl::types::InputUser,
        query: String,
        ctx: &mut Context<Self>,
    ) {
        let rpc = Rpc::InlineQuery {
            bot,
            user: user.clone(),
            query,
        };
        self.ask(rpc, ctx, move |session, result, ctx| match result {
            Ok(Reply::InlineResult(Some(result))) => {
                let rpc = Rpc::SendInlineResult {
                    user,
                    result,
                    random_id: rand::random(),
                };
                session.ask(rpc, ctx, |session, result, _| {
                    if let Err(error) = result {
                        tracing::warn!(session = %session.spec.name, %error, "the result of a bot could not be sent");
                    }
                });
            }
            Ok(_) => {}
            Err(error) => {
                // The hash may be an old one.
                session.bot.found = None;
                tracing::warn!(session = %session.spec.name, bot = %session.spec.inline_bot, %error, "a bot does not answer");
            }
        });
    }
}
