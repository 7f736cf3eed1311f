//! `source` and `target` as the file gives them. Files, environment and commands are read later (`connect`).

use std::ops::Range;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::config::params::{CHANNEL_BINDINGS, ParamError, Params, SSLMODES, is_local};
use crate::config::uri;
use crate::desired::At;
use crate::desired::document::{Kind, Node};
use crate::desired::fields::{Fields, Section, wrong_type};
use crate::desired::problem::{Problem, ProblemKind};
use crate::pg::conninfo::{RootCert, SslMode};

/// One end, as written. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The key `source` or `target`.
    pub span: Range<usize>,
    /// What the file says of the connection; a service may fill the rest.
    pub params: Params,
    /// Where the password comes from, when the file says so.
    pub password: PasswordWish,
}

/// Where the file says the password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordWish {
    /// It does not say.
    Unsaid,
    /// `password_env`.
    Env(String),
    /// `password_file`.
    File(PathBuf),
    /// `password_command`: program and arguments, no shell.
    Command(Vec<String>),
}

/// What to write instead of a missing `sslmode`.
pub const SSLMODE_CHOICES: &str = "add one of these lines:\n\
    sslmode: verify-full   # encrypted, and the server proves who it is\n\
    sslmode: require       # encrypted, but anyone in between can pose as the server\n\
    sslmode: disable       # everything in plaintext";

/// Reads an endpoint. Relative paths are relative to `base`.
pub fn read(
    node: &Node,
    section: &'static Section,
    at: Range<usize>,
    base: &Path,
    allow_plaintext: bool,
    problems: &mut Vec<Problem>,
) -> Option<Endpoint> {
    if let Kind::Scalar { .. } = &node.kind {
        let problem = wrong_type(node.span.clone(), section.path, "a map", "a single value");
        problems.push(problem.help(format!("write a connection string as `{}: {{ uri: … }}`", section.path)));
        return None;
    }
    let before = problems.len();
    let fields = Fields::open(node, section, at.clone(), problems)?;
    let mut params = Params::default();
    parts(&fields, base, &mut params, problems);
    connection_string(&fields, base, &mut params, allow_plaintext, problems);
    let password = password(&fields, base, allow_plaintext, &mut params, problems);
    if params.service.is_none() {
        required(&fields, &params, problems);
    }
    check_tls(&fields, &params, problems);
    (problems.len() == before).then_some(Endpoint { span: at, params, password })
}

fn parts(fields: &Fields<'_>, base: &Path, params: &mut Params, problems: &mut Vec<Problem>) {
    for (key, name) in [("host", "host"), ("database", "dbname"), ("user", "user"), ("service", "service")] {
        if let Some(text) = fields.text(key, problems)
            && let Err(error) = params.set(name, &text.value, base)
        {
            bad_param(text.span, &fields.path_of(key), &error, problems);
        }
    }
    if let Some(port) = fields.integer("port", 1..=65_535, problems) {
        params.port = u16::try_from(port.value).ok();
    }
    params.sslmode =
        fields.choice("sslmode", &SSLMODES.map(|(word, mode)| (word, Some(mode))), problems).map(|mode| mode.value);
    let bindings = CHANNEL_BINDINGS.map(|(word, binding)| (word, Some(binding)));
    params.channel_binding = fields.choice("channel_binding", &bindings, problems).map(|binding| binding.value);
    params.root_cert = fields
        .text("sslrootcert", problems)
        .map(|text| if text.value == "system" { RootCert::System } else { RootCert::File(base.join(text.value)) });
    params.cert = fields.text("sslcert", problems).map(|text| base.join(text.value));
    params.key = fields.text("sslkey", problems).map(|text| base.join(text.value));
}

fn bad_param(span: Range<usize>, path: &str, error: &ParamError, problems: &mut Vec<Problem>) {
    problems.push(Problem::at(ProblemKind::BadValue, span, format!("`{path}`: {error}"), "cannot be used"));
}

fn connection_string(
    fields: &Fields<'_>,
    base: &Path,
    params: &mut Params,
    allow_plaintext: bool,
    problems: &mut Vec<Problem>,
) {
    let Some(text) = fields.text("uri", problems) else { return };
    let read = match uri::parse(&text.value, base) {
        Ok(read) => read,
        Err(error) => return bad_param(text.span, &fields.path_of("uri"), &error, problems),
    };
    let said = |key: &str| fields.entry(key).map(|entry| entry.key.span.clone());
    for (key, in_uri) in [
        ("host", read.host.is_some()),
        ("port", read.port.is_some()),
        ("database", read.database.is_some()),
        ("user", read.user.is_some()),
        ("service", read.service.is_some()),
        ("password", read.password.is_some()),
        ("sslmode", read.sslmode.is_some()),
        ("sslrootcert", read.root_cert.is_some()),
        ("sslcert", read.cert.is_some()),
        ("sslkey", read.key.is_some()),
        ("channel_binding", read.channel_binding.is_some()),
    ] {
        if let Some(span) = said(key).filter(|_| in_uri) {
            let message = format!("`{}` is given twice: here and in `uri`", fields.path_of(key));
            let problem = Problem::at(ProblemKind::Contradiction, span, message, "here");
            problems.push(problem.and(text.span.clone(), "and here").help("remove one of the two"));
        }
    }
    if read.password.is_some() && !allow_plaintext {
        plaintext_password(fields, text.span, "the URI has a password", problems);
    }
    params.fill_from(read);
}

/// A server that is given by a connection string alone, and is not PostgreSQL.
pub(super) fn of_uri(
    fields: &Fields<'_>,
    key: &str,
    text: &At<String>,
    base: &Path,
    allow_plaintext: bool,
    problems: &mut Vec<Problem>,
) -> Option<Params> {
    let path = fields.path_of(key);
    let params = match uri::parse(&text.value, base) {
        Ok(params) => params,
        Err(error) => {
            bad_param(text.span.clone(), &path, &error, problems);
            return None;
        }
    };
    for (what, there) in [("host", params.host.is_some()), ("user", params.user.is_some())] {
        if !there {
            let message = format!("`{path}` names no {what}");
            let problem = Problem::at(ProblemKind::Missing, text.span.clone(), message, format!("no {what} in it"));
            problems.push(problem.help("write `postgresql://user@host:port/database`"));
            return None;
        }
    }
    if params.password.is_some() && !allow_plaintext {
        let help = "take it out of the file: PCRD_PGBOUNCER_PASSWORD, PGPASSWORD and ~/.pgpass are read without it";
        let message = format!("`{path}` has a password in plaintext");
        let place = (text.span.clone(), "a password in plaintext");
        problems.push(Problem::at(ProblemKind::PlaintextPassword, place.0, message, place.1).help(help));
        return None;
    }
    Some(params)
}

fn plaintext_password(fields: &Fields<'_>, span: Range<usize>, message: &str, problems: &mut Vec<Problem>) {
    let side = fields.path_of("password").trim_end_matches(".password").to_owned();
    let variable = format!("PCRD_{}_PASSWORD", side.to_uppercase());
    let help = format!(
        "take it out of the file and write instead one of\n\
         password_file: {side}.password     # only the password, mode 0600\n\
         password_env: {variable}     # read without this line, too\n\
         password_command: [pass, show, {side}]\n\
         or leave it to ~/.pgpass; `allow_plaintext_password: true` at the top level admits it"
    );
    problems.push(Problem::at(ProblemKind::PlaintextPassword, span, message, "a password in plaintext").help(help));
}

fn password(
    fields: &Fields<'_>,
    base: &Path,
    allow_plaintext: bool,
    params: &mut Params,
    problems: &mut Vec<Problem>,
) -> PasswordWish {
    let given: Vec<_> = ["password", "password_env", "password_file", "password_command"]
        .iter()
        .filter_map(|key| fields.entry(key))
        .filter(|entry| !(entry.key.value == "password" && matches!(entry.value.kind, Kind::Null)))
        .collect();
    for other in given.iter().skip(1) {
        let (first, other) = (&given[0].key, &other.key);
        let message = format!("`{}` and `{}` both say where the password comes from", first.value, other.value);
        let problem = Problem::at(ProblemKind::Contradiction, other.span.clone(), message, "the other");
        problems.push(problem.and(first.span.clone(), "one").help("keep one of them"));
    }
    if given.iter().any(|entry| entry.key.value == "password")
        && let Some(text) = fields.text("password", problems)
    {
        if !allow_plaintext {
            let message = format!("`{}` has a password in plaintext", fields.path_of("password"));
            plaintext_password(fields, text.span, &message, problems);
        }
        params.password = Some(SecretString::from(text.value));
    }
    let env = fields.text("password_env", problems).map(|text| PasswordWish::Env(text.value));
    let file = fields.text("password_file", problems).map(|text| PasswordWish::File(base.join(text.value)));
    let command = fields.entry("password_command").and_then(|entry| match &entry.value.kind {
        Kind::Scalar { .. } => {
            let problem = wrong_type(entry.place(), &fields.path_of("password_command"), "a list", "a single value");
            problems
                .push(problem.help("no shell is involved: write program and arguments as a list, `[pass, show, db]`"));
            None
        }
        _ => command(fields, problems),
    });
    env.or(file).or(command).unwrap_or(PasswordWish::Unsaid)
}

fn command(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Option<PasswordWish> {
    let before = problems.len();
    let list = fields.texts("password_command", problems)?;
    if list.value.is_empty() && problems.len() == before {
        problems.push(Problem::at(
            ProblemKind::BadValue,
            list.span.clone(),
            "`password_command` is empty",
            "no program",
        ));
    }
    if let Some(text) = list.value.iter().find(|text| text.value.contains('\0')) {
        problems.push(Problem::at(ProblemKind::BadValue, text.span.clone(), "an argument has a NUL byte", "here"));
    }
    Some(PasswordWish::Command(list.value.into_iter().map(|text| text.value).collect()))
}

fn required(fields: &Fields<'_>, params: &Params, problems: &mut Vec<Problem>) {
    let by_uri = fields.entry("uri");
    for (key, there) in
        [("host", params.host.is_some()), ("database", params.database.is_some()), ("user", params.user.is_some())]
    {
        // A key that is there but wrong has been reported.
        if there || fields.entry(key).is_some() {
            continue;
        }
        match by_uri {
            None => fields.missing(key, problems),
            Some(entry) => {
                // A URI that cannot be read has been reported.
                let unread =
                    matches!(&entry.value.kind, Kind::Scalar { text, .. } if uri::parse(text, Path::new("")).is_ok());
                if unread {
                    let message = format!("`{}` names no {key}", fields.path_of("uri"));
                    let problem = Problem::at(ProblemKind::Missing, entry.place(), message, format!("no {key} in it"));
                    problems.push(problem.help("write `postgresql://user@host:port/database`"));
                }
            }
        }
    }
}

fn check_tls(fields: &Fields<'_>, params: &Params, problems: &mut Vec<Problem>) {
    let place = |key: &str| fields.entry(key).or_else(|| fields.entry("uri")).map(|entry| entry.place());
    for wrong in params.tls_contradictions() {
        // With a service, the missing half may come from there: `connect` checks again.
        if params.service.is_some() && wrong.key.starts_with("sslc") | wrong.key.starts_with("sslk") {
            continue;
        }
        let span = place(wrong.key).unwrap_or_else(|| fields.at.clone());
        problems.push(Problem::at(ProblemKind::Contradiction, span, wrong.why, "here"));
    }
    if params.sslmode.is_none()
        && params.service.is_none()
        && fields.entry("sslmode").is_none()
        && let Some(host) = params.host.as_deref().filter(|host| !is_local(host))
    {
        let message = format!("`{}` is missing, and the host is not this machine", fields.path_of("sslmode"));
        let span = place("host").unwrap_or_else(|| fields.at.clone());
        let host = crate::desired::problem::shown(host);
        let problem =
            Problem::at(ProblemKind::SslmodeMissing, span, message, format!("`{host}` is reached over the network"));
        problems.push(problem.help(SSLMODE_CHOICES));
    }
}

impl Endpoint {
    /// True when both name the same database with the same words. Two names of one server are found at the server.
    pub fn is_textually(&self, other: &Self) -> bool {
        const PORT: u16 = 5432;
        let (mine, theirs) = (&self.params, &other.params);
        let host = |params: &Params| params.host.as_ref().map(|host| host.to_ascii_lowercase());
        let port = |params: &Params| if params.service.is_some() { params.port } else { params.port.or(Some(PORT)) };
        host(mine) == host(theirs)
            && port(mine) == port(theirs)
            && mine.database == theirs.database
            && mine.service == theirs.service
    }

    /// True when the file itself has the password.
    pub fn has_plaintext_password(&self) -> bool {
        self.params.password.as_ref().is_some_and(|password| !password.expose_secret().is_empty())
    }
}

/// `sslmode` of a connection that does not say: nothing leaves the machine, so nothing is encrypted.
pub fn default_sslmode(host: &str) -> Option<SslMode> {
    is_local(host).then_some(SslMode::Disable)
}
