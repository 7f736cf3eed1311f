//! Whether the copy may go on: readings of the servers against their limits. What is not known holds the copy back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::render::amount::bytes;
use crate::plan::{End, Signal, ThrottleLimits};

/// A reading that is older than this tells nothing.
pub const STALE_AFTER: Duration = Duration::from_secs(5);
/// Below this share of its limit a signal lets the copy go on again, so that it does not go on and off.
const RESUME_PERCENT: u64 = 75;
/// From this share of its limit on, a signal slows the copy.
const BRAKE_FROM: f64 = 0.5;
/// With less of the retained log than this share of the limit still to be confirmed, the rest is not ours to release.
const OURS_PERCENT: u64 = 12;

/// A signal's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It was read.
    Value(u64),
    /// The role may not see it.
    Hidden,
}

/// One look at a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Its signals; one that does not apply is absent.
    pub readings: BTreeMap<Signal, Reading>,
    /// Bytes of log that wait for us, the source only.
    pub unconfirmed: u64,
    /// What the slot's state forbids, in words.
    pub slot_in_danger: Option<String>,
}

/// What was last known of both servers.
#[derive(Debug, Default)]
pub struct Pressure {
    limits: ThrottleLimits,
    servers: BTreeMap<End, Server>,
}

#[derive(Debug, Default)]
struct Server {
    read_at: Option<Instant>,
    /// Why it could not be read since.
    failure: Option<String>,
    /// Signals over their limit, in words.
    over: BTreeMap<Signal, String>,
    in_danger: Option<String>,
    /// The highest share of a limit.
    share: f64,
}

impl Pressure {
    /// With these limits; nothing is known yet.
    pub fn new(limits: ThrottleLimits) -> Self {
        Self { limits, servers: BTreeMap::new() }
    }

    /// The limits.
    pub fn limits(&self) -> &ThrottleLimits {
        &self.limits
    }

    /// Changes a limit. It counts from the next look at the server on.
    pub fn set_limit(&mut self, signal: Signal, limit: u64) {
        self.limits.set(signal, Some(limit));
    }

    /// True when nothing of the server is watched.
    pub fn ignores(&self, end: End) -> bool {
        Signal::ALL.into_iter().all(|signal| signal.end() != end || self.limits.limit(signal).is_none())
    }

    /// Takes in a look at a server.
    pub fn read(&mut self, end: End, sample: &Sample, now: Instant) {
        let limits = self.limits;
        let server = self.servers.entry(end).or_default();
        let before = std::mem::take(&mut server.over);
        (server.read_at, server.failure, server.share) = (Some(now), None, 0.0);
        server.in_danger.clone_from(&sample.slot_in_danger);
        for (&signal, &reading) in &sample.readings {
            let Some(limit) = limits.limit(signal) else { continue };
            match reading {
                Reading::Value(value) => {
                    let bound = if before.contains_key(&signal) { share_of(limit, RESUME_PERCENT) } else { limit };
                    // An old transaction or a server that writes much keeps log too, and the copy cannot help that.
                    let is_ours = signal != Signal::WalRetained || sample.unconfirmed >= share_of(limit, OURS_PERCENT);
                    if is_ours {
                        server.share = server.share.max(value as f64 / limit as f64);
                    }
                    if is_ours && value >= bound {
                        server.over.insert(signal, in_words(signal, value, limit));
                    }
                }
                Reading::Hidden if limits.said(signal).is_some() => {
                    let text = format!("{} cannot be read: {}", name(signal), why_hidden(end));
                    server.over.insert(signal, text);
                }
                // Told before the run; nobody asked for it.
                Reading::Hidden => {}
            }
        }
    }

    /// Notes that a server could not be read.
    pub fn failed(&mut self, end: End, why: String) {
        self.servers.entry(end).or_default().failure = Some(why);
    }

    /// Why the copy must wait; nothing when it may go on.
    pub fn reasons(&self, now: Instant) -> Vec<String> {
        let mut reasons = Vec::new();
        for end in [End::Source, End::Target] {
            if self.ignores(end) {
                continue;
            }
            let server = self.servers.get(&end);
            let age = server.and_then(|server| server.read_at).map(|at| now.saturating_duration_since(at));
            let failure = server.and_then(|server| server.failure.as_deref());
            let why = failure.map_or_else(String::new, |why| format!(": {why}"));
            match age {
                None => reasons.push(format!("the state of the {end} is not known yet{why}")),
                Some(age) if age > STALE_AFTER => {
                    reasons.push(format!("the state of the {end} has not been read for {} s{why}", age.as_secs()));
                }
                Some(_) => reasons.extend(server.into_iter().flat_map(|server| {
                    server.in_danger.iter().chain(server.over.values()).cloned().collect::<Vec<_>>()
                })),
            }
        }
        reasons
    }

    /// 0 when nothing is near a limit, 1 at a limit: how much to slow down.
    pub fn brake(&self) -> f64 {
        let watched = self.servers.iter().filter(|(end, _)| !self.ignores(**end));
        let share = watched.map(|(_, server)| server.share).fold(0.0, f64::max);
        ((share - BRAKE_FROM) / (1.0 - BRAKE_FROM)).clamp(0.0, 1.0)
    }
}

fn share_of(limit: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(limit) * u128::from(percent) / 100).unwrap_or(limit)
}

/// Which right is missing.
pub fn why_hidden(end: End) -> String {
    format!("the role on the {end} needs GRANT pg_monitor")
}

/// A signal for people.
pub fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::WalRetained => "WAL retained",
        Signal::StreamLag => "lag of the stream",
        Signal::SourceReplicaLag => "lag of the source's standby",
        Signal::SourceActiveSessions => "active sessions on the source",
        Signal::SourceCommitSlowdown => "slower commits on the source",
        Signal::TargetReplicaLag => "lag of the target's standby",
    }
}

fn in_words(signal: Signal, value: u64, limit: u64) -> String {
    let name = name(signal);
    match signal {
        Signal::WalRetained | Signal::StreamLag => format!("{name} {} of {}", bytes(value), bytes(limit)),
        Signal::SourceReplicaLag | Signal::TargetReplicaLag => format!("{name} {value} s of {limit} s"),
        Signal::SourceActiveSessions => format!("{name} {value} of {limit}"),
        Signal::SourceCommitSlowdown => format!("{name} {value} % of {limit} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn source(readings: &[(Signal, Reading)], unconfirmed: u64) -> Sample {
        Sample { readings: readings.iter().copied().collect(), unconfirmed, slot_in_danger: None }
    }

    fn wal(bytes: u64) -> Sample {
        source(&[(Signal::WalRetained, Reading::Value(bytes))], bytes)
    }

    /// With a target of which nothing is watched.
    fn pressure(set: &[(Signal, u64)]) -> Pressure {
        let mut limits = ThrottleLimits::default();
        limits.set(Signal::TargetReplicaLag, Some(0));
        set.iter().for_each(|(signal, limit)| limits.set(*signal, Some(*limit)));
        Pressure::new(limits)
    }

    #[test]
    fn a_limit_holds_until_well_below_it() {
        let (mut pressure, now) = (pressure(&[]), Instant::now());
        let held = |pressure: &mut Pressure, mib: u64| {
            pressure.read(End::Source, &wal(mib * MIB), now);
            pressure.reasons(now).join("; ")
        };
        assert_eq!(held(&mut pressure, 191), "");
        assert_eq!(held(&mut pressure, 192), "WAL retained 192 MiB of 192 MiB");
        assert_eq!(held(&mut pressure, 150), "WAL retained 150 MiB of 192 MiB");
        assert_eq!(held(&mut pressure, 143), "");
        assert_eq!(held(&mut pressure, 150), "");
    }

    #[test]
    fn log_that_does_not_wait_for_us_holds_nothing() {
        let (mut pressure, now) = (pressure(&[]), Instant::now());
        let sample = source(&[(Signal::WalRetained, Reading::Value(900 * MIB))], MIB);
        pressure.read(End::Source, &sample, now);
        assert_eq!((pressure.reasons(now).len(), pressure.brake()), (0, 0.0));
        let lost = Sample { slot_in_danger: Some("the slot is in danger".to_owned()), ..sample };
        pressure.read(End::Source, &lost, now);
        assert_eq!(pressure.reasons(now), ["the slot is in danger"]);
    }

    #[test]
    fn what_is_not_known_holds() {
        let (mut pressure, now) = (pressure(&[]), Instant::now());
        assert_eq!(pressure.reasons(now), ["the state of the source is not known yet"]);
        pressure.read(End::Source, &wal(0), now);
        assert!(pressure.reasons(now + STALE_AFTER).is_empty());
        pressure.failed(End::Source, "connection refused".to_owned());
        assert!(pressure.reasons(now).is_empty(), "one failure is not news yet");
        let late = now + STALE_AFTER + Duration::from_secs(2);
        assert_eq!(pressure.reasons(late), ["the state of the source has not been read for 7 s: connection refused"]);
        pressure.read(End::Source, &wal(0), late);
        assert!(pressure.reasons(late).is_empty());
    }

    #[test]
    fn what_is_hidden_holds_only_when_it_was_asked_for() {
        let now = Instant::now();
        let sample = source(&[(Signal::SourceReplicaLag, Reading::Hidden)], 0);
        let mut quiet = pressure(&[]);
        quiet.read(End::Source, &sample, now);
        assert!(quiet.reasons(now).is_empty());
        let mut asked = pressure(&[(Signal::SourceReplicaLag, 10)]);
        asked.read(End::Source, &sample, now);
        assert_eq!(
            asked.reasons(now),
            ["lag of the source's standby cannot be read: the role on the source needs GRANT pg_monitor"]
        );
    }

    #[test]
    fn the_brake_is_gradual() {
        let (mut pressure, now) = (pressure(&[]), Instant::now());
        let brake = |pressure: &mut Pressure, mib: u64| {
            pressure.read(End::Source, &wal(mib * MIB), now);
            pressure.brake()
        };
        assert_eq!(brake(&mut pressure, 0), 0.0);
        assert_eq!(brake(&mut pressure, 96), 0.0);
        assert_eq!(brake(&mut pressure, 144), 0.5);
        assert_eq!(brake(&mut pressure, 500), 1.0);
    }

    #[test]
    fn a_signal_that_is_off_says_nothing() {
        let off: Vec<_> = Signal::ALL.into_iter().map(|signal| (signal, 0)).collect();
        let now = Instant::now();
        assert!(pressure(&off).reasons(now).is_empty(), "nothing is watched");
        let mut pressure = pressure(&[(Signal::WalRetained, 0)]);
        pressure.read(End::Source, &wal(900 * MIB), now);
        assert!(pressure.reasons(now).is_empty());
        pressure.set_limit(Signal::WalRetained, 1);
        pressure.read(End::Source, &wal(900 * MIB), now);
        assert_eq!(pressure.reasons(now), ["WAL retained 900 MiB of 1 B"]);
    }
}
