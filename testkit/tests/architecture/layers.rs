//! Inside the core a room may use only those below it (docs/architecture.md, "Rooms of the core").

use super::rust_files;

/// Ground floor first.
const ROOMS: [&str; 19] = [
    "time", "rng", "buffer", "identity", "tls", "http2", "hbone", "mesh", "policy", "pool", "route",
    "explain", "dns", "xds", "cert", "l7", "drain", "proxy", "inpod",
];

/// From, to, why it is allowed all the same.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("buffer", "tls", "three lengths: areas leave room for a record's header and trailer")];

#[test]
fn rooms_use_only_rooms_below() {
    let mut wrong = Vec::new();
    let mut seen = [false; ROOMS.len()];
    for (path, text) in rust_files() {
        let Some(inside) = path.strip_prefix("core/src/") else { continue };
        let room = inside.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = ROOMS.iter().position(|name| *name == room) else {
            assert_eq!(room, "lib", "{path}: a room that has no place in this test");
            continue;
        };
        seen[own] = true;
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for used in code.flat_map(|line| line.split("crate::").skip(1)) {
            let used =
                used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            let Some(other) = ROOMS.iter().position(|name| *name == used) else { continue };
            let excepted = EXCEPTIONS.iter().any(|(from, to, _)| (*from, *to) == (room, used));
            if other > own && !excepted {
                wrong.push(format!("{path} uses {used}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(seen, [true; ROOMS.len()], "a room has gone: this test must follow");
}
