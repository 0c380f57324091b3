//! Call records that cannot be read: who asks for them gets the others, and the operator is told of each once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use metrics::Metrics;
use model::CallId;
use store::Unreadable;

/// How many are named and counted. More of them are those of another program, or of a disk that fails, and `store check` counts them.
const MOST: usize = 1000;

/// Which ones were told.
pub(crate) struct Noted {
    known: Mutex<BTreeSet<CallId>>,
    metrics: Metrics,
}

impl Noted {
    /// None yet; they are counted here.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            known: Mutex::default(),
            metrics,
        }
    }

    /// Tells of those that were not told before.
    pub(crate) fn note(&self, found: &[Unreadable]) {
        // The usual case takes no lock.
        if found.is_empty() {
            return;
        }
        let mut told = Vec::new();
        let mut is_full = false;
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for unreadable in found {
                if known.len() < MOST && known.insert(unreadable.id) {
                    is_full |= known.len() == MOST;
                    told.push(unreadable);
                }
            }
        }
        for Unreadable { id, fault } in told {
            self.metrics.unreadable_record();
            tracing::error!(call = %id, %fault, "a call record cannot be read: it is left out wherever records are asked for");
        }
        if is_full {
            tracing::error!(
                count = MOST,
                "more call records that cannot be read are not named: `strowger store check` counts them"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(n: u128) -> Unreadable {
        Unreadable {
            id: CallId::new(1_700_000_000_000, n),
            fault: "damaged".to_owned(),
        }
    }

    fn counted(metrics: &Metrics) -> String {
        let page = metrics.render();
        let name = "strowger_store_unreadable_records_total ";
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().to_owned()
    }

    #[test]
    fn each_is_told_once_and_no_more_than_so_many() {
        let metrics = Metrics::new("0.0.0");
        let noted = Noted::new(metrics.clone());
        noted.note(&[]);
        assert_eq!(counted(&metrics), "0");
        for _ in 0..3 {
            noted.note(&[unreadable(1), unreadable(2), unreadable(1)]);
        }
        assert_eq!(counted(&metrics), "2");
        let many: Vec<Unreadable> = (0..2000).map(unreadable).collect();
        noted.note(&many);
        noted.note(&many);
        assert_eq!(counted(&metrics), "1000");
        assert_eq!(noted.known.lock().unwrap().len(), MOST);
    }
}
