//! Connections that could not be made: told in the log, for debugging.

use super::{Owner, Sentinel};
use crate::io::{Level, LinkId};

impl Sentinel {
    /// Handles that a connection could not be opened.
    pub(super) fn not_connected(&mut self, link: LinkId, error: &str) {
        let Sentinel { cx, masters, peers, .. } = self;
        match cx.owners.get(&link).cloned() {
            Some(Owner::Server(number, id)) => {
                if let Some(master) = masters.get_mut(&number) {
                    master.not_connected(cx, id, link, error);
                }
            }
            Some(Owner::Peer(id)) => {
                let master = masters.values_mut().find(|it| it.voters.contains_key(&id));
                if let (Some(master), Some(peer)) = (master, peers.get_mut(&id))
                    && let Some(kind) = peer.link.kind_of(link)
                {
                    let label = master.sentinel_label(cx, &id, &peer.address);
                    master.report(cx, Level::Debug, kind.failure(), format!("{label} #{error}"));
                }
            }
            None => {}
        }
        self.closed(link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use crate::io::{Input, Now, Output};
    use crate::machine::Boot;

    #[test]
    fn what_cannot_be_reached_is_told_in_the_log_only() {
        let lines = "monitor m 10.0.0.1 6379 2\nknown-replica m 10.0.0.2 6379\n\
                     known-sentinel m 10.0.0.3 26379 abc";
        let words = |line: &str| line.split(' ').map(|word| word.into()).collect();
        let settings = Settings::parse(&lines.lines().map(words).collect::<Vec<_>>()).unwrap();
        let boot = Boot { new_id: "a".repeat(40), ..Boot::default() };
        let mut it = Sentinel::new(settings, boot, Now::default());
        it.handle(Now::default(), Input::Tick);
        let outputs: Vec<Output> = std::iter::from_fn(|| it.poll_output()).collect();
        for output in outputs {
            if let Output::Connect { link, .. } = output {
                let error = "Connection refused".to_owned();
                it.handle(Now::default(), Input::NotConnected { link, error });
            }
        }
        let outputs: Vec<Output> = std::iter::from_fn(|| it.poll_output()).collect();
        assert!(!outputs.iter().any(|output| matches!(output, Output::Publish { .. })));
        let logged = outputs.into_iter().filter_map(|output| match output {
            Output::Log { level, text } if text.starts_with('-') => {
                assert_eq!(level, Level::Debug, "{text}");
                Some(text)
            }
            _ => None,
        });
        let mut logged: Vec<String> = logged.collect();
        logged.sort();
        let (behind, error) = ("@ m 10.0.0.1 6379", "#Connection refused");
        let expected = [
            format!("-cmd-link-reconnection master m 10.0.0.1 6379 {error}"),
            format!("-cmd-link-reconnection sentinel abc 10.0.0.3 26379 {behind} {error}"),
            format!("-cmd-link-reconnection slave 10.0.0.2:6379 10.0.0.2 6379 {behind} {error}"),
            format!("-pubsub-link-reconnection master m 10.0.0.1 6379 {error}"),
            format!("-pubsub-link-reconnection slave 10.0.0.2:6379 10.0.0.2 6379 {behind} {error}"),
        ];
        assert_eq!(logged, expected);
    }
}
