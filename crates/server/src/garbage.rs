//! A thread that drops what takes long to free.

use std::sync::mpsc::{Sender, channel};

use russet_engine::io::Garbage;

/// Hands garbage to the thread, which starts with the first.
#[derive(Default)]
pub struct Collector {
    sender: Option<Sender<Garbage>>,
}

impl Collector {
    /// Drops this elsewhere; here, if there can be no thread.
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
