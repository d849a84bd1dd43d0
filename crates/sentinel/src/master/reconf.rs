//! The last phase of a failover: the other replicas follow the new master, `parallel-syncs` of them at a time.

use super::{Master, Phase};
use crate::address::Address;
use crate::context::Context;
use crate::io::Level;
use crate::server::{Reconf, Server};

impl Master {
    /// Tells replicas to follow the new master, some at a time.
    pub(super) fn reconfigure_replicas(&mut self, cx: &mut Context) {
        let Some(id) = self.promoted() else { return };
        let Some(target) = self.replica(id).map(|replica| replica.address.clone()) else { return };
        let now = cx.ms();
        let late = |at: u64| now.saturating_sub(at) > cx.periods.reconf_timeout;
        let given_up: Vec<u32> = self
            .replicas
            .iter_mut()
            .filter(|replica| matches!(replica.reconf, Reconf::Sent(at) if late(at)))
            .map(|replica| {
                replica.reconf = Reconf::Done;
                replica.id
            })
            .collect();
        for id in given_up {
            self.server_event(cx, Level::Notice, "-slave-reconf-sent-timeout", id);
        }
        let is_running =
            |replica: &&Server| matches!(replica.reconf, Reconf::Sent(_) | Reconf::InProgress);
        let running = self.replicas.iter().filter(is_running).count();
        let parallel = (self.settings.parallel_syncs as usize).max(1);
        let next: Vec<u32> = self
            .replicas
            .iter()
            .filter(|it| !it.is_promoted && it.reconf == Reconf::None && it.link.has_commands())
            .map(|replica| replica.id)
            .take(parallel.saturating_sub(running))
            .collect();
        for id in next {
            self.tell_to_follow(cx, id, &target, "+slave-reconf-sent");
        }
        self.end_failover_if_done(cx, id, &target);
    }

    fn tell_to_follow(&mut self, cx: &mut Context, id: u32, target: &Address, event: &str) {
        self.set_role(cx, id, Some(target));
        let now = cx.ms();
        if let Some(replica) = self.server_mut(id) {
            replica.reconf = Reconf::Sent(now);
        }
        self.server_event(cx, Level::Notice, event, id);
    }

    fn end_failover_if_done(&mut self, cx: &mut Context, promoted: u32, target: &Address) {
        if self.replica(promoted).is_none_or(Server::is_down) {
            return;
        }
        let is_open = |replica: &Server| {
            !replica.is_promoted && replica.reconf != Reconf::Done && !replica.is_down()
        };
        let is_late = self.phase_ms(cx) > self.settings.failover_timeout_ms;
        if is_late {
            self.event(cx, Level::Warning, "+failover-end-for-timeout");
        } else if self.replicas.iter().any(is_open) {
            return;
        }
        self.event(cx, Level::Warning, "+failover-end");
        self.enter(cx, Phase::UpdateConfig);
        if is_late {
            let rest: Vec<u32> = self
                .replicas
                .iter()
                .filter(|it| !it.is_promoted && it.reconf == Reconf::None && it.link.has_commands())
                .map(|replica| replica.id)
                .collect();
            for id in rest {
                self.tell_to_follow(cx, id, target, "+slave-reconf-sent-be");
            }
        }
    }
}
