//! What Telegram users write, as numbers to dial in the PBX (product 2.12).

use model::{Cause, Reason, TrunkName, TrunkSpec};
use serde::{Deserialize, Serialize};

use crate::decide::MAX_NUMBER;
use crate::{Table, TelegramOffer, World};

/// The number to dial in each of some trunks, in the order in which they are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialled(Vec<(TrunkName, String)>);

impl Dialled {
    /// Whether there is nothing to dial.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number for a trunk, if it is to be called at all.
    pub fn number(&self, trunk: &TrunkName) -> Option<&str> {
        let mut numbers = self.0.iter();
        let found = numbers.find(|(name, _)| name == trunk);
        found.map(|(_, number)| number.as_str())
    }

    /// Returns the number for the trunk that is tried first.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(|(_, number)| number.as_str())
    }
}

impl FromIterator<(TrunkName, String)> for Dialled {
    fn from_iter<T: IntoIterator<Item = (TrunkName, String)>>(numbers: T) -> Self {
        Self(numbers.into_iter().collect())
    }
}

/// Reads a text as a number: what the dial rules of each running trunk of the session make of it, by priority; nothing where they
/// leave nothing of it, or something that is no number.
///
/// Refused is the text of an account of this switch, for two of them could go on answering each other.
pub fn decide_text(
    table: &Table,
    world: &impl World,
    offer: &TelegramOffer<'_>,
    text: &str,
) -> Result<Dialled, Cause> {
    if world.is_own_account(offer.user_id) {
        return Err(Cause::new(Reason::CallerIsGateway));
    }
    let groups = table.groups_of(offer.session);
    let running = groups.flatten().filter(|trunk| world.is_reachable(trunk));
    let numbers = running.filter_map(|trunk| {
        let number = table.dialling(&trunk)?.apply(text)?;
        let is_taken = || {
            table
                .number_in(&trunk, offer.session, Some(&number))
                .is_ok()
        };
        (is_number(&number) && is_taken()).then_some((trunk, number))
    });
    Ok(numbers.collect())
}

/// Returns the trunk whose PBX gets what a Telegram user writes to a session that passes texts: the first by priority that is running. Nothing
/// for what an account of this switch writes.
pub fn text_trunk<'a>(
    table: &'a Table,
    world: &impl World,
    offer: &TelegramOffer<'_>,
) -> Option<&'a TrunkSpec> {
    let session = table.session(offer.session)?;
    if !session.enabled || !session.text_bridge || world.is_own_account(offer.user_id) {
        return None;
    }
    let mut trunks = table.groups_of(offer.session).flatten();
    let trunk = trunks.find(|trunk| world.is_reachable(trunk))?;
    table.trunk(&trunk)
}

/// Whether this can be dialled: rules may leave blanks and line breaks of a text, which no PBX has in its numbers.
pub(crate) fn is_number(number: &str) -> bool {
    let is_odd = |c: char| c.is_control() || c.is_whitespace();
    (1..=MAX_NUMBER).contains(&number.len()) && !number.chars().any(is_odd)
}
