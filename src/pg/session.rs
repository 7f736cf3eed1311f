//! Settings of every session, replication sessions too.
//!
//! The text of a value depends on settings of the session that sends it, and a role or a database may come with any
//! of them: an unpinned session reads and writes other values. Timeouts of the role would cut long copies short.

/// Settings that every supported server knows. They travel in the startup packet, which beats `ALTER ROLE … SET`.
pub const PINNED: &[(&str, &str)] = &[
    // What values look like. A date in another order is an error under YMD, not another date.
    ("DateStyle", "ISO,YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("xmloption", "content"),
    ("xmlbinary", "base64"),
    ("array_nulls", "on"),
    // What our statements mean.
    ("search_path", ""),
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("row_security", "off"),
    ("quote_all_identifiers", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    // Failures of a statement are expected: a lock is tried again, a batch is replayed row by row.
    ("exit_on_error", "off"),
    // A commit that we rely on must survive a crash.
    ("synchronous_commit", "on"),
    // Copies and waits are long; each statement that must be short says so itself.
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    // A session whose client vanished must not hold its locks for hours.
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// Settings that only newer servers know, with the first `server_version_num`; set right after the login.
const SINCE: &[(u32, &str, &str)] = &[
    // Compiling a statement costs more than any of ours that runs often.
    (110_000, "jit", "off"),
    (140_000, "idle_session_timeout", "0"),
    (170_000, "transaction_timeout", "0"),
];

/// `options` of the startup packet.
pub fn startup_options() -> String {
    let settings: Vec<String> =
        PINNED.iter().map(|(name, value)| format!("-c {name}={}", value.replace(' ', "\\ "))).collect();
    settings.join(" ")
}

/// One statement per setting that this server knows and older ones do not.
pub fn statements_after_login(server_version_num: u32) -> Vec<String> {
    SINCE
        .iter()
        .filter(|(since, ..)| server_version_num >= *since)
        .map(|(_, name, value)| format!("SET {name} = '{value}'"))
        .collect()
}

/// `server_version_num` from the parameter `server_version`, such as `15.18 (Debian 15.18-0)` or `18beta2`.
pub fn version_num(server_version: &str) -> Option<u32> {
    let number = |text: &str| -> Option<u32> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..digits].parse().ok()
    };
    let major = number(server_version)?;
    // Before the first release there is no minor: `18beta2`.
    let minor = match server_version.split_once('.') {
        Some((before, after)) if before.bytes().all(|byte| byte.is_ascii_digit()) => number(after)?,
        _ => 0,
    };
    Some(major * 10_000 + minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let cases =
            [("15.18 (Debian 15.18-0+deb12u1)", 150_018), ("18beta2", 180_000), ("10.23", 100_023), ("17.0", 170_000)];
        for (text, number) in cases {
            assert_eq!(version_num(text), Some(number), "{text}");
        }
        assert_eq!(version_num("unknown"), None);
    }

    #[test]
    fn spaces_are_escaped_and_newer_settings_wait_for_the_version() {
        let options = startup_options();
        assert!(options.contains("-c default_transaction_isolation=read\\ committed "), "{options}");
        assert!(options.contains("-c search_path= "), "{options}");
        assert!(!options.contains("transaction_timeout=0 -c idle_session"), "{options}");
        assert!(statements_after_login(100_023).is_empty());
        assert_eq!(statements_after_login(150_000).len(), 2);
        assert_eq!(statements_after_login(180_000).len(), 3);
    }
}
