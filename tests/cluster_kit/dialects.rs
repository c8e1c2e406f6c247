//! The words of four dialects, as a client says them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{binary, binary_bet};

/// Longer than any failover here takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// A bet; its text fields are the same in all dialects, and need no escapes.
#[derive(Clone, Debug)]
pub struct Bet {
    pub document: u32,
    pub number: u32,
}

impl Bet {
    /// Its row as it is stored.
    pub fn row(&self, agency: u32) -> String {
        format!("{agency},Ana,Paz,{:08},1999-03-17,{}", self.document, self.number)
    }
}

/// Batch `number` of an agency: two bets, with documents of their own.
pub fn batch(number: u32) -> Vec<Bet> {
    let lucky = number.is_multiple_of(97);
    (0..2)
        .map(|nth| Bet { document: 10_000_000 + 2 * number + nth, number: if lucky && nth == 1 { 7574 } else { nth } })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Native,
    Binary,
    Text,
    KeyValue,
}

/// A connection.
pub struct Link {
    stream: BufReader<TcpStream>,
}

fn wrong(what: impl std::fmt::Debug) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what:?}"))
}

impl Link {
    pub fn connect(address: &str) -> io::Result<Link> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Link { stream: BufReader::new(stream) })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn exactly(&mut self, size: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_be_bytes(self.exactly(4)?.try_into().map_err(wrong)?))
    }

    /// A message of `text` or `key-value`.
    fn message(&mut self, dialect: Dialect) -> io::Result<String> {
        let size = if dialect == Dialect::Text {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            line.trim().parse().map_err(wrong)?
        } else {
            self.u32()? as usize
        };
        String::from_utf8(self.exactly(size)?).map_err(wrong)
    }

    /// Whether a batch of a lockstep dialect was accepted.
    pub fn answer(&mut self, dialect: Dialect) -> io::Result<()> {
        match dialect {
            Dialect::Binary => match self.exactly(1)?[0] {
                0 => Ok(()),
                other => Err(wrong(other)),
            },
            Dialect::Text | Dialect::KeyValue | Dialect::Native => {
                let answer = self.message(dialect)?;
                if answer == "ACK" || answer.contains("STATUS:SUCCESS") { Ok(()) } else { Err(wrong(answer)) }
            }
        }
    }

    /// A frame of `native`: its kind, and what it carries.
    pub fn native(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let size = self.u32()? as usize;
        let mut content = self.exactly(size)?;
        content.truncate(size - 4);
        Ok((content.remove(0), content))
    }

    /// The greeting of `native`: the number of the batch that the hub waits for.
    pub fn greet(&mut self, agency: u32) -> io::Result<u32> {
        self.send(&[&[0xB7, b'L', b'N', 1][..], &agency.to_be_bytes()].concat())?;
        let welcome = self.exactly(13)?;
        if welcome[..5] != [0xB7, b'L', b'N', 1, 0] {
            return Err(wrong(welcome));
        }
        number(&welcome[5..])
    }

    /// Finishes and asks; `None`: there is no draw yet.
    pub fn winners(&mut self, dialect: Dialect, agency: u32) -> io::Result<Option<Vec<u32>>> {
        match dialect {
            Dialect::Native => {
                self.send(&native_frame(2, &[]))?;
                match self.native()?.0 {
                    0x83 => self.ask_native().map(Some),
                    other => Err(wrong(other)),
                }
            }
            Dialect::Binary => {
                self.send(&binary(2, &[agency], b""))?;
                self.answer(dialect)?;
                self.send(&binary(3, &[agency], b""))?;
                self.binary_winners()
            }
            Dialect::Text => {
                self.send(&text_frame(&format!("GET_WINNERS|{agency}")))?;
                let answer = self.message(dialect)?;
                if answer == "ERROR_LOTTERY_HASNT_ENDED" {
                    return Ok(None);
                }
                answer
                    .lines()
                    .map(|row| row.split('|').nth(2).and_then(|it| it.parse().ok()).ok_or_else(|| wrong(row)))
                    .collect::<Result<_, _>>()
                    .map(Some)
            }
            Dialect::KeyValue => {
                self.send(&key_value_frame(&format!("ACTION:FINISH_BETTING|AGENCY_ID:{agency}\n")))?;
                let answer = self.message(dialect)?;
                if !answer.contains("STATUS:SUCCESS") {
                    return Err(wrong(answer));
                }
                let winners = answer
                    .trim_end()
                    .split('|')
                    .find_map(|pair| pair.strip_prefix("WINNERS:"))
                    .ok_or_else(|| wrong(&answer))?;
                winners
                    .split(',')
                    .filter(|it| !it.is_empty())
                    .map(|it| it.parse().map_err(wrong))
                    .collect::<Result<_, _>>()
                    .map(Some)
            }
        }
    }

    /// The answer to a query of `binary`; `None`: not yet.
    pub fn binary_winners(&mut self) -> io::Result<Option<Vec<u32>>> {
        if self.exactly(1)?[0] != 0 {
            return Ok(None);
        }
        (0..self.u32()?).map(|_| self.u32()).collect::<io::Result<_>>().map(Some)
    }

    /// Asks for the winners in `native`.
    pub fn ask_native(&mut self) -> io::Result<Vec<u32>> {
        self.send(&native_frame(3, &[]))?;
        let (kind, body) = self.native()?;
        if kind != 0x84 {
            return Err(wrong((kind, body)));
        }
        let mut rest = &body[4..];
        let mut documents = Vec::new();
        while !rest.is_empty() {
            let mut document = "";
            for _ in 0..3 {
                let size = usize::from(rest[0]);
                document = std::str::from_utf8(&rest[1..=size]).map_err(wrong)?;
                rest = &rest[1 + size..];
            }
            rest = &rest[8..];
            documents.push(document.parse().map_err(wrong)?);
        }
        Ok(documents)
    }
}

/// A batch's number, which is small here.
pub fn number(bytes: &[u8]) -> io::Result<u32> {
    let number = u64::from_be_bytes(bytes[..8].try_into().map_err(wrong)?);
    u32::try_from(number).map_err(wrong)
}

pub fn native_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let checked = [&[kind], body].concat();
    let size = u32::try_from(checked.len() + 4).unwrap();
    [&size.to_be_bytes()[..], &checked, &crc32c::crc32c(&checked).to_be_bytes()].concat()
}

fn text_frame(message: &str) -> Vec<u8> {
    format!("{}\n{message}", message.len()).into_bytes()
}

fn key_value_frame(payload: &str) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    [&size.to_be_bytes()[..], payload.as_bytes()].concat()
}

/// Batch `number` on the wire.
pub fn batch_bytes(dialect: Dialect, agency: u32, number: u32) -> Vec<u8> {
    let bets = batch(number);
    match dialect {
        Dialect::Native => {
            let mut body = u64::from(number).to_be_bytes().to_vec();
            body.extend(2_u16.to_be_bytes());
            for bet in bets {
                body.extend(b"\x03Ana\x03Paz\x08");
                body.extend(format!("{:08}", bet.document).bytes());
                body.extend(19_990_317_u32.to_be_bytes());
                body.extend(bet.number.to_be_bytes());
            }
            native_frame(1, &body)
        }
        Dialect::Binary => {
            let bets: Vec<u8> =
                bets.iter().flat_map(|bet| binary_bet("Ana", "Paz", bet.document, 19_990_317, bet.number)).collect();
            binary(1, &[agency, 2], &bets)
        }
        Dialect::Text => {
            let lines: Vec<String> = bets
                .iter()
                .map(|bet| format!("Ana|Paz|{:08}|1999-03-17|{}|{agency}", bet.document, bet.number))
                .collect();
            text_frame(&lines.join("\n"))
        }
        Dialect::KeyValue => {
            let value = |bet: &Bet| {
                format!(
                    "NOMBRE:Ana:APELLIDO:Paz:DOCUMENTO:{:08}:NACIMIENTO:1999-03-17:NUMERO:{}:AGENCY_ID:{agency}",
                    bet.document, bet.number
                )
            };
            key_value_frame(&format!("BATCH_SIZE:2|BET_1:{}|BET_2:{}\n", value(&bets[0]), value(&bets[1])))
        }
    }
}
