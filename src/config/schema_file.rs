//! Reading a desired SQL file from disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A dump of this many bytes has hundreds of thousands of statements, or data.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SchemaFileError {
    /// There is no such file, or it is not for us.
    #[error("cannot read schema file {file}: {source}")]
    File {
        /// As given.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Too large.
    #[error("schema file {0} has more than {FILE_BYTES_MAX} bytes")]
    TooLarge(String),
    /// Another encoding, or no text.
    #[error("schema file {file} is not valid UTF-8 (line {line}, byte {byte}); make it with `pg_dump --encoding=UTF8`")]
    NotUtf8 {
        /// As given.
        file: String,
        /// From 1.
        line: usize,
        /// From 0.
        byte: usize,
    },
}

/// Reads the whole file.
///
/// # Errors
/// See [`SchemaFileError`].
pub fn read_schema(path: &Path) -> Result<String, SchemaFileError> {
    let file = path.display().to_string();
    let failed = |source| SchemaFileError::File { file: file.clone(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(SchemaFileError::TooLarge(file));
    }
    schema_text(&file, bytes)
}

/// The text of a schema that was read already.
///
/// # Errors
/// It is not UTF-8.
pub fn schema_text(file: &str, bytes: Vec<u8>) -> Result<String, SchemaFileError> {
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..byte].iter().filter(|&&byte| byte == b'\n').count() + 1;
        SchemaFileError::NotUtf8 { file: file.to_owned(), line, byte }
    })
}
