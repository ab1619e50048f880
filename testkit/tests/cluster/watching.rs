//! What is read of a cluster, and what stays when it cannot be.
use adit_testkit::apiserver::{ApiServer, Asked, GATEWAY_API, ISTIO, KUBERNETES};
use serde_json::json;

use super::{MESH, Watched, all, cluster, names, run};

fn service(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, spec: {{ports: [{{port: 80}}]}}}}"
    )
}

fn lists(plural: &str) -> impl Fn(&Asked) -> bool + use<'_> {
    move |(method, path)| method == "GET" && path.contains(&format!("/{plural}?limit="))
}

fn watches(plural: &str) -> impl Fn(&Asked) -> bool + use<'_> {
    move |(method, path)| method == "GET" && path.contains(&format!("/{plural}?watch="))
}

#[test]
fn nothing_is_given_before_all_is_known() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        server.forbid("list", "authorizationpolicies", true);
        let mut cluster = cluster(&server, false).await;
        let opening = tokio::spawn(async move { cluster.open().await });
        // Asked again and again, and everything else has long been told.
        server.asked(5, lists("authorizationpolicies")).await;
        server.asked(1, watches("services")).await;
        assert!(!opening.is_finished(), "a policy that may be there is not known");
        server.forbid("list", "authorizationpolicies", false);
        let loaded = opening.await.expect("it opens");
        assert_eq!(names(&loaded, "Service"), ["v1", "v2"]);
        // Whole kinds of what may hold secrets are never asked for.
        let whole = |(_, path): &Asked| {
            (path.contains("/secrets") || path.contains("/configmaps"))
                && !path.contains("fieldSelector=metadata.name%3D")
        };
        assert_eq!(server.requests().into_iter().filter(whole).collect::<Vec<_>>(), []);
    });
}

#[test]
fn a_list_of_many_pages_is_read_whole() {
    run(async {
        let server = ApiServer::start(&all()).await;
        let many: Vec<_> = (0..1201).map(|number| service(&format!("s{number}"))).collect();
        server.apply(&many.join("\n---\n"));
        let loaded = cluster(&server, false).await.open().await;
        assert_eq!(names(&loaded, "Service").len(), 1201);
        assert_eq!(server.requests().iter().filter(|asked| lists("services")(asked)).count(), 3);
    });
}

#[test]
fn what_changes_is_told() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        let mut watched = Watched::start(&server, false).await;
        server.apply(&service("v3"));
        watched.until(|loaded| names(loaded, "Service").len() == 3).await;
        server.delete("services", "shop", "v1");
        watched.until(|loaded| names(loaded, "Service") == ["v2", "v3"]).await;
        // A status is no change of what is decided.
        let before = watched.figures.compiled();
        server.set_status("services", "shop", "v2", json!({"loadBalancer": {}}));
        server.apply("{apiVersion: v1, kind: Service, metadata: {name: v3, namespace: shop}, spec: {ports: [{port: 81}]}}");
        watched
            .until(|loaded| {
                loaded.objects.get("", "Service", "shop", "v3").is_some_and(|v3| v3.generation == 2)
            })
            .await;
        assert_eq!(watched.figures.compiled(), before + 1);
    });
}

#[test]
fn a_watch_that_breaks_goes_on_from_where_it_was() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        let mut watched = Watched::start(&server, false).await;
        server.asked(1, watches("services")).await;
        server.cut();
        server.apply(&service("v3"));
        watched.until(|loaded| names(loaded, "Service").len() == 3).await;
        server.asked(2, watches("services")).await;
        assert_eq!(server.requests().iter().filter(|asked| lists("services")(asked)).count(), 1);
    });
}

#[test]
fn a_version_that_is_forgotten_is_a_new_list() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        let mut watched = Watched::start(&server, false).await;
        server.set_up(false);
        server.apply(&service("v3"));
        server.delete("services", "shop", "v1");
        server.forget();
        server.set_up(true);
        watched.until(|loaded| names(loaded, "Service") == ["v2", "v3"]).await;
        assert_eq!(server.requests().iter().filter(|asked| lists("services")(asked)).count(), 2);
    });
}

#[test]
fn the_last_state_stays_while_the_server_is_away() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        let mut watched = Watched::start(&server, false).await;
        assert_eq!((watched.figures.failing(), watched.figures.staleness().is_zero()), (0, true));
        server.set_up(false);
        let all = watched.figures.watches();
        let told = watched.until(|loaded| u64::try_from(loaded.sources.len()) == Ok(all)).await;
        assert_eq!(names(&told, "Service"), ["v1", "v2"]);
        assert!(told.sources[0].to_string().contains("what was known stays"), "{}", told.sources[0]);
        assert!(watched.figures.failing() == all && !watched.figures.staleness().is_zero());
        server.apply(&service("v3"));
        server.set_up(true);
        let told =
            watched.until(|loaded| names(loaded, "Service").len() == 3 && loaded.sources.is_empty()).await;
        assert_eq!(
            (told.sources, watched.figures.failing(), watched.figures.staleness().is_zero()),
            (vec![], 0, true)
        );
    });
}

#[test]
fn a_kind_that_is_installed_later_is_found() {
    run(async {
        let server = ApiServer::start(&[KUBERNETES, GATEWAY_API].concat()).await;
        server.apply(MESH);
        let mut watched = Watched::start(&server, false).await;
        assert_eq!(names(&watched.loaded.borrow(), "Service"), ["v1", "v2"]);
        server.install(ISTIO);
        server.apply("{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d, namespace: shop}, spec: {host: v1}}");
        watched.until(|loaded| names(loaded, "DestinationRule") == ["d"]).await;
        // And one that goes: its objects with it.
        server.uninstall("destinationrules");
        watched.until(|loaded| names(loaded, "DestinationRule").is_empty()).await;
        server.install(&ISTIO[2..3]);
        server.apply("{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: e, namespace: shop}, spec: {host: v1}}");
        watched.until(|loaded| names(loaded, "DestinationRule") == ["e"]).await;
    });
}

/// That a path is not found says nothing: only when the groups agree, there is no such kind.
#[test]
fn policies_are_not_forgotten_for_a_path_that_is_not_found() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        let policy = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, namespace: shop}, spec: {action: DENY}}";
        server.apply(policy);
        let mut watched = Watched::start(&server, false).await;
        server.hide("security.istio.io", true);
        server.cut();
        let told = watched
            .until(|loaded| loaded.sources.iter().any(|problem| problem.text.contains("cannot be read yet")))
            .await;
        assert_eq!(names(&told, "AuthorizationPolicy"), ["a"]);
        server.hide("security.istio.io", false);
        let told = watched.until(|loaded| loaded.sources.is_empty()).await;
        assert_eq!(names(&told, "AuthorizationPolicy"), ["a"]);
    });
}

#[test]
fn an_object_that_cannot_be_read_keeps_what_was_good_of_it() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        let mut watched = Watched::start(&server, false).await;
        let bad = |name: &str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop", "labels": 7}});
        server.put(bad("v1"));
        let told = watched.until(|loaded| loaded.sources.len() == 1).await;
        assert!(
            told.sources[0].to_string().contains("Service shop/v1: metadata.labels"),
            "{}",
            told.sources[0]
        );
        assert_eq!(names(&told, "Service"), ["v1", "v2"]);
        server.apply(&service("v1"));
        watched.until(|loaded| loaded.sources.is_empty()).await;
        // At the start there is nothing to stay: it waits.
        server.put(bad("v3"));
        let mut second = cluster(&server, false).await;
        let opening = tokio::spawn(async move { second.open().await });
        server.asked(2, watches("services")).await;
        assert!(!opening.is_finished());
        server.delete("services", "shop", "v3");
        opening.await.expect("it opens");
    });
}

#[test]
fn what_policies_refer_to_is_read_and_nothing_else() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        server.forbid("list", "secrets", true);
        let policy = |kind: &str, name: &str| {
            format!(
                "{{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, metadata: {{name: p, namespace: shop}}, spec: {{targetRefs: [{{group: '', kind: Service, name: v1}}], validation: {{hostname: v1.shop, caCertificateRefs: [{{group: '', kind: {kind}, name: {name}}}]}}}}}}"
            )
        };
        server.apply(&policy("Secret", "ca"));
        // A Secret that may not be read makes the policy fail, and nothing else.
        let mut watched = Watched::start(&server, false).await;
        let told = watched.until(|loaded| !loaded.sources.is_empty()).await;
        assert!(
            told.sources[0].to_string().starts_with("Secret shop/ca may not be read"),
            "{}",
            told.sources[0]
        );
        let fails = |loaded: &adit_control::resources::Loaded| {
            loaded.compiled.problems.iter().any(|problem| problem.text.contains("InvalidCACertificateRef"))
        };
        assert!(fails(&told));
        server.apply(&policy("ConfigMap", "roots"));
        watched.until(|loaded| loaded.sources.is_empty()).await;
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots", "namespace": "shop"}, "data": {"ca.crt": crate::root()}});
        server.put(map);
        watched.until(|loaded| !fails(loaded)).await;
        // No more than is asked for: the Secret is not watched any more.
        assert_eq!(names(&watched.loaded.borrow(), "ConfigMap"), ["roots"]);
    });
}
