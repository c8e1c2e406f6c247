//! The system's errors for files, with explanations for the operator.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

/// Whether `error` says that the file system does not support the call, and not that the call failed.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    let codes = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

/// Why the file at `path` in `folder` could not be opened or made; `read_only`: it was not to be written.
pub(super) fn explain_open(path: &Path, folder: &Path, read_only: bool, error: io::Error) -> io::Error {
    let kind = error.kind();
    let why = if kind == ErrorKind::PermissionDenied && path.exists() {
        may_not(if read_only { "read it" } else { "read and write it" }, path)
    } else if kind == ErrorKind::PermissionDenied {
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let make = format!("make files in the folder {}", folder.display());
        let remedy = "give the folder to that user, or start it as one who may";
        format!("{}; {remedy}", may_not(&make, &folder))
    } else if kind == ErrorKind::ReadOnlyFilesystem {
        "the file system is mounted read-only".to_owned()
    } else if kind == ErrorKind::IsADirectory {
        "a folder has its name; remove it, or set another path".to_owned()
    } else if kind == ErrorKind::NotADirectory {
        "a part of its path is not a folder".to_owned()
    } else {
        return error;
    };
    io::Error::new(error.kind(), format!("{error}: {why}"))
}

fn may_not(what: &str, path: &Path) -> String {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let owner = fs::metadata(path).map_or_else(
        |_| String::new(),
        |it| format!(" (user {}, group {}, mode {:o})", it.uid(), it.gid(), it.mode() & 0o7777),
    );
    format!("this program runs as user {user}, group {group}, which may not {what}{owner}")
}

/// Why a file could not be locked.
pub(super) fn explain_lock(error: io::Error) -> io::Error {
    if !is_unsupported(&error) && error.raw_os_error() != Some(Errno::NOLCK.raw_os_error()) {
        return error;
    }
    let why = "the file system has no locks, without which a second server could write to the store; use another one";
    io::Error::new(error.kind(), format!("{error}: {why}"))
}

/// Why a file could not be synced.
pub(super) fn explain_sync(error: io::Error) -> io::Error {
    if !is_unsupported(&error) {
        return error;
    }
    let why = "the file system cannot sync a file; use another one, or FSYNC = never, which promises less";
    io::Error::new(error.kind(), format!("{error}: {why}"))
}
