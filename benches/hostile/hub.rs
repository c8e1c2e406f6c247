//! The hub under test: started, watched, stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::Usage;

/// A hub that takes so long to start never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// Set in the program that [`let_agencies_go_first`] has started.
const FIRST: &str = "LOTERIA_HOSTILE_FIRST";

/// Starts this program anew, ahead of everything else on the machine, but for the hub, which runs as it always does.
/// Real agencies have machines of their own and need not wait for the hub's processors to notice an answer. Where that
/// is not allowed (it takes root and `chrt`), the program goes on as it is, and says so.
pub fn let_agencies_go_first() {
    if std::env::var_os(FIRST).is_some() {
        return;
    }
    let first = ["--fifo", "1"];
    let allowed = Command::new("chrt").args(first).arg("true").stderr(Stdio::null()).status();
    if let (Ok(true), Ok(program)) = (allowed.map(|status| status.success()), std::env::current_exe()) {
        let _it_goes_on_here =
            Command::new("chrt").args(first).arg(program).args(std::env::args_os().skip(1)).env(FIRST, "1").exec();
    }
    eprintln!("hostile: no chrt, or not allowed to use it: agencies wait for the hub's processors, too");
}

/// A running hub with a store of its own. Both are gone when it is dropped.
pub struct Hub {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Hub {
    /// Starts it on a port that the system chooses, its log in a file.
    ///
    /// # Errors
    /// In one line.
    pub fn start(server: &Path, environment: &[(&str, &str)]) -> Result<Hub, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("log");
        let log = File::create(&path).map_err(|error| error.to_string())?;
        let server = server.canonicalize().map_err(|error| format!("{}: {error}", server.display()))?;
        let mut command = if std::env::var_os(FIRST).is_some() {
            let mut command = Command::new("chrt");
            command.args(["--other", "0"]).arg(&server);
            command
        } else {
            Command::new(&server)
        };
        command.current_dir(folder.path()).env_clear().stdin(Stdio::null()).stdout(log);
        command.env("SERVER_PORT", "0").env("BIND_ADDRESS", "127.0.0.1");
        command.envs(environment.iter().copied());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", server.display()))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let said = std::fs::read_to_string(&path).unwrap_or_default();
            let line = said.lines().find_map(|line| line.split_once("action: listen | result: success | address: "));
            if let Some((_, address)) = line {
                let address = address.trim().parse().map_err(|_| format!("no address: {address}"))?;
                return Ok(Hub { child, address, log: path, _folder: folder });
            }
            if Instant::now() > until || child.try_wait().is_ok_and(|status| status.is_some()) {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the hub did not start: {said}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its status port, where it has one: as the log's first line says.
    pub fn status(&self) -> Option<SocketAddr> {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let (_, behind) = said.split_once("status: http://")?;
        behind.split('/').next()?.parse().ok()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// What its log says of peers: each action with its reason, or its result, how often; and the log's bytes.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn said(&self) -> Result<(Vec<(usize, String)>, u64), String> {
        let wrong = |error: std::io::Error| format!("the hub's log: {error}");
        let (mut counted, mut bytes) = (BTreeMap::new(), 0);
        for line in BufReader::new(File::open(&self.log).map_err(wrong)?).split(b'\n') {
            let line = line.map_err(wrong)?;
            bytes += line.len() as u64 + 1;
            let line = String::from_utf8_lossy(&line);
            let part = |key: &str| line.split(" | ").find_map(|part| part.split_once(key).map(|(_, value)| value));
            if part("ip: ").is_none() && part("dropped_lines: ").is_none() {
                continue;
            }
            let what = part("reason: ").or_else(|| part("result: ")).unwrap_or_default();
            *counted.entry(format!("{}: {what}", part("action: ").unwrap_or_default())).or_insert(0) += 1;
        }
        let mut said: Vec<(usize, String)> = counted.into_iter().map(|(what, count)| (count, what)).collect();
        said.sort_unstable_by(|one, other| other.cmp(one));
        Ok((said, bytes))
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self) -> Result<Usage, String> {
        Usage::of(&self.child.id().to_string())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
