//! A server and its `native` clients, killed over and over at random moments: in the end every bet is stored
//! exactly once, in order, and there was one draw.
//!
//! `LOTERIA_KILL_DRAWS` sets how many draws are made (1); `LOTERIA_KILL_SEED` replays the moments of one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod environment;

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{Hub, course_data, in_folder};

/// A small generator of moments; what matters is only that a seed repeats them.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// An address of its own for every run: the server has to come back where its clients look for it, and no
/// other test listens on this one.
fn address(random: &mut Random) -> String {
    let host = format!("127.{}.{}.{}", 1 + random.below(250), random.below(250), 2 + random.below(250));
    let port = TcpListener::bind((host.as_str(), 0)).unwrap().local_addr().unwrap().port();
    format!("{host}:{port}")
}

struct Agency {
    number: usize,
    data: PathBuf,
    address: String,
    log: PathBuf,
    child: Child,
}

impl Agency {
    fn start(number: usize, data: &Path, address: &str, folder: &Path) -> Agency {
        let log = folder.join(format!("client-{number}.log"));
        let child = Agency::spawn(number, data, address, &log);
        Agency { number, data: data.to_owned(), address: address.to_owned(), log, child }
    }

    fn spawn(number: usize, data: &Path, address: &str, log: &Path) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.env_clear().current_dir(data.parent().unwrap());
        command.env("CLI_ID", number.to_string()).env("CLI_DATA", data).env("CLI_SERVER_ADDRESS", address);
        command.env("CLI_PROTOCOL", "native").env("CLI_MODE", "agency").env("CLI_BATCH_MAXAMOUNT", "2");
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn().unwrap()
    }

    fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = Agency::spawn(self.number, &self.data, &self.address, &self.log);
    }

    fn is_done(&mut self) -> bool {
        match self.child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "client {} failed:\n{}", self.number, self.log());
                true
            }
            None => false,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Agency {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(folder: &Arc<tempfile::TempDir>, address: &str) -> Hub {
    let (host, port) = address.rsplit_once(':').unwrap();
    let start = in_folder(Arc::clone(folder)).env("BIND_ADDRESS", host).env("SERVER_PORT", port);
    start.env("LOTTERY_AGENCIES", "5").start()
}

/// One draw under fire; says how often the server was killed.
fn draw(data: &Path, seed: u64) -> u32 {
    let mut random = Random(seed | 1);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let address = address(&mut random);
    let mut hub = serve(&folder, &address);
    let file = |number: usize| data.join(format!("agency-{number}.csv"));
    let mut agencies: Vec<Agency> =
        (1..=5).map(|number| Agency::start(number, &file(number), &address, folder.path())).collect();
    let (mut kills, mut draws) = (0, 0);
    while !agencies.iter_mut().all(Agency::is_done) {
        std::thread::sleep(Duration::from_millis(1 + random.below(40)));
        if random.below(4) == 0 {
            let victim = usize::try_from(random.below(5)).unwrap();
            if !agencies[victim].is_done() {
                agencies[victim].restart();
            }
        }
        draws += hub.count("action: sorteo | result: success");
        hub.kill();
        kills += 1;
        hub = serve(&folder, &address);
    }
    draws += hub.count("action: sorteo | result: success");
    // The line can be lost with the server that was about to write it; the draw cannot be made twice.
    assert!(draws <= 1, "{draws} draws");
    let winners: Vec<usize> = agencies.iter().map(winners_logged).collect();
    assert_eq!(winners, [2, 3, 3, 2, 0]);
    let (status, log) = hub.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    check_rows(data, &folder.path().join("bets.csv"));
    kills
}

fn winners_logged(agency: &Agency) -> usize {
    let log = agency.log();
    let line = log.lines().rfind(|line| line.contains("action: consulta_ganadores | result: success"));
    line.unwrap().rsplit("cant_ganadores: ").next().unwrap().trim().parse().unwrap()
}

/// Every agency's rows are its file's, once and in order.
fn check_rows(data: &Path, rows: &Path) {
    let mut stored: HashMap<String, String> = HashMap::new();
    let text = std::fs::read_to_string(rows).unwrap();
    for line in text.split_inclusive("\r\n") {
        let (agency, bet) = line.split_once(',').unwrap();
        stored.entry(agency.to_owned()).or_default().push_str(bet);
    }
    assert_eq!(text.lines().count(), 78_697);
    for number in 1..=5 {
        let sent = std::fs::read_to_string(data.join(format!("agency-{number}.csv"))).unwrap();
        let sent: String = sent.lines().map(|line| format!("{}\r\n", line.trim_end())).collect();
        assert!(stored[&number.to_string()] == sent, "agency {number}'s rows are not its bets");
    }
}

#[test]
fn killed_hundreds_of_times_it_stores_every_bet_once_and_draws_once() {
    let Some(data) = course_data() else { return };
    let first = environment::number("LOTERIA_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20);
    for seed in first..first + environment::number("LOTERIA_KILL_DRAWS").unwrap_or(1) {
        let _ = writeln!(std::io::stderr(), "LOTERIA_KILL_SEED={seed}");
        let kills = draw(&data, seed);
        let _ = writeln!(std::io::stderr(), "{kills} kills, every bet once, one draw");
    }
}
