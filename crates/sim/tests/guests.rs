//! The world runs any machine with the contract: here one that only watches a data node, as a Sentinel would.

use std::cell::Cell;

use russet_engine::clients::outbox::Outbox;
use russet_engine::io::{Endpoints, Handle, Host, Input, Now, Output, Service};
use russet_engine::shared::Meter;
use russet_sim::machine::Machine;
use russet_sim::plan::{PORT, host_name};
use russet_sim::world::{Common, Tracing, run};

/// How often it asks.
const PERIOD_US: u64 = 1_000_000;

thread_local! {
    /// Watchers started, and replies that they heard.
    static SEEN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Asks a data node each second whether it is there; a connection that gives no answer is tried anew.
struct Watcher {
    link: Handle,
    is_connected: bool,
    outbox: Outbox,
    query: Vec<u8>,
    wants_link: bool,
    is_dirty: bool,
    closing: Option<Handle>,
    due_us: u64,
    waits_since_us: Option<u64>,
}

fn start(_seed: [u64; 4], now: Now) -> Box<dyn Machine> {
    let (started, replies) = SEEN.get();
    SEEN.set((started + 1, replies));
    Box::new(Watcher {
        link: Handle { index: 0, generation: 0 },
        is_connected: false,
        outbox: Outbox::default(),
        query: Vec::new(),
        wants_link: true,
        is_dirty: false,
        closing: None,
        due_us: now.mono_us + PERIOD_US,
        waits_since_us: None,
    })
}

impl Watcher {
    fn try_again(&mut self) {
        self.link.generation += 1;
        self.is_connected = false;
        self.wants_link = true;
        self.waits_since_us = None;
        self.outbox = Outbox::default();
        self.query.clear();
    }
}

impl Machine for Watcher {
    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Connected { link, result } if link == self.link => match result {
                Ok(_) => self.is_connected = true,
                Err(_) => self.try_again(),
            },
            Input::Closed(handle) if handle == self.link => self.try_again(),
            _ => {}
        }
        self.due_us = self.due_us.max(now.mono_us + 1);
    }

    fn turn(&mut self, now: Now, _host: &mut dyn Host) {
        if now.mono_us < self.due_us {
            return;
        }
        self.due_us = now.mono_us + PERIOD_US;
        if self.waits_since_us.is_some_and(|since| now.mono_us > since + 5 * PERIOD_US) {
            self.closing = Some(self.link);
            self.try_again();
        } else if self.is_connected && self.waits_since_us.is_none() {
            self.waits_since_us = Some(now.mono_us);
            self.outbox.push_shared(Meter::default().share(b"PING\r\n".to_vec()));
            self.is_dirty = true;
        }
    }

    fn poll_output(&mut self, _now: Now) -> Output {
        if let Some(link) = self.closing.take() {
            return Output::Close(link);
        }
        if std::mem::take(&mut self.wants_link) {
            return Output::Connect { link: self.link, host: host_name(0), port: PORT };
        }
        Output::Wait(Some(self.due_us))
    }

    fn accept(
        &mut self,
        _now: Now,
        _service: Service,
        _ends: Endpoints,
    ) -> Result<Handle, Vec<u8>> {
        Err(b"-ERR it only watches\r\n".to_vec())
    }

    fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>> {
        (handle == self.link).then_some(&mut self.query)
    }

    fn received(&mut self, _now: Now, handle: Handle) {
        if handle == self.link && self.query.ends_with(b"\n") {
            let (started, replies) = SEEN.get();
            SEEN.set((started, replies + 1));
            self.query.clear();
            self.waits_since_us = None;
        }
    }

    fn take_dirty(&mut self, into: &mut Vec<Handle>) {
        if std::mem::take(&mut self.is_dirty) {
            into.push(self.link);
        }
    }

    fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox> {
        (handle == self.link).then_some(&mut self.outbox)
    }

    fn written(&mut self, _handle: Handle, bytes: usize) {
        self.outbox.consume(bytes);
    }

    fn knows(&self, handle: Handle) -> bool {
        handle == self.link
    }
}

#[test]
fn a_machine_without_data_lives_beside_data_nodes() {
    let common = Common::with_guests(vec![start, start]);
    for seed in 1..=6 {
        SEEN.set((0, 0));
        let report = run(&common, seed, Tracing::Keep(60));
        assert_eq!(report.violation, None, "seed {seed}: {:#?}", report.trace);
        let (started, replies) = SEEN.get();
        assert!(started >= 2 && replies > 20, "seed {seed}: {:?}", SEEN.get());
    }
}
