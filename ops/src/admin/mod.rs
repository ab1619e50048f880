//! The admin endpoint that `istioctl ztunnel-config` and people ask (interfaces §4.1); it must only listen on localhost.

mod certificate;
pub mod dump;
mod logging;
mod state;
pub mod undump;

use std::sync::Arc;

pub use self::certificate::{Certificate, CertificateError, CertificateState, CertificateStatus};
pub use self::state::{AdminState, ProxyState, ProxyStatus, Version};
use crate::http::{Body, Handler, Method, Request, Response};
use crate::logging::Levels;

/// The admin pages over a process's state.
#[derive(Debug)]
pub struct Admin<S> {
    state: Arc<S>,
    levels: Arc<Levels>,
    /// Pages of others, for the first page.
    more: &'static [(&'static str, &'static str)],
}

/// What the first page lists.
const PAGES: [(&str, &str); 6] = [
    ("config_dump", "tables, certificates, connections and configuration as JSON"),
    ("capture", "whether the connections of each pod come to this proxy, as JSON"),
    ("logging", "POST: query or change log levels"),
    ("quitquitquit", "POST: drain and end"),
    ("debug/pprof/profile", "not available"),
    ("debug/pprof/heap", "not available"),
];

impl<S: AdminState> Admin<S> {
    /// Pages that show `state` and change `levels`.
    #[must_use]
    pub const fn new(state: Arc<S>, levels: Arc<Levels>) -> Self {
        Self { state, levels, more: &[] }
    }

    /// The first page lists these as well, each by its path and what it is: whoever has them answers for them.
    #[must_use]
    pub fn listing(self, more: &'static [(&'static str, &'static str)]) -> Self {
        Self { more, ..self }
    }

    fn quit(&self, method: Method) -> Response {
        if method != Method::Post {
            return Response::not_allowed("POST", "Invalid HTTP method: POST is needed\n");
        }
        self.state.shut_down();
        Response::text(200, "shutdown now\n")
    }

    fn index(&self) -> Response {
        let rows: String = PAGES
            .iter()
            .chain(self.more)
            .map(|(path, what)| format!("<tr><td><a href=\"{path}\">{path}</a></td><td>{what}</td></tr>\n"))
            .collect();
        let page = format!(
            "<!doctype html>\n<html><head><title>Adit</title></head><body><h1>Adit</h1>\n<table>\n{rows}</table>\n\
             </body></html>\n"
        );
        Response::ok("text/html; charset=utf-8", Body::Whole(page.into()))
    }
}

impl<S: AdminState> Handler for Admin<S> {
    fn answer(&self, request: &Request) -> Response {
        match request.target.path.as_str() {
            "/" => self.index(),
            "/config_dump" => {
                let chunks = dump::Dump::of(&*self.state);
                Response::ok("application/json", Body::Chunks(Box::new(chunks)))
            }
            "/capture" => match serde_json::to_vec(&self.state.captures()) {
                Ok(text) => Response::ok("application/json", Body::Whole(text.into())),
                Err(error) => Response::text(500, format!("{error}\n")),
            },
            "/logging" => logging::answer(&self.levels, request),
            "/quitquitquit" => self.quit(request.method),
            "/debug/pprof/profile" | "/debug/pprof/heap" | "/debug/pprof/heap/profiling" => {
                Response::text(501, "profiles are not made here: use perf(1) or heaptrack on the process\n")
            }
            _ => Response::not_found(),
        }
    }
}

#[cfg(test)]
mod tests;
