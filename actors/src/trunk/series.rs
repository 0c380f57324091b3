//! The series of REGISTERs of our accounts at PBXs, which outlive the trunks that send them: within one life of the process an account
//! registers with one Call-ID and CSeqs that only grow (RFC 3261 10.2), whoever of its incarnations does so. A registrar that is asked in
//! another series may keep both bindings, and ring twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::TrunkName;
use sip::Uri;
use sip::registration::{Outbound, Series};

/// By trunk, with the address of record: another one begins anew. The lock is held for a look-up and never across an await.
#[derive(Debug, Default)]
pub(crate) struct AllSeries(Mutex<HashMap<TrunkName, (Uri, Series)>>);

impl AllSeries {
    /// The series of an account so far.
    pub(super) fn of(&self, trunk: &TrunkName, aor: &Uri) -> Option<Series> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, series) = all.get(trunk)?;
        (known == aor).then(|| series.clone())
    }

    /// Notes how far it has come.
    pub(super) fn keep(&self, trunk: &TrunkName, account: &Outbound) {
        let so_far = (account.aor().clone(), account.series().clone());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(trunk.clone(), so_far);
    }

    /// Forgets that of a trunk that is gone.
    pub(super) fn forget(&self, trunk: &TrunkName) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(trunk);
    }
}
