//! The pairs of majors.

use crate::matrix::of_builtin;
use crate::support::TestPair;

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
async fn builtin_17_to_18() {
    builtin(17, 18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builtin_15_to_18() {
    builtin(15, 18).await;
}
