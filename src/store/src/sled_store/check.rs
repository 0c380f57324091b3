//! What keeps a change from being committed.

use sled::Tree;

use super::SledStore;
use super::layout::{route_key, transit_key};
use crate::{Change, Store, StoreError};

impl SledStore {
    fn present(tree: &Tree, kind: &'static str, name: &str) -> Result<(), StoreError> {
        if tree.contains_key(name)? {
            Ok(())
        } else {
            Err(StoreError::Missing {
                kind,
                name: name.to_owned(),
            })
        }
    }

    pub(super) fn check(&self, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            match change {
                Change::RemoveTrunk(name) => Self::present(&self.trunks, "trunk", name.as_str())?,
                Change::RemoveSession(name) => {
                    Self::present(&self.sessions, "session", name.as_str())?;
                }
                Change::RemoveRoute(trunk, session) => {
                    Self::present(&self.routes, "route", &route_key(trunk, session))?;
                }
                Change::RemoveTransit(from, to) => {
                    Self::present(&self.transits, "route", &transit_key(from, to))?;
                }
                Change::RemoveQuota(name) => Self::present(&self.quotas, "quota", name.as_str())?,
                Change::RemoveUser(name) => Self::present(&self.users, "user", name.as_str())?,
                Change::RemoveWebhook(name) => {
                    Self::present(&self.webhooks, "webhook", name.as_str())?;
                }
                Change::PutSession(spec) if spec.enabled => {
                    let adopts = |change: &Change| matches!(change, Change::AdoptSession(name) if *name == spec.name);
                    if self.is_restored(&spec.name)? && !changes.iter().any(adopts) {
                        return Err(StoreError::NotAdopted {
                            session: spec.name.clone(),
                        });
                    }
                }
                Change::PutTrunk(_)
                | Change::PutSession(_)
                | Change::AdoptSession(_)
                | Change::PutRoute(_)
                | Change::PutTransit(_)
                | Change::PutQuota(_)
                | Change::PutRole(_)
                | Change::PutWebhook(_)
                | Change::PutUser(_) => {}
            }
        }
        Ok(())
    }
}
