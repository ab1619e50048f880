//! Any octets as resources of a control plane: tables or a reason, never a panic; a change that is read can be applied.
use adit_control::xds::{address, authorization};
use adit_core::mesh::Mesh;

/// The first octet picks the type; the second is the length of the resource's name, then come name and resource.
pub fn body(data: &[u8]) {
    let [kind, length, rest @ ..] = data else { return };
    let (name, resource) = rest.split_at(usize::from(*length).min(rest.len()));
    let name = String::from_utf8_lossy(name);
    let read = if kind & 1 == 0 { address(&name, resource) } else { authorization(&name, resource) };
    match read {
        Ok(change) => {
            let mut mesh = Mesh::default();
            let applied = mesh.apply(change);
            let entries = mesh.workloads().count() + mesh.services().count() + mesh.policies().count();
            assert_eq!(entries, usize::from(applied.is_ok()));
        }
        Err(rejection) => assert!(!rejection.to_string().is_empty()),
    }
}
