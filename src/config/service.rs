//! The connection service file, read as libpq reads it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::environment::Environment;
use crate::config::params::{ParamError, Params};
use crate::desired::problem::shown;

/// Parameters that change nothing for pcrd; a file shared with other programs may have them.
const HARMLESS: [&str; 10] = [
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "sslcompression",
];

/// Why a service cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No file has the section.
    #[error("the service `{name}` is in none of the service files ({files})")]
    NotFound {
        /// The service.
        name: String,
        /// Where it was looked for.
        files: String,
    },
    /// A file cannot be read.
    #[error("failed to read the service file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line of the section cannot be used.
    #[error("{}, line {line}: {error}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        error: ParamError,
    },
}

/// Finds a service in PGSERVICEFILE or `~/.pg_service.conf`, then in `pg_service.conf` of PGSYSCONFDIR.
///
/// # Errors
/// When the service is in none of them, or a file cannot be read or understood.
pub fn look_up(name: &str, environment: &Environment, warnings: &mut Vec<String>) -> Result<Params, ServiceError> {
    let named = environment.path("PGSERVICEFILE");
    let own = named.clone().or_else(|| environment.in_home(".pg_service.conf"));
    let system = environment.path("PGSYSCONFDIR").map(|dir| dir.join("pg_service.conf"));
    let files: Vec<PathBuf> = own.into_iter().chain(system).collect();
    for path in &files {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && named.as_ref() != Some(path) => continue,
            Err(error) => return Err(ServiceError::Unreadable { path: path.clone(), error }),
        };
        let found = find(&text, name, path, warnings);
        if let Some(params) = found.map_err(|(line, error)| ServiceError::Line { path: path.clone(), line, error })? {
            return Ok(params);
        }
    }
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    Err(ServiceError::NotFound { name: shown(name), files: files.join(", ") })
}

/// The section of this name, when the text has it; an error comes with its line number.
fn find(
    text: &str,
    name: &str,
    path: &Path,
    warnings: &mut Vec<String>,
) -> Result<Option<Params>, (usize, ParamError)> {
    let base = path.parent().unwrap_or(Path::new(""));
    let mut found: Option<Params> = None;
    for (nth, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if section.strip_suffix(']') == Some(name) {
                found = Some(Params::default());
            }
            continue;
        }
        let Some(params) = &mut found else { continue };
        let at = |error| (nth + 1, error);
        let (key, value) = line.split_once('=').ok_or_else(|| at(ParamError::Form("the line is not `name=value`")))?;
        if HARMLESS.contains(&key) {
            warnings.push(format!("{}: `{key}` of the service is not used", path.display()));
            continue;
        }
        if key == "service" {
            return Err(at(ParamError::Form("a service cannot refer to another one")));
        }
        params.set(key, value, base).map_err(at)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\n[other]\nhost=wrong\n\n[prod]\nhost=db.example\nport=5433\n  dbname=shop  \napplication_name=x\nsslrootcert=ca.pem\n[prod]\nhost=again\n";

    #[test]
    fn a_section_is_read_up_to_the_next_one() {
        let mut warnings = Vec::new();
        let params = find(FILE, "prod", Path::new("/etc/pg_service.conf"), &mut warnings).unwrap().unwrap();
        assert_eq!(params.host.as_deref(), Some("db.example"));
        assert_eq!((params.port, params.database.as_deref()), (Some(5433), Some("shop")));
        assert_eq!(format!("{:?}", params.root_cert), "Some(File(\"/etc/ca.pem\"))");
        assert_eq!(warnings, ["/etc/pg_service.conf: `application_name` of the service is not used"]);
        assert!(find(FILE, "pro", Path::new("x"), &mut warnings).unwrap().is_none());
    }

    #[test]
    fn lines_that_cannot_be_used_are_named_by_number() {
        for (line, error) in [
            ("host", "not `name=value`"),
            ("service=other", "cannot refer"),
            ("target_session_attrs=any", "not supported"),
            ("port=x", "between 1 and 65535"),
        ] {
            let (number, found) = find(&format!("[s]\n{line}\n"), "s", Path::new("f"), &mut Vec::new()).unwrap_err();
            assert_eq!(number, 2);
            assert!(found.to_string().contains(error), "{line}: {found}");
        }
    }

    #[test]
    fn files_are_searched_in_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".pg_service.conf"), "[home]\nhost=home\n").unwrap();
        fs::write(dir.path().join("pg_service.conf"), "[home]\nhost=system\n[sys]\nhost=system\n").unwrap();
        let environment = Environment::of([("HOME", dir.path()), ("PGSYSCONFDIR", dir.path())]);
        let host = |name| look_up(name, &environment, &mut Vec::new()).unwrap().host.unwrap();
        assert_eq!((host("home"), host("sys")), ("home".to_owned(), "system".to_owned()));
        assert!(matches!(look_up("no", &environment, &mut Vec::new()), Err(ServiceError::NotFound { .. })));
        let named = Environment::of([("PGSERVICEFILE", dir.path().join("absent"))]);
        assert!(matches!(look_up("no", &named, &mut Vec::new()), Err(ServiceError::Unreadable { .. })));
    }
}
