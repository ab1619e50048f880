//! Allowances for everything a peer can make us do again and again (design §6, security §1).
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConnectionError;
use crate::time::Instant;

/// A token bucket: `burst` at once, `per_second` in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Allowance {
    /// How many at once.
    pub burst: u32,
    /// How many come back each second.
    pub per_second: u32,
}

/// Allowances of one connection; no honest peer we know comes near them. Exceeding one ends the connection with
/// ENHANCE_YOUR_CALM and the reason [`Budget::reason`] gives.
///
/// An [`Allowance`] starts full and is refilled by time alone, at its `per_second`; only `window_updates` is also refilled by
/// DATA that we send. A plain number is a limit of one thing and needs no refill. Defaults are in brackets, as burst +
/// refill per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Budgets {
    /// PINGs that we must answer (CVE-2019-9512). \[200 + 50\]
    pub pings: Allowance,
    /// SETTINGS frames that we must answer (CVE-2019-9515). \[20 + 1\]
    pub settings: Allowance,
    /// Entries of one SETTINGS frame (CVE-2020-11080). \[32\]
    pub settings_entries: u32,
    /// Resets by the peer of requests not yet answered (CVE-2023-44487) and resets that this library had to send
    /// (CVE-2025-8671), in one counter. Resets of answered streams are ordinary and free. \[200 + 20\]
    pub resets: Allowance,
    /// Requests that no peer in order sends: malformed as HTTP/2, or as a CONNECT (answered with 400), over the header
    /// limits, or above our stream limit. Those that are reset and not answered count as `resets` too. \[150 + 20\]
    pub refused: Allowance,
    /// Well-formed CONNECTs that the owner answered with an error: a policy forbids them, or the application is not there.
    /// An application that tries again and again makes an honest peer send many, so this is ample. \[20 000 + 5 000\]
    pub denied: Allowance,
    /// DATA without payload and END_STREAM, header fragments without content (CVE-2019-9518, RUSTSEC-2026-0258).
    /// \[1 000 + 100\]
    pub empty_frames: Allowance,
    /// DATA of fewer than 64 octets without END_STREAM (CVE-2019-9511, CVE-2020-12603). A core of ours handles several
    /// million each second; interactive traffic of a busy node stays below half a million. \[500 000 + 500 000\]
    pub tiny_data: Allowance,
    /// WINDOW_UPDATEs (CVE-2019-9517's sibling). Each DATA frame that we send gives back 4, and one more for each 512
    /// octets of it, so only those are missed that no DATA of ours explains. \[100 000 + 1 000\]
    pub window_updates: Allowance,
    /// PRIORITY frames, which are ignored (CVE-2019-9513). \[1 000 + 100\]
    pub priority: Allowance,
    /// Frames of unknown types (RFC 9113 §5.5), which are ignored. \[1 000 + 100\]
    pub unknown_frames: Allowance,
    /// Frames that are legal and change nothing. Counted are exactly: PING acknowledgements with a payload that we do not
    /// wait for; SETTINGS acknowledgements when none of ours is open; GOAWAYs after the first; RST_STREAM for a stream that
    /// the peer has reset before, or whose end is forgotten (256 are remembered); HEADERS for a stream that we reset, or (at a
    /// client) whose end is forgotten; requests above our final GOAWAY; 1xx responses.
    ///
    /// Not counted, because something else bounds them: the one RST_STREAM that crosses ours or follows END_STREAM; DATA for
    /// closed streams (the connection's window, `empty_frames`, `tiny_data`); WINDOW_UPDATE and PRIORITY for closed streams
    /// (their own budgets). \[2 000 + 1 000\]
    pub stray_frames: Allowance,
    /// CONTINUATIONs of one header block (CVE-2024-27316 and kin). \[32\]
    pub continuations: u32,
    /// Octets of one header block before decoding. \[65 536\]
    pub header_octets: u32,
    /// Fields of one header block after decoding (CVE-2026-47774). More cost the stream, which is reset and counts as
    /// `refused` if it is a request, else as `resets`. \[128\]
    pub header_fields: u32,
    /// Replies (PING and SETTINGS acknowledgements, RST_STREAMs of this library) that may wait in the queue because the
    /// peer does not read (CVE-2019-9514); taking the queue off starts anew. \[1 000\]
    pub queued_replies: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        let allow = |burst, per_second| Allowance { burst, per_second };
        Self {
            pings: allow(200, 50),
            settings: allow(20, 1),
            settings_entries: 32,
            resets: allow(200, 20),
            refused: allow(150, 20),
            denied: allow(20_000, 5_000),
            empty_frames: allow(1_000, 100),
            tiny_data: allow(500_000, 500_000),
            window_updates: allow(100_000, 1_000),
            priority: allow(1_000, 100),
            unknown_frames: allow(1_000, 100),
            stray_frames: allow(2_000, 1_000),
            continuations: 32,
            header_octets: 65_536,
            header_fields: 128,
            queued_replies: 1_000,
        }
    }
}

/// Which allowance was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Budget {
    /// [`Budgets::pings`].
    Pings,
    /// [`Budgets::settings`].
    Settings,
    /// [`Budgets::settings_entries`].
    SettingsEntries,
    /// [`Budgets::resets`].
    Resets,
    /// [`Budgets::refused`].
    Refused,
    /// [`Budgets::denied`].
    Denied,
    /// [`Budgets::empty_frames`].
    EmptyFrames,
    /// [`Budgets::tiny_data`].
    TinyData,
    /// [`Budgets::window_updates`].
    WindowUpdates,
    /// [`Budgets::priority`].
    Priority,
    /// [`Budgets::unknown_frames`].
    UnknownFrames,
    /// [`Budgets::stray_frames`].
    StrayFrames,
    /// [`Budgets::continuations`].
    Continuations,
    /// [`Budgets::header_octets`].
    HeaderOctets,
    /// [`Budgets::queued_replies`].
    QueuedReplies,
}

impl Budget {
    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Pings => "ping_flood",
            Self::Settings => "settings_flood",
            Self::SettingsEntries => "settings_entries",
            Self::Resets => "reset_flood",
            Self::Refused => "refused_flood",
            Self::Denied => "denied_flood",
            Self::EmptyFrames => "empty_frame_flood",
            Self::TinyData => "tiny_data_flood",
            Self::WindowUpdates => "window_update_flood",
            Self::Priority => "priority_flood",
            Self::UnknownFrames => "unknown_frame_flood",
            Self::StrayFrames => "stray_frame_flood",
            Self::Continuations => "continuation_flood",
            Self::HeaderOctets => "header_block_too_long",
            Self::QueuedReplies => "peer_does_not_read",
        }
    }
}

/// DATA frames with fewer octets than this are charged to [`Budgets::tiny_data`].
pub(crate) const TINY: u32 = 64;
/// A peer may return credit this often per DATA frame that we send …
const UPDATES_PER_DATA: u32 = 4;
/// … and once more for so many octets of it (Go returns credit every 4 KiB, on stream and connection).
const OCTETS_PER_UPDATE: u32 = 512;

/// What is left of an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Bucket {
    left: u32,
    refilled: Instant,
}

impl Bucket {
    fn take(&mut self, allowance: Allowance, now: Instant) -> bool {
        if self.left < allowance.burst {
            self.refill(allowance, now);
        } else {
            // What time would bring to a full bucket is lost.
            self.refilled = now;
        }
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        true
    }

    /// Adds whole tokens only; the rest of the time stays to be counted.
    fn refill(&mut self, allowance: Allowance, now: Instant) {
        const SECOND: u128 = 1_000_000_000;
        let elapsed = now.saturating_since(self.refilled).as_nanos();
        let tokens = elapsed.saturating_mul(allowance.per_second.into()) / SECOND;
        if tokens == 0 {
            return;
        }
        let left = u128::from(self.left).saturating_add(tokens);
        if left >= allowance.burst.into() {
            self.left = allowance.burst;
            self.refilled = now;
        } else {
            self.left = u32::try_from(left).unwrap_or(allowance.burst);
            let spent = tokens.saturating_mul(SECOND).div_ceil(u128::from(allowance.per_second.max(1)));
            self.refilled = self.refilled + Duration::from_nanos(u64::try_from(spent).unwrap_or(u64::MAX));
        }
    }
}

/// The state of all token buckets of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Spending {
    pings: Bucket,
    settings: Bucket,
    resets: Bucket,
    refused: Bucket,
    denied: Bucket,
    empty_frames: Bucket,
    tiny_data: Bucket,
    window_updates: Bucket,
    priority: Bucket,
    unknown_frames: Bucket,
    stray_frames: Bucket,
}

impl Spending {
    /// All buckets full.
    pub(crate) fn new(budgets: &Budgets, now: Instant) -> Self {
        let full = |allowance: Allowance| Bucket { left: allowance.burst, refilled: now };
        Self {
            pings: full(budgets.pings),
            settings: full(budgets.settings),
            resets: full(budgets.resets),
            refused: full(budgets.refused),
            denied: full(budgets.denied),
            empty_frames: full(budgets.empty_frames),
            tiny_data: full(budgets.tiny_data),
            window_updates: full(budgets.window_updates),
            priority: full(budgets.priority),
            unknown_frames: full(budgets.unknown_frames),
            stray_frames: full(budgets.stray_frames),
        }
    }

    /// Takes one from the bucket of `budget`.
    ///
    /// # Errors
    /// [`ConnectionError::Exceeded`] when it is empty. Budgets that are plain limits have no bucket and are never taken.
    pub(crate) fn charge(
        &mut self,
        budgets: &Budgets,
        budget: Budget,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let (bucket, allowance) = match budget {
            Budget::Pings => (&mut self.pings, budgets.pings),
            Budget::Settings => (&mut self.settings, budgets.settings),
            Budget::Resets => (&mut self.resets, budgets.resets),
            Budget::Refused => (&mut self.refused, budgets.refused),
            Budget::Denied => (&mut self.denied, budgets.denied),
            Budget::EmptyFrames => (&mut self.empty_frames, budgets.empty_frames),
            Budget::TinyData => (&mut self.tiny_data, budgets.tiny_data),
            Budget::WindowUpdates => (&mut self.window_updates, budgets.window_updates),
            Budget::Priority => (&mut self.priority, budgets.priority),
            Budget::UnknownFrames => (&mut self.unknown_frames, budgets.unknown_frames),
            Budget::StrayFrames => (&mut self.stray_frames, budgets.stray_frames),
            Budget::SettingsEntries
            | Budget::Continuations
            | Budget::HeaderOctets
            | Budget::QueuedReplies => return Ok(()),
        };
        if bucket.take(allowance, now) { Ok(()) } else { Err(ConnectionError::Exceeded(budget)) }
    }

    /// We sent a DATA frame of `octets`: the peer will return credit for it.
    pub(crate) fn earn_window_updates(&mut self, budgets: &Budgets, octets: u32) {
        let earned = (octets / OCTETS_PER_UPDATE).saturating_add(UPDATES_PER_DATA);
        let bucket = &mut self.window_updates;
        bucket.left = bucket.left.saturating_add(earned).min(budgets.window_updates.burst);
    }

    /// The clock was exchanged for another: buckets keep their level and refill from `now` on.
    pub(crate) fn rebase(&mut self, now: Instant) {
        for bucket in [
            &mut self.pings,
            &mut self.settings,
            &mut self.resets,
            &mut self.refused,
            &mut self.denied,
            &mut self.empty_frames,
            &mut self.tiny_data,
            &mut self.window_updates,
            &mut self.priority,
            &mut self.unknown_frames,
            &mut self.stray_frames,
        ] {
            bucket.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Allowance = Allowance { burst: 2, per_second: 4 };

    #[test]
    fn a_bucket_gives_its_burst_and_refuses_the_next() {
        let mut bucket = Bucket { left: 2, refilled: Instant::ZERO };
        assert!(bucket.take(TWO, Instant::ZERO));
        assert!(bucket.take(TWO, Instant::ZERO));
        assert!(!bucket.take(TWO, Instant::ZERO));
    }

    #[test]
    fn fractions_of_a_token_are_not_lost() {
        let mut bucket = Bucket { left: 0, refilled: Instant::ZERO };
        assert!(!bucket.take(TWO, Instant::from_millis(249)));
        assert!(bucket.take(TWO, Instant::from_millis(251)));
        assert!(!bucket.take(TWO, Instant::from_millis(499)));
        assert!(bucket.take(TWO, Instant::from_millis(500)));
    }

    #[test]
    fn a_bucket_never_holds_more_than_its_burst() {
        let mut bucket = Bucket { left: 0, refilled: Instant::ZERO };
        let later = Instant::from_millis(1_000_000);
        assert!(bucket.take(TWO, later));
        assert!(bucket.take(TWO, later));
        assert!(!bucket.take(TWO, later));
    }

    #[test]
    fn a_full_bucket_does_not_refill_for_the_time_it_was_full() {
        let mut bucket = Bucket { left: 2, refilled: Instant::ZERO };
        let later = Instant::from_millis(1_000);
        assert!(bucket.take(TWO, later));
        assert!(bucket.take(TWO, later));
        assert!(!bucket.take(TWO, later), "the idle second was counted although the bucket was full");
    }

    #[test]
    fn no_refill_rate_is_no_refill() {
        let mut bucket = Bucket { left: 1, refilled: Instant::ZERO };
        let once = Allowance { burst: 1, per_second: 0 };
        assert!(bucket.take(once, Instant::ZERO));
        assert!(!bucket.take(once, Instant::FAR));
    }
}
