//! How fast the copy may go, as the config says it.

use crate::plan::render::amount::grouped;
use crate::plan::{HashKind, Plan, Signal};

/// What the plan limits: the config's keys below `migrate`, or with their section, with their values. Nothing where it sets none.
pub fn limits(plan: &Plan) -> Vec<String> {
    let settings = &plan.settings;
    let named = [
        ("workers", settings.workers.map(u64::from)),
        ("max_rows_per_second", settings.max_rows_per_second),
        ("max_bytes_per_second", settings.max_bytes_per_second),
        ("verify.max_rows_per_second", settings.comparison.max_rows_per_second),
    ];
    let said = |(key, number): (&str, Option<u64>)| Some(format!("{key} {}", grouped(number?)));
    let signals = Signal::ALL.into_iter().filter_map(|signal| {
        Some(match settings.throttle.said(signal)? {
            0 => format!("throttle.{} off", signal.key()),
            limit => format!("throttle.{} {}", signal.key(), grouped(limit)),
        })
    });
    let hash = (settings.comparison.hash == HashKind::Sha256).then(|| "verify.hash sha256".to_owned());
    named.into_iter().filter_map(said).chain(hash).chain(signals).collect()
}
