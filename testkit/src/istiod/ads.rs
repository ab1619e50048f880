//! The xDS half: resources that a test sets and removes, streams that it ends, requests that it reads.
//!
//! It behaves as istiod does where the client relies on it (interfaces §1.5): a wildcard gets one response even if there is
//! nothing; after a reconnect what is reported with its current version is left out and what is gone is named; a demanded
//! name is found by name or alias, or named as removed.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_control::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use adit_control::proto::istio::{security, workload};
use prost::Message;
use prost_types::Any;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

/// What a stream of responses is to tonic.
pub type Responses = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

/// Type URL of workloads and services.
pub const ADDRESS: &str = "type.googleapis.com/istio.workload.Address";
/// Type URL of policies.
pub const AUTHORIZATION: &str = "type.googleapis.com/istio.security.Authorization";

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Which stream, counted from 1.
    pub stream: usize,
    /// Headers of that stream's call.
    pub headers: BTreeMap<String, String>,
    /// The message.
    pub request: DeltaDiscoveryRequest,
}

#[derive(Clone, Default)]
struct State {
    /// Type URL → name → resource.
    resources: BTreeMap<String, BTreeMap<String, Resource>>,
    version: u64,
    recorded: Vec<Recorded>,
    streams: usize,
    refuse: Option<Status>,
}

/// How streams end.
#[derive(Clone, Debug)]
enum End {
    Status(Status),
    Clean,
}

/// The server; what is set is pushed to all streams at once.
pub struct Ads {
    state: Mutex<State>,
    /// Counts changes, of resources or of what was recorded.
    changed: watch::Sender<u64>,
    end: watch::Sender<Option<End>>,
    held: watch::Sender<bool>,
}

impl Default for Ads {
    fn default() -> Self {
        Self::with(State::default())
    }
}

impl Ads {
    fn with(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            changed: watch::channel(0).0,
            end: watch::channel(None).0,
            held: watch::channel(false).0,
        }
    }

    pub(super) fn after_restart(&self) -> Self {
        let State { resources, version, .. } = self.state().clone();
        Self::with(State { resources, version, ..State::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Sets workloads, under their uids and with `network/ip` as aliases.
    pub fn set_workloads(&self, workloads: impl IntoIterator<Item = workload::Workload>) {
        let resources = workloads.into_iter().map(|each| {
            let aliases = each.addresses.iter().filter_map(|octets| {
                let four = <[u8; 4]>::try_from(octets.as_slice()).map(IpAddr::from);
                let ip = four.or_else(|_| <[u8; 16]>::try_from(octets.as_slice()).map(IpAddr::from));
                Some(format!("{}/{}", each.network, ip.ok()?))
            });
            let (name, aliases) = (each.uid.clone(), aliases.collect());
            let address = workload::Address { r#type: Some(workload::address::Type::Workload(each)) };
            (name, aliases, address.encode_to_vec())
        });
        self.set(ADDRESS, resources);
    }

    /// Sets services, under `namespace/hostname`.
    pub fn set_services(&self, services: impl IntoIterator<Item = workload::Service>) {
        let resources = services.into_iter().map(|each| {
            let name = format!("{}/{}", each.namespace, each.hostname);
            let address = workload::Address { r#type: Some(workload::address::Type::Service(each)) };
            (name, Vec::new(), address.encode_to_vec())
        });
        self.set(ADDRESS, resources);
    }

    /// Sets policies, under `namespace/name`.
    pub fn set_policies(&self, policies: impl IntoIterator<Item = security::Authorization>) {
        let policies = policies
            .into_iter()
            .map(|each| (format!("{}/{}", each.namespace, each.name), Vec::new(), each.encode_to_vec()));
        self.set(AUTHORIZATION, policies);
    }

    /// Sets resources of any content: name, aliases, octets. All of them go out in one push.
    pub fn set(&self, url: &str, resources: impl IntoIterator<Item = (String, Vec<String>, Vec<u8>)>) {
        let mut state = self.state();
        for (name, aliases, value) in resources {
            state.version += 1;
            // As long as istiod's hashes are.
            let version = format!("{:x}", u64::MAX / state.version);
            let any = Any { type_url: url.to_owned(), value };
            let resource =
                Resource { name: name.clone(), version, aliases, resource: Some(any), ..Resource::default() };
            state.resources.entry(url.to_owned()).or_default().insert(name, resource);
        }
        drop(state);
        self.touch();
    }

    /// Removes resources.
    pub fn remove<'a>(&self, url: &str, names: impl IntoIterator<Item = &'a str>) {
        let mut state = self.state();
        let resources = state.resources.entry(url.to_owned()).or_default();
        for name in names {
            resources.remove(name);
        }
        drop(state);
        self.touch();
    }

    /// Ends all streams with an error.
    pub fn fail_streams(&self, status: Status) {
        self.end.send_replace(Some(End::Status(status)));
    }

    /// Ends all streams without an error.
    pub fn end_streams(&self) {
        self.end.send_replace(Some(End::Clean));
    }

    /// Refuses streams from now on, or takes them again.
    pub fn refuse_streams(&self, status: Option<Status>) {
        self.state().refuse = status;
    }

    /// Holds responses back, until told otherwise.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Everything that was asked so far.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.state().recorded.clone()
    }

    /// Waits until something that `found` accepts has been asked, and returns it.
    pub async fn request(&self, mut found: impl FnMut(&Recorded) -> bool) -> Recorded {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(recorded) = self.state().recorded.iter().find(|recorded| found(recorded)) {
                return recorded.clone();
            }
            // The sender is ours.
            let _ = changed.changed().await;
        }
    }

    /// Serves one stream.
    ///
    /// # Errors
    /// Streams are refused.
    pub(super) fn stream(
        self: &Arc<Self>,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Responses, Status> {
        let mut state = self.state();
        if let Some(status) = &state.refuse {
            return Err(status.clone());
        }
        state.streams += 1;
        let text = |value: tonic::metadata::KeyAndValueRef<'_>| match value {
            tonic::metadata::KeyAndValueRef::Ascii(name, value) => {
                Some((name.to_string(), value.to_str().ok()?.to_owned()))
            }
            tonic::metadata::KeyAndValueRef::Binary(..) => None,
        };
        let headers = request.metadata().iter().filter_map(text).collect();
        let (responses, stream) = mpsc::channel(16);
        let one = OneStream {
            ads: Arc::clone(self),
            number: state.streams,
            headers,
            types: BTreeMap::new(),
            nonce: 0,
            responses,
        };
        drop(state);
        tokio::spawn(one.run(request.into_inner()));
        Ok(ReceiverStream::new(stream))
    }
}

/// What a stream has been told of one type.
#[derive(Default)]
struct Told {
    versions: BTreeMap<String, String>,
    /// `None`: all.
    names: Option<BTreeSet<String>>,
    /// To be answered although nothing has changed.
    owed: BTreeSet<String>,
    /// The first response has been sent.
    answered: bool,
}

struct OneStream {
    ads: Arc<Ads>,
    number: usize,
    headers: BTreeMap<String, String>,
    types: BTreeMap<String, Told>,
    nonce: u64,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
}

impl OneStream {
    async fn run(mut self, mut requests: Streaming<DeltaDiscoveryRequest>) {
        let ads = Arc::clone(&self.ads);
        let (mut changed, mut end, mut held) =
            (ads.changed.subscribe(), ads.end.subscribe(), ads.held.subscribe());
        end.mark_unchanged();
        loop {
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.take(request),
                    Ok(None) | Err(_) => return,
                },
                _ = changed.changed() => {}
                _ = held.changed() => {}
                _ = end.changed() => {
                    let ending = end.borrow_and_update().clone();
                    if let Some(End::Status(status)) = ending {
                        let _ = self.responses.send(Err(status)).await;
                    }
                    return;
                }
            }
            if *held.borrow() {
                continue;
            }
            for response in self.due() {
                if self.responses.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        }
    }

    fn take(&mut self, request: DeltaDiscoveryRequest) {
        self.ads.state().recorded.push(Recorded {
            stream: self.number,
            headers: self.headers.clone(),
            request: request.clone(),
        });
        self.ads.touch();
        if !request.response_nonce.is_empty() {
            return;
        }
        let first = !self.types.contains_key(&request.type_url);
        let told = self.types.entry(request.type_url).or_default();
        if first {
            let reported: BTreeSet<String> = request.initial_resource_versions.keys().cloned().collect();
            told.versions = request.initial_resource_versions.into_iter().collect();
            if request.resource_names_unsubscribe.iter().any(|name| name == "*") {
                told.names = Some(reported.clone());
                told.answered = true;
            }
            told.owed = reported;
            return;
        }
        for name in request.resource_names_subscribe {
            told.versions.remove(&name);
            told.owed.insert(name.clone());
            told.names.get_or_insert_default().insert(name);
        }
    }

    fn due(&mut self) -> Vec<DeltaDiscoveryResponse> {
        let state = self.ads.state();
        let none = BTreeMap::new();
        let mut responses = Vec::new();
        for (url, told) in &mut self.types {
            let all = state.resources.get(url).unwrap_or(&none);
            let asked = |resource: &Resource| match &told.names {
                None => true,
                Some(names) => {
                    names.contains(&resource.name)
                        || resource.aliases.iter().any(|alias| names.contains(alias))
                }
            };
            let fresh = |resource: &&Resource| {
                let owed = resource.aliases.iter().any(|alias| told.owed.contains(alias));
                asked(resource) && (owed || told.versions.get(&resource.name) != Some(&resource.version))
            };
            let resources: Vec<Resource> = all.values().filter(fresh).cloned().collect();
            let aliased = |name: &String| {
                all.values().any(|resource| resource.aliases.iter().any(|alias| alias == name))
            };
            let gone = told
                .versions
                .keys()
                .chain(&told.owed)
                .filter(|name| !all.contains_key(*name) && !aliased(name));
            let removed: BTreeSet<String> = gone.cloned().collect();
            told.owed.clear();
            if resources.is_empty() && removed.is_empty() && told.answered {
                continue;
            }
            told.answered = true;
            for resource in &resources {
                told.versions.insert(resource.name.clone(), resource.version.clone());
            }
            for name in &removed {
                told.versions.remove(name);
            }
            self.nonce += 1;
            responses.push(DeltaDiscoveryResponse {
                resources,
                type_url: url.clone(),
                nonce: format!("{}-{}", self.number, self.nonce),
                removed_resources: removed.into_iter().collect(),
                ..DeltaDiscoveryResponse::default()
            });
        }
        responses
    }
}
