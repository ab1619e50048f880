//! Our client and our server against programs that others wrote: nghttpx, Envoy, Python's h2. Needs them on the path
//! (`.ci/run` installs them) and fails without.
mod envoy;
mod nghttpx;
mod process;
mod python;
