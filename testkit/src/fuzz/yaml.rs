//! Any text as a local configuration: tables or an error that fits on a page, never a panic.
use std::path::Path;

/// The file's octets.
pub fn body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = adit_control::local::parse(Path::new("fuzz.yaml"), text, "") {
        assert!(!error.to_string().is_empty());
    }
}
