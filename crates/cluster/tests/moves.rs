//! Slots that move between machines, while messages are late or nodes are away.

mod network;

use network::Network;
use russet_cluster::nodes_file::NodesFile;
use russet_cluster::{OpenSlot, Route, Settings, SlotStep, Takeover};

/// Of node 1.
const SLOT: u16 = 8_000;

/// Of node 0.
const OTHER_SLOT: u16 = 100;

fn settings() -> Settings {
    Settings { node_timeout_ms: 2_000, ..Settings::default() }
}

fn set(network: &mut Network, at: usize, slot: u16, step: &SlotStep) {
    network.checks.loose.extend(network.checks.watched.clone());
    let order = network.order(at, |cluster, now| cluster.set_slot(now, slot, step, false));
    order.expect("it is carried out");
}

fn name(network: &Network, number: usize) -> Vec<u8> {
    network.cluster(number).my_id().as_bytes().to_vec()
}

/// Begins the move of a slot.
fn open(network: &mut Network, slot: u16, from: usize, to: usize) {
    let (source, target) = (name(network, from), name(network, to));
    set(network, to, slot, &SlotStep::Import(source));
    set(network, from, slot, &SlotStep::Migrate(target));
}

/// Tells a node that a slot is another one's now.
fn give(network: &mut Network, at: usize, slot: u16, to: usize) {
    let target = name(network, to);
    set(network, at, slot, &SlotStep::Give(target));
}

fn owners(network: &Network, slot: u16) -> Vec<Option<usize>> {
    let owner = |number: usize| {
        let nodes = network.cluster(number).nodes();
        network.find(nodes[nodes.owner(slot)?].id)
    };
    (0..network.processes.len()).map(owner).collect()
}

#[test]
fn an_old_owner_that_has_not_been_told_does_not_get_its_slot_back() {
    let mut network = Network::formed(3, 0, settings());
    open(&mut network, OTHER_SLOT, 0, 1);
    network.set_cut(0, 1, true);
    give(&mut network, 1, OTHER_SLOT, 1);
    // It gets a new epoch for another reason, and claims what it has.
    open(&mut network, 16_000, 2, 0);
    give(&mut network, 0, 16_000, 0);
    give(&mut network, 2, 16_000, 0);
    network.run(50);
    // Both have the same one, so the first, which hears the other one, takes a newer one.
    let epoch =
        |network: &Network, number: usize| network.cluster(number).nodes().me().config_epoch;
    assert!(epoch(&network, 0) > epoch(&network, 1));
    network.set_cut(0, 1, false);
    network.run(3_000);
    assert_eq!(owners(&network, OTHER_SLOT), [Some(1); 3], "{:#?}", network.processes[1].log);
    assert!(network.processes[1].log.iter().any(|line| line.contains("Claiming them again")));
    // Once it has let the slot go, a newer claim is a newer claim.
    open(&mut network, OTHER_SLOT, 1, 0);
    give(&mut network, 0, OTHER_SLOT, 0);
    network.run(3_000);
    assert_eq!(owners(&network, OTHER_SLOT), [Some(0); 3]);
}

#[test]
fn who_was_cut_off_keeps_a_slot_that_has_come_to_it() {
    let mut network = Network::formed(3, 0, settings());
    open(&mut network, OTHER_SLOT, 0, 1);
    network.set_cut(0, 1, true);
    give(&mut network, 1, OTHER_SLOT, 1);
    open(&mut network, 16_000, 2, 0);
    give(&mut network, 0, 16_000, 0);
    give(&mut network, 2, 16_000, 0);
    network.set_cut(1, 2, true);
    network.run(3_000);
    assert!(!network.cluster(1).is_ok());
    network.heal();
    network.run(5_000);
    assert_eq!(owners(&network, OTHER_SLOT), [Some(1); 3], "{:#?}", network.processes[1].log);
}

#[test]
fn what_others_say_of_an_old_owner_is_not_its_own_word() {
    let mut network = Network::formed(3, 0, settings());
    open(&mut network, OTHER_SLOT, 0, 1);
    open(&mut network, SLOT, 1, 0);
    [(0, 1), (1, 2)].into_iter().for_each(|(a, b)| network.set_cut(a, b, true));
    give(&mut network, 1, OTHER_SLOT, 1);
    give(&mut network, 0, SLOT, 0);
    network.run(50);
    // The third one, which has heard of both moves, corrects the new owner, which claims `SLOT` still.
    network.set_cut(0, 2, true);
    give(&mut network, 2, OTHER_SLOT, 1);
    network.set_cut(1, 2, false);
    network.run(1_000);
    assert_eq!(owners(&network, SLOT), [Some(0); 3]);
    network.heal();
    network.run(3_000);
    assert_eq!(owners(&network, OTHER_SLOT), [Some(1); 3], "{:#?}", network.processes[1].log);
}

#[test]
fn an_epoch_that_an_old_owner_gets_by_chance_does_not_bring_its_slot_back() {
    let mut network = Network::formed(3, 0, settings());
    open(&mut network, OTHER_SLOT, 0, 1);
    open(&mut network, SLOT, 1, 0);
    network.set_cut(0, 1, true);
    give(&mut network, 1, OTHER_SLOT, 1);
    give(&mut network, 0, SLOT, 0);
    network.order(0, |cluster, now| cluster.bump_config_epoch(now));
    // The new owner hears of the old one's epoch by the third one, and answers with one that the old one has taken, too.
    network.run(1_500);
    network.heal();
    network.run(3_000);
    assert_eq!(owners(&network, OTHER_SLOT), [Some(1); 3], "{:#?}", network.processes[1].log);
}

#[test]
fn what_a_master_has_given_up_is_not_its_successors() {
    let mut network = Network::formed(5, 5, settings());
    // The new owner cannot tell the replica of the old one, which hears from its master that it has the slot no more.
    network.set_cut(1, 5, true);
    open(&mut network, OTHER_SLOT, 0, 1);
    give(&mut network, 1, OTHER_SLOT, 1);
    give(&mut network, 0, OTHER_SLOT, 1);
    network.run(1_500);
    network.kill(0);
    network.run(10_000);
    assert_eq!(owners(&network, OTHER_SLOT + 1)[5], Some(5), "{:#?}", network.story);
    assert_ne!(owners(&network, OTHER_SLOT)[5], Some(5));
    network.heal();
    network.run(5_000);
    assert_eq!(owners(&network, OTHER_SLOT)[1..], [Some(1); 9], "{:#?}", network.processes[1].log);
}

#[test]
fn what_a_successor_does_not_claim_goes_to_who_does() {
    let mut network = Network::formed(3, 3, settings());
    // Node 2 does not hear of the move, nor of the old owner until that has been replaced.
    [0, 1].into_iter().for_each(|from| network.set_cut(from, 2, true));
    open(&mut network, SLOT, 1, 0);
    give(&mut network, 0, SLOT, 0);
    give(&mut network, 1, SLOT, 0);
    network.run(50);
    network.checks.may_both_serve = true;
    network.order(4, |cluster, now| cluster.failover(now, Takeover::Unasked)).unwrap();
    network.run(1_000);
    assert_eq!(owners(&network, SLOT + 1)[2], Some(4), "{:#?}", network.story);
    network.drop_stuck(1, 2);
    network.set_cut(1, 2, false);
    while owners(&network, SLOT)[2] == Some(1) {
        network.run(1);
    }
    assert_eq!(owners(&network, SLOT)[2], Some(4));
    assert!(!network.cluster(2).is_claimed(SLOT), "{:#?}", network.processes[2].log);
    network.heal();
    network.run(5_000);
    assert_eq!(owners(&network, SLOT), [Some(0); 6]);
}

#[test]
fn a_replaced_master_does_not_serve_though_its_successor_has_given_a_slot_away() {
    let mut network = Network::formed(3, 3, settings());
    // Its replica is elected with an epoch that it has taken, too.
    for other in 1..6 {
        network.set_cut(0, other, true);
    }
    network.order(0, |cluster, now| cluster.bump_config_epoch(now));
    network.run(1);
    network.suspend(0);
    network.run(8_000);
    open(&mut network, 100, 3, 1);
    give(&mut network, 1, 100, 1);
    give(&mut network, 3, 100, 1);
    network.run(1_000);
    let epoch = |network: &Network, at: usize| network.cluster(at).nodes().me().config_epoch;
    assert_eq!(epoch(&network, 0), epoch(&network, 3));
    network.kill(3);
    network.heal();
    network.resume(0, true);
    for _ in 0..5_000 {
        network.run(1);
        assert!(!network.cluster(0).is_ok(), "{:#?}", network.processes[0].log);
    }
    network.restart(3);
    network.run(8_000);
    assert_eq!(owners(&network, 101), [Some(3); 6], "{:#?}", network.processes[0].log);
}

#[test]
fn an_epoch_without_its_claims_is_not_kept_across_a_restart() {
    let mut network = Network::formed(3, 3, settings());
    // Node 5 does not hear of the move, nor from the old owner.
    [0, 1].into_iter().for_each(|from| network.set_cut(from, 5, true));
    open(&mut network, SLOT, 1, 0);
    give(&mut network, 0, SLOT, 0);
    give(&mut network, 1, SLOT, 0);
    // The old owner's successor gets a newer epoch, of which node 5 hears, but not with which slots.
    network.run(50);
    [0, 5].into_iter().for_each(|to| network.set_cut(4, to, true));
    network.checks.may_both_serve = true;
    network.order(4, |cluster, now| cluster.failover(now, Takeover::Unasked)).unwrap();
    network.run(1_000);
    network.drop_stuck(1, 5);
    network.set_cut(1, 5, false);
    network.run(1_000);
    assert!(network.cluster(5).is_claimed(SLOT) && owners(&network, SLOT)[5] == Some(4));
    [0, 5].into_iter().for_each(|to| network.drop_stuck(4, to));
    [0, 5].into_iter().for_each(|number| {
        network.kill(number);
        network.restart(number);
    });
    network.set_cut(0, 5, false);
    network.run(1_000);
    let log = &network.processes[5].log;
    assert!(!log.iter().any(|line| line.contains("sending an UPDATE message")), "{log:#?}");
    network.heal();
    network.run(5_000);
    assert_eq!(owners(&network, SLOT), [Some(0); 6], "{:#?}", network.processes[5].log);
}

#[test]
fn clients_are_sent_after_keys_when_the_move_is_on_disk() {
    let mut network = Network::formed(3, 0, settings());
    network.failing_disks.insert(0);
    open(&mut network, OTHER_SLOT, 0, 1);
    network.run(500);
    assert_eq!(network.cluster(0).route(OTHER_SLOT), Route::Here);
    network.failing_disks.clear();
    network.run(2_000);
    let to = network.cluster(1).my_id();
    assert_eq!(network.cluster(0).route(OTHER_SLOT), Route::Migrating { to });
}

#[test]
fn keys_of_slots_lost_before_a_promotion_are_dropped_after_it() {
    let mut network = Network::formed(5, 5, settings());
    network.processes[5].save_ms = 5;
    network.kill(0);
    for _ in 0..10_000 {
        let has_won = owners(&network, OTHER_SLOT)[5] == Some(5);
        if !has_won {
            network.run(1);
        }
    }
    assert_eq!(owners(&network, OTHER_SLOT)[5], Some(5), "{:#?}", network.processes[5].log);
    network.failing_disks.insert(5);
    network.order(1, |cluster, now| cluster.bump_config_epoch(now));
    give(&mut network, 1, OTHER_SLOT, 1);
    network.run(3_000);
    assert_eq!(owners(&network, OTHER_SLOT)[5], Some(1), "{:#?}", network.processes[5].log);
    assert!(network.processes[5].follows.is_some() && network.processes[5].dropped.is_empty());
    network.failing_disks.clear();
    network.run(5_000);
    assert_eq!(network.processes[5].follows, None);
    assert_eq!(network.processes[5].dropped, [OTHER_SLOT]);
}

#[test]
fn an_old_owner_that_is_this_nodes_successor_gets_the_slot() {
    let mut network = Network::formed(3, 3, settings());
    open(&mut network, SLOT, 1, 0);
    [1, 4].into_iter().for_each(|from| network.set_cut(from, 0, true));
    give(&mut network, 0, SLOT, 0);
    give(&mut network, 1, SLOT, 0);
    network.run(50);
    network.checks.may_both_serve = true;
    // The old owner loses its own place, and becomes the only replica of the new one, and then its successor.
    network.order(4, |cluster, now| cluster.failover(now, Takeover::Unasked)).unwrap();
    network.run(200);
    [1, 4].into_iter().for_each(|from| network.drop_stuck(from, 0));
    network.set_cut(1, 0, false);
    let new_owner = name(&network, 0);
    network.order(1, |cluster, now| cluster.replicate(now, &new_owner, false)).unwrap();
    network.run(300);
    network.suspend(0);
    network.kill(3);
    network.run(10_000);
    assert_eq!(owners(&network, SLOT)[2], Some(1), "{:#?}", network.story);
    network.resume(0, false);
    network.heal();
    network.run(5_000);
    assert_eq!(owners(&network, SLOT)[0], Some(1), "{:#?}", network.processes[0].log);
}

#[test]
fn old_keys_are_no_claim_to_a_slot_that_another_may_have() {
    let mut network = Network::formed(2, 0, settings());
    network.order(0, |cluster, now| cluster.delete_slots(now, &[OTHER_SLOT])).unwrap();
    network.order(0, |cluster, now| cluster.claim_loaded(now, &[OTHER_SLOT]));
    assert_eq!(network.cluster(0).route(OTHER_SLOT), Route::Unassigned);
    let mut alone = Network::new(1, settings());
    alone.order(0, |cluster, now| cluster.claim_loaded(now, &[OTHER_SLOT]));
    assert_eq!(alone.cluster(0).route(OTHER_SLOT), Route::Here);
}

#[test]
fn a_slot_that_moves_on_at_once_arrives() {
    let mut network = Network::formed(3, 0, settings());
    // The last one has the newest epoch, and does not hear of the first move in time.
    network.order(2, |cluster, now| cluster.bump_config_epoch(now));
    network.run(1_000);
    open(&mut network, SLOT, 1, 0);
    give(&mut network, 0, SLOT, 0);
    give(&mut network, 1, SLOT, 0);
    open(&mut network, SLOT, 0, 2);
    give(&mut network, 2, SLOT, 2);
    network.run(100);
    give(&mut network, 0, SLOT, 2);
    network.run(3_000);
    assert_eq!(owners(&network, SLOT), [Some(2); 3], "{:#?}", network.processes[2].log);
}

#[test]
fn a_slot_that_its_owner_gives_up_is_taken_by_who_imports_it() {
    let mut network = Network::formed(3, 0, settings());
    open(&mut network, SLOT, 1, 0);
    give(&mut network, 1, SLOT, 0);
    network.run(3_000);
    assert_eq!(owners(&network, SLOT), [Some(0); 3]);
}

#[test]
fn a_slot_that_was_moved_to_another_meanwhile_is_not_taken() {
    let mut network = Network::formed(4, 0, settings());
    let slot = 4_500;
    open(&mut network, slot, 1, 0);
    network.run(500);
    network.kill(0);
    open(&mut network, slot, 1, 2);
    give(&mut network, 2, slot, 2);
    network.run(500);
    give(&mut network, 1, slot, 2);
    network.run(500);
    // Back again, it does not hear of the new owner at first.
    for (from, to) in [(0, 2), (2, 0)] {
        network.set_cut(from, to, true);
    }
    network.restart(0);
    network.run(1_000);
    network.heal();
    network.run(5_000);
    assert_eq!(owners(&network, slot), [Some(2); 4], "{:#?}", network.processes[0].log);
}

#[test]
fn who_does_not_import_a_slot_does_not_take_it() {
    let mut network = Network::formed(3, 0, settings());
    open(&mut network, SLOT, 1, 0);
    set(&mut network, 0, SLOT, &SlotStep::Settle);
    let take = SlotStep::Give(name(&network, 0));
    let order = network.order(0, |cluster, now| cluster.set_slot(now, SLOT, &take, false));
    let refusal = order.expect_err("it is refused");
    assert!(refusal.starts_with(&format!("Slot {SLOT} is not being imported")), "{refusal}");
    network.run(500);
    assert_eq!(owners(&network, SLOT), [Some(1); 3]);
    // With a newer epoch it is believed.
    assert!(network.order(0, |cluster, now| cluster.bump_config_epoch(now)).0);
    give(&mut network, 0, SLOT, 0);
    network.run(3_000);
    assert_eq!(owners(&network, SLOT), [Some(0); 3]);
}

#[test]
fn a_slot_that_was_given_up_is_taken_without_being_imported() {
    let mut network = Network::formed(3, 0, settings());
    let gift = SlotStep::Give(name(&network, 0));
    let order = network.order(1, |cluster, now| cluster.set_slot(now, SLOT, &gift, false));
    assert_eq!(order, Ok(true), "the reply waits until it is saved");
    // Saved, and told at the same time.
    network.run(3);
    give(&mut network, 0, SLOT, 0);
    network.run(3_000);
    assert_eq!(owners(&network, SLOT), [Some(0); 3]);
}

#[test]
fn a_slot_moves_in_one_direction() {
    let mut network = Network::formed(3, 3, settings());
    let replica = 3;
    let [a, b] = [1, 2].map(|number| name(&network, number));
    let is_one = |network: &Network| {
        let mut text = Vec::new();
        network.cluster(replica).file().write(&mut text);
        let file = NodesFile::parse(&text).expect("it can be read").expect("it is not empty");
        let me = file.nodes.iter().find(|line| line.id == network.cluster(replica).my_id());
        me.is_some_and(|me| me.migrating.len() + me.importing.len() == 1)
    };
    for step in [SlotStep::Migrate(a.clone()), SlotStep::Import(b), SlotStep::Migrate(a)] {
        set(&mut network, replica, SLOT, &step);
        assert!(is_one(&network), "{step:?}");
    }
    let node = network.cluster(1).my_id();
    let open = [true, false].map(|is_importing| OpenSlot { slot: SLOT, is_importing, node });
    network.order(replica, |cluster, now| cluster.set_open_slots(now, &open));
    assert!(is_one(&network));
}
