//! What a command costs: time, its own CPU and memory, the servers' CPU, and what the rest of the machine took.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use pcrd::pg::local::Cluster;

/// Linux counts CPU time in hundredths of a second for every process.
const TICKS: f64 = 100.0;
const SAMPLE: Duration = Duration::from_millis(50);

/// One contender's run.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Measured {
    /// Wall-clock seconds.
    pub(crate) seconds: f64,
    /// CPU seconds of the command and its children.
    pub(crate) client_cpu: f64,
    /// Highest resident memory of the command and its children, added up, in MiB.
    pub(crate) client_mib: f64,
    /// CPU seconds of the source's processes.
    pub(crate) source_cpu: f64,
    /// CPU seconds of the target's processes.
    pub(crate) target_cpu: f64,
    /// CPU seconds of everything else on the machine.
    pub(crate) others_cpu: f64,
}

/// One line of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, Default)]
struct Stat {
    parent: u32,
    /// Own ticks.
    own: u64,
    /// Ticks of the children that were waited for.
    reaped: u64,
}

fn stat(pid: &str) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let number = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok());
    Some(Stat { parent: number(1)? as u32, own: number(11)? + number(12)?, reaped: number(13)? + number(14)? })
}

fn processes() -> BTreeMap<u32, Stat> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some((name.parse().ok()?, stat(&name)?)))
        .collect()
}

/// A process and all that come from it.
fn family(all: &BTreeMap<u32, Stat>, root: u32) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([root]);
    loop {
        let more: Vec<u32> = all
            .iter()
            .filter(|(pid, stat)| !family.contains(pid) && family.contains(&stat.parent))
            .map(|p| *p.0)
            .collect();
        if more.is_empty() {
            return family;
        }
        family.extend(more);
    }
}

fn postmaster(cluster: &Cluster) -> u32 {
    let text = std::fs::read_to_string(cluster.data_dir().join("postmaster.pid")).unwrap();
    text.lines().next().unwrap().trim().parse().unwrap()
}

/// Ticks of a server: those that ended count in their parent.
fn server(cluster: &Cluster) -> u64 {
    let (all, root) = (processes(), postmaster(cluster));
    let live: u64 = family(&all, root).iter().filter_map(|pid| all.get(pid)).map(|stat| stat.own).sum();
    live + all[&root].reaped
}

/// Busy ticks of the whole machine.
fn machine() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<u64> =
        text.lines().next().unwrap().split_whitespace().skip(1).map(|field| field.parse().unwrap()).collect();
    // user, nice, system, irq, softirq; not idle, not waiting for the disk, not stolen.
    fields[0] + fields[1] + fields[2] + fields[5] + fields[6]
}

/// Counts from its creation on.
pub(crate) struct Meter<'a> {
    source: &'a Cluster,
    target: &'a Cluster,
    began: Instant,
    before: [u64; 4],
    sampled: Instant,
    /// Highest resident KiB and last ticks of each process of the command.
    seen: BTreeMap<u32, (u64, u64)>,
}

fn ours() -> u64 {
    stat("self").unwrap().reaped
}

impl<'a> Meter<'a> {
    pub(crate) fn start(source: &'a Cluster, target: &'a Cluster) -> Self {
        let before = [ours(), server(source), server(target), machine()];
        Self { source, target, began: Instant::now(), before, sampled: Instant::now(), seen: BTreeMap::new() }
    }

    /// Looks at the command's memory, now and then.
    pub(crate) fn sample(&mut self, child: &Child) {
        if self.sampled.elapsed() < SAMPLE {
            return;
        }
        self.sampled = Instant::now();
        let all = processes();
        for pid in family(&all, child.id()) {
            let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
            let seen = self.seen.entry(pid).or_default();
            *seen = (seen.0.max(kib), all.get(&pid).map_or(0, |stat| stat.own));
        }
    }

    /// Ends the measurement. A command that still runs counts with what it used so far.
    pub(crate) fn stop(mut self, running: Option<&Child>) -> Measured {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut client = ours() - self.before[0];
        if let Some(child) = running {
            self.sampled = self.began;
            self.sample(child);
            client += self.seen.values().map(|seen| seen.1).sum::<u64>();
        }
        let (source, target) = (server(self.source) - self.before[1], server(self.target) - self.before[2]);
        let all = machine() - self.before[3];
        let others = all.saturating_sub(client + source + target);
        Measured {
            seconds,
            client_cpu: client as f64 / TICKS,
            client_mib: self.seen.values().map(|seen| seen.0).sum::<u64>() as f64 / 1024.0,
            source_cpu: source as f64 / TICKS,
            target_cpu: target as f64 / TICKS,
            others_cpu: others as f64 / TICKS,
        }
    }
}

/// Runs a command to its end; panics with its output when it fails.
pub(crate) fn measure(source: &Cluster, target: &Cluster, command: &mut Command) -> Measured {
    let (out, err) = (tempfile::tempfile().unwrap(), tempfile::NamedTempFile::new().unwrap());
    command.stdout(out).stderr(err.reopen().unwrap());
    let mut meter = Meter::start(source, target);
    let mut child = command.spawn().unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        meter.sample(&child);
        std::thread::sleep(Duration::from_millis(5));
    };
    let measured = meter.stop(None);
    assert!(status.success(), "{command:?}: {status}\n{}", std::fs::read_to_string(err.path()).unwrap());
    measured
}
