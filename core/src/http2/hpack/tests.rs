//! Tests of HPACK as a whole: the RFC's examples, limits, and a model of the peer's encoder.
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::http2::Field;

const WIDE: Limits = Limits { list_size: 1 << 20, fields: 1 << 12 };

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.as_bytes().into(), value: value.as_bytes().into() }
}

fn fields(pairs: &[(&str, &str)]) -> Vec<Field> {
    pairs.iter().map(|(name, value)| field(name, value)).collect()
}

fn encoded(list: &[Field]) -> Vec<u8> {
    let mut out = vec![];
    encode(list.iter().map(|f| (&*f.name, &*f.value)), &mut out);
    out
}

type Example<'a> = (&'a str, &'a [(&'a str, &'a str)], usize);

/// Decodes blocks one after the other; after each the fields and the table's size must be as the RFC prints them.
fn examples(max_table_size: usize, blocks: &[Example<'_>]) {
    let mut decoder = Decoder::new(max_table_size);
    for (number, (block, expected, size)) in blocks.iter().enumerate() {
        assert_eq!(decoder.decode(&hex(block), WIDE), Ok(Some(fields(expected))), "block {number}");
        assert_eq!(decoder.table_size(), *size, "block {number}");
    }
}

#[test]
fn rfc7541_c2_literals_and_index() {
    examples(
        4096,
        &[(
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            &[("custom-key", "custom-header")],
            55,
        )],
    );
    examples(4096, &[("040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], 0)]);
    examples(4096, &[("1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], 0)]);
    examples(4096, &[("82", &[(":method", "GET")], 0)]);
}

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

#[test]
fn rfc7541_c3_requests_without_huffman() {
    examples(
        4096,
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUESTS[0], 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", REQUESTS[1], 110),
            ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", REQUESTS[2], 164),
        ],
    );
}

#[test]
fn rfc7541_c4_requests_with_huffman() {
    examples(
        4096,
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUESTS[0], 57),
            ("8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1], 110),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUESTS[2], 164),
        ],
    );
}

const RESPONSES: [&[(&str, &str)]; 3] = [
    &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
];

#[test]
fn rfc7541_c5_responses_without_huffman_evict() {
    examples(
        256,
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 \
                 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                RESPONSES[0],
                222,
            ),
            ("4803 3330 37c1 c0bf", RESPONSES[1], 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a \
                 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d \
                 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
                RESPONSES[2],
                215,
            ),
        ],
    );
}

#[test]
fn rfc7541_c6_responses_with_huffman_evict() {
    examples(
        256,
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d \
                 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                RESPONSES[0],
                222,
            ),
            ("4883 640e ffc1 c0bf", RESPONSES[1], 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d \
                 d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 \
                 3d50 07",
                RESPONSES[2],
                215,
            ),
        ],
    );
}

#[test]
fn encoder_uses_the_static_table_and_nothing_else() {
    let block = encoded(&fields(&[
        (":status", "200"),
        (":method", "CONNECT"),
        (":authority", "10.0.0.1:80"),
        ("baggage", ""),
        ("authorization", "x"),
    ]));
    let mut expected = vec![0x20, 0x88, 0x02, 7];
    expected.extend_from_slice(b"CONNECT");
    expected.extend_from_slice(&[0x01, 11]);
    expected.extend_from_slice(b"10.0.0.1:80");
    expected.extend_from_slice(&[0x00, 7]);
    expected.extend_from_slice(b"baggage");
    expected.extend_from_slice(&[0, 0x1f, 8, 1, b'x']);
    assert_eq!(block, expected);
}

#[test]
fn encoder_satisfies_a_peer_that_lowered_its_limit() {
    let mut peer = Decoder::new(4096);
    peer.set_max_table_size(0);
    let list = fields(&[(":status", "200")]);
    assert_eq!(peer.decode(&encoded(&list), WIDE), Ok(Some(list)));
}

#[test]
fn rfc7541_2_3_3_index_zero_and_beyond_the_tables() {
    for (block, index) in [(&[0x80][..], 0), (&[0xbe], 62), (&[0x7e, 0], 62), (&[0x0f, 47, 0], 62)] {
        assert_eq!(Decoder::new(4096).decode(block, WIDE), Err(HpackError::Index { index }));
    }
    assert_eq!(Decoder::new(0).decode(&[0xbd], WIDE), Ok(Some(fields(&[("www-authenticate", "")]))));
}

#[test]
fn rfc7541_4_2_size_update_behind_a_field_is_refused() {
    assert_eq!(Decoder::new(4096).decode(&[0x82, 0x20], WIDE), Err(HpackError::SizeUpdateMisplaced));
    assert_eq!(Decoder::new(4096).decode(&[0x20, 0x82], WIDE), Ok(Some(fields(&[(":method", "GET")]))));
}

#[test]
fn rfc7541_6_3_size_update_at_the_limit_and_one_above() {
    assert_eq!(Decoder::new(30).decode(&[0x3e], WIDE), Ok(Some(vec![])));
    let error = HpackError::SizeUpdateTooLarge { size: 31, limit: 30 };
    assert_eq!(Decoder::new(30).decode(&[0x3f, 0x00], WIDE), Err(error));
}

#[test]
fn rfc9113_4_3_1_lowered_limit_must_be_answered() {
    let lowered = |to: &[usize]| {
        let mut decoder = Decoder::new(4096);
        to.iter().for_each(|&size| decoder.set_max_table_size(size));
        decoder
    };
    let get = Ok(Some(fields(&[(":method", "GET")])));
    let missing = |limit| Err(HpackError::SizeUpdateMissing { limit });
    assert_eq!(lowered(&[0]).decode(&[0x82], WIDE), missing(0));
    assert_eq!(lowered(&[0]).decode(&[], WIDE), missing(0));
    assert_eq!(lowered(&[0]).decode(&[0x20, 0x82], WIDE), get);
    // Lowered and raised again before a block: the low point must be answered, then the size may rise.
    assert_eq!(lowered(&[5, 20]).decode(&[0x20 | 20, 0x82], WIDE), missing(5));
    assert_eq!(lowered(&[5, 20]).decode(&[0x20 | 5, 0x20 | 20, 0x82], WIDE), get);
    // Once answered it is settled; a raise owes nothing.
    let mut decoder = lowered(&[0]);
    assert_eq!(decoder.decode(&[0x20], WIDE), Ok(Some(vec![])));
    decoder.set_max_table_size(0);
    decoder.set_max_table_size(8192);
    assert_eq!(decoder.decode(&[0x82], WIDE), get);
}

#[test]
fn rfc7541_4_3_size_update_evicts() {
    let mut decoder = Decoder::new(4096);
    decoder.decode(&[0x40, 1, b'a', 1, b'b'], WIDE).unwrap();
    assert_eq!(decoder.table_size(), 34);
    decoder.decode(&[0x3f, 3], WIDE).unwrap();
    assert_eq!(decoder.decode(&[0xbe], WIDE), Ok(Some(fields(&[("a", "b")]))), "34 octets fit into 34");
    decoder.decode(&[0x3f, 2], WIDE).unwrap();
    assert_eq!(decoder.decode(&[0xbe], WIDE), Err(HpackError::Index { index: 62 }), "but not into 33");
}

#[test]
fn rfc7541_4_4_entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(40);
    decoder.decode(&[0x40, 1, b'a', 1, b'b'], WIDE).unwrap();
    let mut block = vec![0x40, 1, b'c', 8];
    block.extend_from_slice(b"ddddeeee");
    assert_eq!(decoder.decode(&block, WIDE), Ok(Some(fields(&[("c", "ddddeeee")]))));
    assert_eq!(decoder.table_size(), 0);
}

#[test]
fn rfc7541_4_4_new_entry_may_take_the_name_of_the_one_it_evicts() {
    let mut decoder = Decoder::new(36);
    decoder.decode(&[0x40, 2, b'a', b'b', 2, b'1', b'2'], WIDE).unwrap();
    assert_eq!(decoder.decode(&[0x7e, 2, b'3', b'4'], WIDE), Ok(Some(fields(&[("ab", "34")]))));
    assert_eq!(decoder.decode(&[0xbe], WIDE), Ok(Some(fields(&[("ab", "34")]))));
}

#[test]
fn list_size_at_the_limit_and_one_above() {
    // ":method: GET" counts 7 + 3 + 32.
    for (list_size, fine) in [(84, true), (83, false)] {
        let limits = Limits { list_size, fields: 9 };
        assert_eq!(Decoder::new(0).decode(&[0x82, 0x82], limits).unwrap().is_some(), fine);
    }
}

#[test]
fn every_crumb_counts_at_the_limit_and_one_above() {
    let crumb = |n| vec![[0x0f, 17, 1, b'x']; n].concat();
    let limits = Limits { list_size: 1 << 20, fields: 100 };
    assert_eq!(Decoder::new(0).decode(&crumb(100), limits).unwrap().map(|list| list.len()), Some(100));
    assert_eq!(Decoder::new(0).decode(&crumb(101), limits), Ok(None));
}

#[test]
fn table_stays_in_step_when_a_block_is_over_the_limits() {
    let mut decoder = Decoder::new(4096);
    let limits = Limits { list_size: 1 << 20, fields: 1 };
    let block = [&[0x82, 0x82][..], &[0x40, 1, b'a', 1, b'b']].concat();
    assert_eq!(decoder.decode(&block, limits), Ok(None));
    assert_eq!(decoder.decode(&[0xbe], limits), Ok(Some(fields(&[("a", "b")]))));
}

#[test]
fn errors_are_found_beyond_the_limits_too() {
    let limits = Limits { list_size: 0, fields: 0 };
    let mut block = vec![0x82; 1000];
    block.push(0xbe);
    assert_eq!(Decoder::new(4096).decode(&block, limits), Err(HpackError::Index { index: 62 }));
}

/// CVE-2016-6581, CVE-2026-47774: a large entry, then its index as often as a block holds.
#[test]
fn indexed_bomb_copies_no_more_than_the_limit() {
    let mut decoder = Decoder::new(4096);
    let large = Field { name: b"cookie".as_slice().into(), value: vec![b'x'; 4000].into() };
    let mut insert = vec![0x60, 0x7f];
    insert.extend_from_slice(&[0xa1, 0x1e]);
    insert.extend_from_slice(&large.value);
    assert_eq!(decoder.decode(&insert, WIDE), Ok(Some(vec![large])));
    // 4 GB if every one of them was copied.
    assert_eq!(decoder.decode(&vec![0xbe; 1 << 20], WIDE), Ok(None));
    // The same through names: each entry takes the name of the one it evicts.
    let mut decoder = Decoder::new(4096);
    let mut insert = vec![0x40, 0x7f, 0xa1, 0x1e];
    insert.extend_from_slice(&[b'n'; 4000]);
    insert.push(0);
    assert!(decoder.decode(&insert, WIDE).unwrap().is_some());
    assert_eq!(decoder.decode(&[0x7e, 0x00].repeat(1 << 19), WIDE), Ok(None));
    assert_eq!(decoder.table_size(), 4032);
}

#[test]
fn every_cut_of_a_block_is_an_error_or_whole_fields() {
    let block = hex("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
    for end in 4..block.len() {
        let mut decoder = Decoder::new(4096);
        decoder.decode(&hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"), WIDE).unwrap();
        let result = decoder.decode(&block[..end], WIDE);
        let expected =
            if end == 4 { Ok(Some(fields(&REQUESTS[2][..4]))) } else { Err(HpackError::Truncated) };
        // The last octets of the block are within one Huffman string, whose length says that it is cut.
        assert!(result == expected || matches!(result, Err(HpackError::Index { .. })), "{end}: {result:?}");
    }
}

/// What an encoder may do, as the model below does it.
#[derive(Clone, Debug)]
enum Op {
    Resize(usize),
    Indexed(usize),
    Literal { kind: u8, name: Result<usize, Box<[u8]>>, value: Box<[u8]>, huffman: bool },
    EndBlock,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let octets = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Vec::into_boxed_slice);
    let name = prop_oneof![(0usize..70).prop_map(Ok), octets().prop_map(Err)];
    let op = prop_oneof![
        1 => (0usize..300).prop_map(Op::Resize),
        4 => (0usize..80).prop_map(Op::Indexed),
        6 => (0u8..3, name, octets(), any::<bool>())
            .prop_map(|(kind, name, value, huffman)| Op::Literal { kind, name, value, huffman }),
        2 => Just(Op::EndBlock),
    ];
    prop::collection::vec(op, 0..60)
}

/// A slow, obvious encoder that uses everything the RFC allows, and knows what it sent.
#[derive(Default)]
struct Model {
    table: Vec<Field>,
    capacity: usize,
    block: Vec<u8>,
    list: Vec<Field>,
}

impl Model {
    fn evict(&mut self) {
        while self.table.iter().map(|f| f.name.len() + f.value.len() + 32).sum::<usize>() > self.capacity {
            self.table.pop();
        }
    }

    fn entry(&self, index: usize) -> Field {
        match index.checked_sub(61) {
            None => Field { name: table::STATIC[index].0.into(), value: table::STATIC[index].1.into() },
            Some(index) => self.table[index].clone(),
        }
    }

    fn string(&mut self, octets: &[u8], coded: bool) {
        let wire = if coded { huffman::encode(octets) } else { octets.to_vec() };
        integer::encode(wire.len(), 0x7f, if coded { 0x80 } else { 0 }, &mut self.block);
        self.block.extend_from_slice(&wire);
    }

    fn apply(&mut self, op: Op) {
        let known = 61 + self.table.len();
        match op {
            Op::Resize(size) if self.list.is_empty() => {
                integer::encode(size, 0x1f, 0x20, &mut self.block);
                self.capacity = size;
                self.evict();
            }
            Op::Resize(_) | Op::EndBlock => {}
            Op::Indexed(index) => {
                let index = index % known;
                integer::encode(index + 1, 0x7f, 0x80, &mut self.block);
                self.list.push(self.entry(index));
            }
            Op::Literal { kind, name, value, huffman } => {
                let (mask, pattern) = [(0x3f, 0x40), (0x0f, 0x00), (0x0f, 0x10)][usize::from(kind)];
                let name = match name {
                    Ok(index) => {
                        let index = index % known;
                        integer::encode(index + 1, mask, pattern, &mut self.block);
                        self.entry(index).name
                    }
                    Err(name) => {
                        integer::encode(0, mask, pattern, &mut self.block);
                        self.string(&name, huffman);
                        name
                    }
                };
                self.string(&value, huffman);
                let field = Field { name, value };
                self.list.push(field.clone());
                if kind == 0 {
                    self.table.insert(0, field);
                    self.evict();
                }
            }
        }
    }
}

fn any_fields() -> impl Strategy<Value = Vec<Field>> {
    let known = (0usize..61).prop_map(|index| table::STATIC[index].0.to_vec());
    let name = prop_oneof![known, prop::collection::vec(any::<u8>(), 0..200)];
    let one = (name, prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(name, value)| Field { name: name.into(), value: value.into() });
    prop::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn our_encoder_round_trips(list in any_fields()) {
        let mut decoder = Decoder::new(0);
        prop_assert_eq!(decoder.decode(&encoded(&list), WIDE), Ok(Some(list)));
    }

    /// Every representation, with evictions, and a freeze and thaw between blocks.
    #[test]
    fn decoder_follows_a_model_of_the_peer(ops in ops()) {
        let mut model = Model { capacity: 200, ..Model::default() };
        let mut decoder = Decoder::new(300);
        model.apply(Op::Resize(200));
        for op in ops.into_iter().chain([Op::EndBlock]) {
            let ends = matches!(op, Op::EndBlock);
            model.apply(op);
            if ends {
                let block = core::mem::take(&mut model.block);
                prop_assert_eq!(decoder.decode(&block, WIDE), Ok(Some(core::mem::take(&mut model.list))));
                let frozen = postcard::to_allocvec(&decoder).unwrap();
                let thawed: Decoder = postcard::from_bytes(&frozen).unwrap();
                prop_assert_eq!(&thawed, &decoder);
                decoder = thawed;
            }
        }
    }

    #[test]
    fn arbitrary_blocks_keep_the_bounds(blocks: Vec<Vec<u8>>, list_size in 0usize..400, count in 0usize..8) {
        let limits = Limits { list_size, fields: count };
        let mut decoder = Decoder::new(128);
        for block in blocks {
            let Ok(list) = decoder.decode(&block, limits) else { break };
            prop_assert!(decoder.table_size() <= 128);
            let list = list.unwrap_or_default();
            prop_assert!(list.len() <= count);
            prop_assert!(list.iter().map(|f| f.name.len() + f.value.len() + 32).sum::<usize>() <= list_size);
        }
    }
}
