//! One log line: a tracing layer that turns an event and its spans into plain text or JSON.
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{ACCESS, Format};

/// What plain lines cut from targets, as upstream cuts its own crate's name.
const CRATE_PREFIXES: [&str; 2] = ["adit_node::", "adit_control::"];

/// Where a line belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The access log.
    Access,
    /// Progress and state of the process.
    Process,
}

/// Takes finished lines, each ending in a newline.
pub trait Sink: Send + Sync + 'static {
    /// Whether lines of `stream` may carry terminal colours.
    fn colours(&self, stream: Stream) -> bool {
        let _ = stream;
        false
    }
    /// Takes one line.
    fn line(&self, stream: Stream, line: &[u8]);
}

impl<F: Fn(Stream, &[u8]) + Send + Sync + 'static> Sink for F {
    fn line(&self, stream: Stream, line: &[u8]) {
        self(stream, line);
    }
}

/// The layer that formats.
#[derive(Debug)]
pub struct LineLayer<S> {
    format: Format,
    sink: S,
}

impl<S: Sink> LineLayer<S> {
    /// A layer that writes lines of `format` to `sink`.
    pub const fn new(format: Format, sink: S) -> Self {
        Self { format, sink }
    }
}

/// A field's value, kept apart by how it is printed.
#[derive(Clone, Debug)]
enum Value {
    /// Quoted in plain lines.
    Text(String),
    /// Printed as it is in plain lines, a string in JSON.
    Display(String),
    /// A number or a boolean: printed as it is in both.
    Bare(String),
}

/// The fields of an event or a span, in declaration order; the message apart.
#[derive(Clone, Debug, Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            let (Value::Text(text) | Value::Display(text) | Value::Bare(text)) = value;
            self.message = text;
        } else {
            self.rest.push((field.name(), value));
        }
    }

    fn plain(&self, out: &mut String) {
        for (i, (key, value)) in self.rest.iter().enumerate() {
            let separator = if i == 0 { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = match value {
                Value::Text(text) => write!(out, "{separator}{key}={text:?}"),
                Value::Display(text) | Value::Bare(text) => {
                    write!(out, "{separator}{key}={}", OneLine(text))
                }
            };
        }
    }

    fn json(&self, out: &mut String, mut first: bool) {
        for (key, value) in &self.rest {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            json_string(out, key);
            out.push(':');
            match value {
                Value::Text(text) | Value::Display(text) => json_string(out, text),
                Value::Bare(text) => out.push_str(text),
            }
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::Text(value.to_owned()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Bare(value.to_string()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Bare(value.to_string()));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bare(value.to_string()));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinities.
        let text = value.to_string();
        self.push(field, if value.is_finite() { Value::Bare(text) } else { Value::Text(text) });
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, Value::Display(format!("{value:?}")));
    }
}

/// Text with line breaks and other control characters escaped, so that one event stays one line.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

fn json_string(out: &mut String, text: &str) {
    // Serialising a string to a string cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

const fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The terminal colour of a level: red, yellow, green, blue, grey.
const fn level_colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 90,
    }
}

/// One enclosing span: its name and fields.
struct Enclosing {
    name: &'static str,
    fields: Fields,
}

/// What a line is made from.
struct Line<'a> {
    time: &'a str,
    level: Level,
    target: &'a str,
    spans: &'a [Enclosing],
    fields: &'a Fields,
}

impl Line<'_> {
    fn plain(&self, colours: bool) -> String {
        let mut out = String::with_capacity(256);
        let level = level_word(self.level);
        // Writing to a String cannot fail.
        let _ = match colours {
            true => write!(out, "{}\t\x1b[{}m{level}\x1b[0m\t", self.time, level_colour(self.level)),
            false => write!(out, "{}\t{level}\t", self.time),
        };
        let short = CRATE_PREFIXES.iter().find_map(|prefix| self.target.strip_prefix(prefix));
        out.push_str(short.unwrap_or(self.target));
        for span in self.spans {
            let _ = write!(out, ":{}{{", span.name);
            span.fields.plain(&mut out);
            out.push('}');
        }
        let _ = write!(out, "\t{}\t", OneLine(&self.fields.message));
        self.fields.plain(&mut out);
        out.push('\n');
        out
    }

    fn json(&self) -> String {
        let mut out = String::with_capacity(320);
        // Writing to a String cannot fail. Neither level nor time need escapes.
        let _ =
            write!(out, "{{\"level\":\"{}\",\"time\":\"{}\",\"scope\":", level_word(self.level), self.time);
        json_string(&mut out, self.target);
        out.push_str(",\"message\":");
        json_string(&mut out, &self.fields.message);
        self.fields.json(&mut out, false);
        for span in self.spans {
            out.push(',');
            json_string(&mut out, span.name);
            out.push_str(":{");
            span.fields.json(&mut out, true);
            out.push('}');
        }
        out.push_str("}\n");
        out
    }
}

impl<C, S> Layer<C> for LineLayer<S>
where
    C: Subscriber + for<'l> LookupSpan<'l>,
    S: Sink,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, C>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, C>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, C>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans: Vec<Enclosing> = context
            .event_scope(event)
            .map(|scope| {
                scope
                    .from_root()
                    .map(|span| Enclosing {
                        name: span.name(),
                        fields: span.extensions().get::<Fields>().cloned().unwrap_or_default(),
                    })
                    .collect()
            })
            .unwrap_or_default();
        let metadata = event.metadata();
        let stream = if metadata.target() == ACCESS { Stream::Access } else { Stream::Process };
        let time = format!("{:.6}", jiff::Timestamp::now());
        let line = Line {
            time: &time,
            level: *metadata.level(),
            target: metadata.target(),
            spans: &spans,
            fields: &fields,
        };
        let text = match self.format {
            Format::Plain => line.plain(self.sink.colours(stream)),
            Format::Json => line.json(),
        };
        self.sink.line(stream, text.as_bytes());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Runs `body` with a subscriber and returns the lines it logged.
    pub(crate) fn capture(filter: &str, format: Format, body: impl FnOnce()) -> Vec<(Stream, String)> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let sink = move |stream, line: &[u8]| {
            seen.lock().unwrap().push((stream, String::from_utf8(line.to_vec()).unwrap()));
        };
        let (subscriber, _levels) = super::super::subscriber(filter, format, sink).unwrap();
        tracing::subscriber::with_default(subscriber, body);
        lines.lock().unwrap().clone()
    }

    #[test]
    fn plain_line_has_the_five_columns() {
        let lines = capture("trace", Format::Plain, || {
            tracing::warn!(target: "adit_node::proxy", count = 3, name = "a\"b", to = %"1.2.3.4:5", "careful\nnow");
        });
        let [(Stream::Process, line)] = lines.as_slice() else { panic!("{lines:?}") };
        let columns: Vec<_> = line.split('\t').collect();
        assert_eq!(columns[0].len(), "2026-01-02T03:04:05.123456Z".len());
        assert!(columns[0].ends_with('Z') && columns[0].parse::<jiff::Timestamp>().is_ok());
        assert_eq!(
            columns[1..],
            ["warn", "proxy", "careful\\nnow", "count=3 name=\"a\\\"b\" to=1.2.3.4:5\n"]
        );
    }

    #[test]
    fn missing_options_are_left_out_and_spans_are_named() {
        let lines = capture("trace", Format::Plain, || {
            let _outer = tracing::info_span!("shard", n = 1).entered();
            let _inner = tracing::info_span!("drain").entered();
            tracing::info!(target: "t", gone = Option::<u64>::None, here = Some(1_u64), "m");
        });
        assert!(lines[0].1.ends_with("\tinfo\tt:shard{n=1}:drain{}\tm\there=1\n"), "{lines:?}");
    }

    #[test]
    fn json_line_keeps_order_and_the_whole_target() {
        let lines = capture("trace", Format::Json, || {
            let _span = tracing::info_span!("shard", n = 1).entered();
            tracing::event!(target: "adit_node::proxy", Level::ERROR, src.addr = %"1.2.3.4:5", ok = true, x = f64::NAN, "tab\there");
        });
        let line = &lines[0].1;
        let (head, tail) = line.split_once("\"time\":\"").unwrap();
        assert_eq!(head, "{\"level\":\"error\",");
        let tail = tail.split_once("Z\",").unwrap().1;
        assert_eq!(
            tail,
            "\"scope\":\"adit_node::proxy\",\"message\":\"tab\\there\",\"src.addr\":\"1.2.3.4:5\",\"ok\":true,\
             \"x\":\"NaN\",\"shard\":{\"n\":1}}\n"
        );
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }

    #[test]
    fn access_lines_go_their_own_way_and_the_filter_holds() {
        let log = || {
            tracing::info!(target: "access", "a");
            tracing::info!(target: "other", "b");
            tracing::debug!(target: "access", "c");
        };
        let streams = |filter| capture(filter, Format::Plain, log).iter().map(|l| l.0).collect::<Vec<_>>();
        assert_eq!(streams("info"), [Stream::Access, Stream::Process]);
        assert_eq!(streams("info,access=off"), [Stream::Process]);
        assert_eq!(streams("off,access=debug"), [Stream::Access, Stream::Access]);
    }
}
