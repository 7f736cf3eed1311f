//! Connection strings: `postgresql://…` and `key=value …`, read as libpq reads them.

use std::path::Path;

use crate::config::params::{ParamError, Params, known_name};

/// Reads a URI or a `key=value` string. Relative paths are relative to `base`.
///
/// # Errors
/// What is wrong with it; the text itself is never repeated.
pub fn parse(text: &str, base: &Path) -> Result<Params, ParamError> {
    let scheme = ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match scheme {
        Some(rest) => parse_uri(rest, base),
        None if text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains('=')) => {
            Err(ParamError::Form("a connection URI starts with `postgresql://`"))
        }
        None => parse_pairs(text, base),
    }
}

fn parse_uri(rest: &str, base: &Path) -> Result<Params, ParamError> {
    let mut params = Params::default();
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_end);
    let place = match authority.split_once('@') {
        None => authority,
        Some((who, place)) => {
            let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
            set_if_filled(&mut params, "user", user, base)?;
            if let Some(password) = password {
                set_if_filled(&mut params, "password", password, base)?;
            }
            place
        }
    };
    let (host, port) = split_host(place)?;
    set_if_filled(&mut params, "host", host, base)?;
    set_if_filled(&mut params, "port", port, base)?;
    let (path, query) = rest.split_once('?').map_or((rest, ""), |(path, query)| (path, query));
    set_if_filled(&mut params, "dbname", path.strip_prefix('/').unwrap_or(path), base)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(ParamError::Form("a parameter of the URI has no `=`"));
        };
        params.set(&percent_decoded(name)?, &percent_decoded(value)?, base)?;
    }
    Ok(params)
}

fn split_host(place: &str) -> Result<(&str, &str), ParamError> {
    if let Some(bracketed) = place.strip_prefix('[') {
        let unclosed = ParamError::Form("an IPv6 address in the URI lacks its `]`");
        let (host, rest) = bracketed.split_once(']').ok_or(unclosed)?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(ParamError::Form("between `[` and `]` the URI must have an IPv6 address"));
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err(ParamError::Form("after `]` the URI must go on with `:port`, `/database` or `?`")),
        };
    }
    Ok(place.split_once(':').unwrap_or((place, "")))
}

fn set_if_filled(params: &mut Params, name: &str, encoded: &str, base: &Path) -> Result<(), ParamError> {
    if encoded.is_empty() { Ok(()) } else { params.set(name, &percent_decoded(encoded)?, base) }
}

fn percent_decoded(text: &str) -> Result<String, ParamError> {
    let bad = || ParamError::Form("the URI has a `%` that is not followed by two hex digits; a plain `%` is `%25`");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let [high, low, after @ ..] = after else { return Err(bad()) };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or_else(bad);
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| ParamError::Form("the URI decodes to bytes that are not UTF-8"))
}

fn parse_pairs(text: &str, base: &Path) -> Result<Params, ParamError> {
    let mut params = Params::default();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(params);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|&c| c != '=' && !c.is_ascii_whitespace()) {
            name.push(c);
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(ParamError::Form("a connection string is a URI, `postgresql://…`, or `key=value` pairs"));
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next_if(|&c| quoted || !c.is_ascii_whitespace()) {
                Some('\\') => value.extend(chars.next()),
                Some('\'') if quoted => break,
                Some(c) => value.push(c),
                None if quoted => return Err(ParamError::Form("a quote in the connection string is not closed")),
                None => break,
            }
        }
        // As in libpq, an empty value is as good as none.
        let name = known_name(&name)?;
        if !value.is_empty() {
            params.set(name, &value, base)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn show(text: &str) -> String {
        match parse(text, Path::new("/base")) {
            Err(error) => format!("error: {error}"),
            Ok(params) => {
                let mut out = Vec::new();
                out.extend(params.user.map(|user| format!("user={user}")));
                out.extend(params.password.map(|password| format!("password={}", password.expose_secret())));
                out.extend(params.host.map(|host| format!("host={host}")));
                out.extend(params.port.map(|port| format!("port={port}")));
                out.extend(params.database.map(|database| format!("dbname={database}")));
                out.extend(params.sslmode.map(|mode| format!("sslmode={mode:?}")));
                out.extend(params.service.map(|service| format!("service={service}")));
                out.extend(params.root_cert.map(|cert| format!("root={cert:?}")));
                out.join(" ")
            }
        }
    }

    /// Cases from libpq's own URI tests, without those for parameters that pcrd refuses.
    #[test]
    fn uris_read_as_libpq_reads_them() {
        for (uri, read) in [
            (
                "postgresql://uri-user:secret@host:12345/db",
                "user=uri-user password=secret host=host port=12345 dbname=db",
            ),
            ("postgres://host/", "host=host"),
            ("postgresql://", ""),
            ("postgresql://host:12345", "host=host port=12345"),
            ("postgresql://uri-user@", "user=uri-user"),
            ("postgresql:///db", "dbname=db"),
            ("postgresql:///?host=/var/run/postgresql&port=5433", "host=/var/run/postgresql port=5433"),
            ("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", "host=/var/lib/postgresql dbname=dbname"),
            ("postgresql://otheruser@?host=/no/such/directory", "user=otheruser host=/no/such/directory"),
            ("postgresql://[::1]:12345/db", "host=::1 port=12345 dbname=db"),
            ("postgresql://[2001:db8::1234]/", "host=2001:db8::1234"),
            ("postgresql://us%65r:p%40ss%3Aw%25@h/d%20b", "user=user password=p@ss:w% host=h dbname=d b"),
            (
                "postgresql://h/db?sslmode=verify-full&sslrootcert=ca.pem",
                "host=h dbname=db sslmode=VerifyFull root=File(\"/base/ca.pem\")",
            ),
            ("postgresql://?service=prod", "service=prod"),
            ("postgresql://u:p@h/db?", "user=u password=p host=h dbname=db"),
        ] {
            assert_eq!(show(uri), read, "{uri}");
        }
    }

    #[test]
    fn uris_that_would_be_misread_are_refused() {
        for (uri, error) in [
            ("postgresql://a,b/db", "`host` must be one host"),
            ("postgresql://h:1x/db", "`port` must be a number"),
            ("postgresql://h:0/db", "`port` must be a number"),
            ("postgresql://u:p@w@h/db", "written `%40`"),
            ("postgresql://[::1/db", "lacks its `]`"),
            ("postgresql://[]/db", "an IPv6 address"),
            ("postgresql://[::1]z/db", "after `]`"),
            ("postgresql://h/%zz", "two hex digits"),
            ("postgresql://h/%", "two hex digits"),
            ("postgresql://h/%00", "NUL"),
            ("postgresql://h/%ff", "not UTF-8"),
            ("postgresql://h/db?sslmod=require", "`sslmod` is not supported: did you mean `sslmode`?"),
            ("postgresql://h/db?sslmode=allow", "`sslmode` must be one of"),
            ("postgresql://h/db?host=b", "`host` is given twice"),
            ("postgresql://h/db?target_session_attrs=any", "`target_session_attrs` is not supported"),
            ("postgresql://h/db?sslmode", "has no `=`"),
            ("mysql://h/db", "starts with `postgresql://`"),
        ] {
            let shown = show(uri);
            assert!(shown.starts_with("error: ") && shown.contains(error), "{uri} gave {shown}");
        }
    }

    #[test]
    fn pairs_have_quotes_and_escapes() {
        for (text, read) in [
            ("host=h port = 5433  dbname=d", "host=h port=5433 dbname=d"),
            (r"user='a b' password='it\'s \\ fine' host=h", r"user=a b password=it's \ fine host=h"),
            (r"user=a\ b host=''", "user=a b"),
            ("", ""),
            ("host", "error: a connection string is a URI, `postgresql://…`, or `key=value` pairs"),
            ("password='open", "error: a quote in the connection string is not closed"),
            ("hots=h", "error: the connection parameter `hots` is not supported: did you mean `host`?"),
        ] {
            assert_eq!(show(text), read, "{text}");
        }
    }
}
