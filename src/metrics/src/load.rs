//! Overload: whether there is too much to do, and who was turned away for it.

use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec};

use crate::Metrics;
use crate::family::{Families, all};
use crate::label::{OverloadSign, ShedFrom};

pub(crate) struct Load {
    overloaded: IntGauge,
    signs: IntGaugeVec,
    admitted: Gauge,
    shed: IntCounterVec,
}

impl Load {
    pub(crate) fn new(make: &mut Families) -> Self {
        Self {
            overloaded: make.one_gauge(
                "overloaded",
                "1 while new calls are refused, in part or all, for overload.",
            ),
            signs: make.gauge(
                "overload_signs",
                "1 while this is over its limit.",
                vec![all::<OverloadSign>("reason")],
            ),
            admitted: {
                let admitted = make.one_time(
                    "overload_admitted_ratio",
                    "Share of new calls that is let in, 1 without overload.",
                );
                admitted.set(1.0);
                admitted
            },
            shed: make.counter(
                "calls_shed_total",
                "New calls refused for overload before anything was made for them.",
                vec![all::<ShedFrom>("from"), all::<OverloadSign>("reason")],
            ),
        }
    }
}

impl Metrics {
    /// How the load is: whether calls are refused, which signs (`delay`, `cpu`, `memory`, `mailbox`, `transactions`) stand, and which
    /// share of new calls is let in, 0 to 1.
    pub fn load(&self, overloaded: bool, signs: &[&'static str], admitted: f64) {
        let load = &self.all.load;
        load.overloaded.set(overloaded.into());
        for sign in <OverloadSign as crate::label::Closed>::values() {
            let gauge = load.signs.with_label_values(&[sign]);
            gauge.set(signs.contains(&sign).into());
        }
        load.admitted.set(admitted);
    }

    /// A new call from there (`sip`, `telegram`) was refused for this sign.
    pub fn call_shed(&self, from: &'static str, sign: &'static str) {
        let shed = &self.all.load.shed;
        shed.with_label_values(&[from, sign]).inc();
    }

    /// How many new calls were refused for overload so far.
    pub fn calls_shed(&self) -> u64 {
        let shed = &self.all.load.shed;
        let each = <ShedFrom as crate::label::Closed>::values();
        let each = each.into_iter().flat_map(|from| {
            let signs = <OverloadSign as crate::label::Closed>::values();
            signs.into_iter().map(move |sign| [from, sign])
        });
        each.map(|labels| shed.with_label_values(&labels).get())
            .sum()
    }
}
