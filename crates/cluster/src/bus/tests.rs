//! Both directions of the codec, against what stock servers sent.
//!
//! `fixtures` has messages recorded between servers of a cluster, one after the other as on a connection: of Redis 7.0, and
//! of Valkey's development branch after 8.0. The clusters had masters and replicas, IPv4 and IPv6, announced addresses and
//! names; they went through joins, publications, failovers by hand and after failures, and forgotten nodes.

use super::*;
use crate::{NodeId, SlotBitmap};

const REDIS: &[u8] = include_bytes!("fixtures/redis70.bin");
const VALKEY: &[u8] = include_bytes!("fixtures/valkey.bin");

/// Splits a recording into messages.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = vec![];
    while !bytes.is_empty() {
        let Ok(NextFrame::Frame(len)) = next_frame(bytes, false) else { panic!("no frame") };
        frames.push(&bytes[..len]);
        bytes = &bytes[len..];
    }
    frames
}

fn recorded() -> Vec<&'static [u8]> {
    [frames(REDIS), frames(VALKEY)].concat()
}

/// Encodes a message; none if only modules know what it says.
fn encode(received: &Received<'_>) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    match (&received.header, &received.message) {
        (_, Message::Module) => return None,
        (None, Message::Publish(publish)) => assert!(write_publish_light(&mut out, publish)),
        (None, message) => panic!("{message:?} has a light header"),
        (Some(header), message) => encode_full(&mut out, header, message),
    }
    assert!(out.starts_with(b"before"), "it appends");
    Some(out.split_off(6))
}

fn encode_full(out: &mut Vec<u8>, header: &Header, message: &Message<'_>) {
    match message {
        Message::Ping(ping) => write_ping(out, header, ping.kind, &ping.gossip, &ping.extensions),
        Message::Fail(node) => write_fail(out, header, node),
        Message::Publish(publish) => assert!(write_publish(out, header, publish)),
        Message::AuthRequest => write_auth_request(out, header),
        Message::AuthAck => write_auth_ack(out, header),
        Message::Update(update) => write_update(out, header, update),
        Message::MfStart => write_mf_start(out, header),
        Message::Module => {}
    }
}

#[test]
fn messages_of_stock_servers_are_encoded_to_the_same_bytes() {
    for (index, frame) in recorded().into_iter().enumerate() {
        let received = decode(frame).unwrap();
        assert_eq!(received.ignored, 0, "{index}");
        if let Some(bytes) = encode(&received) {
            let differs_at = bytes.iter().zip(frame).position(|(ours, stock)| ours != stock);
            assert!(bytes == frame, "{index} differs at {differs_at:?}: {received:?}");
        }
    }
}

#[test]
fn recordings_have_all_types_and_extensions() {
    let received: Vec<_> = recorded().into_iter().map(|frame| decode(frame).unwrap()).collect();
    let has = |is: fn(&Received<'_>) -> bool| received.iter().any(is);
    let ping = |kind| received.iter().any(|r| as_ping(r).is_some_and(|ping| ping.kind == kind));
    assert!(ping(PingKind::Ping) && ping(PingKind::Pong) && ping(PingKind::Meet));
    assert!(has(|r| matches!(r.message, Message::Fail(_))));
    for is_sharded in [false, true] {
        for is_light in [false, true] {
            assert!(received.iter().any(|r| r.header.is_none() == is_light
                && matches!(r.message, Message::Publish(p) if p.is_sharded == is_sharded)));
        }
    }
    assert!(has(|r| r.message == Message::AuthRequest) && has(|r| r.message == Message::AuthAck));
    assert!(has(|r| matches!(&r.message, Message::Update(update) if !update.slots.is_empty())));
    assert!(has(|r| r.message == Message::MfStart) && has(|r| r.message == Message::Module));
    let texts = |of: fn(&Extensions) -> Option<&String>| {
        let pings = received.iter().filter_map(as_ping);
        pings.filter_map(|ping| of(&ping.extensions)).next().cloned().unwrap()
    };
    assert_eq!(texts(|e| e.hostname.as_ref()), "node-0.example.org");
    assert_eq!(texts(|e| e.human_nodename.as_ref()), "node-1");
    assert!(texts(|e| e.client_ipv4.as_ref()).starts_with("192.0.2."));
    assert!(texts(|e| e.client_ipv6.as_ref()).starts_with("2001:db8::"));
    assert!(has(|r| as_ping(r).is_some_and(|ping| ping.extensions.forgotten.len() == 2)));
    assert!(has(|r| as_ping(r).is_some_and(|ping| ping.extensions.shard.is_some())));
}

fn as_ping<'a>(received: &'a Received<'_>) -> Option<&'a Ping<'a>> {
    if let Message::Ping(ping) = &received.message { Some(ping) } else { None }
}

#[test]
fn each_truncation_of_a_message_is_refused() {
    for frame in recorded() {
        for len in 0..frame.len() {
            assert_eq!(next_frame(&frame[..len], true), Ok(NextFrame::NeedMore));
            assert_eq!(decode(&frame[..len]), Err(BusError::NotAFrame));
            // One that lies about its length.
            let bytes = with_len(frame[..len].to_vec());
            if len < 14 {
                assert_eq!(decode(&bytes), Err(BusError::NotAFrame));
            }
            assert!(decode(&bytes).is_err(), "{len} of {}", frame.len());
        }
        let longer = with_len([frame, &[0; 8]].concat());
        assert!(matches!(decode(&longer), Err(BusError::Length { .. })));
    }
}

/// Sets the length that a message claims to what it is.
fn with_len(mut frame: Vec<u8>) -> Vec<u8> {
    let len = u32::try_from(frame.len()).unwrap();
    if let Some(claimed) = frame.get_mut(4..8) {
        claimed.copy_from_slice(&len.to_be_bytes());
    }
    frame
}

/// Each bit of a short message, and of everything but slots in a long one.
#[test]
fn flipped_bits_do_no_harm() {
    for frame in recorded() {
        let places = (0..frame.len()).filter(|at| frame.len() < 2256 || !(80..2128).contains(at));
        for at in places {
            for bit in 0..8 {
                let mut bytes = frame.to_vec();
                bytes[at] ^= 1 << bit;
                let _ = next_frame(&bytes, false);
                let Ok(received) = decode(&bytes) else { continue };
                let Some(encoded) = encode(&received) else { continue };
                let again = decode(&encoded).unwrap();
                assert_eq!((&again.message, again.ignored), (&received.message, 0));
            }
        }
    }
}

fn name(digit: char) -> NodeId {
    NodeId::parse(digit.to_string().repeat(40).as_bytes()).unwrap()
}

fn header() -> Header {
    Header {
        sender: name('a'),
        current_epoch: 0x0102030405060708,
        config_epoch: 9,
        offset: u64::MAX,
        slots: [0, 16383].into_iter().collect(),
        master: Some(name('b')),
        ip: Some("10.0.0.1".into()),
        port: 6379,
        second_port: 6380,
        bus_port: 16379,
        flags: NodeFlags::REPLICA,
        is_cluster_ok: false,
        message_flags: MessageFlags::default(),
    }
}

fn entry(digit: char) -> GossipEntry<'static> {
    GossipEntry {
        node: name(digit),
        ping_sent_secs: 1,
        pong_received_secs: 2,
        ip: Some("10.0.0.2"),
        port: 3,
        second_port: 4,
        bus_port: 5,
        flags: NodeFlags::MASTER,
    }
}

fn ping_bytes(gossip: &[GossipEntry<'_>], extensions: &Extensions) -> Vec<u8> {
    let mut bytes = vec![];
    write_ping(&mut bytes, &header(), PingKind::Ping, gossip, extensions);
    bytes
}

#[test]
fn fields_of_the_header_are_where_the_picture_says() {
    let bytes = ping_bytes(&[], &Extensions::default());
    let at = |at: usize, expected: &[u8]| assert_eq!(&bytes[at..at + expected.len()], expected);
    at(0, b"RCmb\0\0\x08\xd0\0\x01\x18\xeb\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08");
    at(24, &[0, 0, 0, 0, 0, 0, 0, 9, 255]);
    at(80, &[1, 0]);
    at(2127, b"\x80bbbb");
    at(2168, b"10.0.0.1\0");
    at(2246, &[0x18, 0xec, 0x3f, 0xfb, 0, 2, 1, 0, 0, 0]);
    let Received { header: decoded, ignored, .. } = decode(&bytes).unwrap();
    assert_eq!((decoded, ignored), (Some(header()), 0));
}

#[test]
fn a_wrong_name_or_address_spoils_the_message() {
    let mut fail = vec![];
    write_fail(&mut fail, &header(), &name('c'));
    let spoiled = |at: usize, byte: u8| {
        let mut bytes = fail.clone();
        bytes[at] = byte;
        decode(&bytes).map(|_| ())
    };
    for at in [40, 79, 2128, 2167, 2256, 2295] {
        for byte in [b'A', b'g', 0] {
            assert_eq!(spoiled(at, byte), Err(BusError::Name), "{at}");
        }
    }
    for byte in [b'\n', b' ', b',', b'@', 200] {
        assert_eq!(spoiled(2170, byte), Err(BusError::Address));
    }
    fail[2168..2214].fill(b'1');
    assert_eq!(decode(&fail), Err(BusError::Address), "not terminated");
}

#[test]
fn a_wrong_entry_of_gossip_spoils_only_itself() {
    let bytes = ping_bytes(&[entry('c'), entry('d'), entry('e')], &Extensions::default());
    let second = 2256 + 104;
    // Its name and its address; then one that fills its field.
    for (at, len, byte) in [(0, 1, 0), (39, 1, b'z'), (49, 1, b'\r'), (48, 46, b'1')] {
        let mut bytes = bytes.clone();
        bytes[second + at..second + at + len].fill(byte);
        let received = decode(&bytes).unwrap();
        assert_eq!(received.ignored, 1);
        assert_eq!(as_ping(&received).unwrap().gossip, [entry('c'), entry('e')]);
    }
    for (count, is_good) in [(2, false), (3, true), (4, false), (u16::MAX, false)] {
        let mut bytes = bytes.clone();
        bytes[14..16].copy_from_slice(&count.to_be_bytes());
        assert_eq!(decode(&bytes).is_ok(), is_good, "{count}");
    }
}

/// Decodes a PING with these extensions.
fn extended(extensions: &[(u16, &[u8])]) -> Result<(Extensions, usize), BusError> {
    let mut bytes = ping_bytes(&[entry('c')], &Extensions::default());
    for (kind, content) in extensions {
        bytes.extend((8 + content.len() as u32).to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(*content);
    }
    bytes[2214..2216].copy_from_slice(&(extensions.len() as u16).to_be_bytes());
    bytes[2253] = MessageFlags::EXTENSIONS.0;
    let bytes = with_len(bytes);
    let received = decode(&bytes)?;
    Ok((as_ping(&received).unwrap().extensions.clone(), received.ignored))
}

#[test]
fn a_wrong_extension_spoils_only_itself() {
    let good = (0, &b"host\0\xff\xff\xff"[..]);
    let expected = Extensions { hostname: Some("host".into()), ..Extensions::default() };
    assert_eq!(extended(&[good]), Ok((expected.clone(), 0)));
    let (name_and_half, too_long) = ([b'a'; 44], [&[b'a'; 256][..], &[0; 8]].concat());
    let wrong: [(u16, &[u8]); 12] = [
        (0, &too_long),
        (1, &too_long),
        (0, b"not-zero-ended-."),
        (0, b"a\nb\0\0\0\0\0"),
        (0, b""),
        (1, b"\xff\xfe\0\0\0\0\0\0"),
        (1, b"a b\0\0\0\0\0"),
        (2, &name_and_half[..40]),
        (3, &name_and_half[..32]),
        (3, &[b'g'; 40]),
        (4, b"1.2.3.4.5\0\0\0\0\0\0\0"),
        (5, b"1.2.3.4\0"),
    ];
    for extension in wrong {
        assert_eq!(extended(&[extension, good]), Ok((expected.clone(), 1)), "{extension:?}");
        assert_eq!(extended(&[good, extension]), Ok((expected.clone(), 1)), "{extension:?}");
    }
    let longest = extended(&[(0, &too_long[1..]), (0xffff, b"\0")]);
    assert!(matches!(longest, Err(BusError::Length { .. })), "not padded");
    let longest = extended(&[(0, &[&too_long[1..], b"\0"].concat())]).unwrap();
    assert_eq!((longest.0.hostname.unwrap().len(), longest.1), (255, 0));
    assert_eq!(extended(&[(6, b""), good, (0xffff, &[1; 64])]), Ok((expected, 0)), "unknown");
}

#[test]
fn an_extension_with_a_bad_length_spoils_the_message() {
    let mut bytes = ping_bytes(
        &[],
        &Extensions { hostname: Some("h".into()), shard: Some(name('c')), ..Default::default() },
    );
    assert!(decode(&bytes).is_ok());
    for len in [0, 1, 7, 8, 15, 17, 24, 64, 72, 0x10010, u32::MAX - 7, u32::MAX] {
        bytes[2256..2260].copy_from_slice(&len.to_be_bytes());
        assert!(matches!(decode(&bytes), Err(BusError::Length { .. })), "{len}");
    }
    bytes[2256..2260].copy_from_slice(&16u32.to_be_bytes());
    for count in [0u16, 1, 3, u16::MAX] {
        bytes[2214..2216].copy_from_slice(&count.to_be_bytes());
        assert!(matches!(decode(&bytes), Err(BusError::Length { .. })), "{count}");
    }
}

#[test]
fn other_versions_and_types_are_passed_over() {
    let mut bytes = vec![];
    write_auth_ack(&mut bytes, &header());
    let with = |at: usize, value: u16| {
        let mut bytes = bytes.clone();
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
        assert_eq!(next_frame(&bytes, false), Ok(NextFrame::Frame(bytes.len())));
        decode(&bytes).map(|_| ())
    };
    assert_eq!(with(8, 1), Ok(()));
    assert_eq!(with(8, 0), Err(BusError::Version(0)));
    assert_eq!(with(8, 2), Err(BusError::Version(2)));
    assert_eq!(with(12, 11), Err(BusError::Kind(11)));
    assert_eq!(with(12, 0x8000), Err(BusError::LightKind(0)));
    assert_eq!(with(12, 0x8009), Err(BusError::LightKind(9)));
}

#[test]
fn claimed_lengths_of_a_publish_do_not_wrap() {
    let publish = Publish { is_sharded: true, channel: b"channel", message: b"message" };
    let mut bytes = vec![];
    assert!(write_publish_light(&mut bytes, &publish));
    for lens in [[7, 8], [8, 7], [u32::MAX, 15], [15, u32::MAX], [0, 13], [u32::MAX; 2]] {
        for (at, len) in [(16, lens[0]), (20, lens[1])] {
            bytes[at..at + 4].copy_from_slice(&len.to_be_bytes());
        }
        let expected = BusError::Length { kind: 0x800a, len: bytes.len() };
        assert_eq!(decode(&bytes), Err(expected), "{lens:?}");
    }
}

#[test]
fn the_flag_of_extensions_is_only_in_messages_that_can_have_some() {
    let mut header = header();
    let flags = |bytes: &[u8]| bytes[2253];
    let some = Extensions { shard: Some(name('c')), ..Extensions::default() };
    assert_eq!(flags(&ping_bytes(&[], &some)), 4);
    assert_eq!(flags(&ping_bytes(&[], &Extensions::default())), 0);
    header.message_flags = MessageFlags(5);
    let (mut ping, mut ack) = (vec![], vec![]);
    write_ping(&mut ping, &header, PingKind::Pong, &[], &Extensions::default());
    write_auth_ack(&mut ack, &header);
    assert_eq!((flags(&ping), flags(&ack)), (5, 1));
}

#[test]
fn without_their_flag_there_are_no_extensions() {
    let mut bytes = ping_bytes(&[], &Extensions::default());
    bytes[2214..2216].fill(255);
    assert!(decode(&bytes).is_ok());
    bytes[2253] = 4;
    assert!(matches!(decode(&bytes), Err(BusError::Length { .. })));
}

#[test]
fn a_cluster_is_up_only_if_the_sender_says_so() {
    let mut bytes = ping_bytes(&[], &Extensions::default());
    for (state, is_ok) in [(0, true), (1, false), (2, false), (255, false)] {
        bytes[2252] = state;
        assert_eq!(decode(&bytes).unwrap().header.unwrap().is_cluster_ok, is_ok);
    }
}

#[test]
fn a_publication_that_no_node_would_take_is_not_written() {
    // Zeros that are never touched.
    let long = vec![0; LONG_FRAME_LEN_MAX - 2264 + 1];
    let publish = Publish { is_sharded: false, channel: b"", message: &long };
    let mut bytes = vec![];
    assert!(!write_publish(&mut bytes, &header(), &publish));
    assert!(!write_publish_light(&mut bytes, &publish));
    assert!(bytes.is_empty());
}

#[test]
fn what_does_not_fit_is_cut() {
    let long = "1".repeat(100);
    let mut bytes = vec![];
    let long_ip = Header { ip: Some(long.clone()), ..header() };
    write_mf_start(&mut bytes, &long_ip);
    assert_eq!(decode(&bytes).unwrap().header.unwrap().ip.unwrap(), long[..45]);
    let entries = vec![entry('c'); 65536];
    let bytes = ping_bytes(&entries, &Extensions::default());
    assert_eq!(as_ping(&decode(&bytes).unwrap()).unwrap().gossip.len(), 65535);
}

#[test]
fn an_update_says_whose_slots_they_are() {
    let update = SlotsUpdate { node: name('d'), config_epoch: 7, slots: SlotBitmap::default() };
    let mut bytes = vec![];
    write_update(&mut bytes, &header(), &update);
    assert_eq!((bytes[2263], bytes[2264], bytes.len()), (7, b'd', 4352));
    assert_eq!(decode(&bytes).unwrap().message, Message::Update(update));
}
