//! The tunnel's parts by table and property, and whole tunnels over symbolic sessions.
mod packing;
