//! Adit's control planes: where the tables and certificates of [`adit_core`] come from.
//!
//! [`local`] reads the mesh from a YAML file, [`ca`] is a certificate authority of our own. Neither is fit for
//! production meshes; together they let a proxy run on a bare machine. [`dns`] is the DNS proxy around the core's decisions.
//! [`xds`] takes the mesh from Istio's control plane, over [`grpc`], and [`zds`] the pods of this node from its CNI agent.
//! [`resources`] turns Kubernetes manifests into what a waypoint decides by.
//! [`cert`] keeps certificates, whoever issues them: istiod, files, or our own authority.
#![forbid(unsafe_code)]

pub mod ca;
pub mod cert;
pub mod dns;
pub mod ext_authz;
pub mod grpc;
pub mod jwks;
pub mod local;
pub mod proto;
pub mod resources;
pub mod rls;
#[cfg(test)]
mod test_ports;
pub mod watch;
pub mod xds;
pub mod zds;
