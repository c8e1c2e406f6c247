//! The hostile side in a process of its own, so that its descriptors and its processor time are not the agencies'.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};

use super::attack::{Attack, Tally, Viewers};

/// The attack begins to be measured after this long, settled or not.
const SETTLING_MAX: Duration = Duration::from_secs(60);
/// Real attackers have machines of their own: these run only when the processor is idle. Where this
/// program is missing, they run with the lowest priority.
const IDLE: [&str; 3] = ["chrt", "--idle", "0"];
const NICENESS: i32 = 19;

/// Attacks until standard input ends: what the program does as `hostile attack`.
///
/// # Errors
/// In one line.
pub fn run(address: SocketAddr, wanted: usize, viewers: Option<Viewers>, away: Duration) -> Result<(), String> {
    let at_status = viewers.map_or(0, |viewers| viewers.count);
    let allowed = loteria::reactor::allow_connections(wanted + at_status);
    let count = wanted.min(allowed.saturating_sub(at_status));
    if count < wanted {
        eprintln!(
            "hostile: only {count} of {wanted} hostile connections: the system has no more descriptors (ulimit -Hn)"
        );
    }
    rustix::process::nice(NICENESS).map_err(|error| error.to_string())?;
    let (sender, ended) = channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(sender);
    });
    let mut attack = Attack::new(address, count, viewers, away).map_err(|error| error.to_string())?;
    let (began, mut told) = (Instant::now(), false);
    while ended.try_recv() == Err(TryRecvError::Empty) {
        attack.turn().map_err(|error| error.to_string())?;
        if !told && (attack.is_settled() || began.elapsed() > SETTLING_MAX) {
            told = true;
            println!("{count}");
        }
    }
    let sent: u64 = attack.tallies().map(|(_, tally)| tally.sent).sum();
    let rate = sent as f64 / 1e6 / began.elapsed().as_secs_f64();
    println!("\n{} hostile peers sent {rate:.0} MB a second", count + at_status);
    println!(
        "\n| {} hostile peers | how many | connections made | ended by the hub | left half open | KiB sent | KiB received |",
        count + at_status
    );
    println!("|---|---|---|---|---|---|---|");
    for (kind, tally) in attack.tallies() {
        let (sent, received) = (tally.sent >> 10, tally.received >> 10);
        let Tally { peers, connections, ended, vanished, .. } = tally;
        println!("| {} | {peers} | {connections} | {ended} | {vanished} | {sent} | {received} |", kind.name());
    }
    Ok(())
}

/// The process.
pub struct Side {
    child: Child,
    output: BufReader<ChildStdout>,
    peers: usize,
}

impl Side {
    /// Starts it, and waits until its peers have come and do what they do.
    ///
    /// # Errors
    /// In one line.
    pub fn start(
        address: SocketAddr,
        connections: usize,
        viewers: Option<Viewers>,
        away: Duration,
    ) -> Result<Side, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let (address, connections) = (address.to_string(), connections.to_string());
        let viewers = viewers.map(|Viewers { address, count }| (address.to_string(), count.to_string()));
        let away = format!("{}ms", away.as_millis());
        let start = |mut command: Command| {
            command.args(["attack", "--address", &address, "--connections", &connections, "--away", &away]);
            if let Some((address, count)) = &viewers {
                command.args(["--status", address, "--viewers", count]);
            }
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        };
        let mut idle = Command::new(IDLE[0]);
        idle.args(&IDLE[1..]).arg(&program);
        let child = start(idle).or_else(|_| start(Command::new(&program)));
        let mut child = child.map_err(|error| format!("the hostile side: {error}"))?;
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut side = Side { child, output, peers: 0 };
        let mut line = String::new();
        side.output.read_line(&mut line).map_err(|error| error.to_string())?;
        side.peers = line.trim().parse().map_err(|_| "the hostile side ended early".to_owned())?;
        Ok(side)
    }

    /// How many peers it is.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// Ends it; what it says of itself.
    ///
    /// # Errors
    /// In one line.
    pub fn stop(mut self) -> Result<String, String> {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.output.read_to_string(&mut said).map_err(|error| error.to_string())?;
        Ok(said)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
