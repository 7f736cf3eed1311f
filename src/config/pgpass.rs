//! `.pgpass`, read as libpq reads it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use secrecy::SecretString;

/// Directories that libpq builds use for sockets by default: entries for them say `localhost`.
const SOCKET_DIRS: [&str; 3] = ["/tmp", "/var/run/postgresql", "/run/postgresql"];

/// Permissions of others and the group.
pub const NOT_OWNER: u32 = 0o077;

/// Whom the password is for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Host, as connected to.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: &'a str,
    /// Role.
    pub user: &'a str,
}

/// Looks up a password in a file. A file that is not there has none. A file that others can read, that is no plain file
/// or that cannot be read is left aside with a warning, as libpq does.
pub fn look_up(path: &Path, wanted: &Wanted<'_>, warnings: &mut Vec<String>) -> Option<SecretString> {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                warnings.push(format!("password file {shown} is ignored: {error}"));
            }
            return None;
        }
    };
    if !metadata.is_file() {
        warnings.push(format!("password file {shown} is ignored: it is not a plain file"));
        return None;
    }
    if metadata.mode() & NOT_OWNER != 0 {
        warnings.push(format!(
            "password file {shown} is ignored: its permissions are {:04o}, they should be 0600 or less",
            metadata.mode() & 0o7777
        ));
        return None;
    }
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => find(&text, wanted),
            Err(_) => {
                warnings.push(format!("password file {shown} is ignored: it is not valid UTF-8"));
                None
            }
        },
        Err(error) => {
            warnings.push(format!("password file {shown} is ignored: {error}"));
            None
        }
    }
}

/// The first line that fits. Pure.
pub fn find(text: &str, wanted: &Wanted<'_>) -> Option<SecretString> {
    let port = wanted.port.to_string();
    let localhost = SOCKET_DIRS.contains(&wanted.host.trim_end_matches('/')).then_some("localhost");
    text.split('\n').filter(|line| !line.starts_with('#')).find_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let rest = match localhost {
            Some(localhost) => after(line, localhost),
            None => after(line, wanted.host),
        }?;
        let rest = after(after(after(rest, &port)?, wanted.database)?, wanted.user)?;
        Some(SecretString::from(password(rest)))
    })
}

/// What follows the first field and its colon, when the field is `*` or equals `token`.
fn after<'a>(line: &'a str, token: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut chars = line.chars();
    let mut token = token.chars();
    loop {
        let c = chars.next()?;
        if c == ':' {
            return token.next().is_none().then_some(chars.as_str());
        }
        let c = if c == '\\' { chars.next()? } else { c };
        if token.next() != Some(c) {
            return None;
        }
    }
}

/// Ends at the next bare colon; a backslash takes the next character as it is.
fn password(rest: &str) -> String {
    let mut out = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            ':' => break,
            '\\' => out.push(chars.next().unwrap_or('\\')),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    const ME: Wanted<'_> = Wanted { host: "db.example", port: 5432, database: "shop", user: "me" };

    fn found(text: &str, wanted: Wanted<'_>) -> Option<String> {
        find(text, &wanted).map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn lines_match_as_in_libpq() {
        for (line, password) in [
            ("db.example:5432:shop:me:secret", Some("secret")),
            ("*:*:*:*:any", Some("any")),
            ("db.example:*:shop:*:wild", Some("wild")),
            (r"db.example:5432:shop:me:pass\:word", Some("pass:word")),
            (r"db.example:5432:shop:me:back\\slash", Some(r"back\slash")),
            (r"db.example:5432:shop:me:end\", Some(r"end\")),
            (r"db\.example:5432:shop:me:escaped", Some("escaped")),
            ("db.example:5432:shop:me:with#hash and space ", Some("with#hash and space ")),
            ("db.example:5432:shop:me:crlf\r", Some("crlf")),
            ("db.example:5432:shop:me:one:two", Some("one")),
            ("db.example:5432:shop:me:", Some("")),
            ("db.example:5432:shop:me", None),
            ("db.example:5433:shop:me:other port", None),
            ("db.example.com:5432:shop:me:longer host", None),
            ("db:5432:shop:me:shorter host", None),
            ("d*:5432:shop:me:no globbing", None),
            ("#db.example:5432:shop:me:comment", None),
            (" db.example:5432:shop:me:space first", None),
            ("", None),
        ] {
            assert_eq!(found(line, ME).as_deref(), password, "{line:?}");
        }
    }

    #[test]
    fn the_first_line_that_fits_wins() {
        assert_eq!(
            found("other:*:*:*:no\n*:*:*:me:first\ndb.example:5432:shop:me:second", ME).as_deref(),
            Some("first")
        );
    }

    #[test]
    fn names_with_colons_and_sockets() {
        let v6 = Wanted { host: "::1", user: r"a:b\c", ..ME };
        assert_eq!(found(r"\:\:1:5432:shop:a\:b\\c:six", v6).as_deref(), Some("six"));
        let socket = Wanted { host: "/var/run/postgresql", ..ME };
        assert_eq!(found("localhost:5432:shop:me:socket", socket).as_deref(), Some("socket"));
        let own = Wanted { host: "/srv/pg", ..ME };
        assert_eq!(found("localhost:5432:shop:me:no\n/srv/pg:5432:shop:me:dir", own).as_deref(), Some("dir"));
    }

    #[test]
    fn a_file_that_others_can_read_is_ignored_with_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        fs::write(&path, "*:*:*:*:canary\n").unwrap();
        for (mode, warns) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true), (0o604, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut warnings = Vec::new();
            let password = look_up(&path, &ME, &mut warnings);
            assert_eq!(password.is_none(), warns, "{mode:o}");
            assert_eq!(warnings.len(), usize::from(warns), "{mode:o}");
            assert!(!warnings.join("").contains("canary"));
        }
        let mut warnings = Vec::new();
        assert!(look_up(&dir.path().join("absent"), &ME, &mut warnings).is_none());
        assert!(warnings.is_empty());
        assert!(look_up(dir.path(), &ME, &mut warnings).is_none());
        assert_eq!(warnings.len(), 1);
    }
}
