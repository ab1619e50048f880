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

    /// Octets sent for which no credit has come back, of a window that began with `initial`.
    pub(crate) fn outstanding(self, initial: u32) -> u32 {
        u32::try_from(i64::from(initial).saturating_sub(self.0).max(0)).unwrap_or(u32::MAX)
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

/// How the streams of a connection share its send window.
///
/// Stream windows add up to far more than the connection's (RFC 9113 §5.2.2 leaves it to us what to do about that): a
/// few streams whose readers have stopped would use up all of it, and the others could not send an octet. So the last
/// part of it is for streams that have little outstanding: each gets a ration, whatever the others do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    available: u32,
    reserve: u32,
    ration: u32,
}

impl Shares {
    /// Below this a connection window is too small to be divided.
    const LEAST: u32 = 1 << 20;
    /// The part of the window that is kept for rations.
    const RESERVE: u32 = 8;
    /// Rations in the reserve: more than there are streams on one of our tunnels.
    const RATIONS: u32 = 256;

    /// Shares of `window`, which was `size` octets wide when nothing was outstanding.
    pub(crate) fn new(window: SendWindow, size: u32) -> Self {
        let reserve = if size < Self::LEAST { 0 } else { size / Self::RESERVE };
        Self { available: window.available(), reserve, ration: reserve / Self::RATIONS }
    }

    /// What a stream may send now that has `outstanding` octets on the way or with the reader.
    pub(crate) fn of(self, outstanding: u32) -> u32 {
        let ration = self.ration.saturating_sub(outstanding).min(self.available);
        self.available.saturating_sub(self.reserve).max(ration)
    }
}

/// The least octets of credit that are sent back one by one while a connection's window is scarce.
const PORTION: u32 = 1_024;

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

    /// Whether the peer has little left: then credit may not wait until half of the window is owed, since what slow
    /// readers hold is never owed.
    pub(crate) fn is_scarce(&self) -> bool {
        self.available <= (self.size / 4).into()
    }

    /// How much is worth a WINDOW_UPDATE for this window, that of a connection: half of it keeps a sender going and
    /// costs little; a small part of it while the window is scarce.
    pub(crate) fn portion(&self) -> u32 {
        let half = self.size / 2;
        if self.is_scarce() { (self.size / 64).max(PORTION).min(half) } else { half }
    }

    /// The same for the window of a stream on the connection that `self` is the window of. While that is scarce, it is
    /// half of the ration to which a sender like ours may be down ([`Shares`]).
    pub(crate) fn portion_of_stream(&self, stream: &Self) -> u32 {
        let half = stream.size / 2;
        let shared = self.is_scarce() && self.size >= Shares::LEAST;
        if shared { (self.size / (2 * Shares::RESERVE * Shares::RATIONS)).min(half) } else { half }
    }

    /// The increment to send now: all that is owed, once that is `portion` octets.
    pub(crate) fn credit(&mut self, portion: u32) -> Option<u32> {
        if self.owed == 0 || self.owed < portion {
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
        assert_eq!(window.credit(5), None);
        window.release(1);
        assert_eq!(window.credit(5), Some(5));
        assert_eq!(window.credit(0), None);
    }

    #[test]
    fn portions_are_small_while_the_connection_window_is_scarce() {
        const SIZE: u32 = 16 << 20;
        let (mut window, stream) = (ReceiveWindow::new(SIZE), ReceiveWindow::new(4 << 20));
        window.charge(SIZE / 4 * 3 - 1).unwrap();
        assert_eq!((window.portion(), window.portion_of_stream(&stream)), (8 << 20, 2 << 20));
        window.charge(1).unwrap();
        assert_eq!((window.portion(), window.portion_of_stream(&stream)), (256 << 10, 4 << 10));
        assert_eq!(window.portion_of_stream(&ReceiveWindow::new(1_000)), 500, "never more than half");

        let mut small = ReceiveWindow::new(65_535);
        small.charge(65_535).unwrap();
        assert_eq!((small.portion(), small.portion_of_stream(&stream)), (1_024, 2 << 20));
    }

    #[test]
    fn the_last_eighth_of_a_window_is_for_streams_with_little_outstanding() {
        const SIZE: u32 = 16 << 20;
        let with = |available| {
            let mut window = SendWindow::new(SIZE);
            window.spend(SIZE - available);
            Shares::new(window, SIZE)
        };
        assert_eq!(with(SIZE).of(4 << 20), 14 << 20);
        let reserve = with(2 << 20);
        assert_eq!((reserve.of(8 << 10), reserve.of((8 << 10) - 1), reserve.of(0)), (0, 1, 8 << 10));
        assert_eq!(with(100).of(0), 100);
        assert_eq!(
            Shares::new(SendWindow::new(65_535), 65_535).of(65_535),
            65_535,
            "too small to be divided"
        );
    }

    #[test]
    fn outstanding_is_what_has_no_credit_yet() {
        let mut window = SendWindow::new(100);
        window.spend(60);
        assert_eq!(window.outstanding(100), 60);
        // A lowered setting leaves less than nothing (RFC 9113 §6.9.2); what is outstanding is the same.
        window.shift(100, 10).unwrap();
        assert_eq!(window.outstanding(10), 60);
        window.grow(200).unwrap();
        assert_eq!(window.outstanding(10), 0, "a peer may widen a stream's window");
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
                    2 => { window.credit(window.portion()); }
                    _ => window.resize(amount),
                }
                prop_assert!(window.is_conserved());
            }
        }
    }
}
