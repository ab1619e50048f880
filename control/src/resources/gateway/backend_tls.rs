//! `BackendTLSPolicy`: TLS to services that want it themselves. A policy that cannot be honoured makes connections fail: none
//! goes out in plaintext for a mistake.
use std::collections::BTreeSet;
use std::sync::Arc;

use adit_core::l7::{BackendTls, BackendTlsRules, PeerName, ServerName, TlsRule, TrustAnchors};
use adit_core::mesh::ServiceName;
use base64::Engine as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::Value;

use super::super::Object;
use super::super::problem::{ObjectName, Problems, Severity};
use super::super::status::{Condition, ConditionKind, Reason, Status};
use super::GATEWAY_GROUP;
use super::reading::Context;
use super::targets::{self, Section, TargetRef, Targets};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    target_refs: Vec<TargetRef>,
    /// Read by itself, so that targets are known if it makes no sense.
    validation: Option<Value>,
    options: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Validation {
    #[serde(default)]
    ca_certificate_refs: Vec<LocalRef>,
    #[serde(rename = "wellKnownCACertificates")]
    well_known: Option<String>,
    hostname: String,
    #[serde(default)]
    subject_alt_names: Vec<AltName>,
}

#[derive(Deserialize)]
struct LocalRef {
    group: String,
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct AltName {
    r#type: String,
    hostname: Option<String>,
    uri: Option<String>,
}

/// Why a policy cannot be honoured.
type Refusal = (String, Severity, Reason, String);

/// What all policies come to.
pub(super) fn translate(
    context: Context<'_>,
    problems: &mut Problems,
    statuses: &mut Vec<Status>,
) -> BackendTlsRules {
    let mut rules = BackendTlsRules::default();
    let mut taken: BTreeSet<(ObjectName, Option<Arc<str>>)> = BTreeSet::new();
    // Where a port's number is not known, what is not said otherwise fails: after all others have said it.
    let mut failing = Vec::new();
    for object in context.objects.by_age(GATEWAY_GROUP, "BackendTLSPolicy") {
        let before = problems.count();
        let Some(spec) = object.spec::<Spec>(problems) else {
            failing.extend(salvage(object, context));
            continue;
        };
        let unknown = problems.count() > before;
        let (rule, conditions) = rule(object, &spec, unknown, context, problems);
        for (index, target) in spec.target_refs.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let Targets { of, found } = targets::resolve(object, target, context);
            let twice = !taken.insert((of.object.clone(), of.section.clone()));
            let (services, told) = match found {
                Ok(_) if twice => {
                    let text = format!("an older policy is there for {}", of.object);
                    (Vec::new(), Some((Reason::Conflicted, Severity::Conflict, text)))
                }
                Ok((services, missing)) => {
                    let told = missing.map(|text| (Reason::TargetNotFound, Severity::Unresolved, text));
                    (services, told)
                }
                Err(text) => (Vec::new(), Some((Reason::TargetNotFound, Severity::Unresolved, text))),
            };
            for (service, section) in services {
                match section {
                    Section::All => rules.insert(service, None, rule.clone()),
                    Section::Port(port) => rules.insert(service, Some(port), rule.clone()),
                    Section::Unknown => {
                        let text = format!(
                            "which port of {} sectionName means is not known: add the Service to the resources; until then connections to its ports fail",
                            of.object
                        );
                        problems.push(object.id(), &*field, Severity::Unresolved, text.clone());
                        failing.push((service, text));
                    }
                }
            }
            let conditions = conditions.clone();
            let generation = object.generation;
            let mut status = Status { object: object.id(), generation, parent: Some(of), conditions };
            if let Some((reason, severity, message)) = told {
                problems.push(object.id(), &*field, severity, format!("{reason}: {message}"));
                status.set(Condition { kind: ConditionKind::Accepted, holds: false, reason, message });
            }
            statuses.push(status);
        }
    }
    for (service, why) in failing {
        rules.insert(service, None, Err(why.into()));
    }
    rules
}

/// The services of a policy that cannot be read, as far as that can be told.
fn salvage(object: &Object, context: Context<'_>) -> Vec<(ServiceName, String)> {
    let body = object.body();
    let references = body.pointer("/spec/targetRefs").and_then(Value::as_array);
    let names = references.into_iter().flatten().filter_map(|reference| reference.get("name")?.as_str());
    let why = || format!("{} cannot be read", object.id());
    names.map(|name| (context.world.service(&object.namespace, name), why())).collect()
}

/// What a policy says of its targets, and what is said of it.
fn rule(
    object: &Object,
    spec: &Spec,
    unknown: bool,
    context: Context<'_>,
    problems: &mut Problems,
) -> (TlsRule, Vec<Condition>) {
    let condition =
        |kind, holds, reason, message: &str| Condition { kind, holds, reason, message: message.to_owned() };
    let before = problems.count();
    let read = settings(object, spec, context, problems);
    let read = match read {
        Ok(_) if unknown || problems.count() > before => {
            let text = "it has fields that are not known".to_owned();
            Err((String::new(), Severity::Note, Reason::Invalid, text))
        }
        read => read,
    };
    match read {
        Ok(tls) => {
            let conditions = vec![
                condition(ConditionKind::Accepted, true, Reason::Accepted, ""),
                condition(ConditionKind::ResolvedRefs, true, Reason::ResolvedRefs, ""),
            ];
            (Ok(Arc::new(tls)), conditions)
        }
        Err((field, severity, reason, text)) => {
            if !field.is_empty() {
                let text = format!("{reason}: {text}; until that is right connections to its targets fail");
                problems.push(object.id(), field, severity, text);
            }
            let unresolved = reason == Reason::InvalidCaCertificateRef;
            let accepted = if unresolved { Reason::NoValidCaCertificate } else { reason };
            let mut conditions = vec![condition(ConditionKind::Accepted, false, accepted, &text)];
            if unresolved {
                conditions.push(condition(ConditionKind::ResolvedRefs, false, reason, &text));
            }
            (Err(format!("{}: {text}", object.id()).into()), conditions)
        }
    }
}

fn settings(
    object: &Object,
    spec: &Spec,
    context: Context<'_>,
    problems: &mut Problems,
) -> Result<BackendTls, Refusal> {
    let refuse = |field: &str, severity, reason, text: String| (field.to_owned(), severity, reason, text);
    let options = spec.options.as_ref().and_then(Value::as_object);
    if let Some(key) = options.and_then(|options| options.keys().next()) {
        let text = format!("{key} is not supported");
        return Err(refuse("spec.options", Severity::Unsupported, Reason::UnsupportedValue, text));
    }
    let empty = Value::Object(serde_json::Map::new());
    let value = spec.validation.as_ref().unwrap_or(&empty);
    let Some(validation) = object.read::<Validation>("spec.validation", value, problems) else {
        return Err(refuse("", Severity::Note, Reason::Invalid, "spec.validation cannot be read".to_owned()));
    };
    let malformed = |field: &str, text: String| refuse(field, Severity::Malformed, Reason::Invalid, text);
    if !matches!(ServerName::new(&validation.hostname), Ok(ServerName::Exact(_))) {
        let text = format!("{:?} is no host name without a wildcard", validation.hostname);
        return Err(malformed("spec.validation.hostname", text));
    }
    let anchors = match (
        &validation.ca_certificate_refs[..],
        validation.well_known.as_deref().filter(|text| !text.is_empty()),
    ) {
        ([], Some("System")) => TrustAnchors::System,
        ([], Some(other)) => {
            let text = format!("{other:?}: expected System");
            return Err(refuse(
                "spec.validation.wellKnownCACertificates",
                Severity::Unsupported,
                Reason::UnsupportedValue,
                text,
            ));
        }
        ([], None) | ([_, ..], Some(_)) => {
            return Err(malformed(
                "spec.validation",
                "expected caCertificateRefs or wellKnownCACertificates, and not both".to_owned(),
            ));
        }
        (references, None) => {
            let mut certificates = Vec::new();
            for (index, reference) in references.iter().enumerate() {
                let found = authority(object, reference, context).map_err(|text| {
                    let field = format!("spec.validation.caCertificateRefs[{index}]");
                    refuse(&field, Severity::Unresolved, Reason::InvalidCaCertificateRef, text)
                })?;
                certificates.extend(found);
            }
            TrustAnchors::These(certificates)
        }
    };
    let mut names = Vec::new();
    for (index, name) in validation.subject_alt_names.iter().enumerate() {
        names.push(match (&*name.r#type, &name.hostname, &name.uri) {
            ("Hostname", Some(hostname), None) if ServerName::new(hostname).is_ok() => {
                PeerName::Hostname(hostname.to_ascii_lowercase().into())
            }
            ("URI", None, Some(uri)) if uri.contains(':') => PeerName::Uri(uri.as_str().into()),
            _ => {
                let text = "expected type Hostname with hostname alone, or URI with uri alone".to_owned();
                return Err(malformed(&format!("spec.validation.subjectAltNames[{index}]"), text));
            }
        });
    }
    let server_name = validation.hostname.to_ascii_lowercase().into_boxed_str();
    if names.is_empty() {
        names.push(PeerName::Hostname(server_name.clone()));
    }
    Ok(BackendTls { server_name, anchors, names })
}

/// The certificates of `ca.crt` in a ConfigMap or a Secret of the policy's namespace.
fn authority(object: &Object, of: &LocalRef, context: Context<'_>) -> Result<Vec<Box<[u8]>>, String> {
    let text = |part: &str| -> Option<String> {
        let found = context.objects.get("", &of.kind, &object.namespace, &of.name)?;
        Some(found.body().get(part)?.get("ca.crt")?.as_str()?.to_owned())
    };
    let place = format!("{} {}/{}", of.kind, object.namespace, of.name);
    let pem = match (&*of.group, &*of.kind) {
        ("" | "core", "ConfigMap") => text("data").map(String::into_bytes),
        ("" | "core", "Secret") => {
            let encoded = text("data")
                .and_then(|data| base64::engine::general_purpose::STANDARD.decode(data.trim()).ok());
            text("stringData").map(String::into_bytes).or(encoded)
        }
        _ => return Err(format!("{place} can hold no certificates: expected a ConfigMap or a Secret")),
    };
    let pem = pem.ok_or_else(|| format!("{place} with the key ca.crt is not among the resources"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| format!("ca.crt of {place}: {error}"))?;
    // What is no certificate would never be trusted: better said here.
    for certificate in &certificates {
        webpki::anchor_from_trusted_cert(certificate)
            .map_err(|error| format!("ca.crt of {place}: {error}"))?;
    }
    match certificates.is_empty() {
        true => Err(format!("ca.crt of {place} has no certificate")),
        false => Ok(certificates.iter().map(|certificate| certificate.to_vec().into_boxed_slice()).collect()),
    }
}
