//! A PostgreSQL 15 of its own for one test: in a folder that is removed, on a socket in there, gone with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::engine_model::{Reader, put, take};

/// Nothing that these tests wait for takes so long, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A message of a server: its tag and its body.
pub type Message = (u8, Vec<u8>);

/// A server.
pub struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts one; the error says what the machine lacks for it.
    pub fn start() -> Result<Server, String> {
        if !Path::new(PROGRAMS).join("postgres").exists() {
            return Err(format!("there is no PostgreSQL 15 in {PROGRAMS}"));
        }
        let owner = Owner::find()?;
        let folder = tempfile::tempdir().expect("a folder for the server");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        if let Some((user, group)) = owner.0 {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let data = folder.path().join("data");
        let mut initdb = owner.command("initdb", folder.path());
        initdb
            .args(["--auth=trust", "--username=loteria", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data);
        let made = initdb.output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = owner.command("postgres", folder.path());
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        for setting in
            ["listen_addresses=", "fsync=off", "log_min_messages=log", "deadlock_timeout=1s", "autovacuum=off"]
        {
            server.args(["-c", setting]);
        }
        let mut child = server.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("postgres runs");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready to accept connections"));
        std::thread::spawn(move || lines.for_each(drop));
        let server = Server { child, folder };
        assert!(is_ready, "the server did not start");
        Ok(server)
    }

    pub fn connect(&self) -> Connection {
        let socket: PathBuf = self.folder.path().join(".s.PGSQL.5432");
        let stream = UnixStream::connect(socket).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection { stream, inbox: Vec::new(), process: 0 }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        let _ = self.child.wait();
    }
}

/// As whom the server runs: it refuses to run as root.
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn find() -> Result<Owner, String> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Owner(None));
        }
        let users = std::fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
        let line = users.lines().find(|line| line.starts_with("postgres:")).ok_or("there is no user postgres")?;
        let ids: Vec<u32> = line.split(':').skip(2).take(2).filter_map(|id| id.parse().ok()).collect();
        match *ids {
            [user, group] => Ok(Owner(Some((user, group)))),
            _ => Err("the user postgres has no number".to_owned()),
        }
    }

    /// A program of the server, which ends when the test does.
    fn command(&self, program: &str, folder: &Path) -> Command {
        let program = Path::new(PROGRAMS).join(program);
        let mut command = match self.0 {
            None => Command::new(program),
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={group}")]);
                command.args(["--clear-groups", "--pdeathsig=QUIT"]).arg(program);
                command
            }
        };
        command.current_dir(folder).env("LC_ALL", "C");
        command
    }
}

/// A connection to the server.
pub struct Connection {
    stream: UnixStream,
    inbox: Vec<u8>,
    /// The number of its process.
    pub process: i32,
}

impl Connection {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The next message that is not about settings.
    pub fn next(&mut self) -> Message {
        self.try_next().expect("the server answers in time")
    }

    /// As [`next`](Self::next); `None`: it does not come.
    pub fn try_next(&mut self) -> Option<Message> {
        let until = Instant::now() + PATIENCE;
        loop {
            match take(&mut self.inbox, true).expect("a message") {
                Some((b'S', _)) => {}
                Some((b'K', body)) => self.process = Reader(&body).i32().unwrap(),
                Some(message) => return Some(message),
                None => {
                    assert!(Instant::now() < until, "the server says nothing more");
                    let mut bytes = [0; 16 * 1024];
                    let Ok(count) = self.stream.read(&mut bytes) else { return None };
                    assert!(count > 0, "the server has ended the connection");
                    self.inbox.extend(&bytes[..count]);
                }
            }
        }
    }

    /// Takes all messages until the server waits for this client.
    pub fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.next());
            if messages.last().is_some_and(|(tag, _)| *tag == b'Z') {
                return messages;
            }
        }
    }

    /// Whether the server has answered; then its answer is taken.
    pub fn has_answered(&mut self) -> bool {
        let mut bytes = [0; 1024];
        self.stream.set_nonblocking(true).unwrap();
        if let Ok(count) = self.stream.read(&mut bytes) {
            self.inbox.extend(&bytes[..count]);
        }
        self.stream.set_nonblocking(false).unwrap();
        let has = self.inbox.ends_with(b"Z\0\0\0\x05I");
        if has {
            self.until_ready();
        }
        has
    }

    /// Sends a simple query.
    pub fn ask(&mut self, sql: &str) {
        let mut bytes = Vec::new();
        put(&mut bytes, b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.send(&bytes);
    }

    /// Runs a simple query; returns the first column of its rows.
    pub fn run(&mut self, sql: &str) -> Vec<String> {
        self.ask(sql);
        let messages = self.until_ready();
        let error = messages.iter().find(|(tag, _)| *tag == b'E');
        assert!(error.is_none(), "{sql}: {}", String::from_utf8_lossy(&error.unwrap().1));
        let rows = messages.iter().filter(|(tag, _)| *tag == b'D');
        let first = |body: &[u8]| {
            let mut reader = Reader(body);
            reader.i16().unwrap();
            String::from_utf8(reader.value().unwrap().unwrap_or_default().to_vec()).unwrap()
        };
        rows.map(|(_, body)| first(body)).collect()
    }
}
