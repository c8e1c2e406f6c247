//! Which paths there are, and who may ask for which how.

use super::facts::Door;
use super::http::{Method, Request, Response};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`.
    Page,
    /// `/healthz`.
    Healthy,
    /// `/readyz`.
    Ready,
    /// `/metrics`.
    Metrics,
    /// `/status.json`.
    Status,
    /// `/connections.json`.
    Connections,
    /// `/events`.
    Events,
    /// `/trace.json`.
    Trace,
    /// `/winners.json`.
    Winners,
    /// `/log-level`.
    LogLevel,
}

impl Route {
    /// What `request` asks for, where `door` serves it.
    ///
    /// # Errors
    /// What is answered instead.
    pub fn of(request: &Request<'_>, door: Door) -> Result<Route, Response> {
        let route = Route::of_path(request.path).ok_or_else(Response::not_found)?;
        let reads = request.method.is_safe();
        match route {
            Route::Winners | Route::LogLevel if door == Door::Network => {
                Err(Response::line(403, "only over the Unix socket beside the store"))
            }
            Route::LogLevel if request.method != Method::Post => Err(Response::not_allowed("POST")),
            Route::LogLevel => Ok(route),
            Route::Page
            | Route::Healthy
            | Route::Ready
            | Route::Metrics
            | Route::Status
            | Route::Connections
            | Route::Events
            | Route::Trace
            | Route::Winners => reads.then_some(route).ok_or_else(|| Response::not_allowed("GET, HEAD")),
        }
    }

    fn of_path(path: &str) -> Option<Route> {
        Some(match path {
            "/" => Route::Page,
            "/healthz" => Route::Healthy,
            "/readyz" => Route::Ready,
            "/metrics" => Route::Metrics,
            "/status.json" => Route::Status,
            "/connections.json" => Route::Connections,
            "/events" => Route::Events,
            "/trace.json" => Route::Trace,
            "/winners.json" => Route::Winners,
            "/log-level" => Route::LogLevel,
            _ => return None,
        })
    }
}
