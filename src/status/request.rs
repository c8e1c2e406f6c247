//! Bytes to a request, and who may ask what: syntax by `httparse`, the rest by RFC 9112 and the bounds of `limits`.

use core::net::{Ipv4Addr, Ipv6Addr};

use httparse::{EMPTY_HEADER, Error, Header, Status};

use super::facts::Door;
use super::http::{Method, Request, Response};
use crate::limits;

/// The start of a buffer, read as a request.
#[derive(Debug)]
pub(super) enum Parsed<'a> {
    /// More bytes are needed.
    Incomplete,
    /// A whole request.
    Whole(Whole<'a>),
    /// It cannot be read; nothing behind it can be either.
    Refused(Response),
}

/// A whole request, and what its connection needs to know.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) request: Request<'a>,
    /// How long it is, with its body.
    pub(super) bytes: usize,
    /// The connection stays open after the answer.
    pub(super) keep_alive: bool,
    /// It speaks HTTP/1.0, in which staying open is said aloud.
    pub(super) is_old: bool,
}

/// What the header says that matters here.
#[derive(Debug, Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    origin: Option<&'a str>,
    accept_language: Option<&'a str>,
    accept: Option<&'a str>,
    length: Option<usize>,
    close: bool,
    keep: bool,
}

/// Reads the request at the start of `buffer`.
pub(super) fn parse(buffer: &[u8]) -> Parsed<'_> {
    let mut headers = [EMPTY_HEADER; limits::STATUS_HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let start = &buffer[..buffer.len().min(limits::STATUS_HEAD_BYTES_MAX)];
    match head.parse(start) {
        Ok(Status::Complete(bytes)) => whole(&head, bytes, buffer).unwrap_or_else(Parsed::Refused),
        Ok(Status::Partial) if start.len() < limits::STATUS_HEAD_BYTES_MAX => Parsed::Incomplete,
        Ok(Status::Partial) if !start.trim_ascii_start().contains(&b'\n') => {
            Parsed::Refused(Response::line(414, "the request line is too long"))
        }
        Ok(Status::Partial) | Err(Error::TooManyHeaders) => {
            Parsed::Refused(Response::line(431, "the header is too long, or has too many fields"))
        }
        Err(Error::Version) => Parsed::Refused(Response::line(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")),
        Err(Error::HeaderName | Error::HeaderValue | Error::NewLine | Error::Status | Error::Token) => {
            Parsed::Refused(bad("this is not a request of HTTP/1.1"))
        }
    }
}

fn whole<'a>(head: &httparse::Request<'_, 'a>, bytes: usize, buffer: &'a [u8]) -> Result<Parsed<'a>, Response> {
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        Some(_) | None => Method::Other,
    };
    let is_old = head.version == Some(0);
    let mut fields = fields(head.headers)?;
    let target = target(head.path.unwrap_or_default(), &mut fields)?;
    if fields.host.is_none() && !is_old {
        return Err(bad("HTTP/1.1 needs a Host"));
    }
    let length = fields.length.unwrap_or(0);
    if length > 0 && method == Method::Other {
        return Err(Response::not_allowed("GET, HEAD, POST"));
    }
    if length > 0 && method != Method::Post {
        return Err(bad("only a POST may have a body"));
    }
    if length > limits::STATUS_BODY_BYTES_MAX {
        return Err(Response::line(413, "the body is too long"));
    }
    let Some(body) = buffer.get(bytes..bytes + length) else { return Ok(Parsed::Incomplete) };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let Fields { host, origin, accept_language, accept, close, keep, .. } = fields;
    let request = Request { method, path, query, host, origin, accept_language, accept, body };
    let keep_alive = !close && (keep || !is_old);
    Ok(Parsed::Whole(Whole { request, bytes: bytes + length, keep_alive, is_old }))
}

/// The path and query of a target: those of its origin form, or of its absolute form, which also says the host.
fn target<'a>(target: &'a str, fields: &mut Fields<'a>) -> Result<&'a str, Response> {
    if target.starts_with('/') {
        return Ok(target);
    }
    let absolute =
        target.split_at_checked("http://".len()).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http://"));
    let Some((_, rest)) = absolute else { return Err(bad("the target must be a path")) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    fields.host = Some(authority);
    Ok(if path.is_empty() { "/" } else { path })
}

fn fields<'a>(headers: &[Header<'a>]) -> Result<Fields<'a>, Response> {
    let mut fields = Fields::default();
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let text = std::str::from_utf8(header.value).ok().map(str::trim);
        if is("Host") {
            if fields.host.is_some() || text.is_none() {
                return Err(bad("there must be one Host"));
            }
            fields.host = text;
        } else if is("Origin") {
            // What cannot be read is still there.
            fields.origin = Some(text.unwrap_or("?"));
        } else if is("Accept-Language") {
            fields.accept_language = text;
        } else if is("Accept") {
            fields.accept = text;
        } else if is("Content-Length") {
            let length = text.and_then(length).filter(|_| fields.length.is_none());
            fields.length = Some(length.ok_or_else(|| bad("there must be one Content-Length, a number"))?);
        } else if is("Transfer-Encoding") {
            return Err(Response::line(501, "bodies come with a Content-Length here"));
        } else if is("Expect") {
            return Err(Response::line(417, "no expectation is met here"));
        } else if is("Connection") {
            let has = |word| text.unwrap_or_default().split(',').any(|it| it.trim().eq_ignore_ascii_case(word));
            fields.close |= has("close");
            fields.keep |= has("keep-alive");
        }
    }
    Ok(fields)
}

/// Digits only; a number that no `usize` holds is the longest length.
fn length(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(usize::MAX))
}

fn bad(line: &str) -> Response {
    Response::line(400, line)
}

/// Why a request that came in by `door` is not answered, if it is not. `names` are the host names of this service besides
/// IP addresses and `localhost`.
///
/// A web page that a browser shows may send requests to any address that the browser reaches. It cannot read the answers of
/// another origin, unless its own name is made to resolve to the address of this service (DNS rebinding): then `Host` has
/// the page's name. What changes something must not come from a page at all: a browser puts an `Origin` on it.
pub(super) fn refusal(request: &Request<'_>, door: Door, names: &[String]) -> Option<Response> {
    if !request.method.is_safe() {
        if door == Door::Network {
            return Some(Response::not_allowed("GET, HEAD"));
        }
        if request.origin.is_some() {
            return Some(Response::line(403, "a page in a browser may only read"));
        }
    }
    let is_ours = door == Door::Local || request.host.is_none_or(|host| is_ours(host, names));
    (!is_ours).then(|| Response::line(421, "this Host is not a name of the hub; use its IP address, or localhost"))
}

/// Whether a `Host` is an IP address, `localhost` or one of `names`, with any port: a port may be forwarded.
fn is_ours(host: &str, names: &[String]) -> bool {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<Ipv4Addr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|it| !it.is_empty() && name.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Parsed::Incomplete => 0,
            Parsed::Whole(_) => 200,
            Parsed::Refused(response) => response.status,
        }
    }

    #[test]
    fn requests_are_read_as_the_standard_says() {
        let long = "a".repeat(limits::STATUS_HEAD_BYTES_MAX);
        let many = "A: b\r\n".repeat(limits::STATUS_HEADERS_MAX + 1);
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET / HTTP/1.0\r\n\r\n", 200),
            ("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", 0),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET / HTTP/1.1\r\nHost: a\r\n", 0),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", 405),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n b: folded\r\n\r\n", 400),
            ("\x16\x03\x01\x02", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", 417),
            ("GET / HTTP/2.0\r\n\r\n", 505),
            (&format!("GET /{long}"), 414),
            (&format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}"), 431),
            (&format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n"), 431),
            (&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        ] {
            assert_eq!(status(text), expected, "{text}");
        }
    }

    #[test]
    fn parts_of_a_request_are_where_they_were() {
        let text =
            "POST http://h:1/a?b=c HTTP/1.0\r\nHost: x\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nabGET";
        let Parsed::Whole(whole) = parse(text.as_bytes()) else { panic!("it is whole") };
        let request = whole.request;
        assert_eq!((request.path, request.query, request.host), ("/a", Some("b=c"), Some("h:1")));
        assert_eq!((request.body, whole.bytes), (&b"ab"[..], text.len() - 3));
        assert!(whole.keep_alive && whole.is_old);
    }

    #[test]
    fn a_host_is_an_address_or_a_known_name() {
        let names = ["Server".to_owned(), String::new()];
        for host in ["127.0.0.1", "127.0.0.1:9100", "[::1]", "[::1]:80", "localhost:1", "LOCALHOST.", "server:9100"] {
            assert!(is_ours(host, &names), "{host}");
        }
        for host in
            ["", ":80", "evil.example", "127.0.0.1.evil.example", "[evil]", "localhost.evil", "server.x", "[::1"]
        {
            assert!(!is_ours(host, &names), "{host}");
        }
    }
}
