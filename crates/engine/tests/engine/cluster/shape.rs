//! The shape of the cluster, as it is shown.

use super::world::World;

#[test]
fn nodes_are_lines() {
    let mut world = World::cluster(2, &[1], "");
    let ids: Vec<String> = (0..3).map(|node| world.id(node)).collect();
    let reply = world.request(0, "CLUSTER NODES");
    let mut lines: Vec<&str> = reply.trim_end().lines().skip(1).collect();
    lines.sort_by_key(|line| ids.iter().position(|id| line.starts_with(id.as_str())));
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    assert_eq!(words.len(), 3, "{reply}");
    assert_eq!(words[0][1..4], ["127.0.0.1:7000@17000", "myself,master", "-"]);
    assert_eq!(words[0][6..], ["1", "connected", "0-8191"]);
    assert_eq!(words[1][1..4], ["127.0.0.1:7001@17001", "master", "-"]);
    assert_eq!(words[1][6..], ["2", "connected", "8192-16383"]);
    assert_eq!(words[2][1..4], ["127.0.0.1:7002@17002", "slave", &ids[1]]);
    assert_eq!(words[2][6..], ["2", "connected"]);

    let replicas = world.request(0, &format!("CLUSTER REPLICAS {}", ids[1]));
    assert!(replicas.starts_with("*1\r\n$") && replicas.contains(&ids[2]), "{replicas}");
    assert_eq!(replicas, world.request(0, &format!("CLUSTER SLAVES {}", ids[1])));

    let shard = world.request(1, "CLUSTER MYSHARDID");
    assert_eq!(shard, world.request(2, "CLUSTER MYSHARDID"));
    assert_ne!(shard, world.request(0, "CLUSTER MYSHARDID"));
}

#[test]
fn info_is_in_the_order_of_redis() {
    let mut world = World::cluster(2, &[0], "");
    let info = world.request(0, "CLUSTER INFO");
    let names: Vec<&str> = info
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let sent = ["ping", "pong", "meet"].map(|name| format!("cluster_stats_messages_{name}_sent"));
    let received = ["ping", "pong"].map(|name| format!("cluster_stats_messages_{name}_received"));
    let mut expected = vec![
        "cluster_state",
        "cluster_slots_assigned",
        "cluster_slots_ok",
        "cluster_slots_pfail",
        "cluster_slots_fail",
        "cluster_known_nodes",
        "cluster_size",
        "cluster_current_epoch",
        "cluster_my_epoch",
    ];
    expected.extend(sent.iter().map(String::as_str));
    expected.push("cluster_stats_messages_sent");
    expected.extend(received.iter().map(String::as_str));
    expected
        .extend(["cluster_stats_messages_received", "total_cluster_links_buffer_limit_exceeded"]);
    assert_eq!(names, expected);
    assert!(
        info.contains("cluster_size:2\r\ncluster_current_epoch:2\r\ncluster_my_epoch:1\r\n"),
        "{info}"
    );
    assert!(world.request(2, "CLUSTER INFO").contains("cluster_my_epoch:1\r\n"));
}

/// Returns a node of CLUSTER SLOTS with RESP3.
fn slot_node(endpoint: &str, port: u16, id: &str, others: &[(&str, &str)]) -> String {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let endpoint = if endpoint == "null" { "_\r\n".to_owned() } else { bulk(endpoint) };
    let others: String =
        others.iter().map(|(kind, value)| bulk(kind) + &bulk(value)).collect::<String>();
    let count = others.matches('$').count() / 2;
    format!("*4\r\n{endpoint}:{port}\r\n{}%{count}\r\n{others}", bulk(id))
}

#[test]
fn slots_have_the_preferred_endpoint() {
    let mut world = World::cluster(1, &[0], "cluster-announce-hostname db.example");
    world.advance_ms(2000);
    let (master, replica) = (world.id(0), world.id(1));
    world.request(0, "HELLO 3");
    let ip = [("ip", "127.0.0.1")];
    let name = [("hostname", "db.example")];
    let both = [("ip", "127.0.0.1"), ("hostname", "db.example")];
    for (kind, endpoint, others) in [
        ("ip", "127.0.0.1", &name[..]),
        ("hostname", "db.example", &ip[..]),
        ("unknown-endpoint", "null", &both[..]),
    ] {
        world.ok(0, &format!("CONFIG SET cluster-preferred-endpoint-type {kind}"));
        let nodes = slot_node(endpoint, 7000, &master, others)
            + &slot_node(endpoint, 7001, &replica, others);
        assert_eq!(
            world.request(0, "CLUSTER SLOTS"),
            format!("*1\r\n*4\r\n:0\r\n:16383\r\n{nodes}")
        );
    }
    // Without a name.
    world.ok(0, "CONFIG SET cluster-announce-hostname ''");
    world.ok(0, "CONFIG SET cluster-preferred-endpoint-type hostname");
    let slots = world.request(0, "CLUSTER SLOTS");
    assert!(
        slots.starts_with(&format!(
            "*1\r\n*4\r\n:0\r\n:16383\r\n{}",
            slot_node("?", 7000, &master, &ip)
        )),
        "{slots}"
    );
}

#[test]
fn redirections_have_the_preferred_endpoint() {
    let mut world = World::cluster(2, &[], "cluster-announce-hostname db.example");
    world.advance_ms(2000);
    for (kind, reply) in [
        ("ip", "-MOVED 12182 127.0.0.1:7001\r\n"),
        ("hostname", "-MOVED 12182 db.example:7001\r\n"),
        ("unknown-endpoint", "-MOVED 12182 :7001\r\n"),
    ] {
        world.ok(0, &format!("CONFIG SET cluster-preferred-endpoint-type {kind}"));
        assert_eq!(world.request(0, "GET foo"), reply);
    }
    world.ok(1, "CONFIG SET cluster-announce-client-ipv4 10.0.0.9");
    world.advance_ms(2000);
    world.ok(0, "CONFIG SET cluster-preferred-endpoint-type ip");
    assert_eq!(world.request(0, "GET foo"), "-MOVED 12182 10.0.0.9:7001\r\n");
    assert!(world.request(0, "CLUSTER NODES").contains(" 10.0.0.9:7001@17001,db.example master "));
}

#[test]
fn shards_have_their_nodes() {
    let mut world = World::cluster(2, &[0], "");
    world.ok(0, "SET hello 1");
    world.advance_ms(2000);
    let (master, replica) = (world.id(0), world.id(2));
    let shards = world.request(0, "CLUSTER SHARDS");
    let lines: Vec<&str> = shards.lines().filter(|line| !line.starts_with('$')).collect();
    assert_eq!(lines[0], "*2");
    let is_first = |at: &usize| lines[*at..].starts_with(&["slots", "*2", ":0"]);
    let at = (0..lines.len()).find(is_first).expect("the first shard");
    assert_eq!(lines[at - 1..at + 5], ["*4", "slots", "*2", ":0", ":8191", "nodes"]);
    let mut node = lines[at + 5..].iter();
    assert_eq!(node.next(), Some(&"*2"));
    for (id, port, role) in [(&master, ":7000", "master"), (&replica, ":7002", "replica")] {
        let words: Vec<&str> = node.by_ref().take(15).copied().collect();
        let ends = ["ip", "127.0.0.1", "endpoint", "127.0.0.1", "role", role, "replication-offset"];
        assert_eq!(words[..5], ["*14", "id", id, "port", port], "{shards}");
        assert_eq!(words[5..12], ends, "{shards}");
        assert!(words[12].starts_with(':') && words[12] != ":0", "{shards}");
        assert_eq!(words[13..], ["health", "online"], "{shards}");
    }
}

#[test]
fn links_are_of_both_directions() {
    let mut world = World::cluster(2, &[], "");
    let other = world.id(1);
    world.request(0, "HELLO 3");
    let links = world.request(0, "CLUSTER LINKS");
    assert!(links.starts_with("*2\r\n%6\r\n$9\r\ndirection\r\n"), "{links}");
    for direction in ["$2\r\nto", "$4\r\nfrom"] {
        let link = format!(
            "direction\r\n{direction}\r\n$4\r\nnode\r\n$40\r\n{other}\r\n$11\r\ncreate-time\r\n:"
        );
        assert!(links.contains(&link), "{links}");
    }
    let tail = "$6\r\nevents\r\n$1\r\nr\r\n$21\r\nsend-buffer-allocated\r\n:0\r\n$16\r\nsend-buffer-used\r\n:0\r\n";
    assert!(links.ends_with(tail), "{links}");
    assert!(world.request(0, "INFO clients").contains("cluster_connections:2\r\n"));
}
