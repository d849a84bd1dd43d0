//! What the journals of a cluster's nodes say.

mod network;

use network::Network;
use russet_cluster::{Cluster, Settings, SlotStep, Takeover};

fn network() -> Network {
    let settings = Settings { node_timeout_ms: 2_000, ..Settings::default() };
    let mut network = Network::formed(3, 4, settings);
    for (number, name) in ["a", "b", "c", "a2", "b2", "c2", "a3"].into_iter().enumerate() {
        let mut settings = network.processes[number].settings.clone();
        settings.announced.human_nodename = name.to_owned();
        network.order(number, |cluster, now| cluster.set(now, settings));
    }
    network.run(5_000);
    network
}

/// Returns what a node's journal has of some events, with names instead of ids.
fn entries(network: &Network, number: usize, events: &[&str]) -> Vec<String> {
    let entries = network.cluster(number).events();
    let wanted = entries.filter(|entry| events.contains(&entry.event.as_str()));
    wanted.map(|entry| named(network, &format!("{} {}", entry.event, entry.text))).collect()
}

fn named(network: &Network, text: &str) -> String {
    let mut text = text.to_owned();
    for (number, name) in ["a", "b", "c", "a2", "b2", "c2", "a3"].into_iter().enumerate() {
        let id = network.cluster(number).my_id().to_string();
        text = text.replace(&format!("{id} ({name})"), name);
        text = text.replace(&format!("{} ({name})", &id[..8]), name);
    }
    text
}

/// Returns the line of a node's log that tells a failover.
fn account(network: &Network, number: usize) -> Option<String> {
    let log = &network.processes[number].log;
    let line = log.iter().rev().find(|line| line.contains("Failover of "))?;
    Some(named(network, line))
}

#[test]
fn a_failover_is_told_by_who_has_won_it() {
    let mut network = network();
    network.kill(1);
    network.run(4_000);
    let account = account(&network, 4).expect("an account");
    for part in [
        "Failover of b with epoch ",
        "its successor is this node, b2.",
        "This node suspected it at 2023-11-14T",
        "This replica: rank 0 (offset 0, others: nobody), 0 other masters first",
        "2 votes, 2 needed, by a, c; none by b",
        "Durations, since ",
        " ms until votes were asked for, ",
        " ms until its state was on disk; ",
    ] {
        assert!(account.contains(part), "{part}: {account}");
    }
    let moved = entries(&network, 4, &["+slots"]);
    let last = moved.last().expect("slots");
    assert!(last.starts_with("+slots b: slots 5461-10921 (5461) are now of b2 with"), "{last}");
    assert_eq!(entries(&network, 4, &["+failover"]).len(), 1);
}

#[test]
fn the_journal_goes_on_after_a_restart() {
    let mut network = network();
    network.kill(1);
    network.run(4_000);
    let before = entries(&network, 4, &["+failover", "+slots"]);
    assert!(!before.is_empty());
    network.kill(4);
    network.restart(4);
    assert_eq!(entries(&network, 4, &["+failover", "+slots"]), before);
    network.run(4_000);
    assert!(network.cluster(4).events().len() > before.len());
}

#[test]
fn a_failover_is_told_by_who_has_voted() {
    let mut network = network();
    network.kill(1);
    network.run(4_000);
    let account = account(&network, 0).expect("an account");
    assert!(account.contains("This node's vote: for b2 in epoch "), "{account}");
    assert!(account.contains(" ms until this node voted, "), "{account}");
    let failed = entries(&network, 0, &["+fail"]);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].starts_with("+fail b: "), "{failed:?}");
}

#[test]
fn a_refused_vote_has_its_reason_once() {
    let mut network = network();
    for replica in [3, 6] {
        network.order(replica, |cluster, now| cluster.failover(now, Takeover::Forced)).unwrap();
    }
    network.run(3_000);
    for number in [1, 2] {
        let refused = entries(&network, number, &["-vote-refused"]);
        let [refused] = &refused[..] else { panic!("{refused:?}") };
        assert!(refused.starts_with("-vote-refused a: no vote for a"), "{refused}");
        assert!(refused.contains(": already voted for epoch "), "{refused}");
    }
}

#[test]
fn a_failover_by_order_is_told_from_its_order_on() {
    let mut network = network();
    network.order(3, |cluster, now| cluster.failover(now, Takeover::Coordinated)).unwrap();
    network.run(1_000);
    let account = account(&network, 3).expect("an account");
    assert!(account.contains("A user has ordered a failover without loss."), "{account}");
    assert!(account.contains("Durations, since it was ordered: "), "{account}");
    let paused = entries(&network, 3, &["+paused"]);
    assert_eq!(paused, ["+paused a: it holds writes at offset 0"]);
    let held = entries(&network, 0, &["+manual-failover"]);
    assert_eq!(held, ["+manual-failover a: writes are held for its replica a2"]);
}

#[test]
fn slots_that_move_one_by_one_are_one_entry() {
    let mut network = network();
    network.checks.loose = network.checks.watched.iter().copied().collect();
    network.checks.may_both_serve = true;
    let before = network.cluster(0).events().len();
    let (from, to) = (network.cluster(2).my_id(), network.cluster(0).my_id());
    for slot in 16_000..16_100 {
        let import = SlotStep::Import(from.as_bytes().to_vec());
        for step in [import, SlotStep::Give(to.as_bytes().to_vec())] {
            let order = |cluster: &mut Cluster, now| cluster.set_slot(now, slot, &step, false);
            network.order(0, order).unwrap();
        }
    }
    let moved = entries(&network, 0, &["+slots"]);
    let last = moved.last().expect("slots");
    assert!(last.starts_with("+slots c: slots 16000-16099 (100) are now of a with"), "{last}");
    assert_eq!(network.cluster(0).events().len(), before + 1);
}

#[test]
fn the_journal_is_bounded() {
    let mut network = network();
    for round in 0..400 {
        let to = network.cluster(round % 2).my_id();
        let step = SlotStep::Give(to.as_bytes().to_vec());
        let order = |cluster: &mut Cluster, now| cluster.set_slot(now, 7, &step, false);
        network.order(2, order).unwrap();
        network.order(2, |cluster, now| cluster.delete_slots(now, &[7])).unwrap();
    }
    assert_eq!(network.cluster(2).events().len(), 512);
}
