//! The demo's two servers, their password and their config file, in one directory.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rand::Rng;
use secrecy::{ExposeSecret, SecretString};

use super::error::DemoError;
use super::guard::mark;
use super::settings::{HEADER, config};
use crate::pg::client::connect;
use crate::pg::conninfo::{Conninfo, Tls};
use crate::pg::local::{Binaries, Server, find_binaries, installed_majors, servers_can_enter, shared_dir};

const DATABASE: &str = "pcrd_demo";
/// The ports of the original's demo, and on from there if they are taken.
const FIRST_PORT: u16 = 5433;
const LAST_PORT: u16 = 5532;

/// A running demo.
#[derive(Debug, Clone)]
pub struct Demo {
    /// `.pcrd-demo` in the directory that was asked for.
    pub dir: PathBuf,
    /// The config file for all other commands.
    pub config: PathBuf,
    /// Major version of the source.
    pub source_major: u32,
    /// Major version of the target.
    pub target_major: u32,
    /// The old database.
    pub source: Conninfo,
    /// The new one.
    pub target: Conninfo,
}

/// Starts two servers below `dir/.pcrd-demo`, or finds them running, and writes the config file. The source is
/// PostgreSQL 15 if it is here, the target the newest version that is here.
pub async fn up(dir: &Path) -> Result<Demo, DemoError> {
    let home = home(dir)?;
    if home.exists() {
        check_ours(&home)?;
    } else {
        // Complete or not there: an interrupted `up` starts over.
        let unfinished = home.with_extension("new");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(|source| file("remove", &unfinished, source))?;
        }
        make(&unfinished)?;
        std::fs::rename(&unfinished, &home).map_err(|source| file("rename", &unfinished, source))?;
    }
    let demo = open(&home)?;
    let servers = servers(&demo)?;
    for (mut server, info) in servers.into_iter().zip([&demo.source, &demo.target]) {
        if server.pid()?.is_none() {
            server.start()?;
        }
        create_database(info).await?;
    }
    mark(&demo.target).await?;
    Ok(demo)
}

/// Finds the demo that [`up`] started.
pub fn find(dir: &Path) -> Result<Demo, DemoError> {
    let home = home(dir)?;
    if !home.join("pcrd.config.yml").exists() {
        return Err(DemoError::NotUp(dir.to_owned()));
    }
    check_ours(&home)?;
    open(&home)
}

/// Stops the servers and removes the directory with all their data.
pub fn down(dir: &Path) -> Result<(), DemoError> {
    let demo = find(dir)?;
    for mut server in servers(&demo)? {
        server.stop()?;
    }
    let servers = demo.dir.join("servers");
    if servers.is_symlink() {
        let data = servers.canonicalize().map_err(|source| file("resolve", &servers, source))?;
        std::fs::remove_dir_all(&data).map_err(|source| file("remove", &data, source))?;
    }
    std::fs::remove_dir_all(&demo.dir).map_err(|source| file("remove", &demo.dir, source))
}

/// The programs are those that the data was made with, wherever we are called from: `bin` links to them.
fn servers(demo: &Demo) -> Result<[Server; 2], DemoError> {
    let server = |side: &str, major, port| {
        let dir = demo.dir.join("servers").join(side);
        let bin = dir.join("bin").canonicalize().map_err(|source| file("resolve", &dir.join("bin"), source))?;
        Ok::<_, DemoError>(Server::at(&dir, Binaries { dir: bin, major }, port)?)
    };
    Ok([server("source", demo.source_major, demo.source.port)?, server("target", demo.target_major, demo.target.port)?])
}

fn home(dir: &Path) -> Result<PathBuf, DemoError> {
    let dir = std::path::absolute(dir).map_err(|source| file("resolve", dir, source))?;
    Ok(dir.join(".pcrd-demo"))
}

fn check_ours(home: &Path) -> Result<(), DemoError> {
    let path = home.join("pcrd.config.yml");
    let text = std::fs::read_to_string(&path).map_err(|source| file("read", &path, source))?;
    if text.starts_with(HEADER) { Ok(()) } else { Err(DemoError::Foreign(home.to_owned())) }
}

/// Creates both servers' data directories, the password and the config file.
fn make(home: &Path) -> Result<(), DemoError> {
    let majors = installed_majors();
    let newest = *majors.last().ok_or(DemoError::NoServer)?;
    let oldest = if majors.contains(&15) { 15 } else { newest };
    std::fs::create_dir_all(home).map_err(|source| file("create", home, source))?;
    let password = password();
    write_new(&home.join("password"), password.expose_secret(), 0o600)?;
    let servers = home.join("servers");
    if servers_can_enter(home)? {
        std::fs::create_dir_all(&servers).map_err(|source| file("create", &servers, source))?;
    } else {
        let elsewhere = shared_dir()?.join(format!("demo-{:08x}", rand::rng().random::<u32>()));
        std::fs::create_dir_all(&elsewhere).map_err(|source| file("create", &elsewhere, source))?;
        symlink(&elsewhere, &servers).map_err(|source| file("link", &servers, source))?;
    }
    let source_port = free_port(FIRST_PORT)?;
    let target_port = free_port(source_port + 1)?;
    // A path of any length is too long for a socket sooner or later.
    let settings = [("unix_socket_directories", ""), ("shared_buffers", "128MB"), ("max_wal_size", "2GB")];
    for (side, major, port) in [("source", oldest, source_port), ("target", newest, target_port)] {
        let dir = servers.join(side);
        let binaries = find_binaries(major)?;
        let link = dir.join("bin");
        let bin = binaries.dir.clone();
        Server::create(&dir, binaries, port, &password, &settings)?;
        symlink(&bin, &link).map_err(|source| file("link", &link, source))?;
    }
    write_new(&home.join("versions"), &format!("{oldest} {newest}\n"), 0o644)?;
    write_new(&home.join("pcrd.config.yml"), &config(source_port, target_port), 0o644)
}

fn open(home: &Path) -> Result<Demo, DemoError> {
    let read = |name: &str| {
        let path = home.join(name);
        std::fs::read_to_string(&path).map_err(|source| file("read", &path, source))
    };
    let foreign = || DemoError::Foreign(home.to_owned());
    let numbers = |text: &str| -> Option<Vec<u32>> { text.split_whitespace().map(|word| word.parse().ok()).collect() };
    let [source_major, target_major] = numbers(&read("versions")?).ok_or_else(foreign)?[..] else {
        return Err(foreign());
    };
    let config = read("pcrd.config.yml")?;
    let ports: Option<Vec<u16>> =
        config.lines().filter_map(|line| line.strip_prefix("  port: ")).map(|port| port.parse().ok()).collect();
    let [source_port, target_port] = ports.ok_or_else(foreign)?[..] else { return Err(foreign()) };
    let password = SecretString::from(read("password")?.trim_end());
    let conninfo = |port| Conninfo {
        host: "127.0.0.1".into(),
        port,
        database: DATABASE.into(),
        user: "postgres".into(),
        password: Some(password.clone()),
        tls: Tls::default(),
        small_segments: false,
    };
    Ok(Demo {
        dir: home.to_owned(),
        config: home.join("pcrd.config.yml"),
        source_major,
        target_major,
        source: conninfo(source_port),
        target: conninfo(target_port),
    })
}

async fn create_database(info: &Conninfo) -> Result<(), DemoError> {
    let admin = Conninfo { database: "postgres".into(), ..info.clone() };
    let client = connect(&admin, "pcrd-demo/up").await?;
    let found = client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE]).await?;
    if found.is_none() {
        client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
    }
    Ok(())
}

fn free_port(first: u16) -> Result<u16, DemoError> {
    (first..=LAST_PORT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or(DemoError::NoPort(FIRST_PORT, LAST_PORT))
}

fn password() -> SecretString {
    let bytes: [u8; 16] = rand::rng().random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), DemoError> {
    std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut out| out.write_all(text.as_bytes()))
        .map_err(|source| file("write", path, source))
}

fn file(action: &'static str, path: &Path, source: std::io::Error) -> DemoError {
    DemoError::File { action, path: path.to_owned(), source }
}
