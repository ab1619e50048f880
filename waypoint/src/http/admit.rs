//! Whether a request may be: who is asked first, its token, then the policies, in Istio's order (waypoint.md §6.1).
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_control::ext_authz::Change;
use adit_core::l7::authz::{self, Connection, Denial, Http, Subject, Verdict};
use adit_core::l7::jwt::{Authenticated, JwtRules, Refusal};
use adit_ops::l7::{Details, ResponseFlags};

use super::authorizer;
use super::body::Kept;
use super::decide::wall;
use super::local::Local;
use super::view::{Changed, Head};
use crate::conn::Conn;
use crate::route::Now;
use crate::worker::Worker;

/// How long a request waits for keys that its token may be signed with.
const FETCHING: Duration = Duration::from_secs(5);

/// A request that may be.
#[derive(Default)]
pub(crate) struct Admitted {
    /// The rule that has decided.
    pub(crate) policy: Arc<str>,
    /// What its token says.
    pub(crate) auth: Option<Authenticated>,
    /// Headers for the client, on the backend's answer.
    pub(crate) response: Vec<Change>,
    /// Whose request it is.
    pub(crate) remote_ip: Option<IpAddr>,
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

/// Lets a request in, or says why not. What its token and its authorizers have the backend see is done to `head`.
pub(crate) async fn admit(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    head: &mut Head,
    kept: &Kept,
) -> Result<Admitted, Local> {
    let service = conn.service().map(|service| &**service);
    let policies = now.snapshot().policies.of(service);
    let rules = now.snapshot().authentications.of(service);
    let remote_ip = authz::client_ip(&*head, conn.source.ip(), now.snapshot().trusted_hops);
    let mut admitted = Admitted { remote_ip: Some(remote_ip), ..Admitted::default() };
    if policies.is_empty() && rules.is_empty() {
        return Ok(admitted);
    }
    if policies.has_custom() {
        let asked = {
            let http = Http { request: &*head, remote_ip, auth: None };
            policies.custom(&Subject::http(connection(conn, None), http)).map_err(|denial| denied(&denial))?
        };
        for asked in asked {
            let changes = authorizer::request(worker, now, conn, head, kept, asked.provider).await?;
            changes.apply(&mut head.headers);
            if !changes.query_set.is_empty() || !changes.query_remove.is_empty() {
                head.query = changes.query(head.query.as_deref()).map(String::into_boxed_str);
            }
            admitted.response.extend(changes.response);
        }
    }
    if !rules.is_empty() {
        admitted.auth = token(worker, &rules, head).await?;
    }
    let http = Http { request: &*head, remote_ip, auth: admitted.auth.as_ref() };
    let decision = policies.judge(&Subject::http(connection(conn, None), http));
    if let Some(rule) = &decision.audit {
        tracing::info!(target: "audit", client = %conn.client, path = %head.path, %rule, "audited");
    }
    for (name, value) in decision.on_trial.tags() {
        tracing::info!(target: "audit", client = %conn.client, path = %head.path, tag = name, value, "on trial");
    }
    match decision.verdict {
        Verdict::Allow { by } => {
            admitted.policy = by.map(|rule| rule.to_string().into()).unwrap_or_default();
            Ok(admitted)
        }
        Verdict::Deny(denial) => Err(denied(&denial)),
    }
}

/// Looks at the request's tokens.
async fn token(
    worker: &Worker,
    rules: &JwtRules<'_>,
    head: &mut Head,
) -> Result<Option<Authenticated>, Local> {
    let keys = &worker.shared.keys;
    let mut judged = rules.judge(&*head, wall(), keys);
    if let Err(refusal) = &judged
        && !refusal.refetch.is_empty()
    {
        keys.refetched(&refusal.refetch, FETCHING).await;
        judged = rules.judge(&*head, wall(), keys);
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
    let local = Local::new(refusal.status(), ResponseFlags::NONE, details, refusal.body());
    local.with("www-authenticate", &Refusal::www_authenticate(head))
}

fn denied(denial: &Denial) -> Local {
    let details = Details::RbacDenied(denial.by().into());
    Local::new(Denial::STATUS, ResponseFlags::NONE, details, Denial::BODY)
}
