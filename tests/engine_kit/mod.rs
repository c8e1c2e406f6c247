//! A PostgreSQL of a test's own: made in a temporary folder, on a free port of the loopback, gone when it is dropped.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../storage_kit/bets.rs"]
pub mod bets;
pub mod desk;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[allow(unused_imports, reason = "each test file uses its own part")]
pub use bets::{Bets, batch, rows_of};
use loteria::storage::SCHEMA;

/// Where Debian has the server's programs, newest first; elsewhere they are in PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The role that the hubs use in these tests, and its password where one is asked for.
pub const USER: &str = "loteria";
pub const PASSWORD: &str = "a word for tests";

/// A server. Its superuser is `postgres`, which needs no password; [`USER`] needs [`PASSWORD`].
pub struct Engine {
    folder: tempfile::TempDir,
    programs: PathBuf,
    pub address: SocketAddr,
    server: Option<Child>,
    /// More settings, for the next start.
    pub settings: Vec<String>,
}

/// The folder of `initdb` and its like.
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|e| e.path()).collect();
    versions.sort();
    let in_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let folders = versions.into_iter().rev().map(|version| version.join("bin")).chain(in_path.unwrap_or_default());
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

impl Engine {
    /// A new server without the schema; `None`, said aloud, where PostgreSQL is not installed.
    pub fn start_empty() -> Option<Engine> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: PostgreSQL is not installed (Debian's package postgresql)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut engine = Engine { folder, programs, address: free_address(), server: None, settings: Vec::new() };
        if is_root() {
            // PostgreSQL refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(engine.folder.path()));
        }
        let data = engine.data();
        run(engine
            .command("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C", "--no-sync", "-N"]));
        let access = format!(
            "host all {USER} 127.0.0.1/32 scram-sha-256\nhost all cleartext 127.0.0.1/32 password\nhost all all 127.0.0.1/32 trust\n"
        );
        fs::write(data.join("pg_hba.conf"), access).unwrap();
        engine.boot();
        engine.sql("postgres", "CREATE DATABASE loteria");
        engine.sql(
            "postgres",
            &format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE cleartext LOGIN PASSWORD 'x'"),
        );
        Some(engine)
    }

    /// A new server with the schema and the role.
    pub fn start() -> Option<Engine> {
        let engine = Engine::start_empty()?;
        engine.make_schema();
        Some(engine)
    }

    pub fn make_schema(&self) {
        self.sql("loteria", SCHEMA);
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it anew with this certificate, and `authority` for those of its clients. `access`: more of pg_hba.conf, before
    /// the rest. Certificates are `name.crt` and `name.key` in `folder`.
    pub fn serve_tls(&mut self, folder: &std::path::Path, name: &str, access: &str) {
        self.crash();
        let data = self.data();
        for (from, to) in
            [(format!("{name}.crt"), "tls.crt"), (format!("{name}.key"), "tls.key"), ("ca.crt".to_owned(), "tls.ca")]
        {
            let _there_is_none_the_first_time = fs::remove_file(data.join(to));
            fs::copy(folder.join(from), data.join(to)).unwrap();
            if is_root() {
                run(Command::new("chown").arg("postgres").arg(data.join(to)));
            }
        }
        let rest = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
        fs::write(data.join("pg_hba.conf"), format!("{access}{rest}")).unwrap();
        let settings = [
            "ssl=on",
            "ssl_cert_file=tls.crt",
            "ssl_key_file=tls.key",
            "ssl_ca_file=tls.ca",
            "listen_addresses=127.0.0.1,127.0.0.2",
        ];
        self.settings = settings.map(str::to_owned).into();
        self.boot();
    }

    /// Starts the server and waits until it takes connections.
    pub fn boot(&mut self) {
        let port = self.address.port();
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "shared_buffers=16MB".to_owned(),
            "max_connections=30".to_owned(),
            "fsync=on".to_owned(),
            "autovacuum=off".to_owned(),
        ];
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        for setting in settings.iter().chain(&self.settings) {
            command.arg("-c").arg(setting);
        }
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        self.server = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.try_sql("postgres", "SELECT 1").0 {
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {}", self.log());
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "PostgreSQL has ended: {}", self.log());
        }
    }

    /// Stops the server at once, as a crash does.
    pub fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _it_may_be_gone =
                run_quietly(self.command("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data()));
            server.wait().unwrap();
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A program of PostgreSQL's, as a user that it accepts.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn try_sql(&self, database: &str, sql: &str) -> (bool, String, String) {
        let port = self.address.port().to_string();
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-d",
            database,
        ]);
        let output = psql.args(["-c", sql]).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// What a superuser is answered.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let (done, answer, error) = self.try_sql(database, sql);
        assert!(done, "{sql}: {error}");
        answer
    }

    /// The same in the hubs' database.
    pub fn ask(&self, sql: &str) -> String {
        self.sql("loteria", sql)
    }

    /// Has PostgreSQL refuse every batch with this SQLSTATE, up to [`take_batches`](Self::take_batches).
    pub fn refuse_batches(&self, code: &str) {
        self.ask(&format!(
            "CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused' USING ERRCODE = '{code}'; END $$;
             CREATE TRIGGER refused BEFORE INSERT ON loteria.batches FOR EACH ROW EXECUTE FUNCTION refused()"
        ));
    }

    pub fn take_batches(&self) {
        self.ask("DROP TRIGGER refused ON loteria.batches");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.crash();
    }
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address at which nothing listens.
pub fn address_of_nothing() -> SocketAddr {
    let address = free_address();
    assert!(TcpStream::connect(address).is_err());
    address
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn run_quietly(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
