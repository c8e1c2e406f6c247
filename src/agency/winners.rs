//! The file of the winners: CSV or JSON, whole or not there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::lottery::{AgencyId, Bet};

/// The winners as the hub told them.
#[derive(Clone, Copy, Debug)]
pub struct Winners<'a> {
    /// The agency.
    pub agency: AgencyId,
    /// The document of each winner.
    pub documents: &'a [String],
    /// The bets of the same winners, in dialects that carry them.
    pub bets: Option<&'a [Bet]>,
}

impl Winners<'_> {
    /// Writes the winners to `path`, as JSON if that is its extension, else as CSV with a header. A file that was there
    /// is replaced at once, so that no reader sees a part of the list.
    ///
    /// # Errors
    /// Those of the system; then a file that was there is as it was.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let part = part_of(path)?;
        let written = self.write_part(path, &part).and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            let _nothing_is_left = fs::remove_file(&part);
        }
        written
    }

    fn write_part(&self, path: &Path, part: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(part)?);
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            self.json(&mut out)?;
        } else {
            self.csv(&mut out)?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        let agency = self.agency.to_string();
        if let Some(bets) = self.bets {
            csv.write_record(["agency", "first_name", "last_name", "document", "birthdate", "number"])?;
            for bet in bets {
                let (birthdate, number) = (bet.birthdate().to_string(), bet.number().to_string());
                let fields = [&agency, bet.first_name(), bet.last_name(), bet.document(), &birthdate, &number];
                csv.write_record(fields)?;
            }
        } else {
            csv.write_record(["agency", "document"])?;
            self.documents.iter().try_for_each(|document| csv.write_record([&agency, document]))?;
        }
        csv.flush()
    }

    fn json(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{{\"agency\": {}, \"winners\": [", self.agency)?;
        let mut separator = "";
        let mut put = |winner: Value| {
            let put = write!(out, "{separator}\n  {winner}");
            separator = ",";
            put
        };
        match self.bets {
            Some(bets) => bets.iter().try_for_each(|bet| {
                put(json!({
                    "first_name": bet.first_name(),
                    "last_name": bet.last_name(),
                    "document": bet.document(),
                    "birthdate": bet.birthdate().to_string(),
                    "number": bet.number(),
                }))
            })?,
            None => self.documents.iter().try_for_each(|document| put(json!({ "document": document })))?,
        }
        writeln!(out, "\n]}}")
    }
}

/// The file that is written before it gets its name: in the same folder, since a file can be renamed within a file
/// system only.
fn part_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut part = std::ffi::OsString::from(".");
    part.push(name);
    part.push(format!(".{}.part", std::process::id()));
    Ok(path.with_file_name(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_the_dialect_carries_is_in_the_file_and_nothing_else_in_the_folder() {
        let bet = Bet::from_text(b"Ana \"la\"", b"Paz, Sol", b"011", b"2000-01-02", b"7574").unwrap();
        let documents = ["011".to_owned()];
        let whole = Winners { agency: AgencyId(3), documents: &documents, bets: Some(&[bet]) };
        let documents_only = Winners { bets: None, ..whole };
        let none = Winners { documents: &[], ..documents_only };
        let folder = tempfile::tempdir().unwrap();
        for (winners, name, text) in [
            (
                whole,
                "w.csv",
                "agency,first_name,last_name,document,birthdate,number\n\
                 3,\"Ana \"\"la\"\"\",\"Paz, Sol\",011,2000-01-02,7574\n",
            ),
            (documents_only, "w.csv", "agency,document\n3,011\n"),
            (none, "w.csv", "agency,document\n"),
            (documents_only, "w.JSON", "{\"agency\": 3, \"winners\": [\n  {\"document\":\"011\"}\n]}\n"),
            (none, "w.JSON", "{\"agency\": 3, \"winners\": [\n]}\n"),
        ] {
            winners.write(&folder.path().join(name)).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), text);
        }
        whole.write(&folder.path().join("w.JSON")).unwrap();
        let read: Value = serde_json::from_slice(&fs::read(folder.path().join("w.JSON")).unwrap()).unwrap();
        assert_eq!(
            (&read["winners"][0]["last_name"], &read["winners"][0]["number"]),
            (&json!("Paz, Sol"), &json!(7574))
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let winners = Winners { agency: AgencyId(3), documents: &[], bets: None };
        assert!(winners.write(&folder.path().join("absent/w.csv")).is_err());
        fs::create_dir(folder.path().join("w.csv")).unwrap();
        assert!(winners.write(&folder.path().join("w.csv")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
