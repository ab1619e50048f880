//! Adit's test kit: models of the core's machines, pairs of tunnels and whole shards on simulated networks, a tunnel on a
//! real socket for foreign peers, their programs, a control plane, a Kubernetes API server and a CNI agent by script, network
//! namespaces with real redirection, oracles, Gateway API's conformance cases, and the bodies of the fuzz targets.
#![forbid(unsafe_code)]

pub mod apiserver;
pub mod cni;
pub mod conformance;
pub mod foreign;
pub mod fuzz;
pub mod istiod;
pub mod models;
pub mod netns;
pub mod oracle;
pub mod otlp;
pub mod pair;
pub mod pki;
pub mod replay;
pub mod sim;
pub mod wire;
