//! The cases of Gateway API's conformance suite over real sockets in one process: those that `adit_testkit::conformance` has as
//! data (a case is added there, and its name here), and in `gateway` those that need more than a table.
#[path = "../rig/mod.rs"]
mod rig;

mod gateway;

use std::sync::LazyLock;

use adit_testkit::conformance::{
    self, APPS, Answer, Ask, Client as From, PORTS, To, case, cases, services_of,
};
use adit_waypoint::demo::world::{NAMESPACE, Plan};
use rig::Rig;

/// The namespace of the other client.
const CONSUMER: &str = "consumer";

/// One mesh for all cases.
static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let plan = Plan {
        clients: vec!["web", "shop.consumer"],
        apps: APPS.map(|app| (app, services_of(app))).into(),
        ports: PORTS.into(),
        threads: 2,
        ..Plan::default()
    };
    let rig = Rig::new(&plan, &conformance::manifests(NAMESPACE, CONSUMER));
    assert!(rig.world.problems.is_empty(), "{:#?}", rig.world.problems);
    rig
});

fn ask(asked: &Ask) -> Vec<Answer> {
    let client = match asked.from {
        From::Mesh => "web",
        From::Consumer => "shop.consumer",
    };
    let address = match asked.to {
        To::Service(service, port) => RIG.world.entry(client, service, port),
        To::Pod(app) => RIG.world.direct(client, app),
    };
    rig::cases::ask(address.expect("all are there"), asked)
}

macro_rules! played {
    ($($test:ident: $case:literal;)*) => {
        $(#[test]
        fn $test() {
            let wrong = case($case).expect("a case").play(ask);
            assert!(wrong.is_empty(), "{wrong:#?}");
        })*

        #[test]
        fn every_case_is_played() {
            let mut all: Vec<_> = cases().map(|case| case.name).collect();
            let mut played = vec![$($case),*];
            all.sort_unstable();
            played.sort_unstable();
            assert_eq!(played, all);
        }
    };
}

played! {
    mesh_basic: "MeshBasic";
    mesh_traffic_split: "MeshTrafficSplit";
    mesh_frontend: "MeshFrontend";
    mesh_frontend_hostname: "MeshFrontendHostname";
    mesh_ports: "MeshPorts";
    mesh_consumer_route: "MeshConsumerRoute";
    mesh_http_route_matching: "MeshHTTPRouteMatching";
    mesh_http_route_query_param_matching: "MeshHTTPRouteQueryParamMatching";
    mesh_http_route_named_rule: "MeshHTTPRouteNamedRule";
    mesh_http_route_simple_same_namespace: "MeshHTTPRouteSimpleSameNamespace";
    mesh_http_route_weight: "MeshHTTPRouteWeight";
    mesh_http_route_request_header_modifier: "MeshHTTPRouteRequestHeaderModifier";
    mesh_http_route_backend_request_header_modifier: "MeshHTTPRouteBackendRequestHeaderModifier";
    mesh_http_route_rewrite_path: "MeshHTTPRouteRewritePath";
    mesh_http_route_redirect_host_and_status: "MeshHTTPRouteRedirectHostAndStatus";
    mesh_http_route_redirect_path: "MeshHTTPRouteRedirectPath";
    mesh_http_route_redirect_port: "MeshHTTPRouteRedirectPort";
    mesh_http_route_scheme_redirect: "MeshHTTPRouteSchemeRedirect";
    mesh_http_route_303_redirect: "MeshHTTPRoute303Redirect";
    mesh_http_route_307_redirect: "MeshHTTPRoute307Redirect";
    mesh_http_route_308_redirect: "MeshHTTPRoute308Redirect";
    mesh_grpc_route_request_header_modifier: "MeshGRPCRouteRequestHeaderModifier";
    mesh_grpc_route_weight: "MeshGRPCRouteWeight";
    http_route_exact_path_matching: "HTTPRouteExactPathMatching";
    http_route_header_matching: "HTTPRouteHeaderMatching";
    http_route_matching_across_routes: "HTTPRouteMatchingAcrossRoutes";
    http_route_method_matching: "HTTPRouteMethodMatching";
    http_route_query_param_matching: "HTTPRouteQueryParamMatching";
    http_route_path_match_order: "HTTPRoutePathMatchOrder";
    http_route_precedence_by_age: "HTTPRoutePrecedenceByAge";
    http_route_cross_namespace: "HTTPRouteCrossNamespace";
    http_route_redirect_port_and_scheme: "HTTPRouteRedirectPortAndScheme";
    http_route_response_header_modifier: "HTTPRouteResponseHeaderModifier";
    http_route_rewrite_host: "HTTPRouteRewriteHost";
    http_route_cors: "HTTPRouteCORS";
    http_route_timeout_request: "HTTPRouteTimeoutRequest";
    http_route_timeout_backend_request: "HTTPRouteTimeoutBackendRequest";
    http_route_retry: "HTTPRouteRetry";
    grpc_exact_method_matching: "GRPCExactMethodMatching";
    grpc_service_matching: "GRPCServiceMatching";
    grpc_route_header_matching: "GRPCRouteHeaderMatching";
}

/// The log names the rule.
#[test]
fn a_named_rule_is_logged() {
    let reply = RIG.client("named", 80).ask("GET", "/named/logged", &[], b"");
    assert_eq!(reply.status, 200);
    assert!(RIG.lines("/named/logged", 1)[0].ends_with("demo.named.named-rule"));
}
