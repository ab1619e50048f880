//! The outbound queue: packing, order, and that every octet is sealed once and every chunk comes back.
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::outbox::{FRAME_HEADER, Outbox};
use crate::buffer::{BufferPool, Class};
use crate::http2::StreamId;
use crate::tls::{HEADROOM, MAX_PAYLOAD, TAILROOM, TlsError};

const STREAM: StreamId = StreamId(1);

/// Stands in for the session: a header that says the length, a tail that is not payload.
fn seal(record: &mut [u8]) -> Result<(), TlsError> {
    let len = record.len();
    let body = u16::try_from(len - HEADROOM).unwrap().to_be_bytes();
    record[..HEADROOM].copy_from_slice(&[23, 3, 3, body[0], body[1]]);
    record[len - TAILROOM..].fill(0xee);
    Ok(())
}

/// A record that the session itself has made.
fn raw(content: &[u8]) -> Vec<u8> {
    let mut record = vec![0; HEADROOM];
    record.extend_from_slice(content);
    record.extend([0; TAILROOM]);
    seal(&mut record).unwrap();
    record
}

/// The payload of whole records.
fn open(mut wire: &[u8]) -> (Vec<u8>, usize) {
    let (mut payload, mut records) = (Vec::new(), 0);
    while !wire.is_empty() {
        let body = usize::from(u16::from_be_bytes([wire[3], wire[4]]));
        assert!((TAILROOM..=MAX_PAYLOAD + TAILROOM).contains(&body), "record of {body} octets");
        let (record, rest) = wire.split_at(HEADROOM + body);
        payload.extend_from_slice(&record[HEADROOM..HEADROOM + body - TAILROOM]);
        records += 1;
        wire = rest;
    }
    (payload, records)
}

/// A frame header of our own, 9 octets that can be told from payload.
fn header(n: usize) -> [u8; FRAME_HEADER] {
    let n = u32::try_from(n).unwrap().to_be_bytes();
    [n[1], n[2], n[3], 0, 0, 0, 0, 0, 1]
}

/// Lends `want`, reads `data` into it as far as it fits, commits; returns how much fitted.
fn send(outbox: &mut Outbox, pool: &mut BufferPool, want: usize, data: &[u8]) -> usize {
    let mut lend = outbox.lend(STREAM, want, pool);
    let mut left = &data[..data.len().min(lend.octets())];
    let n = left.len();
    let mut offered = 0;
    for (count, area) in lend.areas().enumerate() {
        assert!(count < 64, "more areas than one system call takes");
        offered += area.len();
        let (now, later) = left.split_at(area.len().min(left.len()));
        area[..now.len()].copy_from_slice(now);
        left = later;
    }
    assert_eq!(offered, lend.octets());
    outbox.take_loan().unwrap();
    outbox.commit(STREAM, header(n), n);
    n
}

fn flush(outbox: &mut Outbox, pool: &mut BufferPool) -> usize {
    let mut seals = 0;
    outbox
        .seal(|record| {
            seals += 1;
            seal(record)
        })
        .unwrap();
    outbox.trim(pool);
    seals
}

#[test]
fn sixteen_small_messages_share_one_record_one_slice_one_buffer() {
    let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
    for _ in 0..16 {
        assert_eq!(send(&mut outbox, &mut pool, MAX_PAYLOAD - 9, &[7; 1000]), 1000);
    }
    assert_eq!(flush(&mut outbox, &mut pool), 1, "one record is sealed");
    assert_eq!(pool.lent(), Class::Record.octets(), "one record-sized buffer is held");
    let slices: Vec<_> = outbox.wire().map(<[u8]>::len).collect();
    assert_eq!(slices, [16 * 1009 + HEADROOM + TAILROOM]);
    outbox.handle_written(slices[0], &mut pool);
    assert_eq!(pool.lent(), 0);
}

#[test]
fn a_message_that_begins_at_the_end_of_a_buffer_needs_one_read() {
    let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
    for _ in 0..16 {
        // 16 × (1024 + 9) is more than a record holds: the last one spans two buffers.
        assert_eq!(send(&mut outbox, &mut pool, MAX_PAYLOAD - 9, &[7; 1024]), 1024);
    }
    assert_eq!(flush(&mut outbox, &mut pool), 2);
    assert_eq!(outbox.wire().count(), 2);
}

#[test]
fn bulk_is_one_read_sixty_three_seals_one_write() {
    let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
    let want = Class::Large.payload() - FRAME_HEADER;
    for _ in 0..3 {
        let n = send(&mut outbox, &mut pool, want, &vec![1; want]);
        assert_eq!(n, want);
        assert_eq!(flush(&mut outbox, &mut pool), 63);
        let slices: Vec<_> = outbox.wire().map(<[u8]>::len).collect();
        assert_eq!(slices, [Class::Large.octets()]);
        outbox.handle_written(slices[0], &mut pool);
        assert_eq!(pool.lent(), 0);
    }
    assert_eq!(pool.kept(), Class::Large.octets(), "the same chunk served all three");
}

#[test]
fn ping_pong_goes_on_in_the_rest_of_a_chunk_while_it_is_not_written() {
    let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
    for _ in 0..3 {
        send(&mut outbox, &mut pool, MAX_PAYLOAD - 9, &[1; 1024]);
        assert_eq!(flush(&mut outbox, &mut pool), 1);
    }
    assert_eq!(pool.lent(), Class::Record.octets());
    assert_eq!(outbox.wire().count(), 1, "adjacent records are one slice");
}

#[test]
fn lending_without_committing_leaves_nothing_behind() {
    let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
    for _ in 0..3 {
        outbox.lend(STREAM, Class::Large.payload(), &mut pool);
    }
    assert!(outbox.has_spares());
    assert_eq!(flush(&mut outbox, &mut pool), 0);
    assert_eq!((pool.lent(), outbox.queued()), (0, 0));
}

#[test]
fn a_partly_written_record_goes_on_where_it_stopped() {
    let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
    send(&mut outbox, &mut pool, 5000, &[1; 5000]);
    flush(&mut outbox, &mut pool);
    let mut wire = Vec::new();
    while outbox.has_wire() {
        wire.push(outbox.wire().next().unwrap()[0]);
        outbox.handle_written(1, &mut pool);
        assert_eq!(flush(&mut outbox, &mut pool), 0, "nothing is sealed twice");
    }
    assert_eq!(open(&wire).0.len(), 5009);
    assert_eq!(pool.lent(), 0);
}

#[test]
fn end_of_stream_rides_on_the_last_frame_while_it_is_not_sealed() {
    let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
    send(&mut outbox, &mut pool, 5000, &[1; 10]);
    assert!(!outbox.finish_last(StreamId(3)), "another stream's frame");
    assert!(outbox.finish_last(STREAM));
    flush(&mut outbox, &mut pool);
    assert!(!outbox.finish_last(STREAM), "too late");
    let wire: Vec<u8> = outbox.wire().flatten().copied().collect();
    assert_eq!(open(&wire).0[..9], [0, 0, 10, 0, 1, 0, 0, 0, 1]);
}

/// Octets in which any two places look different.
fn noise() -> &'static [u8] {
    static NOISE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    NOISE.get_or_init(|| (0..1_300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect())
}

#[derive(Clone, Debug)]
enum Op {
    Control(usize),
    Send { want: usize, data: usize },
    Lend(usize),
    Raw(usize),
    Flush,
    Write(usize),
    Thaw,
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![8 => 1..3000_usize, 4 => 1..40_000_usize, 1 => 1..1_100_000_usize];
    prop_oneof![
        2 => (1..200_usize).prop_map(Op::Control),
        6 => (size.clone(), size.clone()).prop_map(|(want, data)| Op::Send { want, data }),
        1 => size.clone().prop_map(Op::Lend),
        1 => (1..5000_usize).prop_map(Op::Raw),
        3 => Just(Op::Flush),
        4 => size.prop_map(Op::Write),
        1 => Just(Op::Thaw),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is laid, lent, sealed and written in whatever order: the wire carries each octet once and in order, what
    /// the session says leaves before what is sealed after it, and every chunk comes back.
    #[test]
    fn every_octet_leaves_once_and_in_order(ops in prop::collection::vec(op(), 1..50)) {
        let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
        let (mut sealed, mut plain, mut wire) = (Vec::new(), Vec::new(), Vec::<u8>::new());
        let mut next = 0;
        let mut fresh = |n: usize| -> Vec<u8> {
            next = (next + 7919) % 100_000;
            noise()[next..next + n].to_vec()
        };
        let write = |outbox: &mut Outbox, pool: &mut BufferPool, wire: &mut Vec<u8>, n: usize| {
            let mut left = n;
            for slice in outbox.wire() {
                let taken = left.min(slice.len());
                wire.extend_from_slice(&slice[..taken]);
                left -= taken;
            }
            outbox.handle_written(n - left, pool);
        };
        for op in ops {
            match op {
                Op::Control(n) => {
                    let frame = fresh(n);
                    outbox.append(&frame, &mut pool);
                    plain.extend(frame);
                }
                Op::Send { want, data } => {
                    let data = fresh(data);
                    let want = want.min(Class::Large.payload() - FRAME_HEADER);
                    let n = send(&mut outbox, &mut pool, want, &data);
                    prop_assert!(n > 0 && n <= want);
                    plain.extend(header(n));
                    plain.extend_from_slice(&data[..n]);
                }
                Op::Lend(n) => drop(outbox.lend(STREAM, n.min(Class::Large.payload() - FRAME_HEADER), &mut pool)),
                Op::Raw(n) => {
                    let content = fresh(n);
                    outbox.push_sealed(&raw(&content), &mut pool);
                    sealed.extend(content);
                }
                Op::Flush => {
                    flush(&mut outbox, &mut pool);
                    sealed.append(&mut plain);
                    prop_assert!(!outbox.has_plain());
                }
                Op::Write(n) => write(&mut outbox, &mut pool, &mut wire, n),
                Op::Thaw => {
                    let (sealed, plain) = outbox.contents();
                    prop_assert_eq!(sealed.len() + plain.len(), outbox.queued());
                    outbox.clear(&mut pool);
                    prop_assert_eq!(pool.lent(), 0);
                    outbox.push_sealed(&sealed, &mut pool);
                    outbox.append(&plain, &mut pool);
                }
            }
        }
        flush(&mut outbox, &mut pool);
        sealed.append(&mut plain);
        while outbox.has_wire() {
            let before = outbox.queued();
            write(&mut outbox, &mut pool, &mut wire, 100_000);
            prop_assert!(outbox.queued() < before, "stuck: {outbox:?}");
        }
        prop_assert!(open(&wire).0 == sealed, "the wire carries something else");
        prop_assert_eq!((pool.lent(), outbox.queued()), (0, 0));
    }
}
