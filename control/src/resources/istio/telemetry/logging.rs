//! `accessLogging`: which access logs are written, and of which requests.
use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::l7::telemetry::{AccessLog, Expression, LogFormat};

use super::super::super::{Problems, Severity};
use super::super::mesh_config::{MeshConfig, Provider};
use super::super::values::Reader;
use super::spec::{self, FileLog};

/// The provider that is there without being defined.
const BUILT_IN: &str = "envoy";

/// An entry of a policy that is for us.
pub(super) struct Entry {
    /// None: those of before.
    providers: Vec<Arc<str>>,
    disabled: bool,
    filter: Option<Expression>,
}

/// Reads the entries of a policy; those that are not for us are left out.
pub(super) fn read(
    reader: &mut Reader<'_>,
    mesh: &MeshConfig,
    entries: &[spec::AccessLogging],
) -> Vec<Entry> {
    let mut read = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let at = format!("spec.accessLogging[{place}]");
        for (number, provider) in entry.providers.iter().enumerate() {
            if provider.name != BUILT_IN && mesh.provider(&provider.name).is_none() {
                let text =
                    format!("there is no provider {:?} in the mesh's extensionProviders", provider.name);
                reader.tell(Severity::Unresolved, &format!("{at}.providers[{number}].name"), text);
            }
        }
        let filter = match entry.filter.as_ref().map(|filter| Expression::condition(&filter.expression)) {
            None => None,
            Some(Ok(filter)) => Some(filter),
            Some(Err(error)) => {
                // Without it there would be more lines than were asked for, which is better than fewer.
                let text = format!("{error}; all requests are logged");
                reader.unsupported(&format!("{at}.filter.expression"), text);
                None
            }
        };
        if entry.matches.mode.is_ours() {
            let providers = entry.providers.iter().map(|provider| provider.name.as_str().into()).collect();
            read.push(Entry { providers, disabled: entry.disabled.unwrap_or_default(), filter });
        }
    }
    read
}

/// What the mesh's settings say.
pub(super) struct Defaults {
    /// Where no policy says anything.
    names: Vec<Arc<str>>,
    /// Providers that lines can be written for.
    formats: BTreeMap<Arc<str>, LogFormat>,
}

impl Defaults {
    pub(super) fn new(mesh: &MeshConfig, problems: &mut Problems) -> Self {
        let told = |problems: &mut Problems, path: &[&str], text: String| {
            mesh.tell(MeshConfig::field(path), Severity::Unsupported, text, problems);
        };
        let text =
            |path: &[&str]| mesh.get(path).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
        let format = match text(&["accessLogEncoding"]) {
            None | Some("TEXT") => LogFormat::Text,
            Some("JSON") => LogFormat::Json,
            Some(other) => {
                told(
                    problems,
                    &["accessLogEncoding"],
                    format!("{other:?} is neither TEXT nor JSON: TEXT is used"),
                );
                LogFormat::Text
            }
        };
        if mesh.text("accessLogFormat", problems).is_some() {
            told(
                problems,
                &["accessLogFormat"],
                "lines have the default format; another cannot be set".to_owned(),
            );
        }
        let file = mesh.text("accessLogFile", problems);
        if let Some(other) = file.filter(|file| *file != "/dev/stdout") {
            told(problems, &["accessLogFile"], format!("access logs go to /dev/stdout, not to {other}"));
        }
        let mut formats = BTreeMap::from([(BUILT_IN.into(), format)]);
        for (name, provider) in mesh.providers() {
            if let Some(format) = written(mesh, provider, problems) {
                formats.insert(Arc::clone(name), format);
            }
        }
        let names = match mesh.default_providers("accessLogging", problems) {
            Some(names) => names,
            // Whoever has not written any settings of a mesh sees what goes on.
            None if file.is_some() || !mesh.is_given() => vec![Arc::from(BUILT_IN)],
            None => Vec::new(),
        };
        let known = |name: &&Arc<str>| ***name == *BUILT_IN || mesh.provider(name).is_some();
        for name in names.iter().filter(|name| !known(name)) {
            let text = format!("there is no provider {name:?} among extensionProviders");
            told(problems, &["defaultProviders", "accessLogging"], text);
        }
        Self { names, formats }
    }

    /// What follows from the entries of policies, those of each together.
    pub(super) fn merged(&self, layers: &[&[Entry]]) -> Vec<AccessLog> {
        let mut named = self.names.clone();
        for layer in layers {
            let own: Vec<_> = layer.iter().flat_map(|entry| entry.providers.iter().cloned()).collect();
            if !own.is_empty() {
                named = own;
            }
        }
        let nothing = layers.iter().all(|layer| layer.is_empty());
        let mut said: BTreeMap<Arc<str>, (bool, Option<Expression>)> = BTreeMap::new();
        if nothing {
            said.extend(self.names.iter().map(|name| (Arc::clone(name), (false, None))));
        }
        let mut before = &self.names;
        for entry in layers.iter().copied().flatten() {
            if !entry.providers.is_empty() {
                before = &entry.providers;
            }
            for name in before {
                said.insert(Arc::clone(name), (entry.disabled, entry.filter.clone()));
            }
        }
        let mut logs: Vec<AccessLog> = Vec::new();
        for (name, (disabled, filter)) in said {
            if let Some(format) = self.formats.get(&name).filter(|_| !disabled && named.contains(&name)) {
                let log = AccessLog { format: *format, filter };
                // One line per request, even if two providers would write the same.
                if !logs.contains(&log) {
                    logs.push(log);
                }
            }
        }
        logs
    }
}

/// How the lines of a provider look, if it is one of access logs and can be written for.
fn written(mesh: &MeshConfig, provider: &Provider, problems: &mut Problems) -> Option<LogFormat> {
    let told = |problems: &mut Problems, field: String, text: &str| {
        mesh.tell(field, Severity::Unsupported, text, problems);
    };
    match &*provider.kind {
        "envoyFileAccessLog" => {
            let file: FileLog = mesh.read(provider, problems)?;
            if !matches!(&*file.path, "" | "/dev/stdout") {
                told(
                    problems,
                    format!("{}.path", provider.field),
                    "access logs go to /dev/stdout, and nowhere else",
                );
            }
            if file.omit_empty_values == Some(true) {
                told(
                    problems,
                    format!("{}.omitEmptyValues", provider.field),
                    "fields without a value are written",
                );
            }
            let format = file.log_format.unwrap_or_default();
            if format.text.is_some() {
                told(problems, format!("{}.logFormat.text", provider.field), "lines have the default format");
            }
            if format.labels.as_ref().is_some_and(|labels| !labels.is_empty()) {
                told(
                    problems,
                    format!("{}.logFormat.labels", provider.field),
                    "JSON lines have the default keys",
                );
            }
            Some(if format.labels.is_some() { LogFormat::Json } else { LogFormat::Text })
        }
        "envoyOtelAls" | "envoyHttpAls" | "envoyTcpAls" => {
            told(
                problems,
                provider.field.clone(),
                "access logs go to /dev/stdout only; this provider gets none",
            );
            None
        }
        _ => None,
    }
}
