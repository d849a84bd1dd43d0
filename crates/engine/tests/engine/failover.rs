//! Failover.

use russet_driver::peers::{ID, replica};

#[test]
fn a_master_fails_over_to_its_replica() {
    let (mut w, _) = replica("", &["a"]);
    let m = w.connect();
    w.request(m, "REPLCONF capa psync2");
    let other = "f".repeat(40);
    assert_eq!(
        w.request(m, &format!("PSYNC {other} 101 FAILOVER")),
        "-ERR PSYNC FAILOVER replid must match my replid.\r\n"
    );
    assert!(w.request(m, "ROLE").contains("slave"));
    let reply = w.request(m, &format!("PSYNC {ID} 101 FAILOVER"));
    assert!(reply.starts_with("+CONTINUE ") && !reply.contains(ID), "{reply}");
    let c = w.connect();
    assert!(w.request(c, "ROLE").contains("master"));
    w.request(c, "SET b 1");
    assert!(w.take(m).ends_with("\r\nb\r\n$1\r\n1\r\n"));
    assert_eq!(
        w.request(c, &format!("PSYNC {ID} 101 failover")),
        "-ERR PSYNC FAILOVER can't be sent to a master.\r\n"
    );
}
