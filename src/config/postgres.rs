//! `[STORAGE] ENGINE` and the section `POSTGRES`: where bets are stored that several hubs share.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, Settings, parse_duration};

const LOTTERY: &str = "LOTTERY";
const STORAGE: &str = "STORAGE";
const POSTGRES: &str = "POSTGRES";

/// The port where PostgreSQL listens unless told otherwise.
const PORT: u16 = 5432;

/// What PostgreSQL must say of its standbys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standbys {
    /// That commits wait for one.
    Required,
    /// Nothing: a managed service has them and does not show it.
    Trusted,
    /// Nothing: there is one node.
    None,
}

/// One node of PostgreSQL, as it is written in `HOSTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name or address.
    pub name: String,
    /// Its port.
    pub port: u16,
}

impl Host {
    /// Whether it is surely this machine, by what is written.
    fn is_this_machine(&self) -> bool {
        let address: Option<std::net::IpAddr> = self.name.parse().ok();
        address.map_or(self.name.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// What the names of [`PostgresOptions::hosts`] lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookedUp {
    /// Hosts with an address; one with several is there several times.
    pub found: Vec<(Host, SocketAddr)>,
    /// Hosts whose name is not known, and why.
    pub missing: Vec<(Host, String)>,
}

/// How connections to PostgreSQL are encrypted: always with the host's name verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresTls {
    /// The authority that signs its certificates.
    pub ca: PathBuf,
    /// The hub's own certificate and key, where PostgreSQL asks for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// The section `POSTGRES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// All nodes; at least one.
    pub hosts: Vec<Host>,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// A file with the password and nothing else.
    pub password_file: Option<PathBuf>,
    /// `None`: not encrypted.
    pub tls: Option<PostgresTls>,
    /// What is required of standbys.
    pub standbys: Standbys,
    /// Turns under way at once.
    pub in_flight: usize,
    /// Without PostgreSQL for so long, new connections are not accepted.
    pub aside_after: Duration,
    /// `[LOTTERY] DRAW`.
    pub draw: i32,
}

impl PostgresOptions {
    /// Where the bets are, for a person.
    pub fn place(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(Host::to_string).collect();
        format!("postgres://{}@{}/{} draw {}", self.user, hosts.join(","), self.database, self.draw)
    }

    /// All hosts with their addresses. Names are looked up. A machine that is lost may take its name with it, as a container does
    /// that has ended: the others do.
    ///
    /// # Errors
    /// No host has an address; the first one, and why.
    pub fn look_up(&self) -> Result<LookedUp, String> {
        let mut looked_up = LookedUp::default();
        for host in &self.hosts {
            match (host.name.as_str(), host.port).to_socket_addrs() {
                Ok(addresses) => looked_up.found.extend(addresses.map(|address| (host.clone(), address))),
                Err(error) => looked_up.missing.push((host.clone(), error.to_string())),
            }
        }
        match looked_up.missing.first() {
            Some((host, why)) if looked_up.found.is_empty() => Err(format!("[POSTGRES] HOSTS: {host}: {why}")),
            _ => Ok(looked_up),
        }
    }

    /// The password in `PASSWORD_FILE`, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn password(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        let Some(file) = &self.password_file else { return Ok(None) };
        let read = std::fs::read(file);
        let mut password =
            read.map_err(|error| ConfigError(format!("[POSTGRES] PASSWORD_FILE = {}: {error}", file.display())))?;
        // An editor ends the line.
        while password.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            password.pop();
        }
        Ok(Some(password))
    }
}

/// Reads `[STORAGE] ENGINE`, and with `postgres` its section. `None`: bets are stored in files.
///
/// # Errors
/// The first value that is present and wrong; keys of the other engine.
pub fn postgres(settings: &mut Settings) -> Result<Option<PostgresOptions>, ConfigError> {
    let is_postgres =
        settings.get(STORAGE, "ENGINE", "files", |text| one_of(text, &[("files", false), ("postgres", true)]))?;
    if !is_postgres {
        return Ok(None);
    }
    for key in ["PATH", "FSYNC"] {
        settings.get(STORAGE, key, "", |text| Ok::<_, String>(text.to_owned()))?;
        if settings.source(STORAGE, key) != "default" {
            return Err(ConfigError(format!(
                "[STORAGE] {key} is for ENGINE = files: with ENGINE = postgres no bet is in a file of this machine; remove one of the two"
            )));
        }
        // A file with its default would be refused, too.
        settings.leave_out(STORAGE, key);
    }
    let hosts = settings.get(POSTGRES, "HOSTS", "127.0.0.1:5432", hosts)?;
    let database = settings.get(POSTGRES, "DATABASE", "loteria", name)?;
    let user = settings.get(POSTGRES, "USER", "loteria", name)?;
    let password_file = settings.get(POSTGRES, "PASSWORD_FILE", "", file)?;
    let tls = tls(settings, &hosts)?;
    let standbys = [("required", Standbys::Required), ("trusted", Standbys::Trusted), ("none", Standbys::None)];
    Ok(Some(PostgresOptions {
        hosts,
        database,
        user,
        password_file,
        tls,
        standbys: settings.get(POSTGRES, "REPLICAS", "required", |text| one_of(text, &standbys))?,
        in_flight: settings.get(POSTGRES, "IN_FLIGHT", "4", in_flight)?,
        aside_after: settings.get(POSTGRES, "ASIDE_AFTER", "10s", aside_after)?,
        draw: settings.get(LOTTERY, "DRAW", "1", draw)?,
    }))
}

fn tls(settings: &mut Settings, hosts: &[Host]) -> Result<Option<PostgresTls>, ConfigError> {
    let away = hosts.iter().find(|host| !host.is_this_machine());
    let ca = settings.get(POSTGRES, "CA", "", file)?;
    // A host of this machine may lead to another one, and who names an authority wants TLS.
    let default = if away.is_some() || ca.is_some() { "verify-full" } else { "off" };
    let verify =
        settings.get(POSTGRES, "TLS", default, |text| one_of(text, &[("verify-full", true), ("off", false)]))?;
    let certificate = settings.get(POSTGRES, "CERT", "", file)?;
    let key = settings.get(POSTGRES, "KEY", "", file)?;
    match (verify, away) {
        (false, Some(host)) => {
            return Err(ConfigError(format!(
                "[POSTGRES] TLS = off: {host} is another machine, and bets and password would cross the network unencrypted; set TLS = verify-full and CA"
            )));
        }
        (false, None) => return Ok(None),
        (true, _) => {}
    }
    let ca = ca.ok_or_else(|| {
        ConfigError(
            "[POSTGRES] TLS = verify-full needs [POSTGRES] CA, the authority of its certificates, beside it".to_owned(),
        )
    })?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(PostgresTls { ca, own: Some((certificate, key)) })),
        (None, None) => Ok(Some(PostgresTls { ca, own: None })),
        (Some(_), None) => Err(ConfigError("[POSTGRES] CERT needs [POSTGRES] KEY beside it".to_owned())),
        (None, Some(_)) => Err(ConfigError("[POSTGRES] KEY needs [POSTGRES] CERT beside it".to_owned())),
    }
}

fn hosts(text: &str) -> Result<Vec<Host>, String> {
    text.split(',').map(|host| parse_host(host.trim())).collect()
}

fn parse_host(text: &str) -> Result<Host, String> {
    let wrong = || "must be hosts and ports, such as 10.0.0.1:5432,10.0.0.2:5432".to_owned();
    // An IPv6 address has brackets where a port follows.
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or_else(wrong)?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) };
            (name, port)
        }
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let port = port.map_or(Ok(PORT), |port| port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong))?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        Err(wrong())
    } else {
        Ok(Host { name: name.to_owned(), port })
    }
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('\0') { Err("must be a name".to_owned()) } else { Ok(text.to_owned()) }
}

fn file(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

fn in_flight(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|turns| (1..=16).contains(turns)).ok_or_else(|| "must be 1 to 16".to_owned())
}

fn aside_after(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).filter(|time| *time >= Duration::from_secs(1));
    time.ok_or_else(|| "must be a duration of 1s or more".to_owned())
}

fn draw(text: &str) -> Result<i32, String> {
    text.parse().ok().filter(|draw| *draw > 0).ok_or_else(|| "must be a whole number from 1 to 2147483647".to_owned())
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
    found.map(|(_, value)| *value).ok_or_else(|| format!("must be {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<PostgresOptions>, ConfigError> {
        let mut settings = Settings::parse("config.ini", text).unwrap();
        settings.get(STORAGE, "PATH", "bets.csv", |text| Ok::<_, String>(text.to_owned())).unwrap();
        postgres(&mut settings)
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn files_are_the_default() {
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("[STORAGE]\nPATH = b.csv\n").unwrap(), None);
    }

    #[test]
    fn hosts_are_names_and_addresses_with_and_without_a_port() {
        let options =
            read("[STORAGE]\nENGINE = postgres\n[POSTGRES]\nHOSTS = 127.0.0.1, localhost:5433,[::1]:5434,::1\n");
        let options = options.unwrap().unwrap();
        let hosts: Vec<String> = options.hosts.iter().map(Host::to_string).collect();
        assert_eq!(hosts, ["127.0.0.1:5432", "localhost:5433", "[::1]:5434", "[::1]:5432"]);
        assert_eq!(options.tls, None);
        assert!(refused("[STORAGE]\nENGINE = postgres\n[POSTGRES]\nHOSTS = a:0\n").contains("HOSTS"));
        assert!(refused("[STORAGE]\nENGINE = postgres\n[POSTGRES]\nHOSTS = a,,b\n").contains("HOSTS"));
        assert!(refused("[STORAGE]\nENGINE = postgres\n[POSTGRES]\nHOSTS = [::1]5434\n").contains("HOSTS"));
    }

    #[test]
    fn a_draw_that_the_database_cannot_have_is_refused_with_the_range() {
        let read_draw = |draw: &str| read(&format!("[STORAGE]\nENGINE = postgres\n[LOTTERY]\nDRAW = {draw}\n"));
        assert_eq!(read_draw("2147483647").unwrap().unwrap().draw, i32::MAX);
        for draw in ["0", "2147483648", "x"] {
            let error = read_draw(draw).unwrap_err().to_string();
            assert!(error.ends_with("must be a whole number from 1 to 2147483647"), "{error}");
        }
    }

    #[test]
    fn a_host_whose_name_is_not_known_is_left_out_where_there_is_another() {
        let look_up = |hosts: &str| {
            let text = format!("[STORAGE]\nENGINE = postgres\n[POSTGRES]\nHOSTS = {hosts}\nCA = ca.pem\n");
            read(&text).unwrap().unwrap().look_up()
        };
        let found = look_up("a.invalid:1,127.0.0.1:2").unwrap();
        let addresses: Vec<String> = found.found.iter().map(|(_, address)| address.to_string()).collect();
        let missing: Vec<String> = found.missing.iter().map(|(host, _)| host.to_string()).collect();
        assert_eq!((addresses, missing), (vec!["127.0.0.1:2".to_owned()], vec!["a.invalid:1".to_owned()]));
        let error = look_up("a.invalid:1,b.invalid:2").unwrap_err();
        assert!(error.starts_with("[POSTGRES] HOSTS: a.invalid:1: "), "{error}");
    }

    #[test]
    fn keys_of_the_store_of_files_beside_it_are_an_error() {
        let error = refused("[STORAGE]\nENGINE = postgres\nPATH = b.csv\n");
        assert!(error.contains("[STORAGE] PATH is for ENGINE = files"), "{error}");
    }

    #[test]
    fn a_value_of_the_other_engine_is_refused_whoever_reads_it_first() {
        let error = refused("[STORAGE]\nENGINE = postgres\nFSYNC = always\n");
        assert!(error.contains("[STORAGE] FSYNC is for ENGINE = files"), "{error}");
    }

    #[test]
    fn what_was_chosen_is_a_file_that_can_be_read_back() {
        let mut settings = Settings::parse("config.ini", "[STORAGE]\nENGINE = postgres\n").unwrap();
        for key in ["PATH", "FSYNC"] {
            settings.get(STORAGE, key, "x", |text| Ok::<_, String>(text.to_owned())).unwrap();
        }
        let options = postgres(&mut settings).unwrap();
        let text = crate::config::written(settings.chosen());
        assert_eq!(read(&text).unwrap(), options, "{text}");
        assert_eq!(settings.unknown(), [""; 0]);
    }

    #[test]
    fn an_authority_that_is_named_is_not_left_unused() {
        let tls = |keys: &str| {
            let text = format!("[STORAGE]\nENGINE = postgres\n[POSTGRES]\nHOSTS = 127.0.0.1\n{keys}");
            read(&text).unwrap().unwrap().tls
        };
        assert!(tls("CA = ca.pem\n").is_some(), "a local balancer, and PostgreSQL behind it");
        assert!(tls("").is_none() && tls("CA = ca.pem\nTLS = off\n").is_none());
    }

    #[test]
    fn another_machine_is_reached_encrypted_only() {
        let away = "[STORAGE]\nENGINE = postgres\n[POSTGRES]\nHOSTS = 127.0.0.1,db.example\n";
        assert!(refused(away).contains("needs [POSTGRES] CA"));
        assert!(refused(&format!("{away}TLS = off\n")).contains("db.example:5432 is another machine"));
        assert!(refused(&format!("{away}CA = ca.pem\nKEY = k.pem\n")).contains("CERT"));
        let options = read(&format!("{away}CA = ca.pem\n")).unwrap().unwrap();
        assert_eq!(options.tls, Some(PostgresTls { ca: "ca.pem".into(), own: None }));
    }
}
