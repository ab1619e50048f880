//! Flow-control windows (RFC 9113 §5.2, §6.9): what we may send, and what we let the peer send.
use serde::{Deserialize, Serialize};

/// The largest window (RFC 9113 §6.9.1).
pub(crate) const MAX_WINDOW: u32 = 0x7fff_ffff;
/// Every window's size before SETTINGS and WINDOW_UPDATE change it (RFC 9113 §6.9.2).
pub(crate) const DEFAULT_WINDOW: u32 = 65_535;

/// A window was raised above [`MAX_WINDOW`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// More was received than the window allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded;

/// What we may send. Wider than the wire's 31 bits and signed: lowered SETTINGS may leave it negative (RFC 9113 §6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct SendWindow(i64);

impl SendWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self(size.into())
    }

    /// Octets that may be sent now; none while the window is negative.
    pub(crate) fn available(self) -> u32 {
        u32::try_from(self.0.max(0)).unwrap_or(MAX_WINDOW)
    }

    /// `octets` were sent.
    pub(crate) fn spend(&mut self, octets: u32) {
        self.0 = self.0.saturating_sub(octets.into());
    }

    /// The peer sent WINDOW_UPDATE.
    pub(crate) fn grow(&mut self, increment: u32) -> Result<(), Overflow> {
        let grown = self.0.saturating_add(increment.into());
        if grown > MAX_WINDOW.into() {
            return Err(Overflow);
        }
        self.0 = grown;
        Ok(())
    }

    /// The peer's SETTINGS_INITIAL_WINDOW_SIZE went from `old` to `new`.
    pub(crate) fn shift(&mut self, old: u32, new: u32) -> Result<(), Overflow> {
        let shifted = self.0.saturating_add(new.into()).saturating_sub(old.into());
        if shifted > MAX_WINDOW.into() {
            return Err(Overflow);
        }
        self.0 = shifted;
        Ok(())
    }
}

/// What the peer may send. Every octet of the window is in one of three places:
/// `available` (the peer may send it) + `held` (received, not consumed) + `owed` (consumed, credit not yet sent) = `size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ReceiveWindow {
    size: u32,
    available: i64,
    held: u32,
    owed: u32,
}

impl ReceiveWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self { size, available: size.into(), held: 0, owed: 0 }
    }

    /// `octets` of DATA payload, padding included, arrived.
    pub(crate) fn charge(&mut self, octets: u32) -> Result<(), Exceeded> {
        if self.available < octets.into() {
            return Err(Exceeded);
        }
        self.available = self.available.saturating_sub(octets.into());
        self.held = self.held.saturating_add(octets);
        Ok(())
    }

    /// `octets` of what is held are consumed; more than is held counts as all of it. Returns how many were.
    pub(crate) fn release(&mut self, octets: u32) -> u32 {
        let released = octets.min(self.held);
        self.held = self.held.saturating_sub(released);
        self.owed = self.owed.saturating_add(released);
        released
    }

    /// The increment to send now: all that is owed, once that is half of the window (one WINDOW_UPDATE per half window
    /// keeps a sender going and costs little).
    pub(crate) fn credit(&mut self) -> Option<u32> {
        if self.owed == 0 || self.owed < self.size / 2 {
            return None;
        }
        let credit = core::mem::take(&mut self.owed);
        self.available = self.available.saturating_add(credit.into());
        Some(credit)
    }

    /// Our own SETTINGS_INITIAL_WINDOW_SIZE took effect.
    pub(crate) fn resize(&mut self, size: u32) {
        self.available = self.available.saturating_add(size.into()).saturating_sub(self.size.into());
        self.size = size;
    }

    /// Octets received and not consumed.
    pub(crate) fn held(&self) -> u32 {
        self.held
    }

    /// Whether no octet of the window was lost or invented.
    #[cfg(test)]
    pub(crate) fn is_conserved(&self) -> bool {
        self.available + i64::from(self.held) + i64::from(self.owed) == i64::from(self.size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lowered_setting_makes_the_send_window_negative() {
        // RFC 9113 §6.9.2's example: 64 KiB sent of 65535, then the setting goes down to 16 KiB.
        let mut window = SendWindow::new(65_535);
        window.spend(61_440);
        window.shift(65_535, 16_384).unwrap();
        assert_eq!(window, SendWindow(-45_056));
        assert_eq!(window.available(), 0);
        window.grow(45_056).unwrap();
        assert_eq!(window.available(), 0);
        window.grow(1).unwrap();
        assert_eq!(window.available(), 1);
    }

    #[test]
    fn a_send_window_stops_at_its_maximum() {
        let mut window = SendWindow::new(MAX_WINDOW - 1);
        window.grow(1).unwrap();
        assert_eq!(window.grow(1), Err(Overflow));
        assert_eq!(window.available(), MAX_WINDOW);
        assert_eq!(window.shift(0, 1), Err(Overflow));
    }

    #[test]
    fn credit_is_given_at_half_the_window() {
        let mut window = ReceiveWindow::new(10);
        window.charge(10).unwrap();
        assert_eq!(window.charge(1), Err(Exceeded));
        window.release(4);
        assert_eq!(window.credit(), None);
        window.release(1);
        assert_eq!(window.credit(), Some(5));
        assert_eq!(window.credit(), None);
    }

    proptest! {
        #[test]
        fn no_octet_of_a_receive_window_is_lost(
            start in 0u32..200_000,
            ops in prop::collection::vec((0u8..4, 0u32..100_000), 0..60),
        ) {
            let mut window = ReceiveWindow::new(start);
            for (op, amount) in ops {
                match op {
                    0 => { let _ = window.charge(amount); }
                    1 => { window.release(amount); }
                    2 => { window.credit(); }
                    _ => window.resize(amount),
                }
                prop_assert!(window.is_conserved());
            }
        }
    }
}
