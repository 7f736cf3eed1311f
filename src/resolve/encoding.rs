//! A source in another encoding than UTF-8: bytes that stand for no character, which the source keeps and cannot send.

use crate::casts::CastClass;
use crate::catalog::type_def::{in_order, named};
use crate::catalog::{ColumnType, Table, TypeDef, TypeKind};
use crate::projection::{ColumnValue, Projection};
use crate::resolve::column::Predicate;
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::scope::Scope;
use crate::sql::check::{has_bytes, is_no_utf8};
use crate::sql::token::{TokenKind, tokens};

/// Bytes from 128 on for which PostgreSQL knows no character, by the encodings of one byte that have some; as its own
/// conversions to UTF8 say.
pub const WITHOUT_CHARACTER: [(&str, &[u8]); 13] = [
    (
        "ISO_8859_6",
        &[
            0xa1, 0xa2, 0xa3, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xae, 0xaf, 0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5,
            0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbc, 0xbd, 0xbe, 0xc0, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xf3, 0xf4, 0xf5, 0xf6,
            0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
        ],
    ),
    ("ISO_8859_7", &[0xae, 0xd2, 0xff]),
    (
        "ISO_8859_8",
        &[
            0xa1, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf,
            0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xfb, 0xfc, 0xff,
        ],
    ),
    ("LATIN3", &[0xa5, 0xae, 0xbe, 0xc3, 0xd0, 0xe3, 0xf0]),
    ("WIN1250", &[0x81, 0x83, 0x88, 0x90, 0x98]),
    ("WIN1251", &[0x98]),
    ("WIN1252", &[0x81, 0x8d, 0x8f, 0x90, 0x9d]),
    (
        "WIN1253",
        &[0x81, 0x88, 0x8a, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x98, 0x9a, 0x9c, 0x9d, 0x9e, 0x9f, 0xaa, 0xd2, 0xff],
    ),
    ("WIN1254", &[0x81, 0x8d, 0x8e, 0x8f, 0x90, 0x9d, 0x9e]),
    (
        "WIN1255",
        &[
            0x81, 0x8a, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x9a, 0x9c, 0x9d, 0x9e, 0x9f, 0xca, 0xd9, 0xda, 0xdb, 0xdc, 0xdd,
            0xde, 0xdf, 0xfb, 0xfc, 0xff,
        ],
    ),
    ("WIN1257", &[0x81, 0x83, 0x88, 0x8a, 0x8c, 0x90, 0x98, 0x9a, 0x9c, 0x9f, 0xa1, 0xa5]),
    ("WIN1258", &[0x81, 0x8a, 0x8d, 0x8e, 0x8f, 0x90, 0x9a, 0x9d, 0x9e]),
    (
        "WIN874",
        &[
            0x81, 0x82, 0x83, 0x84, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x98, 0x99, 0x9a,
            0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xdb, 0xdc, 0xdd, 0xde, 0xfc, 0xfd, 0xfe, 0xff,
        ],
    ),
];

/// The encoding in which every byte is taken as it comes.
pub(crate) const SQL_ASCII: &str = "SQL_ASCII";

/// No row may hold text that the source cannot send in UTF-8, whether it belongs or not: the stream sends whole rows.
pub(crate) fn unreadable(scope: &Scope<'_>, projection: &Projection) -> Vec<Predicate> {
    let encoding = scope.source.server.encoding.as_str();
    let without = WITHOUT_CHARACTER.iter().find(|(name, _)| *name == encoding).map(|(_, bytes)| *bytes);
    let meaning = match without {
        Some(bytes) => {
            let shown: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:x}")).collect();
            let more = if bytes.len() > 8 { ", …" } else { "" };
            format!("with a byte that is no character in {encoding}: {}{more}", shown.join(", "))
        }
        None if encoding == SQL_ASCII => "that is not UTF-8".to_owned(),
        None => return Vec::new(),
    };
    let bad = |column: &str| without.map_or_else(|| is_no_utf8(column), |bytes| has_bytes(column, bytes));
    let columns = projection.source_columns.iter().filter(|column| holds_text(&column.ty));
    let predicate = |column: &crate::projection::SourceColumn| Predicate {
        address: scope.address(&column.name),
        bad: bad(&crate::sql::ident(&column.name)),
        meaning: meaning.clone(),
        of_every_row: true,
    };
    columns.map(predicate).collect()
}

/// What both ends would not evaluate alike, where the source counts bytes and the target characters.
pub(crate) fn unlike(scope: &Scope<'_>, projection: &Projection, wanted: &Table) -> Vec<ResolveError> {
    if scope.source.server.encoding != SQL_ASCII {
        return Vec::new();
    }
    let is_text = |name: &crate::catalog::Ident| scope.table.column(name).is_some_and(|column| holds_text(&column.ty));
    let mut errors = Vec::new();
    let mut refuse = |at: String, why: &'static str| {
        errors.push(ResolveError::new(ResolveErrorKind::Bytewise { at, why }).at(&scope.desired.source.span));
    };
    for column in &projection.columns {
        let ColumnValue::Expr { reads, .. } = &column.value else { continue };
        let at = || reads.first().map_or_else(|| scope.added(&column.target), |name| scope.address(name));
        if column.class != CastClass::Identical && reads.iter().any(is_text) {
            refuse(at(), "text is made of other text");
        } else if is_filled_up(scope, &column.ty) {
            refuse(at(), "character(n) is filled up to n bytes on the source, to n characters on the target");
        }
    }
    for column in wanted.columns.iter() {
        let Some(generated) = &column.generated else { continue };
        let reads_text = tokens(&generated.expr).map_or(true, |names| {
            names.iter().any(|token| {
                let name = match &token.kind {
                    TokenKind::Quoted(name) => Some(name.as_str()),
                    _ => token.word(),
                };
                wanted.columns.iter().any(|one| Some(one.name.as_str()) == name && holds_text(&one.ty))
            })
        });
        if reads_text {
            refuse(scope.added(&column.name), "a generated column reads text");
        }
    }
    if projection.filter.as_ref().is_some_and(|filter| filter.reads.iter().any(is_text)) {
        refuse(scope.at().to_string(), "its filter reads text");
    }
    errors
}

/// True for character(n), whatever it is inside of.
fn is_filled_up(scope: &Scope<'_>, ty: &ColumnType) -> bool {
    if ty.is("bpchar") && ty.typmod > 0 || ty.is("_bpchar") {
        return true;
    }
    let known = &scope.source.types;
    let Some(name) = named(&ty.sql) else { return false };
    in_order([&name], known).into_iter().any(|part| match &known[part] {
        TypeDef::Domain { base, .. } => base.starts_with("character("),
        TypeDef::Composite(attributes) => attributes.iter().any(|attribute| attribute.ty.starts_with("character(")),
        TypeDef::Range(range) => range.subtype.starts_with("character("),
        TypeDef::Enum(_) | TypeDef::Base => false,
    })
}

/// Types without any letters but those of ASCII.
const WITHOUT_TEXT: [&str; 36] = [
    "bit",
    "bool",
    "box",
    "bytea",
    "cid",
    "cidr",
    "circle",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int2vector",
    "int4",
    "int8",
    "interval",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "numeric",
    "oid",
    "oidvector",
    "path",
    "pg_lsn",
    "point",
    "polygon",
    "tid",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "uuid",
    "varbit",
    "xid",
];

fn holds_text(ty: &ColumnType) -> bool {
    if !ty.is_builtin() {
        return true;
    }
    let name = ty.name.as_str();
    match ty.kind {
        TypeKind::Range | TypeKind::Multirange => false,
        TypeKind::Array => !WITHOUT_TEXT.contains(&name.strip_prefix('_').unwrap_or(name)),
        TypeKind::Base | TypeKind::Enum | TypeKind::Domain | TypeKind::Composite | TypeKind::Pseudo => {
            !WITHOUT_TEXT.contains(&name)
        }
    }
}
