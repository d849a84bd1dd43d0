//! Applications with cluster clients of three languages, which write all the time: while a master is killed, and while slots
//! move.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::Commands;
use redis::cluster::{ClusterClient, ClusterConnection};
use russet_e2e::applications::{Application, Progress};
use russet_e2e::clusters::{DEADLINE, Nodes};
use russet_e2e::{Program, wait_for_within};

/// So many writes in a row without an error show that a client reaches all masters: it would be a miracle if none of them
/// was for one in three of the slots.
const IN_A_ROW: usize = 300;

/// How many writes of a client may fail after the cluster is up again. Its library refreshes what it knows of the slots at
/// errors, some only after several.
const ERRORS_MAX: usize = 100;

/// Starts an application with redis-rs.
fn redis_rs(nodes: &Nodes, tags: &[String]) -> Application {
    let urls: Vec<_> =
        nodes.all().map(|node| format!("redis://{}/", nodes.address(node))).collect();
    let (is_ended, tags) = (Arc::new(AtomicBool::new(false)), tags.to_vec());
    let ended = Arc::clone(&is_ended);
    Application::thread(
        "redis-rs",
        move |progress| {
            let client = ClusterClient::builder(urls)
                .connection_timeout(Duration::from_secs(5))
                .response_timeout(Duration::from_secs(5))
                .build()
                .expect("the addresses are valid");
            let mut connection = None;
            for number in 0_u64.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let tag = &tags[number as usize % tags.len()];
                let key = format!("{{{tag}}}:redis-rs:{number}");
                let written = write(&client, &mut connection, &key, number);
                progress.lock().expect("nobody panics with it").note(number, written);
            }
        },
        move || is_ended.store(true, Ordering::Relaxed),
    )
}

/// Writes a key. A connection of the blocking client does not find out who has the slots of a master that is gone, so it is
/// replaced after an error.
fn write(
    client: &ClusterClient,
    connection: &mut Option<ClusterConnection>,
    key: &str,
    value: u64,
) -> Result<(), String> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => client.get_connection().map_err(|error| error.to_string())?,
    };
    open.set::<_, _, ()>(key, value).map_err(|error| error.to_string())?;
    *connection = Some(open);
    Ok(())
}

/// Starts all that can be had here.
fn applications(nodes: &Nodes, tags: &[String]) -> Vec<Application> {
    let others = [Application::redis_py(nodes, tags), Application::ioredis(nodes, tags)];
    std::iter::once(redis_rs(nodes, tags)).chain(others.into_iter().flatten()).collect()
}

/// Waits until each application has written for a while without an error.
fn wait_until_all_write(applications: &[Application], time: &str) {
    for application in applications {
        application.progress().in_a_row = 0;
        let what = format!("{time}: {} writes without errors", application.name);
        wait_for_within(&what, DEADLINE, || {
            (application.progress().in_a_row >= IN_A_ROW).then_some(())
        });
    }
}

/// Returns all keys of these nodes, which must have each only once.
fn keys(nodes: &Nodes, masters: &[usize]) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for &node in masters {
        for key in nodes.server(node).client().run("KEYS *").items() {
            assert!(keys.insert(key.text()), "{} is at two masters", key.text());
        }
    }
    keys
}

/// Ends the applications. Returns how many acknowledged writes of each are not there.
fn end(
    nodes: &Nodes,
    applications: Vec<Application>,
    tags: &[String],
    masters: &[usize],
) -> Vec<usize> {
    let ended: Vec<(&str, Progress)> =
        applications.into_iter().map(|application| (application.name, application.end())).collect();
    let keys = keys(nodes, masters);
    let lost = ended.into_iter().map(|(name, progress)| {
        let is_lost = |number: &&u64| {
            let tag = &tags[**number as usize % tags.len()];
            !keys.contains(&format!("{{{tag}}}:{name}:{number}"))
        };
        let lost = progress.acknowledged.iter().filter(is_lost).count();
        let (acknowledged, failed) = (progress.acknowledged.len(), progress.errors.len());
        println!("{name}: {acknowledged} writes acknowledged, {failed} failed, {lost} lost");
        lost
    });
    lost.collect()
}

fn deployment() -> Nodes {
    let ours = Program::under_test();
    let nodes = Nodes::start(&[&ours; 6], &[]);
    nodes.create(1);
    let all: Vec<usize> = nodes.all().collect();
    nodes.wait_until_ok(&all);
    nodes.wait_for_replicas();
    nodes
}

mod with_peers {
    use super::*;

    /// A slot of the second master.
    const SLOT: u16 = 8_000;

    /// How many slots move each time: the first ones.
    const SLOTS_MOVED: i64 = 20;

    #[test]
    fn clients_go_on_after_a_master_was_killed() {
        let mut nodes = deployment();
        let tags: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
        let applications = applications(&nodes, &tags);
        wait_until_all_write(&applications, "at first");
        let master = nodes.owner(0, SLOT).expect("somebody has it");
        nodes.server_mut(master).kill();
        let living: Vec<usize> = nodes.all().filter(|node| *node != master).collect();
        nodes.wait_at(&living, "another node has the slots", |node| {
            nodes.owner(node, SLOT).is_some_and(|owner| owner != master)
        });
        nodes.wait_until_ok(&living);
        let errors: Vec<usize> =
            applications.iter().map(|application| application.progress().errors.len()).collect();
        wait_until_all_write(&applications, "after the failover");
        for (application, before) in applications.iter().zip(errors) {
            let progress = application.progress();
            let since = &progress.errors[before..];
            let (name, last) = (application.name, since.last());
            println!("{name}: {before} writes failed, and {} after the failover", since.len());
            assert!(since.len() <= ERRORS_MAX, "{name}: {} errors, {last:?}", since.len());
        }
        // A master that comes back as a replica disturbs nobody.
        let successor = nodes.owner(living[0], SLOT).expect("somebody has it");
        nodes.server_mut(master).start_again();
        nodes.wait_at(&[master], "it is a replica", |node| nodes.follows(node, successor));
        wait_until_all_write(&applications, "with the old master");
        let is_master = |node: &usize| {
            nodes.ask(*node, "ROLE").is_some_and(|role| role.items()[0].text() == "master")
        };
        let masters: Vec<usize> = nodes.all().filter(is_master).collect();
        assert_eq!(masters.len(), 3);
        // What no replica had received when the master died is lost, which each client's line counts.
        end(&nodes, applications, &tags, &masters);
    }

    #[test]
    fn clients_lose_nothing_while_slots_move() {
        let ours = Program::under_test();
        let nodes = Nodes::start(&[&ours; 3], &[]);
        nodes.create(0);
        nodes.wait_until_ok(&[0, 1, 2]);
        let mut client = nodes.server(0).client();
        // About half of the keys are in slots that move.
        let (mut moving, mut staying) = (Vec::new(), Vec::new());
        for tag in (0..10_000).map(|number| format!("t{number}")) {
            match client.run(&format!("CLUSTER KEYSLOT {tag}")).int() {
                0..SLOTS_MOVED => moving.push(tag),
                _ if staying.len() <= moving.len() => staying.push(tag),
                _ => {}
            }
        }
        let tags = [moving, staying].concat();
        let applications = applications(&nodes, &tags);
        wait_until_all_write(&applications, "at first");
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let slots = SLOTS_MOVED.to_string();
            let words = ["reshard", &nodes.address(2), "--cluster-from", &nodes.id(from)];
            let more = ["--cluster-to", &nodes.id(to), "--cluster-slots", &slots, "--cluster-yes"];
            nodes.run_tool(&[&words[..], &more].concat());
            wait_until_all_write(&applications, "after slots have moved");
        }
        for application in &applications {
            let errors = &application.progress().errors;
            assert!(errors.is_empty(), "{}: {errors:?}", application.name);
        }
        let lost = end(&nodes, applications, &tags, &[0, 1, 2]);
        assert!(lost.iter().all(|lost| *lost == 0), "{lost:?}");
        nodes.wait_until_checked(0);
    }
}
