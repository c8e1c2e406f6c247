//! What several layers ask of the operating system.

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
