//! Makes Rust of `proto/*.proto`, without `protoc`.

/// What the control plane, the CNI agent, authorizers and rate limit services are spoken to with; `workload.proto` comes in
/// through `security.proto` too.
const FILES: [&str; 7] = [
    "discovery.proto",
    "workload.proto",
    "security.proto",
    "citadel.proto",
    "zds.proto",
    "ext_authz.proto",
    "ratelimit.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // Clients only: the servers are scripts of the test kit.
    tonic_prost_build::configure().build_server(false).build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
