//! Messages of the cluster bus: they are split and decoded, and what was decoded is encoded to a message that says the same.
//!
//! The fuzzer chooses what comes behind the header, the few fields that say what that is, and patches of the header;
//! signature, length and names are mended, so that it gets past the first checks. Inputs with an odd first byte are
//! received as they are.
//!
//! Invariants: what was decoded is not encoded to more bytes than were received, and is decoded to the same message, without
//! what was left out; an encoded message is exactly one frame, and none without its last byte.
#![no_main]

use russet_cluster::bus::{
    Message, NextFrame, Received, decode, next_frame, write_auth_ack, write_auth_request,
    write_fail, write_mf_start, write_ping, write_publish, write_publish_light, write_update,
};
use russet_fuzz::input::Input;

const HEADER_LEN: usize = 2256;
const NAME: [u8; 40] = *b"0123456789abcdef0123456789abcdef01234567";

/// Received as it is.
const RAW: u8 = 1;
/// With a light header.
const LIGHT: u8 = 2;
/// Names in gossip, and what a FAIL or UPDATE is about, become names.
const NAMED: u8 = 4;

fn encode(received: &Received<'_>) -> Vec<u8> {
    let mut out = vec![];
    match (&received.header, &received.message) {
        (Some(header), Message::Ping(ping)) => {
            write_ping(&mut out, header, ping.kind, &ping.gossip, &ping.extensions);
        }
        (Some(header), Message::Fail(node)) => write_fail(&mut out, header, node),
        (Some(header), Message::Publish(publish)) => {
            assert!(write_publish(&mut out, header, publish));
        }
        (Some(header), Message::AuthRequest) => write_auth_request(&mut out, header),
        (Some(header), Message::AuthAck) => write_auth_ack(&mut out, header),
        (Some(header), Message::Update(update)) => write_update(&mut out, header, update),
        (Some(header), Message::MfStart) => write_mf_start(&mut out, header),
        (Some(_), Message::Module) => {}
        (None, Message::Publish(publish)) => assert!(write_publish_light(&mut out, publish)),
        (None, message) => panic!("a light header of {message:?}"),
    }
    out
}

/// Splits received bytes, as a node does, and checks each message.
fn receive(mut bytes: &[u8], is_known: bool) {
    while let Ok(NextFrame::Frame(len)) = next_frame(bytes, is_known) {
        assert!(len >= 16 && len <= bytes.len());
        assert_eq!(next_frame(&bytes[..len - 1], is_known), Ok(NextFrame::NeedMore));
        check(&bytes[..len]);
        bytes = &bytes[len..];
    }
    check(bytes);
}

fn check(frame: &[u8]) {
    let Ok(received) = decode(frame) else { return };
    let encoded = encode(&received);
    if received.message == Message::Module {
        return;
    }
    assert!(encoded.len() <= frame.len(), "more than was received");
    assert_eq!(next_frame(&encoded, true), Ok(NextFrame::Frame(encoded.len())));
    let again = decode(&encoded).expect("what was encoded");
    assert_eq!(again.message, received.message);
    assert_eq!(again.ignored, 0, "what is wrong is left out");
    assert_eq!(encode(&again), encoded);
    if let Message::Ping(ping) = &received.message {
        let entries = ping.gossip.len() + received.ignored;
        assert!(ping.gossip.len() * 104 <= frame.len() && entries <= frame.len() / 8);
    }
}

/// Builds a message of the fuzzer's bytes.
fn frame(mode: u8, input: &mut Input<'_>) -> Vec<u8> {
    let mut frame = b"RCmb\0\0\0\0\0\x01\0\0".to_vec();
    frame.extend([if mode & LIGHT != 0 { 0x80 } else { 0 }, input.byte() % 16]);
    if mode & LIGHT != 0 {
        frame.extend([0, 0]);
    } else {
        push_header(&mut frame, input);
    }
    let body = frame.len();
    let count = usize::from(frame[15]);
    frame.extend(input.bytes(usize::MAX));
    if mode & NAMED != 0 {
        let names = match frame[13] {
            0..=2 => (0..count).map(|entry| body + entry * 104).collect(),
            3 => vec![body],
            7 => vec![body + 8],
            _ => vec![],
        };
        names.into_iter().for_each(|at| mend_name(&mut frame, at));
    }
    let len = u32::try_from(frame.len()).expect("an input");
    frame[4..8].copy_from_slice(&len.to_be_bytes());
    frame
}

/// Appends the header behind the type, with patches.
fn push_header(frame: &mut Vec<u8>, input: &mut Input<'_>) {
    frame.extend([0, input.byte()]);
    frame.resize(HEADER_LEN, 0);
    frame[40..80].copy_from_slice(&NAME);
    frame[2215] = input.byte();
    frame[2253] = input.byte();
    for _ in 0..input.below(8) {
        let at = u16::from_be_bytes([input.byte(), input.byte()]);
        frame[16 + usize::from(at) % (HEADER_LEN - 16)] = input.byte();
    }
}

fn mend_name(frame: &mut [u8], at: usize) {
    let Some(name) = frame.get_mut(at..at + NAME.len()) else { return };
    name.iter_mut().for_each(|byte| *byte = NAME[usize::from(*byte % 16)]);
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mode = input.byte();
    if mode & RAW != 0 {
        receive(input.bytes(usize::MAX), mode & LIGHT != 0);
    } else {
        receive(&frame(mode, &mut input), true);
    }
});
