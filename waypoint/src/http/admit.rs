//! Whether a request may be: its token, then the policies, in Istio's order (waypoint.md §6.1).
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::authz::{self, Connection, Denial, Http, Subject, Verdict};
use adit_core::l7::jwt::{Authenticated, JwtRules, Refusal};
use adit_core::mesh::Service;
use adit_core::route::Fronted;
use adit_ops::l7::{Details, ResponseFlags};

use super::decide::wall;
use super::local::Local;
use super::view::{Changed, Head};
use crate::conn::Conn;
use crate::route::Now;
use crate::shared::Shared;

/// How long a request waits for keys that its token may be signed with.
const FETCHING: Duration = Duration::from_secs(5);
/// What Envoy says to whoever may not.
const DENIED: &str = "RBAC: access denied";

/// The service that a connection is for, if it is for one.
pub(crate) fn service(conn: &Conn) -> Option<&Service> {
    match &conn.target {
        Fronted::Service(service) => Some(service),
        Fronted::Workload(_) => None,
    }
}

/// Who calls whom, as policies look at it.
pub(crate) fn connection<'a>(conn: &'a Conn, sni: Option<&'a str>) -> Connection<'a> {
    Connection {
        source: Some(&conn.client),
        source_ip: conn.source.ip().to_canonical(),
        destination: conn.local,
        sni,
    }
}

/// Lets a request in, or says why not. What its token has the backend see is done to `head`. Also gives the rule that has
/// decided.
pub(crate) async fn admit(
    shared: &Shared,
    now: &Now,
    conn: &Conn,
    head: &mut Head,
) -> Result<Arc<str>, Local> {
    let service = service(conn);
    let policies = now.snapshot.policies.of(service);
    let rules = now.snapshot.authentications.of(service);
    if policies.is_empty() && rules.is_empty() {
        return Ok(Arc::default());
    }
    let remote_ip = authz::client_ip(&*head, conn.source.ip(), now.snapshot.trusted_hops);
    custom(&policies, conn, head, remote_ip)?;
    let auth = match rules.is_empty() {
        true => None,
        false => token(shared, &rules, head).await?,
    };
    let http = Http { request: &*head, remote_ip, auth: auth.as_ref() };
    let decision = policies.judge(&Subject::http(connection(conn, None), http));
    if let Some(rule) = &decision.audit {
        tracing::info!(target: "audit", client = %conn.client, path = %head.path, %rule, "audited");
    }
    match decision.verdict {
        Verdict::Allow { by } => Ok(by.map(|rule| rule.to_string().into()).unwrap_or_default()),
        Verdict::Deny(denial) => Err(denied(&denial)),
    }
}

/// Asks who must be asked first. Nobody who cannot be asked says yes.
fn custom(policies: &authz::Set<'_>, conn: &Conn, head: &Head, remote_ip: IpAddr) -> Result<(), Local> {
    if !policies.has_custom() {
        return Ok(());
    }
    let http = Http { request: head, remote_ip, auth: None };
    let asked = policies.custom(&Subject::http(connection(conn, None), http));
    let asked = asked.map_err(|denial| denied(&denial))?;
    match asked.first() {
        None => Ok(()),
        Some(asked) => {
            tracing::warn!(provider = %asked.provider.name, rule = %asked.by, "external authorization is not supported: denied");
            let flags = ResponseFlags::UNAUTHORIZED_EXTERNAL_SERVICE;
            Err(Local::new(403, flags, Details::ExtAuthzError, ""))
        }
    }
}

/// Looks at the request's tokens.
async fn token(
    shared: &Shared,
    rules: &JwtRules<'_>,
    head: &mut Head,
) -> Result<Option<Authenticated>, Local> {
    let mut judged = rules.judge(&*head, wall(), &shared.keys);
    if let Err(refusal) = &judged
        && !refusal.refetch.is_empty()
    {
        shared.keys.refetched(&refusal.refetch, FETCHING).await;
        judged = rules.judge(&*head, wall(), &shared.keys);
    }
    let outcome = judged.map_err(|refusal| refused(head, &refusal))?;
    let changes = outcome.changes;
    if !changes.is_empty() {
        changes.apply(&mut Changed(&mut head.headers));
        let query = changes.query(head.query.as_deref()).map(|query| query.into_owned().into_boxed_str());
        head.query = query;
    }
    Ok(outcome.auth)
}

fn refused(head: &Head, refusal: &Refusal) -> Local {
    let details = Details::JwtDenied(refusal.error.to_string().into());
    let local = Local::new(401, ResponseFlags::NONE, details, refusal.body());
    local.with("www-authenticate", &Refusal::www_authenticate(head))
}

pub(crate) fn denied(denial: &Denial) -> Local {
    let by: Arc<str> = match denial {
        Denial::Explicit(by) | Denial::Unusable { by, .. } => by.to_string().into(),
        Denial::NoneAllowed => "none".into(),
    };
    Local::new(403, ResponseFlags::NONE, Details::RbacDenied(by), DENIED)
}
