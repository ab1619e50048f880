//! The client of the CNI agent against a scripted agent, over a real socket. No root: any descriptor can play the namespace of a
//! pod, for only those who start proxies enter it.

mod agent;
mod packets;
mod rig;
