//! MEMORY USAGE compared with the allocator.

use russet_driver::Driver;
use russet_driver::peers::command;
use russet_engine::io::Handle;
use tikv_jemalloc_ctl::thread::{allocatedp, deallocatedp};

#[global_allocator]
static ALLOCATOR: russet_ds::jemalloc::Jemalloc = russet_ds::jemalloc::Jemalloc;

/// Bytes that this thread has allocated and not freed, by size class.
fn allocated() -> u64 {
    let counts = allocatedp::read().and_then(|given| Ok((given, deallocatedp::read()?)));
    let (given, freed) = counts.expect("jemalloc keeps figures");
    given.get() - freed.get()
}

fn usage(w: &mut Driver, client: Handle, key: &str) -> usize {
    let reply = w.request(client, &format!("MEMORY USAGE {key}"));
    reply.trim().trim_start_matches(':').parse().expect("the key is there")
}

/// Fills a node with keys and compares their reported memory with the allocated one.
fn compare(what: &str, count: usize, requests: &dyn Fn(usize) -> Vec<String>) {
    let mut w = Driver::new("");
    let client = w.connect();
    w.request(client, "PING"); // allocates its buffers
    let before = allocated();
    for number in 0..count {
        for request in requests(number) {
            w.send(client, format!("{request}\r\n").as_bytes());
            w.take(client);
        }
    }
    w.run();
    let taken = (allocated() - before) as usize;
    let sum: usize = (0..count).map(|number| usage(&mut w, client, &format!("key:{number}"))).sum();
    let counted = w.node.data.allocated_bytes();
    let close = |to: usize, share: f64| (sum as f64 / to as f64 - 1.0).abs() < share;
    assert!(close(counted, 0.005), "{what}: keys take {sum}, the keyspace {counted}");
    assert!(close(taken, 0.02), "{what}: keys take {sum}, the allocator gave {taken}");
}

#[test]
fn keys_use_the_memory_that_memory_usage_reports() {
    let text = |len: usize| "x".repeat(len + 1);
    compare("short strings", 30_000, &|n| vec![format!("SET key:{n} {n}")]);
    compare("strings that expire", 30_000, &|n| vec![format!("SETEX key:{n} 100000 {n}")]);
    compare("long strings", 500, &|n| vec![format!("SET key:{n} {}", text(500 + n * 37))]);
    compare("strings that grow", 1500, &|n| {
        vec![format!("SET key:{n} {}", text(n)), format!("APPEND key:{n} {}", text(2 * n + 1))]
    });
    compare("small hashes", 5000, &|n| {
        let fields = (0..n % 20 + 1).map(|f| format!(" field:{f} {}", text(f)));
        vec![format!("HSET key:{n}{}", fields.collect::<String>())]
    });
    compare("small hashes with expiries", 2000, &|n| {
        vec![
            format!("HSET key:{n} a 1 b {} c {n}", text(n % 60)),
            format!("HEXPIRE key:{n} 10000 FIELDS 2 a b"),
        ]
    });
    compare("large hashes", 40, &|n| {
        let hset = |chunk: usize| {
            let fields =
                (chunk * 100..chunk * 100 + 100).map(|f| format!(" field:{f} {}", text(f % 97)));
            format!("HSET key:{n}{}", fields.collect::<String>())
        };
        let mut requests: Vec<String> = (0..n + 3).map(hset).collect();
        requests.push(format!("HEXPIRE key:{n} 10000 FIELDS 2 field:7 field:8"));
        requests.push(format!("HSET key:{n} long {}", text(100 * n)));
        requests.push(format!("HDEL key:{n} field:20 field:21 field:22"));
        requests
    });
}

#[test]
fn what_many_clients_share_counts_once() {
    const CLIENTS: usize = 50;
    const VALUE: usize = 1 << 20;
    let mut w = Driver::new("client-output-buffer-limit pubsub 0 0 0\n");
    let c = w.connect();
    w.send(c, &command(&["SET", "key", &"x".repeat(VALUE)]));
    w.take(c);
    let before = w.node.used_memory();
    let readers: Vec<Handle> = (0..CLIENTS).map(|_| w.connect()).collect();
    for &reader in &readers {
        w.set_read_limit(reader, Some(0));
        w.request(reader, "GET key");
    }
    assert!(w.node.used_memory() < before + VALUE / 2, "the value belongs to the data");
    w.request(c, "DEL key");
    let held = w.node.used_memory();
    assert!(held.abs_diff(before) < VALUE / 2, "all of them hold the same value");
    for &reader in &readers {
        w.disconnect(reader);
    }
    assert!(w.node.used_memory() < before - VALUE / 2, "nobody holds it");

    let subscribers: Vec<Handle> = (0..CLIENTS).map(|_| w.connect()).collect();
    for &subscriber in &subscribers {
        w.request(subscriber, "SUBSCRIBE channel");
        w.set_read_limit(subscriber, Some(0));
    }
    let before = w.node.used_memory();
    w.send(c, &command(&["PUBLISH", "channel", &"x".repeat(VALUE)]));
    let held = w.node.used_memory() - before;
    assert!((VALUE / 2..2 * VALUE).contains(&held), "{held}");
    for &subscriber in &subscribers {
        w.disconnect(subscriber);
    }
    assert!(w.node.used_memory() < before);
}
