//! A change is answered when it is on disk.

use super::expect;
use super::world::{NODES_CONF, World};

fn file(world: &World) -> String {
    let file = world.nodes[0].files.get(NODES_CONF.trim_start_matches("/data/"));
    String::from_utf8(file.expect("it was saved").clone()).expect("a text")
}

#[test]
fn a_change_is_answered_when_it_is_on_disk() {
    let mut world = World::new(1, "");
    for (request, answer, saved) in [
        ("CLUSTER ADDSLOTS 1 2 3", "+OK\r\n", " connected 1-3\n"),
        ("CLUSTER DELSLOTSRANGE 1 2", "+OK\r\n", " connected 3\n"),
        ("CLUSTER SET-CONFIG-EPOCH 7", "+OK\r\n", " 7 connected 3\n"),
        ("CLUSTER BUMPEPOCH", "+STILL 7\r\n", " 7 connected 3\n"),
        ("CLUSTER SAVECONFIG", "+OK\r\n", " 7 connected 3\n"),
        ("CLUSTER FLUSHSLOTS", "+OK\r\n", " 7 connected\n"),
        ("CLUSTER RESET HARD", "+OK\r\n", " 0 connected\n"),
    ] {
        world.nodes[0].requests.held = true;
        let got = world.request(0, request);
        let is_saved = world.nodes[0].requests.has_pending();
        assert_eq!(got.is_empty(), is_saved, "{request}: {got}");
        while world.nodes[0].requests.has_pending() {
            world.nodes[0].answer();
        }
        world.nodes[0].requests.held = false;
        let got = got + &world.request(0, "PING");
        assert_eq!(got, format!("{answer}+PONG\r\n"), "{request}");
        assert!(file(&world).contains(saved), "{request}\n{}", file(&world));
    }
}

#[test]
fn two_steps_of_a_slots_move_are_answered_when_they_are_on_disk() {
    let mut world = World::cluster(2, &[], "");
    let id = |world: &mut World, node| world.request(node, "CLUSTER MYID")[5..45].to_owned();
    let (source, target) = (id(&mut world, 0), id(&mut world, 1));
    for (node, step, waits) in [
        (1, format!("IMPORTING {source}"), false),
        (0, format!("MIGRATING {target}"), true),
        (1, format!("NODE {target}"), true),
        (0, format!("NODE {target}"), false),
        (0, "STABLE".to_owned(), false),
    ] {
        world.nodes[node].requests.held = true;
        let got = world.request(node, &format!("CLUSTER SETSLOT 5061 {step}"));
        assert_eq!(got, if waits { "" } else { "+OK\r\n" }, "{step}");
        while world.nodes[node].requests.has_pending() {
            world.nodes[node].answer();
        }
        world.nodes[node].requests.held = false;
        let got = got + &world.request(node, "PING");
        assert_eq!(got, "+OK\r\n+PONG\r\n", "{step}");
    }
    // What has not been waited for is saved soon.
    world.advance_ms(500);
    assert!(file(&world).contains("connected 0-5060 5062-8191\n"), "{}", file(&world));
}

#[test]
fn a_change_that_cannot_be_saved_is_an_error() {
    let mut world = World::new(1, "");
    world.nodes[0].requests.answers.push_back(Err("No space left on device".to_owned()));
    let error = "-ERR error saving the cluster node config: No space left on device";
    expect(&mut world, 0, &[("CLUSTER SAVECONFIG", error)]);
    // It is tried again.
    world.advance_ms(3000);
    expect(&mut world, 0, &[("CLUSTER SAVECONFIG", "+OK\r\n")]);
}

#[test]
fn a_transaction_waits_as_well() {
    let mut world = World::new(1, "");
    for request in ["CLUSTER ADDSLOTS 5", "PING", "CLUSTER DELSLOTS 5"] {
        world.request(0, "MULTI");
        expect(&mut world, 0, &[(request, "+QUEUED\r\n"), ("ECHO x", "+QUEUED\r\n")]);
        world.nodes[0].requests.held = true;
        let mut got = world.request(0, "EXEC");
        while world.nodes[0].requests.has_pending() {
            world.nodes[0].answer();
        }
        world.nodes[0].requests.held = false;
        got.push_str(&world.request(0, "PING"));
        let first = if request == "PING" { "+PONG" } else { "+OK" };
        assert_eq!(got, format!("*2\r\n{first}\r\n$1\r\nx\r\n+PONG\r\n"));
    }
}

#[test]
fn loaded_keys_take_their_slots() {
    let mut world = World::new(1, "");
    world.ok(0, "CLUSTER ADDSLOTSRANGE 0 16383");
    world.advance_ms(2500);
    expect(&mut world, 0, &[("MSET {hello}1 x {hello}2 y", "+OK\r\n"), ("SAVE", "+OK\r\n")]);
    let mut files = world.nodes[0].files.clone();
    // The state is lost.
    files.remove("nodes.conf");
    let mut again = super::world::node(0, "", files);
    let client = again.connect();
    assert!(again.request(client, "CLUSTER INFO").contains("cluster_slots_assigned:1\r\n"));
    let nodes = again.request(client, "CLUSTER NODES");
    assert!(nodes.ends_with(" connected 866\n\r\n"), "{nodes}");
}
