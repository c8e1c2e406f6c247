//! What several layers ask of the operating system.

use std::io::{self, Read};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a path leads to that should be a file, and whose other end would be waited for.
pub const PIPE_OR_DEVICE: &str = "it is no file, but a pipe or a device";

/// Why `path` is not to be opened where nothing may be waited for; `None`: it may be, or to open it says why not.
pub fn not_a_file(path: &Path) -> Option<&'static str> {
    let metadata = std::fs::metadata(path).ok()?;
    (!metadata.is_file() && !metadata.is_dir()).then_some(PIPE_OR_DEVICE)
}

/// The flags of open(2) with which no pipe's other end is waited for. A file is opened without any: a program that has leased
/// it, as a file server does, is waited for until it has given it back, and with `O_NONBLOCK` is not.
pub fn unwaited(path: &Path) -> i32 {
    not_a_file(path).map_or(0, |_| as_int(OFlags::NONBLOCK))
}

/// What people call this machine; empty where the system does not say.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Random bytes, which tell one run of a program from every other one.
///
/// # Errors
/// The system has none.
pub fn run_id() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| io::Error::new(error.kind(), format!("/dev/urandom cannot be read: {error}")))?;
    Ok(bytes)
}

/// Flags of open(2) as the standard library takes them.
pub fn as_int(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("flags of open(2) are an int")
}

/// Lets the process have so many descriptors, as far as the system allows: many systems grant few at first and more on request.
/// Returns how many it may have now.
pub fn allow_descriptors(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let least = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let allowed = least(limit.current);
    let raised = wanted.min(least(limit.maximum));
    if allowed < raised && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }).is_ok() {
        raised
    } else {
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_other_end_of_a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        std::fs::write(&file, "").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(unwaited(&file), 0);
        assert_eq!(unwaited(&folder.path().join("none")), 0);
        assert_eq!(unwaited(&pipe), as_int(OFlags::NONBLOCK));
    }
}
