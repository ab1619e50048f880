//! What each block of a `trafficPolicy` means.
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::upstream::{
    Balancer, ConnectionSettings, CookieKey, Distribute, HashTable, Http2Upgrade, Keepalive, KeySource,
    Label, LocalityRule, Maglev, PriorityLabel, ProxyProtocol, RetryShare, TrafficPolicy, UpstreamTls,
    Warmup,
};
use adit_core::l7::{Limits, OutlierDetection};

use super::super::super::Severity;
use super::super::values::{GoDuration, Reader};
use super::spec;

/// The blocks that are there, each whole: one replaces another of its kind, and nothing is mixed.
#[derive(Clone, Default)]
pub(super) struct Blocks {
    balance: Option<(Balancer, LocalityRule, Option<Warmup>)>,
    pool: Option<(Limits, u32, ConnectionSettings)>,
    outliers: Option<(OutlierDetection, u32)>,
    tls: Option<Option<Result<Arc<UpstreamTls>, Arc<str>>>>,
    proxy_protocol: Option<ProxyProtocol>,
    retries: Option<RetryShare>,
}

impl Blocks {
    /// Those of a policy, without what it says of ports.
    pub(super) fn of_policy(reader: &mut Reader<'_>, field: &str, policy: &spec::Policy) -> Self {
        reader.unless_absent(
            policy.tunnel.as_ref(),
            &format!("{field}.tunnel"),
            "tunnels through proxies are not supported; connections go to the host itself",
        );
        let version = policy.proxy_protocol.as_ref().map(|proxy| proxy.version);
        Self {
            proxy_protocol: version.map(|version| match version {
                Some(spec::ProxyVersion::V2) => ProxyProtocol::V2,
                Some(spec::ProxyVersion::V1) | None => ProxyProtocol::V1,
            }),
            retries: policy
                .retry_budget
                .as_ref()
                .map(|it| retries(reader, &format!("{field}.retryBudget"), it)),
            ..Self::read(
                reader,
                field,
                policy.load_balancer.as_ref(),
                policy.connection_pool.as_ref(),
                policy.outlier_detection.as_ref(),
                policy.tls.as_ref(),
            )
        }
    }

    /// Those of a port.
    pub(super) fn of_port(reader: &mut Reader<'_>, field: &str, port: &spec::PortLevel) -> Self {
        let (pool, outliers) = (port.connection_pool.as_ref(), port.outlier_detection.as_ref());
        Self::read(reader, field, port.load_balancer.as_ref(), pool, outliers, port.tls.as_ref())
    }

    fn read(
        reader: &mut Reader<'_>,
        field: &str,
        balance: Option<&spec::LoadBalancer>,
        pool: Option<&spec::ConnectionPool>,
        outliers: Option<&spec::Outliers>,
        tls: Option<&spec::Tls>,
    ) -> Self {
        Self {
            balance: balance.map(|it| self::balance(reader, &format!("{field}.loadBalancer"), it)),
            pool: pool.map(|it| self::pool(reader, &format!("{field}.connectionPool"), it)),
            outliers: outliers.map(|it| self::outliers(reader, &format!("{field}.outlierDetection"), it)),
            tls: tls.map(|it| self::tls(reader, &format!("{field}.tls"), it)),
            ..Self::default()
        }
    }

    /// With those of a more special policy in their place; `whole`: what it does not say is as if nobody had said it, but for
    /// what ports cannot say.
    pub(super) fn overridden(self, by: &Self, whole: bool) -> Self {
        let by = by.clone();
        if whole {
            let Self { proxy_protocol, retries, .. } = self;
            return Self {
                proxy_protocol: by.proxy_protocol.or(proxy_protocol),
                retries: by.retries.or(retries),
                ..by
            };
        }
        Self {
            balance: by.balance.or(self.balance),
            pool: by.pool.or(self.pool),
            outliers: by.outliers.or(self.outliers),
            tls: by.tls.or(self.tls),
            proxy_protocol: by.proxy_protocol.or(self.proxy_protocol),
            retries: by.retries.or(self.retries),
        }
    }

    /// The policy they come to.
    pub(super) fn into_policy(self) -> TrafficPolicy {
        let mut policy = TrafficPolicy { retries: self.retries, ..TrafficPolicy::default() };
        if let Some((balancer, locality, warmup)) = self.balance {
            (policy.balancer, policy.locality, policy.warmup) = (balancer, locality, warmup);
        }
        if let Some((limits, max_retries, connections)) = self.pool {
            (policy.limits, policy.max_retries, policy.connections) = (limits, max_retries, connections);
        }
        if let Some((outliers, minimum)) = self.outliers {
            (policy.outliers, policy.min_health_percent) = (Some(outliers), minimum);
        }
        (policy.tls, policy.proxy_protocol) = (self.tls.flatten(), self.proxy_protocol);
        policy
    }
}

fn balance(
    reader: &mut Reader<'_>,
    field: &str,
    block: &spec::LoadBalancer,
) -> (Balancer, LocalityRule, Option<Warmup>) {
    let simple = block.simple.unwrap_or_default();
    let balancer = match &block.consistent_hash {
        Some(hash) => {
            if simple != spec::Simple::Unspecified {
                let text = "simple and consistentHash exclude each other; consistentHash is used";
                reader.tell(Severity::Malformed, field, text);
            }
            consistent_hash(reader, &format!("{field}.consistentHash"), hash)
        }
        None => match simple {
            spec::Simple::Unspecified | spec::Simple::LeastConn | spec::Simple::LeastRequest => {
                Balancer::LeastRequest
            }
            spec::Simple::RoundRobin => Balancer::RoundRobin,
            spec::Simple::Random => Balancer::Random,
            spec::Simple::Passthrough => {
                let text = "PASSTHROUGH means nothing at a waypoint, where requests come for a service's address; LEAST_REQUEST is used";
                reader.unsupported(&format!("{field}.simple"), text);
                Balancer::LeastRequest
            }
        },
    };
    let text = "zone aware balancing is not for waypoints; use localityLbSetting or the Service's trafficDistribution";
    reader.unless_absent(block.zone_aware_lb_setting.as_ref(), &format!("{field}.zoneAwareLbSetting"), text);
    let text = "balancing by reported utilization is not supported; it has no effect";
    reader.unless_absent(block.backend_utilization.as_ref(), &format!("{field}.backendUtilization"), text);
    let warmup = match (&block.warmup, block.warmup_duration_secs) {
        (Some(it), _) => Some(warmup(it)),
        (None, Some(GoDuration(duration))) => Some(Warmup::linear(duration, 10)),
        (None, None) => None,
    };
    if warmup.is_some() && !matches!(balancer, Balancer::LeastRequest | Balancer::RoundRobin) {
        let text = "only LEAST_REQUEST and ROUND_ROBIN warm endpoints up; it has no effect";
        reader.tell(Severity::Note, &format!("{field}.warmup"), text);
        return (balancer, locality(reader, field, block), None);
    }
    (balancer, locality(reader, field, block), warmup)
}

/// The curve of Envoy's slow start: the time that has passed, as a part of the whole, to the power of one by the aggression.
fn warmup(block: &spec::Warmup) -> Warmup {
    let least = block.minimum_percent.unwrap_or(10.0).clamp(0.0, 100.0) / 100.0;
    let power = 1.0 / block.aggression.filter(|it| *it > 0.0).unwrap_or(1.0);
    let share = |part: u32| {
        let share = (f64::from(part) / 100.0).powf(power).max(least).min(1.0) * 1000.0;
        // Between 0 and 1000.
        share.round() as u16
    };
    Warmup { duration: block.duration.0, shares: (0..100).map(share).collect() }
}

fn consistent_hash(reader: &mut Reader<'_>, field: &str, block: &spec::ConsistentHash) -> Balancer {
    let header =
        block.http_header_name.as_deref().map(|name| KeySource::Header(name.to_ascii_lowercase().into()));
    let cookie = block.http_cookie.as_ref().map(|cookie| {
        let attribute =
            |it: &spec::Attribute| (it.name.as_str().into(), it.value.as_deref().unwrap_or_default().into());
        KeySource::Cookie(CookieKey {
            name: cookie.name.as_str().into(),
            path: cookie.path.as_deref().unwrap_or_default().into(),
            ttl: cookie.ttl.map(|ttl| ttl.0),
            attributes: cookie.attributes.iter().map(attribute).collect(),
        })
    });
    let source = block.use_source_ip.unwrap_or_default().then_some(KeySource::SourceIp);
    let query = block.http_query_parameter_name.as_deref().map(|name| KeySource::Query(name.into()));
    let mut keys = [header, cookie, source, query].into_iter().flatten();
    let key = keys.next();
    if keys.next().is_some() || key.is_none() {
        let text = "expected exactly one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName";
        reader.tell(Severity::Malformed, field, text);
    }
    let ring = block.ring_hash.as_ref().map(|ring| ring.minimum_ring_size).or(Some(block.minimum_ring_size));
    let table = match &block.maglev {
        Some(maglev) => match maglev.table_size {
            None | Some(0) => HashTable::Maglev { size: 65_537 },
            Some(size) => {
                match u32::try_from(size).ok().filter(|size| is_prime(*size) && *size <= Maglev::MAX_SIZE) {
                    Some(size) => HashTable::Maglev { size },
                    None => {
                        let text =
                            format!("{size} is no prime number up to {}; 65537 is used", Maglev::MAX_SIZE);
                        reader.tell(Severity::Malformed, &format!("{field}.maglev.tableSize"), text);
                        HashTable::Maglev { size: 65_537 }
                    }
                }
            }
        },
        None => {
            let minimum = ring.flatten().filter(|minimum| *minimum > 0).unwrap_or(1024);
            HashTable::Ring { minimum: u32::try_from(minimum).unwrap_or(u32::MAX) }
        }
    };
    // Nothing to hash: as if no request had a key.
    key.map_or(Balancer::Random, |key| Balancer::Hash { key, table })
}

fn is_prime(number: u32) -> bool {
    number >= 2 && (2..).take_while(|by| by * by <= number).all(|by| !number.is_multiple_of(by))
}

fn locality(reader: &mut Reader<'_>, field: &str, block: &spec::LoadBalancer) -> LocalityRule {
    let Some(setting) = &block.locality_lb_setting else { return LocalityRule::Default };
    let field = format!("{field}.localityLbSetting");
    if setting.enabled == Some(false) {
        return LocalityRule::Off;
    }
    let spec::LocalitySetting { distribute, failover, failover_priority, .. } = setting;
    if !distribute.is_empty() {
        if !failover.is_empty() || !failover_priority.is_empty() {
            let text = "distribute excludes failover and failoverPriority; distribute is used";
            reader.tell(Severity::Malformed, &field, text);
        }
        return self::distribute(reader, &format!("{field}.distribute"), distribute);
    }
    if !failover_priority.is_empty() {
        if !failover.is_empty() {
            let text =
                "failover together with failoverPriority is not supported; failoverPriority alone is used";
            reader.unsupported(&format!("{field}.failover"), text);
        }
        let mut labels = Vec::new();
        for (index, written) in failover_priority.iter().enumerate() {
            let (key, value) =
                written.split_once('=').map_or((&**written, None), |(key, value)| (key, Some(value)));
            match Label::named(key) {
                Some(label) => labels.push(PriorityLabel { label, value: value.map(Into::into) }),
                None => {
                    let text = format!(
                        "what {key} is of endpoints is not known to the mesh; this label and those after it have no effect"
                    );
                    reader.unsupported(&format!("{field}.failoverPriority[{index}]"), text);
                    break;
                }
            }
        }
        return LocalityRule::Priority(labels);
    }
    LocalityRule::Failover(
        failover.iter().map(|it| (it.from.as_str().into(), it.to.as_str().into())).collect(),
    )
}

fn distribute(reader: &mut Reader<'_>, field: &str, all: &[spec::Distribution]) -> LocalityRule {
    let mut read = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let from = one.from.parse();
        let to: Result<Vec<_>, _> =
            one.to.iter().map(|(place, share)| place.parse().map(|place| (place, *share))).collect();
        let sum: u64 = one.to.values().map(|share| u64::from(*share)).sum();
        match (from, to) {
            (Ok(from), Ok(to)) if sum == 100 => read.push(Distribute { from, to }),
            (Ok(_), Ok(_)) => {
                let text = format!("the shares come to {sum}: expected 100");
                reader.tell(Severity::Malformed, &format!("{field}.to"), text);
            }
            (Err(error), _) | (_, Err(error)) => reader.tell(Severity::Malformed, &field, error),
        }
    }
    LocalityRule::Distribute(read)
}

fn pool(
    reader: &mut Reader<'_>,
    field: &str,
    block: &spec::ConnectionPool,
) -> (Limits, u32, ConnectionSettings) {
    let (tcp, http) = (block.tcp.clone().unwrap_or_default(), block.http.clone().unwrap_or_default());
    // Zero is what protobuf has where nothing is said.
    let limit = |value: Option<u32>| value.filter(|it| *it > 0).unwrap_or(u32::MAX);
    let limits = Limits {
        connections: limit(tcp.max_connections),
        pending: limit(http.http1_max_pending_requests),
        requests: limit(http.http2_max_requests),
    };
    let defaults = ConnectionSettings::default();
    let idle = |value: Option<GoDuration>, default| match value {
        Some(GoDuration(Duration::ZERO)) => None,
        Some(GoDuration(idle)) => Some(idle),
        None => default,
    };
    if tcp.tcp_keepalive.is_some() {
        let text = "it has no effect: connections are streams of tunnels, which are tested by PING";
        reader.tell(Severity::Note, &format!("{field}.tcp.tcpKeepalive"), text);
    }
    let http2_keepalive = http.http2_keep_alive.and_then(|it| match (it.interval, it.timeout) {
        (Some(interval), Some(timeout)) => Some(Keepalive { interval: interval.0, timeout: timeout.0 }),
        (interval, timeout) => {
            let missing = if interval.is_none() { "interval" } else { "timeout" };
            if interval.is_some() || timeout.is_some() {
                let text = format!("{missing} is missing: both are needed, and nothing is sent");
                reader.tell(Severity::Note, &format!("{field}.http.http2KeepAlive"), text);
            }
            None
        }
    });
    let connections = ConnectionSettings {
        connect_timeout: tcp.connect_timeout.map_or(defaults.connect_timeout, |it| it.0),
        max_age: tcp.max_connection_duration.map(|it| it.0),
        tcp_idle: idle(tcp.idle_timeout, defaults.tcp_idle),
        http_idle: idle(http.idle_timeout, defaults.http_idle),
        max_requests: http.max_requests_per_connection.filter(|it| *it > 0),
        upgrade: match http.h2_upgrade_policy.unwrap_or_default() {
            spec::UpgradePolicy::Default => Http2Upgrade::Default,
            spec::UpgradePolicy::DoNotUpgrade => Http2Upgrade::Never,
            spec::UpgradePolicy::Upgrade => Http2Upgrade::Always,
        },
        use_client_protocol: http.use_client_protocol.unwrap_or_default(),
        max_streams: http.max_concurrent_streams.filter(|it| *it > 0),
        http2_keepalive,
    };
    (limits, limit(http.max_retries), connections)
}

fn outliers(reader: &mut Reader<'_>, field: &str, block: &spec::Outliers) -> (OutlierDetection, u32) {
    let text = "consecutiveErrors has no effect any more; use consecutive5xxErrors";
    reader.unless_absent(block.consecutive_errors.as_ref(), &format!("{field}.consecutiveErrors"), text);
    if let Some(code) =
        block.outlier_detection_http_error_codes.iter().find(|code| !(100..600).contains(*code))
    {
        let text = format!("{code} is no status: expected 100 to 599");
        reader.tell(Severity::Malformed, &format!("{field}.outlierDetectionHttpErrorCodes"), text);
    }
    let defaults = OutlierDetection::default();
    let base = block.base_ejection_time.map_or(defaults.base_ejection_time, |it| it.0);
    let settings = OutlierDetection {
        consecutive_5xx: block.consecutive_5xx_errors.unwrap_or(defaults.consecutive_5xx),
        consecutive_gateway_errors: block.consecutive_gateway_errors.unwrap_or_default(),
        consecutive_local_failures: block
            .consecutive_local_origin_failures
            .filter(|count| *count > 0)
            .unwrap_or(defaults.consecutive_local_failures),
        error_codes: block.outlier_detection_http_error_codes.clone(),
        split: block.split_external_local_origin_errors.unwrap_or_default(),
        interval: block.interval.map_or(defaults.interval, |it| it.0),
        base_ejection_time: base,
        max_ejection_time: defaults.max_ejection_time.max(base),
        max_ejection_percent: block
            .max_ejection_percent
            .filter(|percent| *percent > 0)
            .unwrap_or(defaults.max_ejection_percent),
    };
    (settings, block.min_health_percent.unwrap_or_default())
}

fn tls(
    reader: &mut Reader<'_>,
    field: &str,
    block: &spec::Tls,
) -> Option<Result<Arc<UpstreamTls>, Arc<str>>> {
    let text = |text: &Option<String>| text.as_deref().filter(|it| !it.is_empty()).map(Into::into);
    // The mesh's own mTLS is that of the tunnel, which is always there where it can be.
    if matches!(block.mode, spec::TlsMode::Disable | spec::TlsMode::IstioMutual) {
        return None;
    }
    let client = text(&block.client_certificate).zip(text(&block.private_key));
    let credential = text(&block.credential_name);
    let why = if block.ca_crl.is_some() {
        let text =
            "revocation lists for upstreams are not supported; connections are refused while it is there";
        reader.unsupported(&format!("{field}.caCrl"), text);
        Some("caCrl is not supported")
    } else if block.mode == spec::TlsMode::Mutual && client.is_none() && credential.is_none() {
        let text = "MUTUAL needs clientCertificate and privateKey, or credentialName; connections are refused without";
        reader.tell(Severity::Malformed, field, text);
        Some("MUTUAL without a client certificate")
    } else {
        None
    };
    if let Some(why) = why {
        return Some(Err(format!("DestinationRule tls: {why}").into()));
    }
    Some(Ok(Arc::new(UpstreamTls {
        sni: text(&block.sni),
        subject_alt_names: block.subject_alt_names.iter().map(|name| name.as_str().into()).collect(),
        ca_file: text(&block.ca_certificates),
        client: client.filter(|_| block.mode == spec::TlsMode::Mutual),
        credential,
        skip_verify: block.insecure_skip_verify.unwrap_or_default(),
    })))
}

fn retries(reader: &mut Reader<'_>, field: &str, block: &spec::Budget) -> RetryShare {
    if block.budget_interval.is_some_and(|interval| !interval.0.is_zero()) {
        let text = "the budget is a share of what is under way now, not of what was in an interval; it has no effect";
        reader.unsupported(&format!("{field}.budgetInterval"), text);
    }
    let defaults = RetryShare::default();
    // A share of a percent more or less is beyond what counts requests.
    let percent = block.percent.map_or(defaults.percent, |percent| percent.clamp(0.0, 100.0).round() as u32);
    let min = block.min_retry_concurrency.filter(|min| *min > 0).unwrap_or(defaults.min);
    RetryShare { percent, min }
}
