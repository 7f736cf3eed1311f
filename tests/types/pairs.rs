//! The pairs of majors.

use crate::matrix::of_builtin;
use crate::support::TestPair;

/// Every pair of majors that goes up or stays with `PCRD_FULL=1`; else this one.
pub fn across(one: (u32, u32)) -> Vec<(u32, u32)> {
    const MAJORS: [u32; 5] = [10, 13, 15, 17, 18];
    if std::env::var_os("PCRD_FULL").is_none() {
        return vec![one];
    }
    let pairs = MAJORS.iter().flat_map(|from| MAJORS.iter().map(move |to| (*from, *to)));
    pairs.filter(|(from, to)| from <= to).collect()
}

async fn builtin(from: u32, to: u32) {
    let pair = TestPair::start(from, to);
    of_builtin(&pair, "builtin", from, to).await.run(&pair, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builtin_15_to_15() {
    builtin(15, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builtin_10_to_15() {
    builtin(10, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builtin_13_to_18() {
    builtin(13, 18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builtin_across() {
    for (from, to) in across((17, 18)) {
        println!("{from} to {to}");
        builtin(from, to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn builtin_15_to_18() {
    builtin(15, 18).await;
}
