//! PostgreSQL's messages (protocol 3.0, <https://www.postgresql.org/docs/15/protocol-message-formats.html>) and its binary
//! values, written from the manual alone.

use super::tables::Uuid;

/// An error or a warning of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub severity: &'static str,
    pub code: &'static str,
    pub message: String,
    pub constraint: Option<&'static str>,
    pub routine: Option<&'static str>,
}

impl Report {
    pub fn error(code: &'static str, message: &str) -> Report {
        Report { severity: "ERROR", code, message: message.to_owned(), constraint: None, routine: None }
    }

    pub fn fatal(code: &'static str, message: &str) -> Report {
        Report { severity: "FATAL", ..Report::error(code, message) }
    }

    /// One of a function of the server's source.
    pub fn warning(routine: &'static str, message: &str) -> Report {
        Report { severity: "WARNING", routine: Some(routine), ..Report::error("01000", message) }
    }

    pub fn broken(constraint: &'static str, code: &'static str) -> Report {
        let message = format!("row violates constraint \"{constraint}\"");
        Report { constraint: Some(constraint), ..Report::error(code, &message) }
    }
}

/// What does not decode.
pub fn malformed() -> Report {
    Report::error("08P01", "invalid message")
}

/// Reads the fields of a message.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Report> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Report> {
        self.bytes(N)?.try_into().map_err(|_| malformed())
    }

    pub fn u8(&mut self) -> Result<u8, Report> {
        Ok(self.fixed::<1>()?[0])
    }

    pub fn i16(&mut self) -> Result<i16, Report> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Report> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub fn text(&mut self) -> Result<String, Report> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let text = String::from_utf8(self.bytes(end)?.to_vec()).map_err(|_| malformed())?;
        self.u8()?;
        Ok(text)
    }

    /// A value with its length in front; -1 is NULL.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, Report> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        self.bytes(usize::try_from(length).map_err(|_| malformed())?).map(Some)
    }
}

/// Values of a `Bind`, all binary.
pub struct Params(pub Vec<Option<Vec<u8>>>);

impl Params {
    /// `$number`, which is not NULL.
    fn raw(&self, number: usize) -> Result<&[u8], Report> {
        let value = self.0.get(number - 1).and_then(|value| value.as_deref());
        value.ok_or_else(|| Report::error("22023", &format!("${number} is missing")))
    }

    fn fixed<const N: usize>(&self, number: usize) -> Result<[u8; N], Report> {
        self.raw(number)?.try_into().map_err(|_| Report::error("22P03", &format!("${number} has another length")))
    }

    pub fn int4(&self, number: usize) -> Result<i32, Report> {
        self.fixed(number).map(i32::from_be_bytes)
    }

    pub fn int8(&self, number: usize) -> Result<i64, Report> {
        self.fixed(number).map(i64::from_be_bytes)
    }

    pub fn uuid(&self, number: usize) -> Result<Uuid, Report> {
        self.fixed(number)
    }

    pub fn text(&self, number: usize) -> Result<String, Report> {
        String::from_utf8(self.raw(number)?.to_vec()).map_err(|_| Report::error("22021", "not UTF-8"))
    }

    /// An array without NULLs, of elements of the type whose OID is `oid`.
    fn array<T>(&self, number: usize, oid: i32, each: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, Report> {
        let mut reader = Reader(self.raw(number)?);
        let (dimensions, _has_nulls, element) = (reader.i32()?, reader.i32()?, reader.i32()?);
        if element != oid {
            return Err(Report::error("42804", &format!("${number} has elements of type {element}, not {oid}")));
        }
        if dimensions == 0 {
            return Ok(Vec::new());
        }
        let (length, _lower) = (reader.i32()?, reader.i32()?);
        let wrong = || Report::error("22P03", &format!("${number} has a wrong element"));
        let elements =
            (0..length).map(|_| reader.value()?.and_then(&each).ok_or_else(wrong)).collect::<Result<_, _>>()?;
        if dimensions == 1 && reader.0.is_empty() { Ok(elements) } else { Err(wrong()) }
    }

    pub fn int4s(&self, number: usize) -> Result<Vec<i32>, Report> {
        self.array(number, 23, |bytes| bytes.try_into().ok().map(i32::from_be_bytes))
    }

    pub fn int8s(&self, number: usize) -> Result<Vec<i64>, Report> {
        self.array(number, 20, |bytes| bytes.try_into().ok().map(i64::from_be_bytes))
    }

    pub fn bools(&self, number: usize) -> Result<Vec<bool>, Report> {
        self.array(number, 16, |bytes| bytes.first().map(|byte| *byte != 0))
    }

    pub fn texts(&self, number: usize) -> Result<Vec<Vec<u8>>, Report> {
        self.array(number, 25, |bytes| Some(bytes.to_vec()))
    }
}

/// A value of a result row, in both formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    Int4(i32),
    Int8(i64),
    Text(Vec<u8>),
    /// Microseconds since 2000.
    Time(i64),
    /// What a function without a result returns.
    Void,
}

impl Value {
    pub fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    fn encode(&self, binary: bool) -> Option<Vec<u8>> {
        let bytes = match self {
            Value::Null => return None,
            Value::Void => Vec::new(),
            Value::Text(text) => text.clone(),
            Value::Bool(value) if binary => vec![u8::from(*value)],
            Value::Int4(value) if binary => value.to_be_bytes().to_vec(),
            Value::Int8(value) | Value::Time(value) if binary => value.to_be_bytes().to_vec(),
            Value::Bool(value) => vec![if *value { b't' } else { b'f' }],
            Value::Int4(value) => value.to_string().into_bytes(),
            Value::Int8(value) | Value::Time(value) => value.to_string().into_bytes(),
        };
        Some(bytes)
    }
}

/// Takes the next message of `inbox`: its tag (0 for what has none, before the session has begun) and its body.
pub fn take(inbox: &mut Vec<u8>, begun: bool) -> Result<Option<(u8, Vec<u8>)>, Report> {
    let tag_bytes = usize::from(begun);
    let Some(length) = inbox.get(tag_bytes..tag_bytes + 4) else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(length.try_into().unwrap())).map_err(|_| malformed())?;
    if !(4..1 << 30).contains(&length) {
        return Err(malformed());
    }
    let end = tag_bytes + length;
    if inbox.len() < end {
        return Ok(None);
    }
    let tag = if begun { inbox[0] } else { 0 };
    let body = inbox[tag_bytes + 4..end].to_vec();
    inbox.drain(..end);
    Ok(Some((tag, body)))
}

/// Writes a message.
pub fn put(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend(i32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
}

pub fn put_report(out: &mut Vec<u8>, report: &Report) {
    let tag = if report.severity == "WARNING" { b'N' } else { b'E' };
    let mut body = Vec::new();
    let mut field = |kind: u8, text: &str| {
        body.push(kind);
        body.extend(text.as_bytes());
        body.push(0);
    };
    field(b'S', report.severity);
    field(b'V', report.severity);
    field(b'C', report.code);
    field(b'M', &report.message);
    if let Some(constraint) = report.constraint {
        field(b'n', constraint);
    }
    if let Some(routine) = report.routine {
        field(b'R', routine);
    }
    body.push(0);
    put(out, tag, &body);
}

pub fn put_row(out: &mut Vec<u8>, row: &[Value], binary: bool) {
    let mut body = i16::try_from(row.len()).unwrap().to_be_bytes().to_vec();
    for value in row {
        match value.encode(binary) {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(bytes) => {
                body.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
                body.extend(bytes);
            }
        }
    }
    put(out, b'D', &body);
}

/// A `RowDescription` of columns that have a name and a type's OID.
pub fn put_columns(out: &mut Vec<u8>, columns: &[(&str, i32)], binary: bool) {
    let mut body = i16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (name, oid) in columns {
        body.extend(name.as_bytes());
        body.push(0);
        body.extend([0; 6]); // No table, no column of it.
        body.extend(oid.to_be_bytes());
        body.extend((-1_i16).to_be_bytes());
        body.extend((-1_i32).to_be_bytes());
        body.extend(i16::from(binary).to_be_bytes());
    }
    put(out, b'T', &body);
}
