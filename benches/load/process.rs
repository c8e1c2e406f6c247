//! What a process has used so far, as Linux tells it in `/proc`.

use std::fs;
use std::time::Duration;

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every architecture that Rust's standard
/// library supports (proc(5)).
const TICKS_PER_SECOND: u64 = 100;

/// Processor time and memory of one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time in its own code.
    pub user: Duration,
    /// Time in the kernel on its behalf.
    pub system: Duration,
    /// Resident memory now, in KiB.
    pub resident_kib: u64,
    /// The most resident memory that it ever had, in KiB.
    pub peak_kib: u64,
    /// Resident memory that is its own, not a mapped file's, in KiB.
    pub own_kib: u64,
}

impl Usage {
    /// Of the process `pid`, or of this one (`self`).
    ///
    /// # Errors
    /// The file that could not be read, and why.
    pub fn of(pid: &str) -> Result<Usage, String> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        // The second field is the program's name in parentheses, and may hold spaces; utime and stime are
        // the 14th and 15th, hence the 12th and 13th after it.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = |place: usize| {
            let ticks = fields.split_whitespace().nth(place - 3).and_then(|field| field.parse::<u64>().ok());
            ticks.map(|ticks| Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
        };
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok())
        };
        let all = || {
            let (user, system) = (ticks(14)?, ticks(15)?);
            let (resident_kib, peak_kib, own_kib) = (kib("VmRSS")?, kib("VmHWM")?, kib("RssAnon")?);
            Some(Usage { user, system, resident_kib, peak_kib, own_kib })
        };
        all().ok_or_else(|| format!("/proc/{pid}: not the stat and status files that proc(5) describes"))
    }

    /// Of several processes, in one sum; `None`: of no process.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_all(pids: &[String]) -> Result<Option<Usage>, String> {
        let mut sum = None;
        for pid in pids {
            let (one, all): (Usage, Usage) = (Usage::of(pid)?, sum.unwrap_or_default());
            sum = Some(Usage {
                user: all.user + one.user,
                system: all.system + one.system,
                resident_kib: all.resident_kib + one.resident_kib,
                peak_kib: all.peak_kib + one.peak_kib,
                own_kib: all.own_kib + one.own_kib,
            });
        }
        Ok(sum)
    }

    /// User and system time.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}
