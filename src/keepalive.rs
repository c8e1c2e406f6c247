//! How both programs detect a peer that is gone without a FIN: TCP keep-alive on Linux.
//!
//! Linux probes a connection on which nothing has been received for `TCP_KEEPIDLE`, then again every
//! `TCP_KEEPINTVL`. If `TCP_USER_TIMEOUT` is set, it alone decides when the connection is aborted: when it has passed
//! since the last packet was received, an acknowledgement of a probe included, and the last probe is unanswered. With an
//! idle time as long as `TCP_USER_TIMEOUT`, one lost probe would end the connection.
//!
//! Probes of many connections must not be due at once. On loopback a processor queues 1,000 packets
//! (`net.core.netdev_max_backlog`) and silently drops the rest. Linux rounds timers up: timers of a minute expire
//! together every two to four seconds. So each connection has its own idle time for life. This spreads the probes again
//! after a draw or a pause of the machine has aligned them.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Probes that must be lost, at least, before a connection is aborted.
const PROBES_MIN: u32 = 4;
/// Linux counts the idle time and the interval in whole seconds, from one to 32767.
const SECONDS_MAX: u64 = 32_767;
/// The shortest silence in which all probes fit, a second before the first and after each.
const TIMEOUT_MIN: Duration = Duration::from_secs(PROBES_MIN as u64 + 1);

/// When a silent peer is probed, and when its connection is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// The shortest and the longest idle time, in seconds.
    idle: (u32, u32),
    /// The time between two probes, in seconds.
    interval: u32,
    /// The silence after which the connection is aborted.
    timeout: Duration,
}

impl KeepAlive {
    /// A connection is aborted when nothing was received on it for `timeout`, at least 5 seconds because of the
    /// probes that must be lost.
    ///
    /// Idle times are between an eighth and a half of `timeout`. Probes follow every sixteenth of it: most of them are sent
    /// only after a few have been lost. The last probe may be up to an interval old when the time is over.
    pub fn new(timeout: Duration) -> KeepAlive {
        let timeout = timeout.max(TIMEOUT_MIN);
        let seconds = timeout.as_secs();
        let whole = |seconds: u64| u32::try_from(seconds.clamp(1, SECONDS_MAX)).unwrap_or(1);
        let longest = (seconds / 2).min(seconds - u64::from(PROBES_MIN));
        KeepAlive { idle: (whole(seconds / 8), whole(longest)), interval: whole(seconds / 16), timeout }
    }

    /// The idle time of connection `number` in seconds. The idle times of any range of numbers are spread evenly.
    pub fn idle_seconds(&self, number: u32) -> u32 {
        /// 2^32 over the golden ratio: its multiples, modulo 2^32, leave no large gap.
        const GOLDEN: u32 = 0x9e37_79b9;
        let (shortest, longest) = self.idle;
        let values = u64::from(longest - shortest) + 1;
        let chosen = (u64::from(number.wrapping_mul(GOLDEN)) * values) >> 32;
        shortest + u32::try_from(chosen).unwrap_or(0)
    }

    /// Sets all options of a socket, with the idle time of connection `number`. Accepted sockets inherit the options of
    /// their listening socket; only their idle times have to be set.
    ///
    /// # Errors
    /// The error of `setsockopt`.
    pub fn apply(&self, socket: &SockRef<'_>, number: u32) -> io::Result<()> {
        let idle = self.idle_seconds(number);
        // Linux uses this number only without TCP_USER_TIMEOUT; it gives the same silence.
        let probes = (self.timeout.as_secs().saturating_sub(u64::from(idle))).div_ceil(u64::from(self.interval));
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(idle.into()))
            .with_interval(Duration::from_secs(self.interval.into()))
            .with_retries(u32::try_from(probes.clamp(u64::from(PROBES_MIN), 127)).unwrap_or(PROBES_MIN));
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(self.timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every whole number of seconds that can be configured up to an hour, and the longest.
    fn timeouts() -> impl Iterator<Item = u64> {
        (2..=3600).chain([86_400])
    }

    #[test]
    fn several_probes_are_lost_before_a_peer_is_given_up() {
        for seconds in timeouts() {
            let keepalive = KeepAlive::new(Duration::from_secs(seconds));
            let (shortest, longest) = keepalive.idle;
            assert!(1 <= shortest && shortest <= longest, "{keepalive:?}");
            assert!(u64::from(longest) <= SECONDS_MAX, "{keepalive:?}");
            let probed = keepalive.timeout.as_secs() - u64::from(longest);
            assert!(probed / u64::from(keepalive.interval) >= u64::from(PROBES_MIN), "{keepalive:?}");
            assert!(keepalive.timeout == Duration::from_secs(seconds) || seconds < 5, "{keepalive:?}");
        }
    }

    #[test]
    fn connections_that_are_accepted_one_after_another_are_probed_at_different_times() {
        let keepalive = KeepAlive::new(Duration::from_secs(120));
        for first in [0, 1, 5000, u32::MAX - 500] {
            let mut due = vec![0; 61];
            for number in 0..1000 {
                due[keepalive.idle_seconds(first.wrapping_add(number)) as usize] += 1;
            }
            assert_eq!(due[..15], [0; 15]);
            assert!(due[15..].iter().all(|connections| (15..=30).contains(connections)), "{due:?}");
        }
    }

    #[test]
    fn the_system_takes_every_time_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
        for seconds in [2, 5, 8, 120, 65_536, 86_400] {
            let applied = KeepAlive::new(Duration::from_secs(seconds)).apply(&SockRef::from(&listener), 7);
            assert!(applied.is_ok(), "{seconds}: {applied:?}");
        }
    }
}
