//! Properties against a peer that sends anything: no panic, invariants hold, replies are bounded.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Frames that are more often right than random octets are.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::collection::vec(any::<u8>(), 0..24);
    let stream = prop_oneof![8 => 0u32..8, 1 => any::<u32>()];
    prop_oneof![
        4 => (0u8..11, any::<u8>(), stream, payload).prop_map(|(kind, flags, stream, payload)| {
            frame(kind, flags, stream, &payload)
        }),
        2 => (0u32..4, any::<u8>()).prop_map(|(n, flags)| headers(1 + 2 * n, flags & END_STREAM, CONNECT)),
        2 => (0u32..4, any::<bool>()).prop_map(|(n, end)| headers(1 + 2 * n, end.into(), OK)),
        2 => (0u32..8, any::<u8>(), 0usize..200).prop_map(|(stream, flags, len)| {
            data(stream, flags & END_STREAM, &vec![7; len])
        }),
        1 => (0u32..8, any::<u32>()).prop_map(|(stream, by)| window_update(stream, by >> (by % 31))),
        1 => (1u16..9, any::<u32>()).prop_map(|(id, value)| settings_of(&[(id, value >> (value % 31))])),
        1 => Just(settings_ack()),
        1 => (0u32..8).prop_map(|stream| reset(stream, ErrorCode::CANCEL)),
        1 => (0u32..8).prop_map(|last| goaway(last, ErrorCode::NO_ERROR)),
        1 => Just(ping(ACK, b"draining")),
    ]
}

/// What the owner might do in between.
fn command(connection: &mut Connection, choice: u8) {
    let stream = StreamId(u32::from(choice / 16));
    let now = Instant::from_millis(u64::from(choice) * 100);
    match choice % 12 {
        0 => connection.respond(now, stream, 200, &[], false),
        1 => connection.respond(now, stream, 503, &[], true),
        2 => connection.reset(now, stream, ErrorCode::CANCEL),
        4 => drop(connection.open(now, &fields(CONNECT))),
        5 => drop(connection.send_data(stream, 1, choice > 127)),
        6 => drop(connection.send_data(stream, 0, true)),
        7 if choice > 200 => connection.drain(now),
        8 => drop(connection.handle_timeout(now, [choice; 8])),
        9 => connection.rebase(now),
        _ => drop(connection.capacity(stream)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_octets(side in prop_oneof![Just(Side::Client), Just(Side::Server)], mut wire: Vec<u8>, chunk in 1usize..40) {
        let hello = [if side == Side::Server { PREFACE } else { &[] }, &settings_of(&[])].concat();
        wire.splice(0..0, hello);
        let config = if side == Side::Server { Config::server() } else { Config::client() };
        let mut connection = Connection::new(side, config, Instant::ZERO);
        for octets in wire.chunks(chunk) {
            let _ = connection.handle_input(Instant::ZERO, octets);
            connection.check();
        }
    }

    #[test]
    fn any_frames(
        side in prop_oneof![Just(Side::Client), Just(Side::Server)],
        steps in prop::collection::vec((any_frame(), any::<u8>()), 0..40),
    ) {
        let config = if side == Side::Server { Config::server() } else { Config::client() };
        let mut script = Script::ready(side, Config { initial_window: 500, ..config });
        if side == Side::Client {
            script.open();
            script.open();
        }
        // What was reported of each stream and not consumed, whether or not the stream still exists.
        let mut owed: BTreeMap<StreamId, usize> = BTreeMap::new();
        for (wire, choice) in steps {
            // `feed` also compares with the same octets one by one, and after freezing.
            let (events, result) = script.feed(&wire);
            for event in events {
                if let Event::Data { stream, len, .. } = event {
                    *owed.entry(stream).or_default() += len;
                }
            }
            if result.is_err() {
                prop_assert!(script.connection.is_closed());
                break;
            }
            if choice % 12 == 3 {
                let stream = StreamId(u32::from(choice / 32));
                let left = owed.entry(stream).or_default();
                let len = usize::from(choice).min(*left);
                *left -= len;
                script.connection.consume(stream, len);
            } else {
                command(&mut script.connection, choice);
            }
            script.drain(&[]);
            script.sent();
            let owed: usize = owed.values().sum();
            prop_assert_eq!(owed, script.connection.held(), "credit was lost or invented");
        }
    }
}
