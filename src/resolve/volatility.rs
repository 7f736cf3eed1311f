//! Functions known to give another value at each call, or at each time. What only the database knows about others is
//! checked there; offline a function that is in no list counts as unknown.

use crate::sql::rewrite::{functions, is_constant};
use crate::sql::token::TokenError;

/// How an expression behaves over time, as far as its text tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volatility {
    /// A constant.
    Constant,
    /// One value per transaction or session: `now()` and its like.
    Stable(String),
    /// Calls functions that are in no list.
    Unknown(String),
    /// Another value at each call.
    Volatile(String),
}

const STABLE: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "transaction_timestamp",
    "statement_timestamp",
    "current_user",
    "session_user",
    "user",
    "current_role",
    "system_user",
    "current_catalog",
    "current_schema",
    "current_schemas",
    "current_database",
    "current_setting",
    "age",
    "pg_backend_pid",
    "inet_client_addr",
    "inet_server_addr",
    "version",
];

const VOLATILE: &[&str] = &[
    "random",
    "random_normal",
    "setseed",
    "clock_timestamp",
    "timeofday",
    "nextval",
    "currval",
    "lastval",
    "setval",
    "gen_random_uuid",
    "gen_random_bytes",
    "gen_salt",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "uuidv4",
    "uuidv7",
    "txid_current",
    "pg_current_xact_id",
    "pg_current_wal_lsn",
    "pg_sleep",
    "pg_advisory_lock",
    "set_config",
    "dblink",
    "query_to_xml",
    "lo_create",
];

/// The worst that the text shows. `now` as a string (`'now'::timestamp`) is stable.
pub(crate) fn volatility(sql: &str) -> Result<Volatility, TokenError> {
    if is_constant(sql)? {
        return Ok(Volatility::Constant);
    }
    let of = |name: String| {
        if VOLATILE.contains(&name.as_str()) {
            Volatility::Volatile(name)
        } else if STABLE.contains(&name.as_str()) {
            Volatility::Stable(name)
        } else {
            Volatility::Unknown(name)
        }
    };
    let worst = functions(sql)?.into_iter().map(|(_, name)| of(name)).max();
    Ok(worst.unwrap_or_else(|| Volatility::Unknown("an expression".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_call_counts() {
        assert_eq!(volatility("'eu'::text").unwrap(), Volatility::Constant);
        assert_eq!(volatility("CURRENT_TIMESTAMP").unwrap(), Volatility::Stable("current_timestamp".to_owned()));
        assert_eq!(volatility("lower(now()::text)").unwrap(), Volatility::Unknown("lower".to_owned()));
        assert_eq!(volatility("now() + random() * f()").unwrap(), Volatility::Volatile("random".to_owned()));
    }
}
