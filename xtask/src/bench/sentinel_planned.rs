//! A planned failover, `SENTINEL FAILOVER name COORDINATED`, under the load of several clients: acknowledged writes that
//! the new master does not have, and the longest time that a client had no acknowledged write. Stock 7.0 has
//! no such failover, which is noted.

use std::time::Duration;

use russet_e2e::Value;

use super::Plan;
use super::report::{Metric, Report};
use super::sentinel::{GROUP, Subject, fail, percentile_99, start};
use crate::partitions::network::Site;
use crate::partitions::report::longest_gap;
use crate::partitions::sentinel::deployment::NAME;
use crate::partitions::sentinel::route::Sentinels;
use crate::partitions::writer::Writer;
use crate::sh::Result;

const CLIENTS: usize = 8;

const CASE: &str = "coordinated failover";

/// How long a failover may take.
const FAILOVER_MAX: Duration = Duration::from_secs(60);

const OUTAGE: Metric = Metric { group: GROUP, name: "outage", unit: "s" };
const OUTAGE_99: Metric = Metric { group: GROUP, name: "outage, 99 %", unit: "s" };
const LOST: Metric = Metric { group: GROUP, name: "acknowledged writes lost", unit: "" };
const WRITTEN: Metric = Metric { group: GROUP, name: "acknowledged writes", unit: "" };

/// All rounds of each side.
pub fn run(plan: &Plan, report: &mut Report) {
    for side in 0..plan.sides.len() {
        let Some(subject) = start(plan, report, side, false) else { continue };
        let sentinels = subject.deployment.sentinel_addresses();
        let client = |index| {
            let route = Sentinels::new(sentinels.clone());
            Writer::start(&Site::here(), &format!("client{index}"), route)
        };
        let mut clients: Vec<Writer> = (0..CLIENTS).map(client).collect();
        let (mut outages, mut lost, mut written) = (vec![], 0, 0);
        for number in 0..plan.rounds {
            match round(&subject, number, &mut clients) {
                Ok(round) => {
                    let name = &plan.sides[side].name;
                    eprintln!("  {CASE}, round {}, {name}: {:.3} s", number + 1, round.outage);
                    report.add(OUTAGE, CASE, side, round.outage);
                    outages.push(round.outage);
                    lost += round.lost;
                    written += round.written;
                }
                Err(error) => {
                    let name = &plan.sides[side].name;
                    fail(report, &format!("{name}, {CASE}, round {}: {error}", number + 1));
                    break;
                }
            }
        }
        if !outages.is_empty() {
            report.add(OUTAGE_99, CASE, side, percentile_99(&outages));
            report.add(LOST, CASE, side, lost as f64);
            report.add(WRITTEN, CASE, side, written as f64);
        }
    }
}

struct Round {
    outage: f64,
    lost: usize,
    written: usize,
}

/// Orders a failover from one of the Sentinels, and waits until it is complete.
fn round(subject: &Subject, number: usize, clients: &mut [Writer]) -> Result<Round> {
    let old = subject.settle()?;
    let mut connection = subject.deployment.servers[old].endpoint.connect()?;
    // Only writes around the failover count for the outage.
    for client in &mut *clients {
        client.take(&mut connection)?;
    }
    let sentinels = &subject.deployment.sentinels;
    let sentinel = &sentinels[number % sentinels.len()];
    let reply = sentinel.ask(&format!("SENTINEL FAILOVER {NAME} COORDINATED"))?;
    if reply != Value::Status("OK".into()) {
        return Err(reply.text());
    }
    let new = changed_master(subject, old)?;
    let mut connection = subject.deployment.servers[new].endpoint.connect()?;
    let mut round = Round { outage: 0.0, lost: 0, written: 0 };
    for client in clients {
        let (acknowledged, lost) = client.take(&mut connection)?;
        round.outage = round.outage.max(longest_gap(&acknowledged).as_secs_f64());
        round.lost += lost;
        round.written += acknowledged.len();
    }
    Ok(round)
}

/// Waits until everything has come to rest with another master.
fn changed_master(subject: &Subject, old: usize) -> Result<usize> {
    let start = std::time::Instant::now();
    while start.elapsed() < FAILOVER_MAX {
        let new = subject.settle()?;
        if new != old {
            return Ok(new);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("the master did not change".into())
}
