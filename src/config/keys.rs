//! Every key that the reader knows. docs/config_reference.md is checked against these tables.

use crate::desired::fields::{Key, Section};
use crate::desired::yaml::{ACCEPT, ADDED, COLUMN, TABLE};
use crate::plan::Signal;

/// All sections of the file.
pub const SECTIONS: [&Section; 15] = [
    &TOP, &SOURCE, &TARGET, &MIGRATE, &THROTTLE, &TABLE, &COLUMN, &ADDED, &ACCEPT, &ANALYZE, &VERIFY, &CUTOVER, &HOOKS,
    &PGBOUNCER, &REVERSE,
];

/// The top level.
pub const TOP: Section = Section {
    path: "",
    keys: &[
        Key::new("source"),
        Key::new("target"),
        Key::new("migrate"),
        Key::new("accept"),
        Key::new("analyze"),
        Key::new("verify"),
        Key::new("cutover"),
        Key::new("state"),
        Key::new("allow_plaintext_password"),
    ],
    hints: &[
        ("tables", "tables are listed under `migrate.tables`"),
        ("destination", "did you mean `target`?"),
        ("checkpoint_db", "write `migrate.checkpoint_db`, or `state` here"),
    ],
};

const ENDPOINT_KEYS: &[Key] = &[
    Key::new("uri"),
    Key::new("service"),
    Key::new("host"),
    Key::new("port"),
    Key::new("database"),
    Key::new("user"),
    Key::new("password"),
    Key::new("password_env"),
    Key::new("password_file"),
    Key::new("password_command"),
    Key::new("sslmode"),
    Key::new("sslrootcert"),
    Key::new("sslcert"),
    Key::new("sslkey"),
    Key::new("channel_binding"),
];

const ENDPOINT_HINTS: &[(&str, &str)] = &[
    ("dbname", "did you mean `database`?"),
    ("username", "did you mean `user`?"),
    ("url", "did you mean `uri`?"),
    ("dsn", "did you mean `uri`?"),
    ("ssl", "did you mean `sslmode`?"),
    ("passfile", "`.pgpass` is found by itself or by PGPASSFILE; a file with only the password is `password_file`"),
    ("allow_plaintext_password", "this key belongs at the top level"),
];

/// The source.
pub const SOURCE: Section = Section { path: "source", keys: ENDPOINT_KEYS, hints: ENDPOINT_HINTS };

/// The target.
pub const TARGET: Section = Section { path: "target", keys: ENDPOINT_KEYS, hints: ENDPOINT_HINTS };

/// `migrate`.
pub const MIGRATE: Section = Section {
    path: "migrate",
    keys: &[
        Key::new("replication_slot"),
        Key::new("publication"),
        Key::new("checkpoint_db"),
        Key::new("batch_size"),
        Key::new("lag_threshold_bytes"),
        Key::new("max_rows_per_second"),
        Key::new("max_bytes_per_second"),
        Key::new("workers"),
        Key::new("throttle"),
        Key::new("on_ddl"),
        Key::new("copy"),
        Key::new("vacuum"),
        Key::new("tables"),
        Key::new("exclude"),
        Key::new("schema"),
        Key::new("carry"),
    ],
    hints: &[("slot", "did you mean `replication_slot`?"), ("accept", "`accept` belongs at the top level")],
};

/// `migrate.throttle`: the keys of the signals.
pub const THROTTLE: Section = Section {
    path: "migrate.throttle",
    keys: &{
        let mut keys = [Key::new(""); Signal::ALL.len()];
        let mut at = 0;
        while at < keys.len() {
            keys[at] = Key::new(Signal::ALL[at].key());
            at += 1;
        }
        keys
    },
    hints: &[
        ("rows_per_second", "did you mean `migrate.max_rows_per_second`?"),
        ("bytes_per_second", "did you mean `migrate.max_bytes_per_second`?"),
    ],
};

/// `analyze`.
pub const ANALYZE: Section = Section { path: "analyze", keys: &[Key::new("tables")], hints: &[] };

/// `verify`.
pub const VERIFY: Section = Section {
    path: "verify",
    keys: &[Key::new("sample_size"), Key::new("hash"), Key::new("max_rows_per_second")],
    hints: &[],
};

/// `cutover`.
pub const CUTOVER: Section = Section {
    path: "cutover",
    keys: &[
        Key::new("sequence_buffer"),
        Key::new("lag_drain_timeout"),
        Key::new("fence"),
        Key::new("fence_timeout"),
        Key::new("hooks"),
        Key::new("pgbouncer"),
        Key::new("reverse"),
    ],
    hints: &[],
};

/// `cutover.hooks`.
pub const HOOKS: Section = Section {
    path: "cutover.hooks",
    keys: &[
        Key::new("before_fence"),
        Key::new("switch"),
        Key::new("after_switch"),
        Key::new("abort"),
        Key::new("timeout"),
    ],
    hints: &[("timeout_s", "did you mean `timeout`?"), ("before", "did you mean `before_fence`?")],
};

/// `cutover.pgbouncer`.
pub const PGBOUNCER: Section = Section {
    path: "cutover.pgbouncer",
    keys: &[Key::new("admin_uri"), Key::new("databases")],
    hints: &[("uri", "did you mean `admin_uri`?"), ("database", "did you mean `databases`?")],
};

/// `cutover.reverse`.
pub const REVERSE: Section = Section {
    path: "cutover.reverse",
    keys: &[Key::new("enabled"), Key::new("user")],
    hints: &[("role", "did you mean `user`?"), ("enable", "did you mean `enabled`?")],
};
