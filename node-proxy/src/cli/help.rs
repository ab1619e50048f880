//! The long help texts: what the flags cannot say.

/// Every environment variable of `proxy`. A test compares it with what is read.
pub(super) const PROXY: &str = "\
Environment variables. Names and defaults without ADIT_ are those of Istio's ztunnel. Durations are written `500ms`,
`5s`, `10m`, `1h30m`; booleans are exactly `true` or `false`; sizes are octets, with Ki, Mi or Gi. A variable that ztunnel
knows and Adit does not support is refused; one that has no effect beside the others is named in a warning.

For whom:
  PROXY_MODE                  `shared`: for the pods of this node, in their network namespaces, as the CNI agent names
                              them; `dedicated`: for one workload, where we run [shared]
  PROXY_WORKLOAD_INFO         dedicated: namespace/name/service-account of the workload this proxy stands for
  INPOD_UDS                   shared: the CNI agent's socket [/var/run/ztunnel/ztunnel.sock]
  INPOD_PORT_REUSE            shared: two proxies may listen in a pod at once, as during an upgrade [true]
  SERVICE_ACCOUNT             shared: with POD_NAME and POD_NAMESPACE, our own pod: the mesh reaches it by HBONE

The mesh:
  XDS_ADDRESS                 the control plane [discoveryAddress of PROXY_CONFIG; else istiod in its cluster, or on
                              localhost:15012; none beside a local file]; empty is none
  XDS_ROOT_CA                 what its certificate is judged by: a file, SYSTEM, or PEM
                              [./var/run/secrets/istio/root-cert.pem]
  ALT_XDS_HOSTNAME            another name that its certificate may have
  XDS_HEADER_*                further headers of requests to it
  AUTH_TOKEN                  a token, or its file [./var/run/secrets/tokens/istio-token if it exists]
  CLUSTER_ID, ISTIO_META_CLUSTER_ID  our cluster, told with the token [Kubernetes]
  XDS_ON_DEMAND               ask for workloads and services when a connection needs them; not beside the DNS proxy [false]
  NODE_NAME, POD_NAME, POD_NAMESPACE, INSTANCE_IP  who we are to the control plane; only workloads of this node are ours [any]
  ISTIO_META_*, ISTIO_METAJSON_*  metadata told to it
  LOCAL_XDS_PATH | LOCAL_XDS  YAML file with workloads, services and policies, or the YAML itself; read once. Alone, or
                              what is known before the control plane speaks
  NETWORK                     network this proxy is on [empty]

Certificates:
  CA_ADDRESS                  the mesh's authority [as XDS_ADDRESS, without PROXY_CONFIG]
  CA_ROOT_CA, ALT_CA_HOSTNAME, CA_HEADER_*  as for the control plane
  SECRET_TTL                  how long certificates are asked to live [24h]
  ADIT_CERTIFICATE_DIR        take them from cert-chain.pem, key.pem and root-cert.pem in this directory, which may be
                              replaced at any time [none]
  FAKE_CA                     `true`: issue them from a built-in CA; not fit for production [false]
  LOCAL_CA_DIR                directory of the built-in CA, made on first use; proxies that share it trust each other.
                              Without it the CA lives in memory, and only this process is trusted
  CRL_PATH                    revocation lists (PEM), read again when they change [none]
  COMPLIANCE_POLICY           `pqc`: only the post-quantum hybrid X25519MLKEM768, with peers and the control plane [none:
                              preferred, others are spoken to as well]
  TRUST_DOMAIN                if set, our workload must be of this trust domain

DNS:
  ISTIO_META_DNS_CAPTURE      answer DNS questions about the mesh, relay others: anything but `true` is off [true]
  ISTIO_META_DNS_PROXY_ADDR   where, by UDP and TCP [localhost:15053]
  CLUSTER_DOMAIN              [cluster.local]
  PREFERED_SERVICE_NAMESPACE  (sic) where a name is looked for that our own namespace does not have

Listeners:
  ADIT_BIND_ADDRESS           address of all listeners [:: or, without IPv6, 0.0.0.0]
  IPV6_ENABLED                listen on IPv6 too [true]
  ADIT_OUTBOUND_PORT          captured outbound connections [15001]
  ADIT_INBOUND_PORT           captured inbound plaintext [15006]
  ADIT_HBONE_PORT             HBONE; peers are dialled on the same port [15008]
  ADIT_READINESS_PORT         GET /healthz/ready [15021]
  ADIT_STATS_PORT             GET /metrics and /stats/prometheus [15020]
  ADIT_ADMIN_PORT             admin pages, for `istioctl ztunnel-config`, on loopback only [15000]
  UNSTABLE_ENABLE_SOCKS5      also take outbound connections by SOCKS5 [false]
  ADIT_SOCKS5_PORT            SOCKS5 [15080]
  ADIT_ENTRY                  LISTEN=TARGET,...: where there is no redirection, connections to LISTEN are taken as
                              captured on their way to TARGET (addresses with ports) [none]
  ADIT_SOCKS5_BIND_ADDRESS    address of SOCKS5 [ADIT_BIND_ADDRESS if loopback, else 127.0.0.1]
  ADIT_HANDOVER_PATH          a socket that this proxy and the next one share (same user): the next takes over the listening
                              sockets of this one, so that an upgrade refuses no connection [none]

Sockets:
  PACKET_MARK                 SO_MARK on all data sockets [none]
  ENABLE_ORIG_SRC             show applications their clients' addresses: `true` requires it, `false` never [try]
  KEEPALIVE_ENABLED           TCP keepalive [true]
  KEEPALIVE_TIME              [180s]
  KEEPALIVE_INTERVAL          [180s]
  KEEPALIVE_RETRIES           [9]
  USER_TIMEOUT_ENABLED        TCP_USER_TIMEOUT of time + retries x interval [false]

Tunnels:
  POOL_MAX_STREAMS_PER_CONNECTION  streams per tunnel we open [100]
  POOL_UNUSED_RELEASE_TIMEOUT      how long an idle tunnel is kept [5m]
  HTTP2_STREAM_WINDOW_SIZE         [4194304]
  HTTP2_CONNECTION_WINDOW_SIZE     [16777216]
  HTTP2_FRAME_SIZE                 [1048576]
  ENABLE_RESPONSE_BAGGAGE          describe workloads to each other [true]
  LOCALHOST_APP_TUNNEL             dial applications with a PROXY tunnel on loopback [true]
  ADIT_RECORDS                     record protection: `in-place` (ours) or `rustls` [in-place]
  ADIT_RESETS_AS_FIN               end reset streams with FIN, as ztunnel does, instead of RST [false]

Deadlines:
  ADIT_CERTIFICATE_TIMEOUT    our own certificate [10s]
  ADIT_DIAL_TIMEOUT           a TCP connection [10s]
  ADIT_HANDSHAKE_TIMEOUT      TLS and HTTP/2 SETTINGS together [10s]
  ADIT_CONNECT_TIMEOUT        the answer to CONNECT [20s]
  ADIT_HALF_CLOSED_IDLE       a half-closed connection without traffic [5m]
  CONNECTION_TERMINATION_DEADLINE   open connections after SIGTERM [from the next, else 5s]
  TERMINATION_GRACE_PERIOD_SECONDS  the pod's grace period g: above 10 it leaves g-5 s, else g-1 s, at least 1 s

Limits (for the process; shards share them out evenly):
  ADIT_MAX_BUFFERED_PER_TUNNEL    octets held for slow readers of one tunnel [20Mi]
  ADIT_MAX_BUFFERED_PER_IDENTITY  octets held for all tunnels of one peer identity [64Mi]
  ADIT_MAX_BUFFERED               octets held in all [256Mi]
  ADIT_MAX_INBOUND_TUNNELS        [16384]
  ADIT_MAX_OUTBOUND_TUNNELS       [16384]
  ADIT_MAX_CONNECTIONS            connections of applications, in either direction; more are closed [65536]
  ADIT_MAX_HANDSHAKES             inbound handshakes in progress [1024]

  ADIT_METRICS_MAX_SERIES         label sets of connections that metrics keep; more count as `other` [10000]
  ADIT_METRICS_IDLE               how long a label set without a connection is kept [1h]

Threads and logs:
  ADIT_RUNTIME                    `tokio` or `smol` [tokio]
  ZTUNNEL_WORKER_THREADS          shards, one thread each: a number, `0` = one per CPU, or a share such as `50%`
                                  [the CPU limit raised to the request, else max(25 % of CPUs, request, 2)]
  ZTUNNEL_CPU_LIMIT               CPUs that shares are taken of [all]
  ZTUNNEL_RESOURCE_CPU_LIMIT      CPU limit, such as `1500m`
  ZTUNNEL_RESOURCE_CPU_REQUEST    CPU request
  PROXY_CONFIG                    YAML as in a mesh's defaultConfig: concurrency, statsPort, proxyAdminPort,
                                  discoveryAddress, proxyMetadata (as ISTIO_META_*, which win)
  ISTIO_META_ISTIO_VERSION        the version that metrics and admin pages tell [unknown]
  AUTHZ_POLICY_INFO_LOGGING       log what policies decide at level info [false: debug]
  RUST_LOG                        log levels [info]; `access=off` silences the access log
  LOG_FORMAT                      `json`, anything else is plain
  ADIT_RECORD                     a directory: each shard records everything it is told into a file there, to be replayed
                                  when something went wrong. THE FILES HOLD PAYLOAD AND THE KEYS OF TUNNELS [none]

The access log goes to stdout, one line per connection; everything else goes to stderr.
SIGTERM or SIGINT starts a drain: listeners close at once, open connections may go on until the deadline. A second SIGINT
exits at once.";

/// What the demo is.
pub(super) const DEMO: &str = "\
The demo needs no root, no files and no cluster. It runs a certificate authority, the node proxies of two workloads
(`web` on 127.0.0.2, `echo` on 127.0.0.3), and the echo service itself, all on loopback in this one process. Without --once
it prints two URLs for your own curl, one allowed and one denied by policy, and shows what each call does: who speaks to
whom as which identity, tunnels, streams, octets, and why a call is refused. Ctrl-C ends it.";

/// What an explanation is.
pub(super) const EXPLAIN: &str = "\
Asks the functions that carry traffic what would become of a connection, without making one: service, endpoints with
their ranks and weights, waypoint, protocol, identity expected, the tunnel that is shared, and at the destination the
policies consulted, the verdict and why. The tables are those of one proxy's config_dump, for both ends.

  adit-node explain --from shop/web-1 --to echo:80
  adit-node explain --from 10.0.0.1 --to 10.1.0.1:80 --json
  kubectl port-forward -n istio-system ds/ztunnel 15000 &
  curl -s localhost:15000/config_dump > dump.json
  adit-node explain --from shop/web-1 --to echo.shop:80 --dump dump.json

Names are looked up as the DNS proxy does, with the search domains that Kubernetes gives by default. Where one of
several endpoints or waypoints is drawn, the answer shows one draw (--seed) and what it was drawn from.

What a dump does not say is told in notes. A bad entry of the dump is named on stderr, and the others are used; a policy
that cannot be read is taken at its strictest.

Exit status:
  0  the connection gets through, as far as the tables tell: what a waypoint or another network's proxies would say is
     not known here, and the answer says so
  1  it is refused: no route, or denied
  2  there is no answer: wrong usage, no proxy, no dump";

/// What capture is.
pub(super) const CAPTURE: &str = "\
Captured pods have rules that send what they connect to, to port 15001 of the proxy, what comes in, to 15006, and, with DNS
capture, their DNS questions to 15053. Port 15008, kubelet's probes from 169.254.7.127, traffic to loopback, and packets with
the mark 1337, which are the proxy's own, pass. These are the rules that istio-cni writes; where it is at work, leave them to it.
Here they are for virtual machines, for tests, and for pods that istio-cni has not reached.

  adit-node capture --netns /proc/4242/ns/net apply --dry-run
  adit-node capture --netns /proc/4242/ns/net apply
  adit-node capture --netns /proc/4242/ns/net verify
  adit-node capture remove

Start the proxy first, with PACKET_MARK=1337: until it listens, what is captured is refused; and without the mark its own
connections come back to it. Each of nft and iptables-restore changes all that it changes of a table at once. Where something
fails and there were no rules of ours before, none are left.

nftables rules are in the tables inet istio-ambient-nat, -mangle and -raw; iptables rules in the chains ISTIO_PRERT and
ISTIO_OUTPUT of nat, mangle and raw, each for IPv4 and IPv6. A packet of a borrowed source address finds back by the routing
table 100. Nothing else is touched; rules of a sidecar, or of a node, are refused.

Needed: ip, and nft or iptables; root, or CAP_NET_ADMIN, and CAP_SYS_ADMIN for --netns.

Exit status:
  0  done; all is as it should be
  1  verify: something is not
  2  it could not be done, or found out";

/// What a check is.
pub(super) const CHECK: &str = "\
Looks at a pod's rules and routes, taking them for those that they come closest to; at who listens on 15001, 15006 and 15008;
and opens a connection from inside, by IPv4 and by IPv6, which must come to port 15001. It goes to addresses that nobody has
(192.0.2.1:9 and [100::1]:9): uncaptured, it comes to no harm, and Adit drops it without a word. Another proxy logs it as failed.

  adit-node check --netns /proc/4242/ns/net
  adit-node check --admin
  adit-node check --admin http://127.0.0.1:15000 --json

With --admin, a running proxy is asked what it last found of all pods that it serves. Whether what comes in is captured can
be seen from outside only: here the rules tell.

Exit status:
  0  connections come to the proxy
  1  something is wrong
  2  it cannot be found out";
