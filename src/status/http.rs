//! One request and its answer, as `connection` reads and writes them: the part of HTTP/1.1 (RFC 9112) that the status
//! service speaks.

use std::rc::Rc;

/// Text for a person or a script: one line.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// Answers for programs.
pub const JSON: &str = "application/json";
/// The page.
pub const HTML: &str = "text/html; charset=utf-8";

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`: what `GET` would be answered, without its body. Who answers may treat it as a `GET`.
    Head,
    /// `POST`, which reaches an answer over the Unix socket only.
    Post,
    /// Any other.
    Other,
}

/// One request, whole and checked: its `Host` and `Origin` are those of a viewer that may ask.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What it asks for.
    pub method: Method,
    /// The path, as sent, without the query; begins with `/`.
    pub path: &'a str,
    /// What follows the first `?`.
    pub query: Option<&'a str>,
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Accept-Language`.
    pub accept_language: Option<&'a str>,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// What came with a `POST`; no more than `STATUS_BODY_BYTES_MAX` (`limits`).
    pub body: &'a [u8],
}

impl Method {
    /// Whether it only reads.
    pub fn is_safe(self) -> bool {
        matches!(self, Method::Get | Method::Head)
    }
}

/// An answer. Its length, connection and security headers are the connection's matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// A cache may keep it for a while; otherwise `Cache-Control: no-store`.
    pub cache: bool,
    /// `Allow`, of a 405: the methods that the path has.
    pub allow: Option<&'static str>,
    /// What is sent, except to a `HEAD`.
    pub body: Rc<[u8]>,
}

impl Response {
    /// An answer that is not cached.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Rc<[u8]>>) -> Response {
        Response { status, content_type, cache: false, allow: None, body: body.into() }
    }

    /// One line of text, to which the line's end is added.
    pub fn line(status: u16, line: &str) -> Response {
        Response::new(status, TEXT, format!("{line}\n").into_bytes())
    }

    /// 404.
    pub fn not_found() -> Response {
        Response::line(404, "there is no such path; / is the page")
    }

    /// 405: the path has only these methods.
    pub fn not_allowed(allow: &'static str) -> Response {
        Response { allow: Some(allow), ..Response::line(405, &format!("only {allow} can be asked of this path")) }
    }
}

/// The standard words of a status code that this service answers (RFC 9110, 15).
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}
