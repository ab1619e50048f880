//! Cuts the octets of a peer into frames, however they are chunked, without keeping payload of DATA.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::ConnectionError;
use super::frame::{FrameHeader, HEADER, Kind, PADDED, PREFACE};

/// Octets of one `handle_input`, taken from the front.
pub(crate) struct Cursor<'i> {
    bytes: &'i [u8],
    at: usize,
}

impl<'i> Cursor<'i> {
    pub(crate) fn new(bytes: &'i [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn rest(&self) -> &'i [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Up to `max` octets; fewer when there are no more.
    fn take(&mut self, max: u32) -> &'i [u8] {
        let rest = self.rest();
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let taken = rest.split_at_checked(max).map_or(rest, |(taken, _)| taken);
        self.at = self.at.saturating_add(taken.len());
        taken
    }
}

fn count(octets: &[u8]) -> u32 {
    u32::try_from(octets.len()).unwrap_or(u32::MAX)
}

/// What became known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A frame header. [`Parser::accept`] must follow.
    Header(FrameHeader),
    /// A frame other than DATA with the payload that was asked for.
    Control(FrameHeader, &'a [u8]),
    /// DATA begins: `octets` of content and `padding` (its length octet included) make up the payload.
    DataBegin { header: FrameHeader, octets: u32, padding: u32 },
    /// Content of the DATA frame that began last: a range of the current input, never empty.
    Data { header: FrameHeader, start: usize, len: u32 },
    /// The last octet of the DATA frame was seen.
    DataEnd(FrameHeader),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum State {
    Preface {
        seen: u8,
    },
    Header {
        octets: [u8; HEADER],
        have: u8,
    },
    /// A header was reported, and not yet accepted.
    Asked {
        header: FrameHeader,
    },
    /// Collecting `take` octets of payload; the `skip` behind them are not wanted.
    Collect {
        header: FrameHeader,
        take: u32,
        skip: u32,
    },
    Skip {
        left: u32,
    },
    /// The length of the padding is still to be read, if there is any.
    DataBegin {
        header: FrameHeader,
    },
    /// `left` octets of content and then `padding` follow.
    Data {
        header: FrameHeader,
        left: u32,
        padding: u32,
    },
}

const NEXT: State = State::Header { octets: [0; HEADER], have: 0 };

/// Where in the stream of frames the peer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Parser {
    state: State,
    /// The part of a control frame's payload that earlier inputs brought; bounded by what was accepted.
    partial: Vec<u8>,
}

impl Default for Parser {
    fn default() -> Self {
        Self { state: NEXT, partial: Vec::new() }
    }
}

impl Parser {
    /// Expects the client's connection preface first.
    pub(crate) fn with_preface() -> Self {
        Self { state: State::Preface { seen: 0 }, partial: Vec::new() }
    }

    /// Answers [`Item::Header`]: of a control frame `take` octets of payload are wanted. DATA is not asked about.
    pub(crate) fn accept(&mut self, take: u32) {
        let State::Asked { header } = self.state else { return };
        self.partial.clear();
        self.state = if header.kind == Kind::Data {
            State::DataBegin { header }
        } else {
            let take = take.min(header.length);
            State::Collect { header, take, skip: header.length.saturating_sub(take) }
        };
    }

    /// Gives back what a collected payload needed; an idle connection holds nothing.
    pub(crate) fn settle(&mut self) {
        if !matches!(self.state, State::Collect { .. }) && self.partial.capacity() > 0 {
            self.partial = Vec::new();
        }
    }

    /// Octets of content that the DATA frame which began last still lacks.
    pub(crate) fn content_to_come(&self) -> u32 {
        if let State::Data { left, .. } = self.state { left } else { 0 }
    }

    /// The next thing that `input` tells; `None` when all of it is used.
    pub(crate) fn next<'s, 'i: 's>(
        &'s mut self,
        input: &mut Cursor<'i>,
    ) -> Result<Option<Item<'s>>, ConnectionError> {
        loop {
            match self.state {
                State::Preface { ref mut seen } => {
                    let expected = PREFACE.get(usize::from(*seen)..).unwrap_or_default();
                    let given = input.take(count(expected));
                    if !expected.starts_with(given) {
                        return Err(ConnectionError::Preface);
                    }
                    *seen = seen.saturating_add(u8::try_from(given.len()).unwrap_or(u8::MAX));
                    if given.len() < expected.len() {
                        return Ok(None);
                    }
                    self.state = NEXT;
                }
                State::Header { ref mut octets, ref mut have } => {
                    let missing = octets.get_mut(usize::from(*have)..).unwrap_or_default();
                    let given = input.take(count(missing));
                    for (to, from) in missing.iter_mut().zip(given) {
                        *to = *from;
                    }
                    *have = have.saturating_add(u8::try_from(given.len()).unwrap_or(u8::MAX));
                    if usize::from(*have) < HEADER {
                        return Ok(None);
                    }
                    let header = FrameHeader::parse(*octets);
                    self.state = State::Asked { header };
                    return Ok(Some(Item::Header(header)));
                }
                State::Asked { .. } => return Ok(None),
                State::Collect { header, take, skip } => {
                    let whole = self.partial.is_empty();
                    let missing = take.saturating_sub(count(&self.partial));
                    let given = input.take(missing);
                    let complete = count(given) == missing;
                    if complete {
                        self.state = if skip == 0 { NEXT } else { State::Skip { left: skip } };
                        if whole {
                            return Ok(Some(Item::Control(header, given)));
                        }
                    }
                    self.partial.extend_from_slice(given);
                    if !complete {
                        return Ok(None);
                    }
                    return Ok(Some(Item::Control(header, &self.partial)));
                }
                State::Skip { ref mut left } => {
                    let given = input.take(*left);
                    *left = left.saturating_sub(count(given));
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.state = NEXT;
                }
                State::DataBegin { header } if !header.has(PADDED) => {
                    let octets = header.length;
                    self.state = State::Data { header, left: octets, padding: 0 };
                    return Ok(Some(Item::DataBegin { header, octets, padding: 0 }));
                }
                State::DataBegin { header } => {
                    let Some(&pad) = input.take(1).first() else { return Ok(None) };
                    let padding = u32::from(pad).saturating_add(1);
                    let octets = header.length.checked_sub(padding).ok_or(ConnectionError::Padding)?;
                    self.state = State::Data { header, left: octets, padding: pad.into() };
                    return Ok(Some(Item::DataBegin { header, octets, padding }));
                }
                State::Data { header, left: 0, ref mut padding } => {
                    let given = input.take(*padding);
                    *padding = padding.saturating_sub(count(given));
                    if *padding > 0 {
                        return Ok(None);
                    }
                    self.state = NEXT;
                    return Ok(Some(Item::DataEnd(header)));
                }
                State::Data { header, ref mut left, .. } => {
                    let start = input.at;
                    let given = input.take(*left);
                    let len = count(given);
                    if len == 0 {
                        return Ok(None);
                    }
                    *left = left.saturating_sub(len);
                    return Ok(Some(Item::Data { header, start, len }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::{format, vec};

    use proptest::prelude::*;

    use super::*;
    use crate::http2::StreamId;
    use crate::http2::frame::END_STREAM;

    /// What a parser tells about `octets` given in pieces of the sizes `cuts`, as text with chunk borders taken out.
    fn told(octets: &[u8], cuts: &[usize]) -> (String, Vec<u8>) {
        let (mut parser, mut story, mut content, mut at, mut turn) =
            (Parser::with_preface(), String::new(), vec![], 0, 0);
        while at < octets.len() {
            let end = (at + cuts[turn % cuts.len()]).min(octets.len());
            let chunk = &octets[at..end];
            let mut cursor = Cursor::new(chunk);
            loop {
                match parser.next(&mut cursor) {
                    Ok(None) => break,
                    Ok(Some(Item::Header(header))) => {
                        let take = if header.kind == Kind::GoAway { 8 } else { header.length };
                        story += &format!("{header:?};");
                        parser.accept(take);
                    }
                    Ok(Some(Item::Data { start, len, .. })) => {
                        content.extend_from_slice(&chunk[start..start + len as usize]);
                    }
                    Ok(Some(item)) => story += &format!("{item:?};"),
                    Err(error) => return (story + &format!("{error:?}"), content),
                }
            }
            parser.settle();
            at = end;
            turn += 1;
        }
        (story, content)
    }

    fn sample() -> Vec<u8> {
        let mut wire = PREFACE.to_vec();
        for (kind, flags, payload) in [
            (Kind::Settings, 0, &b"123456"[..]),
            (Kind::Data, 0, b"content"),
            (Kind::Data, PADDED | END_STREAM, b"\x03padded\0\0\0"),
            (Kind::Data, 0, b""),
            (Kind::Data, PADDED, b"\x02\0\0"),
            (Kind::GoAway, 0, b"8 octets and debug data"),
            (Kind::Settings, 1, b""),
            (Kind::Unknown(99), 0, b"whatever"),
        ] {
            let length = u32::try_from(payload.len()).unwrap();
            wire.extend_from_slice(&FrameHeader { length, kind, flags, stream: StreamId(1) }.encode());
            wire.extend_from_slice(payload);
        }
        wire
    }

    #[test]
    fn content_is_found_between_header_and_padding() {
        let (story, content) = told(&sample(), &[usize::MAX / 2]);
        assert_eq!(content, b"contentpadded");
        assert_eq!(story.matches("DataEnd").count(), 4);
        assert_eq!(story.matches("octets: 0").count(), 2);
    }

    #[test]
    fn padding_must_be_shorter_than_the_payload() {
        // RFC 9113 §6.1.
        let mut wire = PREFACE.to_vec();
        wire.extend_from_slice(&[0, 0, 2, 0, PADDED, 0, 0, 0, 1, 2, 0]);
        assert!(told(&wire, &[7]).0.ends_with("Padding"));
    }

    #[test]
    fn a_wrong_preface_is_noticed_at_its_first_wrong_octet() {
        assert!(told(b"G", &[1]).0.ends_with("Preface"));
        assert!(told(b"PRI * HTTP/1", &[5]).0.ends_with("Preface"));
    }

    #[test]
    fn nothing_is_kept_between_frames() {
        let mut parser = Parser::default();
        let mut cursor = Cursor::new(&[0, 0, 4, 8, 0, 0, 0, 0, 0]);
        assert!(matches!(parser.next(&mut cursor), Ok(Some(Item::Header(_)))));
        parser.accept(4);
        for octet in [1, 2, 3, 4] {
            let octets = [octet];
            let mut cursor = Cursor::new(&octets);
            while parser.next(&mut cursor).unwrap().is_some() {}
            parser.settle();
        }
        assert_eq!(parser, Parser::default());
        assert_eq!(parser.partial.capacity(), 0);
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(cuts in prop::collection::vec(1usize..12, 1..8)) {
            prop_assert_eq!(told(&sample(), &cuts), told(&sample(), &[usize::MAX / 2]));
        }
    }
}
