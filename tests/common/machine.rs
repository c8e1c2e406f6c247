//! What the machine says of a process, and what it can be made to do.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Says why a test shows nothing here.
pub fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Whether this machine has a program.
pub fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status();
    found.is_ok_and(|status| status.success())
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits for what no event tells.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + super::PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The port on which a process listens.
pub fn listening_port(pid: u32) -> Option<u16> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_str()?.to_owned()))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let listens = columns.get(3) == Some(&"0A") && sockets.iter().any(|inode| columns.get(9) == Some(&&**inode));
        let (_, port) = columns.get(1)?.rsplit_once(':')?;
        listens.then(|| u16::from_str_radix(port, 16).ok())?
    })
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there").count()
}

/// The most memory that a process has had resident, in bytes.
pub fn peak_memory_bytes(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    let kilobytes: usize = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kilobytes * 1024
}

/// Processor time of a process so far, in the kernel's ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let (_, after_name) = stat.rsplit_once(')').expect("a name in parentheses");
    let columns: Vec<&str> = after_name.split_whitespace().collect();
    columns[11].parse::<u64>().expect("user time") + columns[12].parse::<u64>().expect("system time")
}

/// A process that waits uses next to no processor time: a loop that spins would use all it can get.
#[track_caller]
pub fn assert_waits(pid: u32) {
    let before = ticks(pid);
    std::thread::sleep(Duration::from_millis(600));
    let used = ticks(pid) - before;
    assert!(used <= 12, "{used} of 60 ticks used while there was nothing to do");
}

/// A file system of some size in memory; it is gone when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where the tests may not mount.
    pub fn mount(at: &Path, size: &str) -> Option<SmallDisk> {
        let size = format!("size={size}");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        output.is_ok_and(|output| output.status.success()).then(|| SmallDisk(at.to_owned()))
    }

    pub fn resize(&self, size: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(status.expect("mount was there before").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount: open files stay usable.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A network of its own, in which a thread can live. It is gone when dropped.
pub struct Network(pub String);

impl Network {
    pub fn new(name: &str) -> Option<Network> {
        let network = Network(format!("loteria-{name}-{}", std::process::id()));
        let made = Command::new("ip").args(["netns", "add", &network.0]).output();
        if !made.is_ok_and(|output| output.status.success()) {
            return None;
        }
        network.run("ip link set lo up").then_some(network)
    }

    pub fn run(&self, command: &str) -> bool {
        let arguments = ["netns", "exec", &self.0].into_iter().chain(command.split(' '));
        Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
    }

    /// Does something with the sockets of this network.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = fs::File::open(format!("/run/netns/{}", self.0)).unwrap();
        std::thread::scope(|scope| {
            let moved = scope.spawn(move || {
                use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(LinkNameSpaceType::Network))
                    .unwrap();
                work()
            });
            moved.join().unwrap()
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).output();
    }
}
