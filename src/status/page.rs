//! The page at `/`.

/// One HTML document with its styles and its program.
pub const PAGE: &[u8] = include_bytes!("page.html");
