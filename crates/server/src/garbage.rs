//! The lazy-free thread: frees what would take the node too long.

use std::sync::mpsc::{Sender, channel};

use russet_engine::io::Garbage;

/// Sends garbage to the thread, which is started on first use.
#[derive(Default)]
pub struct Collector {
    sender: Option<Sender<Garbage>>,
}

impl Collector {
    /// Frees garbage on the thread, or here if the thread cannot be started.
    pub fn collect(&mut self, garbage: Garbage) {
        let sender = self.sender.get_or_insert_with(|| {
            let (sender, receiver) = channel::<Garbage>();
            // Without a thread the receiver is dropped, and sending gives the garbage back.
            let _ = std::thread::Builder::new()
                .name("russet-garbage".into())
                .spawn(move || receiver.iter().for_each(drop));
            sender
        });
        drop(sender.send(garbage));
    }
}
