//! Where certificates come from: the mesh's authority, files, or the built-in authority (interfaces §2, §7.1).
use std::path::PathBuf;
use std::time::Duration;

use super::control::{Names, Upstream, default_address};
use super::read::Reader;

const CA: Names = Names {
    address: "CA_ADDRESS",
    roots: "CA_ROOT_CA",
    alternative: "ALT_CA_HOSTNAME",
    header: "CA_HEADER_",
};
/// Everything that could be set instead of nothing.
const CHOICES: &str = "CA_ADDRESS (the mesh's authority), ADIT_CERTIFICATE_DIR (certificates from files), or \
                       FAKE_CA=true (the built-in CA; not fit for production)";

/// Who issues certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// `FAKE_CA=true`: a CA in this process, unfit for production.
    BuiltIn {
        /// `LOCAL_CA_DIR`; `None` for a CA in memory.
        directory: Option<PathBuf>,
    },
    /// `ADIT_CERTIFICATE_DIR`: somebody else puts them into this directory.
    Files(PathBuf),
    /// istiod, or who speaks its protocol (`CA_ADDRESS`, `CA_ROOT_CA`, `ALT_CA_HOSTNAME`, `CA_HEADER_*`).
    Istio {
        /// Where it is.
        upstream: Upstream,
        /// `SECRET_TTL`: how long certificates are asked to live.
        lifetime: Duration,
    },
}

impl Authority {
    /// Without any choice, whoever has a control plane (`xds`) takes its authority. `None` when something is refused.
    pub(super) fn read(reader: &mut Reader<'_>, xds: bool, warnings: &mut Vec<String>) -> Option<Self> {
        let built_in = match reader.given("FAKE_CA") {
            None => false,
            Some(_) => reader.word("FAKE_CA", &[("true", true), ("false", false)])?,
        };
        let directory = reader.text("LOCAL_CA_DIR").map(PathBuf::from);
        let files = reader.text("ADIT_CERTIFICATE_DIR").map(PathBuf::from);
        let lifetime = reader.positive_duration("SECRET_TTL", Duration::from_secs(24 * 3600));
        match (built_in, files) {
            (true, Some(files)) => {
                let shown = files.display().to_string();
                reader.refuse(
                    "ADIT_CERTIFICATE_DIR",
                    Some(&shown),
                    "nothing beside FAKE_CA=true: one source only",
                );
                None
            }
            (true, None) => {
                warnings.push(unfit(directory.as_ref()));
                Some(Self::BuiltIn { directory })
            }
            (false, Some(files)) => Some(Self::Files(files)),
            (false, None) => {
                let address = match reader.given(CA.address) {
                    None if xds => default_address(reader),
                    None | Some("") => {
                        reader.refuse(CA.address, reader.given(CA.address), CHOICES);
                        return None;
                    }
                    Some(address) => address,
                };
                Upstream::read(reader, &CA, address).map(|upstream| Self::Istio { upstream, lifetime })
            }
        }
    }
}

fn unfit(directory: Option<&PathBuf>) -> String {
    match directory {
        Some(directory) => format!(
            "FAKE_CA=true: certificates come from the built-in CA in {}; whoever can read that directory can be any \
             workload. Not fit for production",
            directory.display()
        ),
        None => "FAKE_CA=true without LOCAL_CA_DIR: the built-in CA lives in this process's memory, so no other process \
                 will be trusted; set LOCAL_CA_DIR to a directory that proxies share. Not fit for production"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use adit_control::grpc::Roots;

    use super::*;

    fn read(pairs: &[(&str, &str)], xds: bool) -> Result<Option<Authority>, String> {
        let vars = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut reader = Reader::new(&vars);
        let authority = Authority::read(&mut reader, xds, &mut Vec::new());
        reader.finish(authority).map_err(|errors| errors.to_string())
    }

    #[test]
    fn each_source_is_chosen_by_its_variable() {
        let istio = |pairs: &[(&str, &str)], xds| match read(pairs, xds).unwrap() {
            Some(Authority::Istio { upstream, lifetime }) => (upstream, lifetime),
            other => panic!("{other:?}"),
        };
        let (upstream, lifetime) = istio(&[], true);
        assert_eq!(upstream.server.to_string(), "https://localhost:15012");
        assert_eq!(lifetime, Duration::from_secs(86_400));
        let (upstream, lifetime) = istio(
            &[("CA_ADDRESS", "ca:1"), ("CA_ROOT_CA", "SYSTEM"), ("SECRET_TTL", "1h"), ("CA_HEADER_k", "v")],
            false,
        );
        assert_eq!((upstream.server.to_string().as_str(), upstream.roots), ("https://ca:1", Roots::System));
        assert_eq!((lifetime, upstream.headers.len()), (Duration::from_secs(3600), 1));
        let built_in = read(&[("FAKE_CA", "true"), ("LOCAL_CA_DIR", "/ca")], true).unwrap();
        assert_eq!(built_in, Some(Authority::BuiltIn { directory: Some("/ca".into()) }));
        let files = read(&[("ADIT_CERTIFICATE_DIR", "/certs")], false).unwrap();
        assert_eq!(files, Some(Authority::Files("/certs".into())));
    }

    #[test]
    fn none_and_two_are_refused_with_the_choices() {
        for pairs in [&[][..], &[("CA_ADDRESS", "")], &[("FAKE_CA", "false")]] {
            let error = read(pairs, false).unwrap_err();
            assert!(error.contains("CA_ADDRESS: ") && error.contains("FAKE_CA=true"), "{error}");
        }
        assert!(read(&[("CA_ADDRESS", "")], true).is_err());
        let error = read(&[("FAKE_CA", "true"), ("ADIT_CERTIFICATE_DIR", "/certs")], false).unwrap_err();
        assert!(error.contains("one source only"), "{error}");
        let error = read(&[("SECRET_TTL", "0s")], true).unwrap_err();
        assert!(error.contains("SECRET_TTL: read \"0s\""), "{error}");
    }
}
