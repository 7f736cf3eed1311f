use super::*;
use crate::replay::KeyValue;

fn key(n: i64) -> Key {
    vec![KeyValue::Int(n)]
}

fn chunk(lo: Option<i64>, hi: Option<i64>, snapshot: &str, lsn_hi: u64) -> Chunk {
    Chunk { lo: lo.map(key), hi: hi.map(key), snapshot: snapshot.parse().unwrap(), lsn_hi: Lsn(lsn_hi) }
}

fn one_lane() -> Router {
    Router::new(vec![TableRoute::Lanes { lanes: vec![Lane::new(None, None)], rereads: BTreeMap::new() }])
}

fn decide(router: &mut Router, n: i64, xid: u64, commit: u64) -> Decision {
    router.decide(0, &key(n), FullXid(xid), Lsn(commit))
}

#[test]
fn a_change_ahead_of_the_copy_is_discarded_and_remembered() {
    let mut router = one_lane();
    assert_eq!(decide(&mut router, 5, 100, 1000), Decision::Discard);
    let lane = &mut router.lanes_mut(0)[0];
    lane.close_gate(Some(key(9)));
    let slot: Snapshot = "90:90:".parse().unwrap();
    assert!(!lane.admits(&"95:110:100".parse().unwrap(), &slot), "100 is not visible yet: its change would be lost");
    assert_eq!(lane.waits_for(&"95:110:100".parse().unwrap()), Some(FullXid(100)));
    assert!(lane.admits(&"110:110:".parse().unwrap(), &slot));
}

#[test]
fn a_newer_snapshot_does_not_open_the_barrier_for_an_older_one() {
    let mut router = one_lane();
    assert_eq!(decide(&mut router, 5, 100, 1000), Decision::Discard);
    router.lanes_mut(0)[0].close_gate(None);
    let older: Snapshot = "95:110:100".parse().unwrap();
    router.prune(&"110:110:".parse().unwrap());
    let lane = &router.lanes_mut(0)[0];
    assert!(
        !lane.admits(&older, &"90:90:".parse().unwrap()),
        "the chunk's snapshot was taken before 100 became visible"
    );
}

#[test]
fn a_change_inside_the_gate_waits_and_above_it_is_discarded() {
    let mut router = one_lane();
    router.lanes_mut(0)[0].close_gate(Some(key(10)));
    assert_eq!(decide(&mut router, 9, 100, 1000), Decision::Wait);
    assert_eq!(decide(&mut router, 10, 100, 1000), Decision::Discard);
}

#[test]
fn a_covered_change_is_routed_by_visibility_and_position() {
    let mut router = one_lane();
    router.lanes_mut(0)[0].publish(chunk(None, Some(10), "90:110:100", 2000));
    assert_eq!(decide(&mut router, 5, 95, 1500), Decision::Skip);
    assert_eq!(decide(&mut router, 5, 100, 1500), Decision::Apply, "decoded before, visible after the chunk");
    assert_eq!(decide(&mut router, 5, 95, 2000), Decision::Apply, "committed after the chunk was read");
    assert_eq!(decide(&mut router, 10, 95, 1500), Decision::Discard);
    router.retire(Lsn(2000));
    assert_eq!(decide(&mut router, 5, 95, 2100), Decision::Apply);
}

#[test]
fn a_finished_lane_covers_everything() {
    let mut router = one_lane();
    router.lanes_mut(0)[0].publish(chunk(None, None, "90:110:", 2000));
    assert!(router.lanes_mut(0)[0].done());
    assert_eq!(decide(&mut router, i64::MAX, 120, 1900), Decision::Apply);
    assert_eq!(router.lanes_mut(0)[0].next_lo(), None);
}

#[test]
fn a_row_read_again_has_its_own_snapshot() {
    let mut router = one_lane();
    router.lanes_mut(0)[0].publish(chunk(None, None, "90:110:", 2000));
    router.add_reread(0, key(5), "130:130:".parse().unwrap(), Lsn(3000));
    assert_eq!(decide(&mut router, 5, 120, 2500), Decision::Skip);
    assert_eq!(decide(&mut router, 6, 120, 2500), Decision::Apply);
    router.retire(Lsn(3000));
    assert_eq!(decide(&mut router, 5, 131, 3001), Decision::Apply);
}

#[test]
fn truncate_empties_what_is_copied_and_not_newer() {
    let mut router = one_lane();
    assert_eq!(router.truncate(0, FullXid(100), Lsn(1000)), TruncateRoute::Delete { ranges: vec![], spare: vec![] });
    assert!(router.lanes_mut(0)[0].discarded().contains(&FullXid(100)));
    let lane = &mut router.lanes_mut(0)[0];
    lane.publish(chunk(None, Some(10), "105:105:", 1500));
    lane.publish(chunk(Some(10), Some(20), "125:125:", 2500));
    router.add_reread(0, key(3), "130:130:".parse().unwrap(), Lsn(2600));
    assert_eq!(
        router.truncate(0, FullXid(120), Lsn(2000)),
        TruncateRoute::Delete { ranges: vec![(None, Some(key(10)))], spare: vec![key(3)] },
        "the second chunk was read after this TRUNCATE"
    );
    router.retire(Lsn(1600));
    assert_eq!(
        router.truncate(0, FullXid(140), Lsn(3000)),
        TruncateRoute::Delete { ranges: vec![(None, Some(key(10))), (Some(key(10)), Some(key(20)))], spare: vec![] }
    );
    router.lanes_mut(0)[0].close_gate(None);
    assert_eq!(router.truncate(0, FullXid(150), Lsn(3100)), TruncateRoute::Wait);
}

#[test]
fn every_change_comes_after_a_copy_under_the_slots_snapshot() {
    let mut router = Router::new(vec![TableRoute::Lanes { lanes: vec![Lane::copied()], rereads: BTreeMap::new() }]);
    assert_eq!(decide(&mut router, 5, 100, 1000), Decision::Apply);
    assert_eq!(router.unsettled(Lsn(0)), None);
    router.add_reread(0, key(5), "130:130:".parse().unwrap(), Lsn(2600));
    assert_eq!(decide(&mut router, 5, 120, 2000), Decision::Skip, "the row was read again after this change");
    assert_eq!(decide(&mut router, 6, 120, 2000), Decision::Apply);
    assert_eq!(
        router.truncate(0, FullXid(140), Lsn(2700)),
        TruncateRoute::Delete { ranges: vec![(None, None)], spare: vec![] }
    );
}

#[test]
fn everything_read_ahead_of_the_stream_is_waited_for() {
    let mut router = one_lane();
    assert_eq!(router.unsettled(Lsn(0)), None);
    router.lanes_mut(0)[0].publish(chunk(None, None, "90:110:", 2000));
    assert_eq!(router.unsettled(Lsn(1999)), Some(Lsn(2000)));
    router.add_reread(0, key(5), "130:130:".parse().unwrap(), Lsn(3000));
    assert_eq!(router.unsettled(Lsn(1999)), Some(Lsn(3000)), "the row is newer than the chunks");
    router.retire(Lsn(2000));
    assert_eq!(router.unsettled(Lsn(2000)), Some(Lsn(3000)), "the chunks are settled, the row is not");
    assert_eq!(router.unsettled(Lsn(3000)), None);
}
