//! Whether keys are there, what they are, and their removal.

use russet_ds::EntryRef;

use crate::command::{Args, Ctx, Flow, Outcome, Reply};
use crate::keyspace::{EventKind, Key};
use crate::types::{Object, type_of};

/// DEL and UNLINK: what is large is freed elsewhere in either case.
pub(super) fn del(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = ctx.db;
    let mut removed = 0;
    for at in 1..args.len() {
        let key = args.key(at);
        // A key that is past its time ends here, and is not counted.
        ctx.node.keyspace.meet(db, key);
        removed += usize::from(ctx.edit(key).remove(EventKind::Del));
    }
    reply.count(removed);
    Ok(Flow::Done)
}

pub(super) fn exists(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = (1..args.len()).filter(|&at| ctx.glance(args.key(at)).is_some()).count();
    reply.count(found);
    Ok(Flow::Done)
}

pub(super) fn touch(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = ctx.db;
    let keyspace = &mut ctx.node.keyspace;
    // Also for a client whose reads do not touch.
    keyspace.no_touch = false;
    let found = (1..args.len()).filter(|&at| keyspace.read(db, args.key(at)).is_some()).count();
    reply.count(found);
    Ok(Flow::Done)
}

pub(super) fn type_of_key(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.simple(ctx.glance(args.key(1)).map_or("none", |found| type_of(found.kind()).name()));
    Ok(Flow::Done)
}

impl Ctx<'_> {
    /// Looks at a key: counted as a read, but neither this nor what the command reads after it moves
    /// an access clock.
    pub(super) fn glance(&mut self, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        let db = self.db;
        let keyspace = &mut self.node.keyspace;
        // Set anew for each command.
        keyspace.no_touch = true;
        keyspace.read(db, key)
    }

    /// The same for OBJECT, to which a miss is no event.
    pub(super) fn inspect(&mut self, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        let db = self.db;
        let keyspace = &mut self.node.keyspace;
        keyspace.no_touch = true;
        keyspace.inspect(db, key)
    }
}
