//! Files that commands write: private, whole or not at all, and never through a symbolic link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::{CommandError, Exit};
use crate::plan::{PlanFile, file};

/// Writes the file with mode 0600, replacing an older one in one step.
///
/// # Errors
/// The path is a symbolic link or no regular file, or it cannot be written; the older file is untouched then.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    write(path, |_| Ok(()), |file| file.write_all(content))
}

/// As [`write_private`]: a plan, which may be too large to be in memory as text too.
///
/// # Errors
/// As [`write_private`].
pub fn write_plan(path: &Path, plan: &PlanFile) -> Result<(), CommandError> {
    write(path, |_| Ok(()), |file| file::write_json(plan, file))
}

/// Replaces a file of the user's in one step; it keeps its mode.
///
/// # Errors
/// As [`write_private`].
pub fn replace(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    let mode = fs::symlink_metadata(path).map_err(|error| refused(path, error))?.permissions();
    write(path, |file| file.set_permissions(mode), |file| file.write_all(content))
}

fn write(
    path: &Path,
    prepare: impl FnOnce(&File) -> io::Result<()>,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), CommandError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            return Err(refused(path, "it is a symbolic link; name the file that it points to"));
        }
        Ok(found) if !found.is_file() => return Err(refused(path, "it is no regular file")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(refused(path, error)),
    }
    let Some(name) = path.file_name() else {
        return Err(refused(path, "it names no file"));
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".{:016x}", rand::random::<u64>()));
    let temporary = dir.join(temporary_name);
    write_and_rename(&temporary, path, dir, prepare, fill).map_err(|error| {
        let left = remove(&temporary);
        refused(path, format!("{error}{left}"))
    })
}

fn write_and_rename(
    temporary: &PathBuf,
    path: &Path,
    dir: &Path,
    prepare: impl FnOnce(&File) -> io::Result<()>,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    prepare(&file)?;
    let mut file = BufWriter::new(file);
    fill(&mut file)?;
    file.into_inner()?.sync_all()?;
    fs::rename(temporary, path)?;
    File::open(dir)?.sync_all()
}

/// Removes the temporary file; says so if it cannot.
fn remove(temporary: &Path) -> String {
    match fs::remove_file(temporary) {
        Ok(()) => String::new(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => format!(" ({} was left behind: {error})", temporary.display()),
    }
}

fn refused(path: &Path, why: impl std::fmt::Display) -> CommandError {
    CommandError::new(Exit::Failed, format!("cannot write {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::cli::diagnostic::Look;

    #[test]
    fn replaces_in_one_step_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn follows_no_link_and_replaces_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let link = dir.path().join("plan.json");
        symlink(&victim, &link).unwrap();
        let error = write_private(&link, b"new").unwrap_err().render(Look::plain(300), false);
        assert!(error.contains("symbolic link"), "{error}");
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert!(write_private(dir.path(), b"new").is_err());
        assert!(write_private(&dir.path().join("absent/plan.json"), b"new").is_err());
    }
}
