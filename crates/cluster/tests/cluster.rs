//! Clusters of machines without keys.

mod network;

use network::{Network, id_of};
use russet_cluster::bus::NodeFlags;
use russet_cluster::{Cluster, NodeId, Reset, Route, Settings, SlotStep, Takeover};

fn settings() -> Settings {
    Settings { node_timeout_ms: 2_000, ..Settings::default() }
}

/// All living nodes agree on who has a slot; returns the number of the node.
fn owner(network: &Network, slot: u16) -> Option<usize> {
    let living: Vec<_> = network.processes.iter().filter(|process| process.is_alive).collect();
    let owners = living.iter().map(|process| {
        let nodes = process.cluster.nodes();
        nodes.owner(slot).map(|key| nodes[key].id)
    });
    let mut owners: Vec<_> = owners.collect();
    owners.dedup();
    assert_eq!(owners.len(), 1, "slot {slot}: {owners:?}");
    let owner = owners[0]?;
    network.processes.iter().position(|process| process.cluster.my_id() == owner)
}

#[test]
fn nodes_meet_and_serve() {
    let network = Network::formed(3, 3, settings());
    for process in &network.processes {
        assert_eq!(process.cluster.nodes().count(), 6, "{:#?}", process.log);
        assert!(process.cluster.is_ok(), "{:#?}", process.log);
    }
    assert_eq!(owner(&network, 0), Some(0));
    assert_eq!(owner(&network, 16383), Some(2));
    assert!(network.cluster(0).serves(0) && !network.cluster(0).serves(16383));
    let id = network.cluster(2).my_id();
    assert_eq!(network.cluster(0).route(16383), Route::Elsewhere { owner: id });
    assert_eq!(network.cluster(5).route(16383), Route::Replicated { owner: id });
    assert_eq!(network.processes[5].follows.as_deref(), Some("10.0.0.3"));
}

#[test]
fn a_replica_takes_over() {
    let mut network = Network::formed(3, 3, settings());
    network.kill(1);
    network.run(3_000);
    assert_eq!(owner(&network, 8000), Some(4), "{:#?}", network.processes[4].log);
    assert!(network.cluster(4).serves(8000));
    assert_eq!(network.processes[4].follows, None);
    network.restart(1);
    network.run(5_000);
    assert_eq!(owner(&network, 8000), Some(4));
    assert!(network.cluster(1).is_replica());
    assert_eq!(network.processes[1].follows.as_deref(), Some("10.0.0.5"));
}

#[test]
fn a_master_that_is_cut_off_stops_before_it_is_replaced() {
    let mut network = Network::formed(3, 3, settings());
    network.isolate(1);
    let mut both = 0;
    for _ in 0..6_000 {
        network.run(1);
        both += u32::from(network.cluster(1).serves(8000) && network.cluster(4).serves(8000));
    }
    assert!(network.cluster(4).serves(8000) && !network.cluster(1).serves(8000));
    assert_eq!(both, 0);
    network.heal();
    network.run(10_000);
    assert_eq!(owner(&network, 8000), Some(4));
    assert!(network.cluster(1).is_replica());
}

#[test]
fn a_master_that_comes_back_when_it_is_down_for_the_others_is_replaced() {
    let mut network = Network::formed(3, 3, settings());
    network.isolate(1);
    let is_down = |network: &Network| {
        let nodes = network.cluster(4).nodes();
        nodes.iter().any(|(_, node)| node.is(NodeFlags::FAIL))
    };
    while !is_down(&network) {
        network.run(1);
    }
    network.heal();
    // The voters hear of it at once.
    for ip in ["10.0.0.1", "10.0.0.3"] {
        network.order(1, |cluster, now| cluster.meet(now, ip, 6379, 16379));
    }
    let mut both = 0;
    for _ in 0..2_000 {
        network.run(1);
        both += u32::from(network.cluster(1).serves(8000) && network.cluster(4).serves(8000));
    }
    assert_eq!(owner(&network, 8000), Some(4), "{:#?}", network.processes[4].log);
    assert_eq!(both, 0);
}

#[test]
fn a_master_whose_link_fails_for_less_than_the_timeout_goes_on() {
    let mut network = Network::formed(3, 3, settings());
    let mut served = 0;
    for _ in 0..20 {
        network.isolate(1);
        for part in 0..2_000 {
            if part == 1_400 {
                network.heal();
            }
            network.run(1);
            served += u32::from(network.cluster(1).serves(8000));
        }
    }
    assert!(network.cluster(1).nodes().me().is_master());
    assert!(served > 36_000, "{served} of 40000 ms\n{:#?}", network.processes[1].log);
}

#[test]
fn a_master_that_nobody_can_replace_serves_soon_after_it_is_back() {
    let mut network = Network::formed(3, 3, settings());
    network.kill(4);
    network.isolate(1);
    network.run(10_000);
    network.heal();
    // It waits for the timeout, as after every minority.
    network.run(2_600);
    assert!(network.cluster(1).serves(8000), "{:#?}", network.processes[1].log);
}

#[test]
fn a_replica_takes_over_with_its_masters_consent() {
    let mut network = Network::formed(3, 3, settings());
    network.processes[0].offset = 1042;
    network.run(10);
    network.order(3, |cluster, now| cluster.failover(now, Takeover::Coordinated)).unwrap();
    network.run(200);
    assert_eq!(owner(&network, 0), Some(3), "{:#?}", network.processes[3].log);
    assert!(network.cluster(0).is_replica() && !network.processes[0].held);
    assert_eq!(network.processes[0].follows.as_deref(), Some("10.0.0.4"));
}

#[test]
fn a_master_that_held_its_clients_for_nothing_asks_before_they_go_on() {
    let mut network = Network::formed(3, 3, settings());
    network.processes[3].is_stalled = true;
    network.processes[0].offset = 1042;
    network.order(3, |cluster, now| cluster.failover(now, Takeover::Coordinated)).unwrap();
    network.run(4_000);
    network.processes[3].is_stalled = false;
    network.run(1);
    network.isolate(0);
    network.run(100);
    assert_eq!(network.processes[3].follows, None, "{:#?}", network.processes[3].log);
    // It suspects nobody yet when its replica's time is over, and has the answers of a moment ago.
    for _ in 0..5_000 {
        assert!(network.processes[0].held || !network.cluster(0).serves(0));
        network.run(1);
    }
    assert!(!network.processes[0].held);
    network.heal();
    network.run(1_000);
    assert!(network.cluster(0).is_replica());
}

#[test]
fn clients_go_on_after_a_failover_that_took_too_long() {
    let mut network = Network::formed(3, 3, settings());
    network.processes[3].is_stalled = true;
    network.processes[0].offset = 1042;
    network.order(3, |cluster, now| cluster.failover(now, Takeover::Coordinated)).unwrap();
    network.run(4_990);
    assert!(network.processes[0].held);
    network.run(20);
    assert!(!network.processes[0].held && network.cluster(0).serves(0));
}

#[test]
fn a_replica_does_not_rely_on_what_its_master_held_for_an_earlier_attempt() {
    let mut network = Network::formed(3, 3, settings());
    network.processes[3].is_stalled = true;
    network.processes[0].offset = 1042;
    network.order(3, |cluster, now| cluster.failover(now, Takeover::Coordinated)).unwrap();
    network.run(3_000);
    // The master hears nothing of the second attempt, but says all the time that it holds its clients.
    network.set_cut(3, 0, true);
    network.order(3, |cluster, now| cluster.failover(now, Takeover::Coordinated)).unwrap();
    network.processes[3].is_stalled = false;
    network.run(1_000);
    assert!(network.processes[0].held);
    let log = &network.processes[3].log;
    let is_ready = log.iter().any(|line| line.starts_with("All primary replication stream"));
    assert!(!is_ready, "{log:#?}");
}

#[test]
fn a_master_that_has_started_again_holds_nobody() {
    for heard_after_ms in (1_500..2_100).step_by(20) {
        let mut network = Network::formed(3, 3, settings());
        network.order(3, |cluster, now| cluster.failover(now, Takeover::Coordinated)).unwrap();
        for voter in [1, 2] {
            network.set_cut(voter, 3, true);
        }
        network.run(200);
        assert!(network.processes[0].held);
        let log = &network.processes[3].log;
        assert!(log.iter().any(|line| line.starts_with("Starting a failover election")));
        network.kill(0);
        network.restart(0);
        // The two do not hear of each other either, as after a loss of power.
        network.set_cut(0, 3, true);
        network.run(heard_after_ms);
        for voter in [1, 2] {
            network.set_cut(voter, 3, false);
        }
        // Nobody may serve what another one serves, which is checked all the time.
        network.run(2_000);
        network.heal();
        network.run(3_000);
        assert!(network.cluster(0).serves(0), "{:#?}", network.processes[0].log);
    }
}

#[test]
fn a_replica_asks_a_master_again_that_has_started_again() {
    let mut network = Network::formed(3, 3, settings());
    network.order(3, |cluster, now| cluster.failover(now, Takeover::Coordinated)).unwrap();
    for voter in [1, 2] {
        network.set_cut(voter, 3, true);
    }
    network.run(200);
    network.kill(0);
    network.restart(0);
    network.run(2_200);
    assert!(network.processes[0].held, "{:#?}", network.processes[0].log);
    network.heal();
    network.run(2_000);
    assert_eq!(owner(&network, 0), Some(3), "{:#?}", network.processes[3].log);
}

#[test]
fn a_place_that_cannot_be_saved_in_time_is_never_on_disk() {
    let mut network = Network::formed(3, 3, settings());
    network.order(3, |cluster, now| cluster.failover(now, Takeover::Coordinated)).unwrap();
    let has_won = |network: &Network| {
        network.processes[3].log.iter().any(|line| line.starts_with("Failover election won"))
    };
    for _ in 0..200 {
        if !has_won(&network) {
            network.run(1);
        }
    }
    assert!(has_won(&network));
    // What is on its way to the disk claims all slots, so none of them moves now.
    let give = SlotStep::Give(network.cluster(1).my_id().as_bytes().to_vec());
    assert!(network.order(3, |cluster, now| cluster.set_slot(now, 100, &give, false)).is_err());
    network.failing_disks.insert(3);
    network.run(10_000);
    network.failing_disks.clear();
    for _ in 0..2_000 {
        network.run(1);
        let file = String::from_utf8_lossy(&network.processes[3].file).into_owned();
        assert!(file.contains("myself,slave"), "{file}");
    }
    assert_eq!(owner(&network, 0), Some(0));
    assert!(!network.processes[0].held);
}

#[test]
fn a_place_that_is_saved_after_the_votes_have_ended_is_voted_for_again() {
    let mut network = Network::formed(3, 3, settings());
    network.processes[3].save_ms = 5;
    network.kill(0);
    let logged = |network: &Network, text: &str| {
        network.processes[3].log.iter().filter(|line| line.starts_with(text)).count()
    };
    for _ in 0..10_000 {
        if logged(&network, "Failover election won") == 0 {
            network.run(1);
        }
    }
    network.failing_disks.insert(3);
    network.run(3_000);
    assert_eq!(logged(&network, "Failover was won too late"), 0);
    network.run(3_000);
    assert_eq!(logged(&network, "Failover was won too late"), 1, "{:#?}", network.story);
    network.failing_disks.clear();
    network.run(10_000);
    assert_eq!(owner(&network, 0), Some(3));
    assert_eq!(logged(&network, "Failover election won"), 2);
}

#[test]
fn a_vote_that_cannot_be_saved_is_not_given() {
    let mut network = Network::formed(3, 3, settings());
    network.failing_disks.extend([0, 2]);
    network.kill(1);
    network.run(6_000);
    assert_eq!(owner(&network, 8000), Some(1));
    network.failing_disks.clear();
    network.run(20_000);
    assert_eq!(owner(&network, 8000), Some(4));
}

#[test]
fn a_replica_moves_to_a_master_that_has_lost_its_own() {
    let mut network = Network::formed(3, 4, settings());
    // Node 3 and node 6 replicate node 0; node 4 is the only replica of node 1.
    network.kill(4);
    network.run(12_000);
    let moved = [3, 6]
        .into_iter()
        .filter(|replica| network.processes[*replica].follows.as_deref() == Some("10.0.0.2"));
    assert_eq!(moved.count(), 1, "{:#?}", network.processes[3].log);
}

/// Returns a cluster whose nodes 3 and 4 were told at the same time to replicate each other, so neither knows of the other's order.
fn circle() -> Network {
    let mut network = Network::formed(3, 2, settings());
    for number in [3, 4] {
        network
            .order(number, |cluster, now| cluster.replicate_no_one(now, id_of(number as u64, 3)));
    }
    network.run(3_000);
    let ids = [network.cluster(4).my_id(), network.cluster(3).my_id()];
    for (number, id) in [3, 4].into_iter().zip(ids) {
        let order = |cluster: &mut Cluster, now| cluster.replicate(now, id.as_bytes(), false);
        network.order(number, order).unwrap();
    }
    network
}

#[test]
fn two_masters_that_replicate_each_other_end_it() {
    let mut network = circle();
    network.run(8_000);
    assert!(!network.cluster(3).is_replica(), "{:#?}", network.processes[3].log);
    assert_eq!(network.processes[3].follows, None);
    assert_eq!(network.processes[4].follows.as_deref(), Some("10.0.0.4"));
}

#[test]
fn a_collision_gives_a_replaced_master_nothing_back() {
    let mut network = Network::formed(3, 6, settings());
    // It takes an epoch of which nobody hears, and its successor takes the same one.
    for other in 1..9 {
        network.set_cut(0, other, true);
    }
    network.order(0, |cluster, now| cluster.bump_config_epoch(now));
    network.run(1);
    network.suspend(0);
    network.checks.may_both_serve = true;
    network.order(3, |cluster, now| cluster.failover(now, Takeover::Unasked)).unwrap();
    network.run(100);
    let epoch = |at: usize| network.cluster(at).nodes().me().config_epoch;
    assert_eq!(epoch(0), epoch(3));
    // That one is replaced, too. The first one reads what both have said in this order, when it goes on.
    network.kill(3);
    network.order(6, |cluster, now| cluster.failover(now, Takeover::Unasked)).unwrap();
    network.run(5_000);
    network.resume(0, false);
    network.heal();
    network.run(5_000);
    assert_eq!(owner(&network, 0), Some(6), "{:#?}", network.processes[0].log);
}

#[test]
fn a_replaced_master_with_the_epoch_of_its_successor_does_not_take_its_place_back() {
    let mut network = Network::formed(3, 3, settings());
    // It takes an epoch of which nobody hears, and its replica is elected with the same one.
    network.isolate(0);
    network.order(0, |cluster, now| cluster.bump_config_epoch(now));
    network.run(8_000);
    let epoch = |network: &Network, at: usize| network.cluster(at).nodes().me().config_epoch;
    assert_eq!(epoch(&network, 0), epoch(&network, 3));
    assert!(network.cluster(0).nodes().me().is_master());
    assert!(network.cluster(3).nodes().me().is_master());
    network.heal();
    let before = epoch(&network, 3);
    for _ in 0..5_000 {
        network.run(1);
        assert!(!network.cluster(0).nodes().me().is_master() || epoch(&network, 0) == before);
    }
    assert_eq!(owner(&network, 0), Some(3), "{:#?}", network.processes[0].log);
    assert!(network.cluster(0).is_replica() && epoch(&network, 3) > before);
}

#[test]
fn a_replaced_master_waits_for_its_successor_that_is_cut_off() {
    let mut network = Network::formed(3, 3, settings());
    // It takes an epoch of which nobody hears, and its replica is elected with the same one, and starts again.
    network.isolate(0);
    network.order(0, |cluster, now| cluster.bump_config_epoch(now));
    network.run(8_000);
    network.kill(3);
    network.heal();
    network.restart(3);
    for other in [0, 1, 2, 4, 5] {
        network.set_cut(3, other, true);
        network.set_cut(other, 3, true);
    }
    let epoch = |network: &Network, at: usize| network.cluster(at).nodes().me().config_epoch;
    assert_eq!(epoch(&network, 0), epoch(&network, 3));
    // All have forgotten by now that the first one failed, and nobody has its slots but the one who is not there.
    network.run(5_000);
    assert!(!network.cluster(0).is_ok(), "{:#?}", network.processes[0].log);
    let before = epoch(&network, 3);
    network.heal();
    network.run(5_000);
    assert_eq!(owner(&network, 0), Some(3), "{:#?}", network.processes[0].log);
    assert!(network.cluster(0).is_replica() && epoch(&network, 3) > before);
}

#[test]
fn one_old_message_makes_no_circle() {
    let mut network = circle();
    network.run(5);
    // Nothing is heard of the other any more: what it has said last may be long past.
    network.set_cut(4, 3, true);
    network.run(8_000);
    assert!(network.cluster(3).is_replica(), "{:#?}", network.processes[3].log);
    network.heal();
    network.run(8_000);
    assert!(!network.cluster(3).is_replica(), "{:#?}", network.processes[3].log);
}

#[test]
fn a_node_that_meets_itself_forgets_it() {
    let mut network = Network::formed(3, 0, settings());
    network.order(0, |cluster, now| cluster.meet(now, "10.0.0.1", 6379, 16379));
    let before = network.processes[0].log.len();
    network.run(10_000);
    assert_eq!(network.cluster(0).nodes().count(), 3);
    assert!(network.processes[0].log.len() < before + 5, "{:#?}", network.processes[0].log);
}

#[test]
fn a_master_without_slots_replicates_whoever_got_the_last_one() {
    let mut network = Network::new(3, settings());
    network.form(2);
    let (from, to) = (network.cluster(1).my_id(), network.cluster(0).my_id());
    // The first new epoch is saved later, and the former owner was not told that it gives the slots away.
    network.checks.loose = network.checks.watched.iter().copied().collect();
    network.checks.may_both_serve = true;
    for slot in 8192..16384 {
        let step = SlotStep::Import(from.as_bytes().to_vec());
        _ = network.order(0, |cluster, now| cluster.set_slot(now, slot, &step, false));
        let step = SlotStep::Give(to.as_bytes().to_vec());
        for number in [0, 1] {
            let order = |cluster: &mut Cluster, now| cluster.set_slot(now, slot, &step, false);
            network.order(number, order).unwrap();
        }
    }
    network.run(5_000);
    assert!(network.cluster(0).serves(16383));
    assert_eq!(network.processes[1].follows.as_deref(), Some("10.0.0.1"));
    assert_eq!(network.cluster(2).route(16383), Route::Replicated { owner: to });
}

#[test]
fn a_forgotten_node_can_be_met_again() {
    let settings = Settings { blacklist_ttl_ms: 3_600_000, ..settings() };
    let mut network = Network::formed(3, 1, settings);
    let id = network.cluster(3).my_id();
    network.order(0, |cluster, now| cluster.forget(now, id.as_bytes())).unwrap();
    network.run(3_000);
    assert!((0..3).all(|number| network.cluster(number).find(id.as_bytes()).is_none()));
    for number in 0..3 {
        network.order(number, |cluster, now| cluster.meet(now, "10.0.0.4", 6379, 16379));
    }
    network.run(5_000);
    assert!((0..3).all(|number| network.cluster(number).find(id.as_bytes()).is_some()));
}

#[test]
fn whoever_is_at_the_address_of_another_is_not_met() {
    let mut network = Network::new(4, settings());
    network.form(3);
    let former = network.cluster(2).my_id();
    let id = id_of(99, 1);
    for (node, id) in [(2, id), (3, id_of(98, 1))] {
        let shard = id_of(97, 1);
        network
            .order(node, |cluster, now| cluster.reset(now, Reset::Hard, false, id, shard))
            .unwrap();
    }
    // The others do not notice, and tell of the former node.
    for other in 0..2 {
        network.set_cut(other, 2, true);
    }
    network.order(3, |cluster, now| cluster.meet(now, "10.0.0.1", 6379, 16379));
    let knows = |network: &Network, id: NodeId| network.cluster(3).nodes().find(&id).is_some();
    network.run(10_000);
    assert!(knows(&network, network.cluster(1).my_id()));
    assert!(!knows(&network, id) && !knows(&network, former));
    assert_eq!(network.cluster(2).nodes().count(), 1);
}

#[test]
fn names_survive_a_restart_of_their_node() {
    let mut announced = settings();
    announced.announced.hostname = "db.example.com".to_owned();
    let mut network = Network::formed(3, 0, announced);
    let id = network.cluster(1).my_id();
    network.kill(1);
    network.restart(1);
    for _ in 0..3_000 {
        network.run(1);
        let (_, node) = network.cluster(0).find(id.as_bytes()).unwrap();
        assert_eq!(node.names.hostname, "db.example.com");
    }
}

#[test]
fn a_replica_of_nobody_is_a_master() {
    let text = format!(
        "{} 10.0.0.1:6379@16379 myself,slave {} 0 0 3 connected\nvars currentEpoch 3 lastVoteEpoch 0\n",
        id_of(0, 1),
        id_of(9, 1)
    );
    let mut network = Network::new(1, settings());
    network.run(10);
    network.kill(0);
    network.processes[0].file = text.into_bytes();
    network.restart(0);
    assert!(!network.cluster(0).is_replica());
}

#[test]
fn masters_that_die_together_are_replaced_one_after_the_other() {
    let mut network = Network::formed(12, 12, settings());
    for number in [1, 4, 7, 10] {
        network.kill(number);
    }
    network.run(4_000);
    for number in [1, 4, 7, 10] {
        let slot = (number * (16384 / 12)) as u16;
        assert_eq!(
            owner(&network, slot),
            Some(12 + number),
            "{:#?}",
            network.processes[12 + number].log
        );
    }
}
