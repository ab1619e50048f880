//! The metrics of a process as OpenTelemetry has them: read from the text that is made for scrapes, so that they are the same.
//!
//! Series of requests, which are many and of which a histogram would be a dozen lines, are taken from their tables instead.
use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, Sum, metric, number_data_point,
};

use super::Metrics;
use crate::l7::metrics::nanoseconds;
use crate::l7::otlp::attribute;

impl Metrics {
    /// All metrics, as counted between the two times, under the names that scrapes have: counters end in `_total`.
    pub(crate) fn otlp(&self, started: SystemTime, now: SystemTime) -> Vec<Metric> {
        let mut all = self.requests.as_ref().map_or_else(Vec::new, |requests| requests.otlp(started, now));
        let mut text = String::new();
        self.write_figures(&mut text);
        all.extend(read(&text, nanoseconds(started), nanoseconds(now)));
        all
    }
}

/// The metrics of OpenMetrics text, one for each name of samples. What is no counter is exported as gauges.
fn read(text: &str, start_time_unix_nano: u64, time_unix_nano: u64) -> Vec<Metric> {
    let mut all: Vec<Metric> = Vec::new();
    let (mut help, mut counter) = ("", false);
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("# HELP ") {
            help = told.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            counter = told.ends_with(" counter");
        } else if let Some((name, attributes, value)) = sample(line) {
            let point = NumberDataPoint {
                attributes,
                start_time_unix_nano: if counter { start_time_unix_nano } else { 0 },
                time_unix_nano,
                value: Some(value),
                ..NumberDataPoint::default()
            };
            if all.last().is_none_or(|last| last.name != name) {
                let (name, description) = (name.to_owned(), help.to_owned());
                all.push(Metric { name, description, data: Some(empty(counter)), ..Metric::default() });
            }
            match all.last_mut().and_then(|metric| metric.data.as_mut()) {
                Some(metric::Data::Sum(sum)) => sum.data_points.push(point),
                Some(metric::Data::Gauge(gauge)) => gauge.data_points.push(point),
                _ => {}
            }
        }
    }
    all
}

/// A metric without points yet.
fn empty(counter: bool) -> metric::Data {
    match counter {
        true => metric::Data::Sum(Sum {
            data_points: Vec::new(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        false => metric::Data::Gauge(Gauge::default()),
    }
}

/// A line of a sample: `name{label="value",…} number`; `None` for any other line.
fn sample(line: &str) -> Option<(&str, Vec<KeyValue>, number_data_point::Value)> {
    let (name, mut rest) = line.split_at(line.find(['{', ' '])?);
    let mut attributes = Vec::new();
    if let Some(labels) = rest.strip_prefix('{') {
        rest = labels;
        while !rest.starts_with('}') {
            let (label, after) = rest.trim_start_matches(',').split_once("=\"")?;
            let (value, after) = quoted(after)?;
            attributes.push(attribute(label, &value));
            rest = after;
        }
        rest = rest.strip_prefix('}')?;
    }
    let number = rest.split_whitespace().next().filter(|_| !name.starts_with('#'))?;
    let value = match number.parse() {
        Ok(whole) => number_data_point::Value::AsInt(whole),
        Err(_) => number_data_point::Value::AsDouble(number.parse().ok()?),
    };
    Some((name, attributes, value))
}

/// The text up to a quote, and what comes after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    loop {
        match letters.next()? {
            (at, '"') => return Some((value, text.get(at..)?.strip_prefix('"')?)),
            (_, '\\') => match letters.next()? {
                (_, 'n') => value.push('\n'),
                (_, other) => value.push(other),
            },
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::registry::Registry;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scrape_is_read_as_it_was_counted() {
        let mut registry = Registry::default();
        let (counter, gauge) =
            (Counter::<u64>::default(), Gauge::<f64, std::sync::atomic::AtomicU64>::default());
        registry.register("things", "Things that were counted", counter.clone());
        registry.register("heat", "How warm it is", gauge.clone());
        counter.inc_by(u64::from(u32::MAX));
        gauge.set(36.5);
        let mut written = String::new();
        text::encode(&mut written, &registry).unwrap();
        let [things, heat] = &read(&written, 7, 9)[..] else { panic!("{written}") };
        assert_eq!((&*things.name, &*things.description), ("things_total", "Things that were counted."));
        let Some(metric::Data::Sum(sum)) = &things.data else { panic!("{things:?}") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        let point = &sum.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (7, 9));
        assert_eq!(point.value, Some(number_data_point::Value::AsInt(u32::MAX.into())));
        let Some(metric::Data::Gauge(warm)) = &heat.data else { panic!("{heat:?}") };
        assert_eq!(warm.data_points[0].value, Some(number_data_point::Value::AsDouble(36.5)));
    }

    #[test]
    fn what_is_no_sample_is_none() {
        for line in ["", "# EOF", "# UNIT a s", "a", "a{b=\"c\" 1", "a{b} 1", "a{b=\"c\"}", "a x"] {
            assert_eq!(sample(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn labels_come_back_as_they_were(values in proptest::collection::vec(any::<String>(), 1..4), count in any::<u32>()) {
            let labels: Vec<_> = values.iter().zip('a'..).map(|(value, name)| (name.to_string(), value.clone())).collect();
            let family = Family::<Vec<(String, String)>, Counter>::default();
            family.get_or_create(&labels).inc_by(count.into());
            let mut registry = Registry::default();
            registry.register("things", "help", family);
            let mut written = String::new();
            text::encode(&mut written, &registry).unwrap();
            let all = read(&written, 0, 0);
            let Some(metric::Data::Sum(sum)) = &all[0].data else { panic!("{written}") };
            let expected: Vec<_> = labels.iter().map(|(name, value)| attribute(name, value)).collect();
            prop_assert_eq!(&sum.data_points[0].attributes, &expected);
            prop_assert_eq!(&sum.data_points[0].value, &Some(number_data_point::Value::AsInt(count.into())));
        }
    }
}
