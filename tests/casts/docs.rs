//! What the original tool classed, in its honest class; and docs/casts.md, which says what the code does.

use std::collections::BTreeMap;
use std::path::Path;

use pcrd::casts::{Cast, CastClass, Context, Unsupported, classify, typename};

fn cast(from: &str, to: &str, zone: &str) -> Result<Cast, Unsupported> {
    let types = BTreeMap::new();
    let ty = |text: &str| typename::parse(text, &types).unwrap();
    classify(&ty(from), &ty(to), &Context { zone, types: &types, oldest_major: 15 })
}

/// The original's table (its class in the comment), and what is true.
const ORIGINAL: &[(&str, &str, CastClass)] = &[
    // no_op
    ("numeric(12,4)", "numeric(12,2)", CastClass::Checked),
    ("numeric(10,2)", "numeric(12,2)", CastClass::Widening),
    ("numeric(10,2)", "numeric(12,4)", CastClass::Widening),
    ("numeric(10,2)", "numeric(11,4)", CastClass::Checked),
    ("timestamp(6)", "timestamp(0)", CastClass::Checked),
    ("timestamp", "timestamp(6)", CastClass::Widening),
    // always_safe
    ("smallint", "integer", CastClass::Widening),
    ("smallint", "bigint", CastClass::Widening),
    ("smallint", "real", CastClass::Widening),
    ("smallint", "double precision", CastClass::Widening),
    ("smallint", "numeric", CastClass::Widening),
    ("integer", "bigint", CastClass::Widening),
    ("integer", "real", CastClass::Checked),
    ("integer", "double precision", CastClass::Widening),
    ("integer", "numeric", CastClass::Widening),
    ("integer", "numeric(3,0)", CastClass::Checked),
    ("bigint", "double precision", CastClass::Checked),
    ("bigint", "numeric", CastClass::Widening),
    ("real", "double precision", CastClass::Widening),
    ("real", "numeric", CastClass::Checked),
    ("double precision", "numeric", CastClass::Checked),
    ("date", "timestamp", CastClass::Checked),
    ("date", "timestamptz", CastClass::Checked),
    ("timestamp", "timestamptz", CastClass::Widening),
    ("char(10)", "text", CastClass::Widening),
    ("char(10)", "varchar(10)", CastClass::Widening),
    ("char(10)", "varchar(2)", CastClass::Checked),
    ("varchar(10)", "text", CastClass::Widening),
    ("name", "text", CastClass::Widening),
    ("json", "jsonb", CastClass::Lossy),
    // validated
    ("bigint", "integer", CastClass::Checked),
    ("bigint", "smallint", CastClass::Checked),
    ("integer", "smallint", CastClass::Checked),
    ("numeric", "bigint", CastClass::Checked),
    ("numeric(10,2)", "bigint", CastClass::Checked),
    ("numeric", "integer", CastClass::Checked),
    ("text", "varchar(10)", CastClass::Checked),
    ("varchar(10)", "varchar(20)", CastClass::Widening),
    ("text", "char(10)", CastClass::Checked),
    ("char(10)", "char(5)", CastClass::Checked),
    ("double precision", "real", CastClass::Lossy),
    ("timestamptz", "timestamp", CastClass::Widening),
    // unsupported
    ("integer", "text", CastClass::Widening),
    ("text", "integer", CastClass::Checked),
    ("uuid", "text", CastClass::Widening),
    ("text", "uuid", CastClass::Checked),
    ("boolean", "integer", CastClass::Widening),
    ("bigint", "real", CastClass::Checked),
    ("numeric", "double precision", CastClass::Lossy),
    ("integer[]", "bigint[]", CastClass::Widening),
];

#[test]
fn every_pair_of_the_original_is_in_its_honest_class() {
    for (from, to, class) in ORIGINAL {
        assert_eq!(cast(from, to, "UTC").map(|cast| cast.class).as_ref(), Ok(class), "{from} → {to}");
    }
    // Where clocks change, a local time can be no instant, and two instants one local time.
    assert_eq!(cast("timestamp", "timestamptz", "Europe/Berlin").unwrap().class, CastClass::Checked);
    assert_eq!(cast("timestamptz", "timestamp", "Europe/Berlin").unwrap().class, CastClass::Lossy);
    let error = cast("bytea", "text", "UTC").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no checked way from bytea to text is known; say how with `using:`, for example `encode(col, 'hex')`"
    );
}

const SHOWN: &[&str] = &[
    "smallint",
    "integer",
    "bigint",
    "oid",
    "real",
    "double precision",
    "numeric",
    "numeric(12,4)",
    "numeric(10,2)",
    "money",
    "boolean",
    "text",
    "varchar(20)",
    "char(20)",
    "name",
    "date",
    "timestamp",
    "timestamp(0)",
    "timestamptz",
    "time",
    "timetz",
    "interval",
    "uuid",
    "json",
    "jsonb",
    "xml",
    "bytea",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "bit(8)",
    "varbit",
    "pg_lsn",
];

fn table() -> String {
    let mut lines = vec!["| from | widening | checked | lossy |".to_owned(), "|---|---|---|---|".to_owned()];
    for from in SHOWN {
        let mut cells: BTreeMap<CastClass, Vec<&str>> = BTreeMap::new();
        for to in SHOWN {
            if let Ok(cast) = cast(from, to, "UTC") {
                cells.entry(cast.class).or_default().push(to);
            }
        }
        let cell = |class| cells.get(&class).map(|types| types.join(", ")).unwrap_or_default();
        lines.push(format!(
            "| {from} | {} | {} | {} |",
            cell(CastClass::Widening),
            cell(CastClass::Checked),
            cell(CastClass::Lossy)
        ));
    }
    lines.join("\n")
}

/// Run with `PCRD_BLESS=1` to write the table anew.
#[test]
fn the_documented_table_is_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/casts.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (start, end) = ("<!-- table -->\n", "\n<!-- end of table -->");
    let (before, rest) = page.split_once(start).unwrap();
    let (shown, after) = rest.split_once(end).unwrap();
    if std::env::var_os("PCRD_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{start}{}{end}{after}", table())).unwrap();
    } else {
        assert_eq!(shown, table(), "docs/casts.md is out of date");
    }
}
