//! What can go wrong between us and a server. Values of rows stay out of every text and out of `Debug`.

use std::error::Error as _;
use std::fmt;
use std::io;

use super::tls::TlsError;

/// A failed connection, statement, or stream.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// The server refused.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// No connection could be made.
    #[error("cannot connect to {target}: {source}")]
    Connect {
        /// Host and port, or socket.
        target: String,
        /// Cause.
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error("{target} did not answer within {seconds} s")]
    Timeout {
        /// Host and port, or socket.
        target: String,
        /// How long was waited.
        seconds: u64,
    },
    /// No encrypted connection under the settings that were asked for.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server asked for a way to log in that we lack or refuse, or did not prove that it knows the password.
    #[error("cannot log in: {0}")]
    Authentication(String),
    /// The connection broke.
    #[error("the connection to the server broke: {0}")]
    Io(#[from] io::Error),
    /// The server closed the connection without saying why.
    #[error("the server closed the connection")]
    Closed,
    /// The server said something that the protocol does not allow at this point.
    #[error("unexpected answer from the server: {0}")]
    Protocol(String),
    /// A statement that waits for other transactions was given up, and left nothing behind.
    #[error("gave up after {seconds} s: {what}")]
    GaveUp {
        /// The statement.
        what: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A statement was stopped because the process is stopping, and left nothing behind.
    #[error("stopped: {what}")]
    Stopped {
        /// The statement.
        what: String,
    },
    /// The driver refused, for instance a parameter of the wrong type.
    #[error("{0}")]
    Driver(String),
}

impl PgError {
    /// SQLSTATE, if the server gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.sqlstate),
            _ => None,
        }
    }

    /// Whether the same thing may succeed if tried again later, with nobody doing anything about it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Server(error) => error.is_transient(),
            Self::Connect { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Self::Timeout { .. } | Self::Io(_) | Self::Closed | Self::GaveUp { .. } => true,
            Self::Tls(_) | Self::Authentication(_) | Self::Protocol(_) | Self::Stopped { .. } | Self::Driver(_) => {
                false
            }
        }
    }
}

impl From<tokio_postgres::Error> for PgError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(db) = error.as_db_error() {
            return Self::Server(Box::new(ServerError {
                severity: db.severity().to_owned(),
                sqlstate: db.code().code().to_owned(),
                hint: db.hint().map(str::to_owned),
                schema: db.schema().map(str::to_owned),
                table: db.table().map(str::to_owned),
                column: db.column().map(str::to_owned),
                constraint: db.constraint().map(str::to_owned),
                message: db.message().to_owned(),
                detail: db.detail().map(str::to_owned),
                context: db.where_().map(str::to_owned),
                routine: db.routine().map(str::to_owned),
            }));
        }
        if error.is_closed() {
            return Self::Closed;
        }
        let text = error.to_string();
        let cause = error.source().map(ToString::to_string);
        match error.into_source().map(|source| source.downcast::<io::Error>()) {
            Some(Ok(io)) => match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => Self::Tls(TlsError::from(tls)),
                None => Self::Io(*io),
            },
            _ => {
                let full = cause.map_or(text.clone(), |cause| format!("{text}: {cause}"));
                match text.as_str() {
                    "authentication error" => Self::Authentication(full),
                    "error performing TLS handshake" => Self::Tls(TlsError::NotOffered),
                    _ => Self::Driver(full),
                }
            }
        }
    }
}

/// An error that a server reported.
///
/// DETAIL and CONTEXT, and the quoted part of a data exception's message, often are values of a row: they are kept
/// apart, and shown only by the accessors.
#[derive(Clone)]
pub struct ServerError {
    /// ERROR, FATAL, or PANIC, in the server's language.
    pub severity: String,
    /// Five characters.
    pub sqlstate: String,
    /// HINT; a function that raises the error chooses its words.
    pub hint: Option<String>,
    /// Schema of the object to blame.
    pub schema: Option<String>,
    /// Table to blame.
    pub table: Option<String>,
    /// Column to blame.
    pub column: Option<String>,
    /// Constraint to blame.
    pub constraint: Option<String>,
    message: String,
    detail: Option<String>,
    context: Option<String>,
    /// The server's C function: tells whose words the message is.
    routine: Option<String>,
}

impl ServerError {
    /// Takes an ErrorResponse apart: pairs of field code and text.
    pub(crate) fn from_fields<'a>(fields: impl Iterator<Item = (u8, &'a [u8])>) -> Self {
        let mut error = Self {
            severity: String::new(),
            sqlstate: String::new(),
            hint: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
            message: String::new(),
            detail: None,
            context: None,
            routine: None,
        };
        for (code, text) in fields {
            // Errors before the session's encoding is set come in the server's own.
            let text = String::from_utf8_lossy(text).into_owned();
            match code {
                b'S' => error.severity = text,
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'W' => error.context = Some(text),
                b'H' => error.hint = Some(text),
                b's' => error.schema = Some(text),
                b't' => error.table = Some(text),
                b'c' => error.column = Some(text),
                b'n' => error.constraint = Some(text),
                b'R' => error.routine = Some(text),
                _ => {}
            }
        }
        error
    }

    /// The message with values of rows masked.
    pub fn message(&self) -> String {
        if self.is_raised() { "a function raised an error".to_owned() } else { mask(&self.sqlstate, &self.message) }
    }

    /// True when a function of the database chose the words, which may be values of a row.
    fn is_raised(&self) -> bool {
        // `RAISE` of PL/pgSQL gives P0001 and any other code; other languages have no one routine.
        self.sqlstate == "P0001" || self.routine.as_deref() == Some("exec_stmt_raise")
    }

    /// Message, DETAIL and CONTEXT as the server sent them. May hold values of rows: only for `--show-values`.
    pub fn unmasked(&self) -> String {
        let mut text = self.message.clone();
        for (label, part) in [("detail", &self.detail), ("context", &self.context)] {
            if let Some(part) = part {
                text.push_str(&format!("\n{label}: {part}"));
            }
        }
        text
    }

    fn is_transient(&self) -> bool {
        match self.sqlstate.as_str() {
            // Serialization failure, deadlock, lock not available, slot or object in use, too many connections.
            "40001" | "40P01" | "55P03" | "55006" | "53300" => true,
            // Shutdown, crash of another backend, starting up, idle timeout.
            "57P01" | "57P02" | "57P03" | "57P05" => true,
            code => code.starts_with("08"),
        }
    }
}

/// Data exceptions (class 22) quote the value; everything else quotes names.
fn mask(sqlstate: &str, message: &str) -> String {
    if !sqlstate.starts_with("22") {
        return message.to_owned();
    }
    match (message.find('"'), message.rfind('"')) {
        // The value may hold quotes itself: from the first to the last.
        (Some(first), Some(last)) if first < last => {
            format!("{}\"…\"{}", &message[..first], &message[last + 1..])
        }
        _ => message.to_owned(),
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message(), self.sqlstate)?;
        if let Some(hint) = self.hint.as_ref().filter(|_| !self.is_raised()) {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerError")
            .field("sqlstate", &self.sqlstate)
            .field("message", &self.message())
            .field("table", &self.table)
            .field("constraint", &self.constraint)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(sqlstate: &str, message: &str) -> ServerError {
        let fields: [(u8, &[u8]); 5] = [
            (b'S', b"ERROR"),
            (b'C', sqlstate.as_bytes()),
            (b'M', message.as_bytes()),
            (b'D', b"Key (id)=(canary) exists."),
            (b'W', b"COPY t, line 1: canary"),
        ];
        ServerError::from_fields(fields.into_iter())
    }

    #[test]
    fn values_stay_out_of_every_text() {
        let error = server("22P02", r#"invalid input syntax for type integer: "canary "x" y""#);
        assert_eq!(error.to_string(), r#"invalid input syntax for type integer: "…" (SQLSTATE 22P02)"#);
        let text = format!("{error:?} {:?} {}", PgError::Server(Box::new(error.clone())), error.message());
        assert!(!text.contains("canary"), "{text}");
        assert_eq!(error.unmasked().matches("canary").count(), 3);
        let raised = server("P0001", "bad value canary");
        assert_eq!(raised.to_string(), "a function raised an error (SQLSTATE P0001)");
        let names = server("23505", r#"duplicate key value violates unique constraint "t_pkey""#);
        assert!(names.to_string().contains("t_pkey"));
        assert!(!names.to_string().contains("canary"));
    }

    #[test]
    fn only_what_passes_by_itself_is_transient() {
        for code in ["40001", "40P01", "08006", "57P01", "57P03", "55006"] {
            assert!(PgError::Server(Box::new(server(code, ""))).is_transient(), "{code}");
        }
        for code in ["23505", "53100", "58P01", "57014", "28P01", "42704", "25006", "XX000"] {
            assert!(!PgError::Server(Box::new(server(code, ""))).is_transient(), "{code}");
        }
    }
}
