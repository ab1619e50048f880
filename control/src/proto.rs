//! Messages of the control plane, of the CNI agent and of authorizers, generated from `control/proto`: see the comments there.
#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

/// The xDS transport: `envoy.service.discovery.v3`.
pub mod discovery {
    tonic::include_proto!("envoy.service.discovery.v3");
}

/// Questions to authorizers: `envoy.service.auth.v3`.
pub mod auth {
    tonic::include_proto!("envoy.service.auth.v3");
}

/// Questions to rate limit services: `envoy.service.ratelimit.v3`.
pub mod ratelimit {
    tonic::include_proto!("envoy.service.ratelimit.v3");
}

/// Workloads and services: `istio.workload`.
pub mod istio {
    /// Workloads and services: `istio.workload`.
    pub mod workload {
        tonic::include_proto!("istio.workload");

        /// The pods of a node: `istio.workload.zds`.
        pub mod zds {
            tonic::include_proto!("istio.workload.zds");
        }
    }

    /// Authorization policies: `istio.security`.
    pub mod security {
        tonic::include_proto!("istio.security");
    }

    /// The certificate authority: `istio.v1.auth`.
    pub mod auth {
        tonic::include_proto!("istio.v1.auth");
    }
}
