//! Times as reports have them.

use std::time::SystemTime;

/// `2024-08-21T22:11:15Z`: RFC 3339, UTC.
pub(super) fn rfc_3339(time: SystemTime) -> String {
    let second = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let second = i64::try_from(second).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
