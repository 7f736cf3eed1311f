//! A server that lives as long as its value.

use std::path::{Path, PathBuf};

use super::binaries::{Binaries, LocalError, find_binaries};
use super::home::{Port, fresh_data, make_dir, shared_dir, take_port, try_lock_port};
use super::server::Server;
use crate::pg::conninfo::Conninfo;

/// A throw-away server on a free loopback port: `wal_level = logical`, superuser `postgres`, no password.
/// Dropping it (also while panicking) stops the server and removes its directory; what a killed process
/// leaves behind is removed when the next cluster starts.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    dir: PathBuf,
    /// Held, so that nobody else takes the port or sweeps the directory.
    port: Port,
}

impl Cluster {
    /// Starts a server of this major version.
    pub fn start(major: u32) -> Result<Self, LocalError> {
        Self::start_with(major, &[])
    }

    /// Starts a server with more settings, which win over ours, e.g. `[("fsync", "off")]`.
    pub fn start_with(major: u32, settings: &[(&str, &str)]) -> Result<Self, LocalError> {
        let root = shared_dir()?;
        sweep(&root)?;
        let port = take_port(&root)?;
        let dir = root.join("clusters").join(port.number.to_string());
        if dir.exists() {
            clear(&dir, port.number)?;
        }
        let server = Server::at(&dir, find_binaries(major)?, port.number)?;
        make_dir(&dir)?;
        // From here on dropping cleans up, whichever step fails.
        let mut cluster = Self { server, dir, port };
        let server = &mut cluster.server;
        server.user().own(&cluster.dir)?;
        fresh_data(&root, server.binaries(), server.user(), &server.data_dir())?;
        server.configure(settings)?;
        server.start()?;
        Ok(cluster)
    }

    /// Starts the stopped or crashed server again, on the same port and data.
    pub fn resume(&mut self) -> Result<(), LocalError> {
        self.server.start()
    }

    /// Stops the server in order and starts it again.
    pub fn restart(&mut self) -> Result<(), LocalError> {
        self.server.stop()?;
        self.server.start()
    }

    /// Stops the server in order; the data stays until the value is dropped.
    pub fn stop(&mut self) -> Result<(), LocalError> {
        self.server.stop()
    }

    /// Crashes the server: no checkpoint, no goodbye to clients, recovery at [`Cluster::resume`].
    pub fn kill_immediate(&mut self) -> Result<(), LocalError> {
        self.server.kill_immediate()
    }

    /// Asks the server to read `postgresql.conf` and `pg_hba.conf` again.
    pub fn reload(&mut self) -> Result<(), LocalError> {
        self.server.reload()
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Returns connection settings for the superuser, who needs no password.
    #[must_use]
    pub fn conninfo(&self, database: &str) -> Conninfo {
        self.server.conninfo(database)
    }

    /// Returns the data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.server.data_dir()
    }

    /// Returns the directory of the Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the server's log file.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.server.log_path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nobody is left to tell; a directory that stays is swept by the next cluster.
        if self.server.kill_immediate().is_ok() {
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}

/// Stops and removes clusters whose process is gone: killed tests leave their servers running.
fn sweep(root: &Path) -> Result<(), LocalError> {
    let clusters = root.join("clusters");
    let entries = std::fs::read_dir(&clusters).map_err(|source| LocalError::file("list", &clusters, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| LocalError::file("list", &clusters, source))?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Held while we clear, so that nobody starts a cluster there meanwhile.
        if let Some(_lock) = try_lock_port(root, number)? {
            clear(&entry.path(), number)?;
        }
    }
    Ok(())
}

fn clear(dir: &Path, port: u16) -> Result<(), LocalError> {
    let version = dir.join("data/PG_VERSION");
    if let Ok(text) = std::fs::read_to_string(&version)
        && let Ok(major) = text.trim().parse()
    {
        // Stopping takes no programs, and those of this version may be in another checkout.
        Server::at(dir, Binaries { dir: PathBuf::new(), major }, port)?.kill_immediate()?;
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LocalError::file("remove", dir, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn answers(port: u16) -> bool {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    }

    #[test]
    fn a_cluster_answers_restarts_crashes_and_leaves_nothing_behind() {
        let mut cluster = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
        let (port, dir) = (cluster.port(), cluster.socket_dir().to_owned());
        assert!(answers(port));
        cluster.stop().unwrap();
        assert!(!answers(port));
        cluster.resume().unwrap();
        cluster.restart().unwrap();
        cluster.kill_immediate().unwrap();
        assert!(!answers(port));
        cluster.resume().unwrap();
        let log = std::fs::read_to_string(cluster.log_path()).unwrap();
        assert!(log.contains("automatic recovery in progress"), "{log}");
        drop(cluster);
        assert!(!answers(port));
        assert!(!dir.exists());
    }

    #[test]
    fn a_panic_stops_the_server() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let cluster = Cluster::start(15).unwrap();
            sender.send(cluster.port()).unwrap();
            panic!("a test fails");
        });
        assert!(thread.join().is_err());
        assert!(!answers(receiver.recv().unwrap()));
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let mut cluster = Cluster::start(15).unwrap();
        let (port, dir) = (cluster.port(), cluster.socket_dir().to_owned());
        drop(Cluster::start(15).unwrap());
        assert!(answers(port), "the cluster of a living process was swept");
        // As a process that is killed: the server lives on, the lock does not.
        cluster.port = take_port(&shared_dir().unwrap()).unwrap();
        let next = Cluster::start(15).unwrap();
        assert!(next.port() == port || (!answers(port) && !dir.exists()));
    }

    #[test]
    fn settings_of_the_caller_win() {
        let cluster = Cluster::start_with(15, &[("wal_level", "replica"), ("fsync", "off")]).unwrap();
        let conf = std::fs::read_to_string(cluster.data_dir().join("postgresql.conf")).unwrap();
        assert!(conf.rfind("wal_level = 'replica'") > conf.rfind("wal_level = 'logical'"));
    }
}
