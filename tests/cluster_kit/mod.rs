//! Three PostgreSQL nodes, three hubs over them, and haproxy in front, all of a test's own.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod agency;
pub mod dialects;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::common::machine::{eventually, has, skip};
use crate::common::{Hub, in_folder};

pub const NODES: [u8; 3] = [1, 2, 3];
pub const WINNING_NUMBER: u32 = 7574;

/// A generator of moments; a seed repeats them.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The nodes of tools/cluster.sh. They are gone when it is dropped.
pub struct Nodes {
    folder: tempfile::TempDir,
}

impl Nodes {
    /// Nodes with the schema; `None`, said aloud, where a program is missing.
    pub fn start() -> Option<Nodes> {
        let postgres =
            has("initdb") || fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| versions.next().is_some());
        if !postgres {
            skip("PostgreSQL is not installed (Debian's package postgresql)");
            return None;
        }
        if haproxy().is_none() {
            skip("haproxy is not installed (Debian's package haproxy)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        // The nodes may run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let nodes = Nodes { folder };
        nodes.run(&["start"]);
        let schema = Command::new(env!("CARGO_BIN_EXE_server")).arg("--schema").output().unwrap();
        let schema = String::from_utf8(schema.stdout).unwrap();
        let grants = schema.lines().filter_map(|line| line.strip_prefix("--   GRANT "));
        let grants: String =
            grants.filter(|line| !line.contains("auditor")).map(|line| format!("GRANT {line}\n")).collect();
        nodes.psql_script(&format!("{schema}\nSET search_path = loteria; {grants}"));
        Some(nodes)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("nodes")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/cluster.sh")).arg(arguments[0]).arg(self.path());
        command.args(&arguments[1..]).stdin(Stdio::null());
        command
    }

    /// Runs a command of tools/cluster.sh.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn psql_script(&self, script: &str) {
        let mut psql = self.command(&["psql", "-q", "-v", "ON_ERROR_STOP=1"]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        psql.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(psql.wait().unwrap().success(), "the schema is made");
    }

    /// What the leader answers.
    pub fn ask(&self, sql: &str) -> String {
        self.run(&["psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql]).trim_end_matches('\n').to_owned()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap().trim().to_owned()
    }

    pub fn hosts(&self) -> String {
        self.file("hosts").trim_start_matches("HOSTS = ").to_owned()
    }

    pub fn password_file(&self) -> PathBuf {
        self.path().join("password")
    }

    pub fn leader(&self) -> u8 {
        self.file("leader").parse().unwrap()
    }

    pub fn standbys(&self) -> Vec<u8> {
        NODES.into_iter().filter(|node| *node != self.leader()).collect()
    }

    /// A node's processes, the first of them first.
    fn processes(&self, node: u8) -> Vec<String> {
        let pid = self.file(&format!("node{node}/data/postmaster.pid"));
        let pid = pid.lines().next().unwrap().to_owned();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        std::iter::once(pid).chain(children.split_whitespace().map(str::to_owned)).collect()
    }

    fn signal(&self, node: u8, signal: &str) {
        // The first one stops before the others are listed, so that it starts no more. A child may have ended by itself.
        let first = self.processes(node).remove(0);
        let kill = |signal: &str, pids: &[String]| {
            let _one_may_be_gone = Command::new("kill").arg(signal).args(pids).stderr(Stdio::null()).status().unwrap();
        };
        if signal != "-CONT" {
            kill("-STOP", std::slice::from_ref(&first));
        }
        kill(signal, &self.processes(node));
        if signal == "-KILL" {
            eventually("a killed node is gone", || {
                !PathBuf::from(format!("/proc/{first}/stat")).exists() || is_zombie(&first)
            });
        }
    }

    pub fn kill(&self, node: u8) {
        self.signal(node, "-KILL");
    }

    pub fn pause(&self, node: u8) {
        self.signal(node, "-STOP");
    }

    pub fn go_on(&self, node: u8) {
        self.signal(node, "-CONT");
    }

    fn ask_node(&self, node: u8, sql: &str) -> String {
        let programs =
            fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|it| it.path().join("bin/psql"));
        let psql = programs.last().filter(|psql| psql.exists()).unwrap_or_else(|| PathBuf::from("psql"));
        let output = Command::new(psql)
            .args([
                "-XqAt",
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-d",
                "postgres",
                "-p",
                &self.file(&format!("port{node}")),
                "-c",
                sql,
            ])
            .env("PGPASSWORD", self.file("password"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Has a node follow another one, or none.
    fn follow(&self, node: u8, leader: Option<u8>) {
        let line = leader.map(|leader| {
            let (port, password) = (self.file(&format!("port{leader}")), self.file("password"));
            format!("host=127.0.0.1 port={port} user=postgres password={password} application_name=node{node}")
        });
        let line = format!("primary_conninfo = '{}'\n", line.unwrap_or_default());
        fs::write(self.path().join(format!("node{node}/data/follow.conf")), line).unwrap();
        self.ask_node(node, "SELECT pg_reload_conf()");
    }

    /// Promotes the standby that is ahead while the old leader is paused: neither takes anything more from the old one first,
    /// so what it writes when it goes on is committed nowhere.
    pub fn promote_beside_the_paused(&self) {
        let standbys = self.standbys();
        for node in &standbys {
            self.follow(*node, None);
            eventually("a standby leaves the paused leader", || {
                self.ask_node(*node, "SELECT count(*) FROM pg_stat_wal_receiver") == "0"
            });
        }
        let reach = |node: u8| {
            self.ask_node(node, "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')").parse::<u64>().unwrap()
        };
        let (ahead, behind) = if reach(standbys[0]) >= reach(standbys[1]) {
            (standbys[0], standbys[1])
        } else {
            (standbys[1], standbys[0])
        };
        assert_eq!(self.ask_node(ahead, "SELECT pg_promote(true, 30)"), "t");
        fs::write(self.path().join("leader"), format!("{ahead}\n")).unwrap();
        self.follow(behind, Some(ahead));
    }

    /// Waits until both standbys have every commit.
    pub fn wait_until_whole(&self) {
        let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        eventually("both standbys follow", || self.ask_node(self.leader(), streaming) == "2");
    }
}

fn is_zombie(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if self.path().join("leader").exists() {
            let _the_folder_goes_anyhow = self.command(&["stop"]).output();
        }
    }
}

fn haproxy() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("haproxy")).find(|program| program.exists())
}

/// Three hubs and a balancer in front of them.
pub struct Hubs {
    pub address: String,
    pub hubs: Vec<Option<Hub>>,
    addresses: Vec<(String, u16)>,
    settings: Vec<(&'static str, String)>,
    balancer: Child,
    _folder: tempfile::TempDir,
}

impl Hubs {
    pub fn start(nodes: &Nodes, draw: u32, random: &mut Random) -> Hubs {
        let settings = vec![
            ("STORAGE_ENGINE", "postgres".to_owned()),
            ("POSTGRES_HOSTS", nodes.hosts()),
            ("POSTGRES_PASSWORD_FILE", nodes.password_file().display().to_string()),
            ("LOTTERY_AGENCIES", "5".to_owned()),
            ("LOTTERY_DRAW", draw.to_string()),
            ("LIMITS_DIALECTS", "native,binary,text,key-value,case-id".to_owned()),
            ("PROXY_FROM", "127.0.0.1".to_owned()),
        ];
        let addresses: Vec<(String, u16)> = (0..3).map(|_| free_address(random)).collect();
        let hubs = addresses.iter().map(|address| Some(serve(&settings, address))).collect();
        let folder = tempfile::tempdir().unwrap();
        let (host, port) = free_address(random);
        let address = format!("{host}:{port}");
        let file = folder.path().join("haproxy.cfg");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/cluster/balancer.sh");
        let servers = addresses.iter().map(|(host, port)| format!("{host}:{port}"));
        let written =
            Command::new("sh").arg(script).args(["--print", &address, "200ms"]).args(servers).output().unwrap();
        assert!(written.status.success(), "{written:?}");
        fs::write(&file, written.stdout).unwrap();
        let balancer = Command::new(haproxy().unwrap())
            .arg("-db")
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let hubs = Hubs { address, hubs, addresses, settings, balancer, _folder: folder };
        eventually("haproxy listens", || std::net::TcpStream::connect(&hubs.address).is_ok());
        hubs
    }

    /// Ends a hub with SIGKILL.
    pub fn kill(&mut self, hub: usize) {
        self.hubs[hub].take().unwrap().kill();
    }

    pub fn kill_all(&mut self) {
        self.hubs.iter_mut().filter_map(Option::take).for_each(|hub| drop(hub.kill()));
    }

    /// Starts a hub that was killed, where it was.
    pub fn revive(&mut self, hub: usize) {
        self.hubs[hub] = Some(serve(&self.settings, &self.addresses[hub]));
    }

    pub fn address_of(&self, hub: usize) -> String {
        format!("{}:{}", self.addresses[hub].0, self.addresses[hub].1)
    }

    /// What the hubs that run have logged.
    pub fn logs(&self) -> String {
        self.hubs
            .iter()
            .enumerate()
            .map(|(n, hub)| {
                let log = hub.as_ref().map_or_else(String::new, Hub::log);
                let lines: Vec<&str> = log
                    .lines()
                    .filter(|line| {
                        line.contains("action: engine") || line.contains("WARNING") || line.contains("ERROR")
                    })
                    .collect();
                format!("hub {n}:\n{}\n", lines.join("\n"))
            })
            .collect()
    }
}

impl Drop for Hubs {
    fn drop(&mut self) {
        let _ = self.balancer.kill();
        let _ = self.balancer.wait();
    }
}

/// An address of its own for every run: a hub has to come back where haproxy looks for it.
fn free_address(random: &mut Random) -> (String, u16) {
    let host = format!("127.{}.{}.{}", 1 + random.below(250), random.below(250), 2 + random.below(250));
    let port = TcpListener::bind((host.as_str(), 0)).unwrap().local_addr().unwrap().port();
    (host, port)
}

fn serve(settings: &[(&'static str, String)], (host, port): &(String, u16)) -> Hub {
    let start = in_folder(Arc::new(tempfile::tempdir().unwrap()))
        .env("BIND_ADDRESS", host)
        .env("SERVER_PORT", &port.to_string());
    settings.iter().fold(start, |start, (key, value)| start.env(key, value)).start()
}
