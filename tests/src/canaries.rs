//! What must stand in no log, span or metric, looked for behind every test: e-mail addresses, passwords,
//! tokens, the database's password. Every test's members, credentials and databases are the canaries.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use regex::Regex;
use roster_stack::ports::free_port;
use tonic::{Request, Response, Status, transport::Server};

use crate::world::BOOTSTRAP;

/// The password that every new user of the tests comes with.
pub const PASSWORD: &str = "1mz050nq-throw-away";

/// The most of a place that is shown.
const SHOWN: usize = 300;

/// Whether what has one of these forms is told nowhere.
fn forms() -> &'static Regex {
    static FORMS: OnceLock<Regex> = OnceLock::new();
    FORMS.get_or_init(|| {
        let alternatives = [
            // An e-mail address.
            r"[A-Za-z0-9._%+-]+(@|%40)[A-Za-z0-9-]+\.[A-Za-z]{2,}",
            // A token.
            r"roster_(all|[0-9A-Za-z]{22})_[0-9A-Za-z]{20,}",
            // A password in the address of a database.
            r"postgres(ql)?://[^\s:/@]*:[^\s@]+@",
            &regex::escape(PASSWORD),
            &regex::escape(BOOTSTRAP),
        ];
        Regex::new(&alternatives.join("|")).unwrap()
    })
}

/// The places in `text` (of a log, say) that must not be there, each with the line it is in.
pub fn of(name: &str, text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| forms().is_match(line));
    lines
        .map(|line| format!("{name}: {}", line.chars().take(SHOWN).collect::<String>()))
        .collect()
}

static IN_SPANS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The same for all spans that were exported to [`endpoint`] since this was last asked.
pub fn in_spans() -> Vec<String> {
    std::mem::take(&mut IN_SPANS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Looks through the spans that it is sent, and keeps none.
struct Watchdog;

#[tonic::async_trait]
impl TraceService for Watchdog {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter();
        let spans = spans.flat_map(|resource| resource.scope_spans);
        for span in spans.flat_map(|scope| scope.spans) {
            // Names, attributes, events, links and status: all of it.
            let found = of("span", &format!("{span:?}"));
            IN_SPANS
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(found);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Where the services of all tests send their spans, unless a test has a collector of its own.
pub fn endpoint() -> String {
    static PORT: OnceLock<u16> = OnceLock::new();
    let port = PORT.get_or_init(|| {
        let port = free_port().unwrap();
        // A thread of its own: it outlives each test's runtime.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let server = Server::builder().add_service(TraceServiceServer::new(Watchdog));
            runtime
                .block_on(server.serve(([127, 0, 0, 1], port).into()))
                .unwrap();
        });
        port
    });
    format!("http://127.0.0.1:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_told_is_found() {
        for secret in [
            "member=ada@acme.example",
            "filter=userName%20eq%20ada%40acme.example",
            "roster_all_0123456789abcdefghijklmnop",
            "postgres://roster:secret@127.0.0.1/roster",
            PASSWORD,
            BOOTSTRAP,
        ] {
            assert_eq!(
                of("log", &format!("a line\nb {secret} c")).len(),
                1,
                "{secret}"
            );
        }
        for fine in [
            "roster_requests_total 1",
            "CB/acme/ROLE/Admin",
            "user@",
            "postgres://host/db",
        ] {
            assert!(of("log", fine).is_empty(), "{fine}");
        }
    }
}
