//! `Gateway` and `GatewayClass`: our own, and whether it is one that a waypoint can be.
use serde::Deserialize;
use serde_json::Value;

use super::super::Object;
use super::super::problem::{Problems, Severity};
use super::super::status::{Condition, ConditionKind, Reason, Status};
use super::GATEWAY_GROUP;
use super::reading::Context;

/// The port of a waypoint's one listener.
const PORT: i64 = 15008;

/// Asks for a header that names the client's identity: `true`, as istiod has it.
const CLIENT_IDENTITY: &str = "ambient.istio.io/xfcc-include-client-identity";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    gateway_class_name: String,
    #[serde(default)]
    listeners: Vec<Listener>,
    /// Labels and the like of what is deployed: read by who deploys.
    #[serde(rename = "infrastructure")]
    _infrastructure: Option<Value>,
    #[serde(rename = "addresses")]
    _addresses: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listener {
    name: String,
    port: i64,
    protocol: String,
    hostname: Option<Value>,
    tls: Option<Value>,
    /// Who may use the waypoint: istiod binds services to it by this.
    #[serde(rename = "allowedRoutes")]
    _allowed_routes: Option<Value>,
}

/// Says what is wrong with our Gateway, and which others are not ours; gives whether ours asks that backends be told who calls.
pub(super) fn check(context: Context<'_>, problems: &mut Problems, statuses: &mut Vec<Status>) -> bool {
    let mut client_identity = false;
    for object in context.objects.of(GATEWAY_GROUP, "Gateway") {
        if !context.world.is_gateway(&object.namespace, &object.name) {
            let text = format!(
                "is not the Gateway that this waypoint is ({}/{}) and has no effect on it",
                context.world.namespace, context.world.gateway
            );
            problems.push(object.id(), "metadata.name", Severity::Note, text);
            continue;
        }
        client_identity = object.annotations.get(CLIENT_IDENTITY).is_some_and(|value| value == "true");
        let wrong = wrong(object, context, problems);
        let condition = match &wrong {
            None => Condition {
                kind: ConditionKind::Accepted,
                holds: true,
                reason: Reason::Accepted,
                message: String::new(),
            },
            Some((field, reason, text)) => {
                problems.push(object.id(), *field, Severity::Unsupported, format!("{reason}: {text}"));
                Condition {
                    kind: ConditionKind::Accepted,
                    holds: false,
                    reason: *reason,
                    message: format!("{field}: {text}"),
                }
            }
        };
        statuses.push(Status {
            object: object.id(),
            generation: object.generation,
            parent: None,
            conditions: vec![condition],
        });
    }
    client_identity
}

fn wrong(
    object: &Object,
    context: Context<'_>,
    problems: &mut Problems,
) -> Option<(&'static str, Reason, String)> {
    let Some(spec) = object.spec::<Spec>(problems) else {
        return Some(("spec", Reason::Invalid, "cannot be read".to_owned()));
    };
    if !context.world.classes.contains(&*spec.gateway_class_name) {
        let classes: Vec<_> = context.world.classes.iter().map(|class| &**class).collect();
        let text = format!(
            "{:?} is none of our classes: expected {}",
            spec.gateway_class_name,
            classes.join(" or ")
        );
        return Some(("spec.gatewayClassName", Reason::Invalid, text));
    }
    let text = || format!("a waypoint has one listener: port {PORT}, protocol HBONE");
    let [listener] = &spec.listeners[..] else {
        return Some(("spec.listeners", Reason::UnsupportedProtocol, text()));
    };
    if listener.port != PORT || listener.protocol != "HBONE" {
        return Some(("spec.listeners[0]", Reason::UnsupportedProtocol, text()));
    }
    if listener.hostname.is_some() || listener.tls.is_some() {
        let text = format!(
            "hostname and tls of listener {} have no effect: the mesh's own certificates are used",
            listener.name
        );
        problems.push(object.id(), "spec.listeners[0]", Severity::Note, text);
    }
    None
}
