//! Objects of Kubernetes, as `kubectl` would apply, delete and read them.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adit_testkit::netns::Namespace;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace as Space, Pod, ServiceAccount};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::Result;

/// An answer of the API server takes milliseconds.
const ANSWER: Duration = Duration::from_secs(60);

/// Who owns the fields that we apply.
const OWNER: &str = "adit-e2e";

/// The label of namespaces, and pods, that are in the mesh (Istio).
const MODE: &str = "istio.io/dataplane-mode";

/// What istio-cni sets on a pod that it has captured, `enabled`, and istiod reads (interfaces §3.4).
pub(crate) const CAPTURED: &str = "ambient.istio.io/redirection";

/// A client of the API server; every call blocks.
#[derive(Clone)]
pub(crate) struct Kube {
    client: Client,
    tasks: Arc<Runtime>,
}

impl Kube {
    /// A client that lives in `namespace`, where the server is.
    pub(crate) fn new(kubeconfig: &str, namespace: &Namespace) -> Result<Self> {
        let namespace = namespace.open()?;
        let enter = move || {
            let entered = move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&namespace),
                Some(LinkNameSpaceType::Network),
            );
            entered.expect("the namespace of the control plane");
        };
        let tasks =
            Builder::new_multi_thread().worker_threads(1).on_thread_start(enter).enable_all().build()?;
        let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
        let connecting = async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Client::try_from(config)?)
        };
        let client = tasks.block_on(async { tasks.spawn(connecting).await })??;
        Ok(Self { client, tasks: Arc::new(tasks) })
    }

    /// Waits for an answer. The work is done on a thread of the runtime, since only those are in the right namespace.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = kube::Result<T>> + Send + 'static,
    ) -> Result<T> {
        let task = self.tasks.spawn(async { tokio::time::timeout(ANSWER, work).await });
        Ok(self.tasks.block_on(task)???)
    }

    /// Whether the server is ready to serve.
    pub(crate) fn ready(&self) -> Result<String> {
        let client = self.client.clone();
        let request = http::Request::get("/readyz").body(Vec::new())?;
        self.wait(async move { client.request_text(request).await })
    }

    /// Makes the server's objects those of `documents` (YAML), by server-side apply; a status goes where statuses go.
    pub(crate) fn apply(&self, documents: &str) -> Result<()> {
        for mut object in parse(documents)? {
            let (api, name) = self.place(&object)?;
            let how = PatchParams::apply(OWNER).force();
            let status = object.data.as_object_mut().and_then(|data| data.remove("status"));
            self.wait(async move {
                api.patch(&name, &how, &Patch::Apply(&object)).await?;
                let Some(status) = status else { return Ok(()) };
                object.data = json!({ "status": status });
                api.patch_status(&name, &how, &Patch::Apply(&object)).await.map(drop)
            })?;
        }
        Ok(())
    }

    /// Sets the status of the objects of `documents` (YAML), by server-side apply.
    pub(crate) fn apply_status(&self, documents: &str) -> Result<()> {
        for object in parse(documents)? {
            let (api, name) = self.place(&object)?;
            let how = PatchParams::apply(OWNER).force();
            self.wait(async move { api.patch_status(&name, &how, &Patch::Apply(&object)).await.map(drop) })?;
        }
        Ok(())
    }

    /// Deletes, at once, the objects that `documents` (YAML) names. What is not there is not missed.
    pub(crate) fn delete(&self, documents: &str) -> Result<()> {
        for object in parse(documents)? {
            let (api, name) = self.place(&object)?;
            self.wait(async move {
                match api.delete(&name, &DeleteParams::default().grace_period(0)).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                    deleted => deleted.map(drop),
                }
            })?;
        }
        Ok(())
    }

    /// The one object that `document` (YAML) names, as the server has it.
    pub(crate) fn read(&self, document: &str) -> Result<Option<Value>> {
        let object = parse(document)?.pop().ok_or("no object is named")?;
        let (api, name) = self.place(&object)?;
        let found = self.wait(async move { api.get_opt(&name).await })?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// Deletes all objects of a kind in a namespace.
    pub(crate) fn delete_all(&self, api_version: &str, kind: &str, space: &str) -> Result<()> {
        let example = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "any", "namespace": space } });
        let (api, _) = self.place(&serde_json::from_value(example)?)?;
        self.wait(async move {
            for object in api.list(&ListParams::default()).await? {
                let name = object.metadata.name.unwrap_or_default();
                api.delete(&name, &DeleteParams::default().grace_period(0)).await?;
            }
            Ok(())
        })
    }

    /// Whether the server serves all kinds that it was taught.
    pub(crate) fn knows_all_kinds(&self) -> Result<bool> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
        ));
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let kinds = self.wait(async move { api.list(&ListParams::default()).await })?;
        let established = |kind: &DynamicObject| {
            let conditions = kind.data["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
            conditions.iter().any(|each| each["type"] == "Established" && each["status"] == "True")
        };
        Ok(kinds.iter().all(established))
    }

    /// The namespaces that are in the mesh.
    pub(crate) fn meshed(&self) -> Result<BTreeSet<String>> {
        let api: Api<Space> = Api::all(self.client.clone());
        let which = ListParams::default().labels(&format!("{MODE}=ambient"));
        let spaces = self.wait(async move { api.list(&which).await })?;
        Ok(spaces.into_iter().filter_map(|space| space.metadata.name).collect())
    }

    /// The pods of a node.
    pub(crate) fn pods_on(&self, node: &str) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::all(self.client.clone());
        let which = ListParams::default().fields(&format!("spec.nodeName={node}"));
        Ok(self.wait(async move { api.list(&which).await })?.items)
    }

    /// Says on a pod whether it is captured, as istio-cni does.
    pub(crate) fn annotate(&self, space: &str, pod: &str, captured: bool) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), space);
        let value = captured.then_some("enabled");
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { CAPTURED: value } } }));
        let pod = pod.to_owned();
        self.wait(async move { api.patch_status(&pod, &PatchParams::default(), &patch).await.map(drop) })
    }

    /// A token of a service account for Istio's authority, bound to one of its pods, as kubelet has it made.
    pub(crate) fn token(&self, space: &str, account: &str, pod: &str) -> Result<String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), space);
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.to_owned()),
            uid: None,
        };
        let spec = TokenRequestSpec {
            audiences: vec!["istio-ca".to_owned()],
            bound_object_ref: Some(bound),
            expiration_seconds: Some(43_200),
        };
        let (account, wanted) = (account.to_owned(), TokenRequest { spec, ..TokenRequest::default() });
        let made = self
            .wait(async move { api.create_token_request(&account, &PostParams::default(), &wanted).await })?;
        Ok(made.status.ok_or("a token request without an answer")?.token)
    }

    /// Where an object is kept, and its name there. Whoever names no namespace is in none.
    fn place(&self, object: &DynamicObject) -> Result<(Api<DynamicObject>, String)> {
        let types = object.types.as_ref().ok_or("an object without apiVersion and kind")?;
        let kind = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let name = object.metadata.name.clone().ok_or("an object without a name")?;
        let client = self.client.clone();
        let api = match &object.metadata.namespace {
            Some(space) => Api::namespaced_with(client, space, &kind),
            None => Api::all_with(client, &kind),
        };
        Ok((api, name))
    }
}

/// The objects of a file with several documents.
fn parse(documents: &str) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(documents) {
        let value = Value::deserialize(document)?;
        if !value.is_null() {
            objects.push(serde_json::from_value(value)?);
        }
    }
    Ok(objects)
}

/// A namespace, in the mesh or not.
pub(crate) fn space(name: &str, meshed: bool) -> String {
    let labels = if meshed { format!("{{{MODE}: ambient}}") } else { "{}".to_owned() };
    format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {labels}}}}}")
}
