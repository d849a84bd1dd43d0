//! Commands that administrate a node and its connections.

use russet_driver::Driver;
use russet_engine::io::{Request, Service};

#[test]
fn unauthenticated_clients_must_authenticate_first() {
    let mut w = Driver::new("requirepass secret\n");
    let c = w.connect();
    assert_eq!(w.request(c, "GET a"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(w.request(c, "PING"), "-NOAUTH Authentication required.\r\n");
    assert!(w.request(c, "HELLO 3").starts_with("-NOAUTH HELLO must be called with"));
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_eq!(w.request(c, "AUTH wrong"), wrong);
    assert_eq!(w.request(c, "AUTH secretsecret"), wrong);
    assert_eq!(w.request(c, "AUTH nobody secret"), wrong);
    assert_eq!(w.request(c, "HELLO 3 AUTH default wrong"), wrong);
    assert_eq!(w.request(c, "AUTH a b c"), "-ERR syntax error\r\n");
    assert_eq!(w.request(c, "AUTH secret"), "+OK\r\n");
    assert_eq!(w.request(c, "PING"), "+PONG\r\n");
    assert_eq!(w.request(c, "RESET"), "+RESET\r\n");
    assert_eq!(w.request(c, "PING"), "-NOAUTH Authentication required.\r\n");
    assert!(
        w.request(c, "HELLO 3 AUTH default secret SETNAME me")
            .starts_with("%7\r\n$6\r\nserver\r\n")
    );
    assert_eq!(w.request(c, "CLIENT GETNAME"), "$2\r\nme\r\n");
    assert_eq!(w.request(c, "QUIT"), "+OK\r\n");
    assert_eq!(w.closed, [c]);
}

#[test]
fn hello_replies_in_the_selected_version() {
    let mut w = Driver::new("");
    let c = w.connect();
    assert_eq!(
        w.request(c, "HELLO 3"),
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:3\r\n\
         $2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
         $7\r\nmodules\r\n*0\r\n"
    );
    assert!(w.request(c, "HELLO 2").starts_with("*14\r\n"));
    assert_eq!(w.request(c, "HELLO 4"), "-NOPROTO unsupported protocol version\r\n");
    assert_eq!(
        w.request(c, "HELLO x"),
        "-ERR Protocol version is not an integer or out of range\r\n"
    );
    assert_eq!(w.request(c, "HELLO 2 AUTH x"), "-ERR Syntax error in HELLO option 'AUTH'\r\n");
    let bad = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
    assert_eq!(w.request(c, "HELLO 2 SETNAME \"a b\""), bad);
    assert!(w.request(c, "AUTH x").starts_with("-ERR AUTH <password> called without any password"));
    assert_eq!(w.request(c, "AUTH default anything"), "+OK\r\n");
}

#[test]
fn saving() {
    let mut w = Driver::new("save \"\"\n");
    let (c, d) = (w.connect(), w.connect());
    w.request(c, "SET a 1");
    w.snapshots.held = true;
    assert_eq!(w.request(c, "SAVE"), "", "SAVE waits");
    let busy = "-ERR Background save already in progress\r\n";
    assert_eq!(w.request(d, "BGSAVE"), busy);
    assert_eq!(w.request(d, "SAVE"), busy);
    assert_eq!(w.request(d, "GET a"), "$1\r\n1\r\n", "others are served meanwhile");
    w.advance_ms(5000);
    w.deliver_saves();
    assert_eq!(w.take(c), "+OK\r\n");
    assert_eq!(w.request(d, "LASTSAVE"), ":1700000005\r\n");
    assert_eq!(w.request(d, "TIME"), "*2\r\n$10\r\n1700000005\r\n$1\r\n0\r\n");
    w.snapshots.held = false;
    assert_eq!(w.request(d, "BGSAVE"), "+Background saving started\r\n");
    assert_eq!(w.request(d, "BGSAVE SCHEDULE"), "+Background saving started\r\n");
    assert_eq!(w.request(d, "BGSAVE NOW"), "-ERR syntax error\r\n");
    w.snapshots.errors.push_back("No space left on device".to_owned());
    assert_eq!(w.request(d, "SAVE"), "-ERR No space left on device\r\n");
    // A client may disconnect while it waits.
    w.snapshots.held = true;
    w.request(c, "SAVE");
    w.disconnect(c);
    w.deliver_saves();
    assert_eq!(w.request(d, "PING"), "+PONG\r\n");
}

#[test]
fn config_set_is_atomic() {
    let mut w = Driver::new("");
    let c = w.connect();
    let get = |w: &mut Driver, name: &str| w.request(c, &format!("CONFIG GET {name}"));
    assert_eq!(w.request(c, "CONFIG SET timeout 100 hz 50"), "+OK\r\n");
    assert_eq!(get(&mut w, "timeout"), "*2\r\n$7\r\ntimeout\r\n$3\r\n100\r\n");
    assert_eq!(
        w.request(c, "CONFIG SET timeout 7 hz nonsense"),
        "-ERR CONFIG SET failed (possibly related to argument 'hz') - \
         argument couldn't be parsed into an integer\r\n"
    );
    assert_eq!(get(&mut w, "timeout"), "*2\r\n$7\r\ntimeout\r\n$3\r\n100\r\n");
    assert_eq!(w.request(c, "CONFIG SET timeout 7 hz"), "-ERR syntax error\r\n");
    w.send(c, b"CONFIG SET bind d\xe4ta\r\n");
    assert_eq!(
        w.take(c),
        "-ERR CONFIG SET failed (possibly related to argument 'bind') - \
         argument must be valid UTF-8\r\n"
    );
    assert_eq!(
        w.request(c, "CONFIG SET nonsense 7"),
        "-ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'\r\n"
    );
    assert_eq!(w.requests.received, []);
}

#[test]
fn requests_to_the_shell_are_reverted_when_a_later_one_fails() {
    let mut w = Driver::new("enable-protected-configs yes\nmaxclients 100\n");
    let (c, d) = (w.connect(), w.connect());
    w.requests.answers.extend([Ok(()), Ok(()), Err("EADDRINUSE".to_owned())]);
    assert_eq!(
        w.request(c, "CONFIG SET dir sub maxclients 200 timeout 9 port 7000"),
        "-ERR CONFIG SET failed (possibly related to argument 'port') - \
         Unable to listen on this port. Check server logs.\r\n"
    );
    let bind = vec!["*".to_owned(), "-::*".to_owned()];
    let listen = Request::Listen { service: Service::Clients, bind, port: 7000 };
    assert_eq!(
        w.requests.received,
        [
            Request::ChangeDir("/data/sub".to_owned()),
            Request::MaxClients(200),
            listen,
            Request::MaxClients(100),
            Request::ChangeDir("/data".to_owned()),
        ]
    );
    assert_eq!(w.request(c, "CONFIG GET timeout"), "*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
    assert_eq!(w.request(c, "CONFIG GET dir"), "*2\r\n$3\r\ndir\r\n$5\r\n/data\r\n");
    assert_eq!(w.request(c, "CONFIG SET dir ./sub/"), "+OK\r\n");
    assert_eq!(w.request(c, "CONFIG GET dir"), "*2\r\n$3\r\ndir\r\n$9\r\n/data/sub\r\n");
    // No client sees values that are not applied, and the caller may disconnect meanwhile.
    w.requests.held = true;
    w.requests.answers.push_back(Err("no".to_owned()));
    assert_eq!(w.request(c, "CONFIG SET maxclients 300"), "");
    assert_eq!(w.request(d, "CONFIG GET maxclients"), "");
    w.disconnect(c);
    w.answer();
    assert_eq!(w.take(d), "*2\r\n$10\r\nmaxclients\r\n$3\r\n100\r\n");
}

#[test]
fn shutdown_saves_and_holds_writes_meanwhile() {
    let mut w = Driver::new("stop-writes-on-bgsave-error no\n");
    let (c, d, e) = (w.connect(), w.connect(), w.connect());
    w.request(c, "SET a 1");
    assert_eq!(w.request(c, "SHUTDOWN SAVE NOSAVE"), "-ERR syntax error\r\n");
    assert_eq!(w.request(c, "SHUTDOWN ABORT NOW"), "-ERR syntax error\r\n");
    assert_eq!(w.request(c, "SHUTDOWN ABORT"), "-ERR No shutdown in progress.\r\n");
    w.snapshots.held = true;
    assert_eq!(w.request(e, "SAVE"), "");
    w.snapshots.errors.push_back("No space left on device".to_owned());
    assert_eq!(w.request(c, "SHUTDOWN"), "");
    assert_eq!(w.take(e), "-ERR the server is shutting down\r\n");
    assert_eq!(w.request(d, "GET a"), "$1\r\n1\r\n");
    assert_eq!(w.request(d, "SET a 2"), "");
    w.deliver_saves();
    assert_eq!(w.exit, None);
    assert_eq!(w.take(c), "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    assert_eq!(w.take(d), "+OK\r\n", "served again");
    assert_eq!(w.request(c, "SHUTDOWN NOW"), "");
    assert_eq!(w.request(d, "SET a 3"), "");
    assert_eq!(w.request(e, "SHUTDOWN ABORT"), "+OK\r\n");
    assert_eq!(w.take(c), "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    assert_eq!(w.take(d), "+OK\r\n");
    w.deliver_saves();
    w.snapshots.held = false;
    w.snapshots.errors.push_back("No space left on device".to_owned());
    assert_eq!(w.request(c, "SHUTDOWN FORCE"), "");
    assert_eq!(w.exit, Some(0));
}

#[test]
fn a_password_known_by_its_hash_authenticates_and_can_be_changed() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut w = Driver::new(&format!("user default on #{hex} ~* &* +@all\n"));
    let c = w.connect();
    assert!(w.request(c, "GET key").starts_with("-NOAUTH"));
    assert!(w.request(c, &format!("AUTH {hex}")).starts_with("-WRONGPASS"));
    assert!(w.request(c, "AUTH default abd").starts_with("-WRONGPASS"));
    assert_eq!(w.request(c, "AUTH abc"), "+OK\r\n");
    assert_eq!(w.request(c, "CONFIG GET requirepass"), "*2\r\n$11\r\nrequirepass\r\n$0\r\n\r\n");
    let d = w.connect();
    assert_eq!(w.request(c, "CONFIG SET requirepass \"\""), "+OK\r\n");
    assert_eq!(w.request(d, "GET key"), "$-1\r\n", "no password is required any more");
    assert_eq!(w.request(c, "CONFIG SET requirepass new"), "+OK\r\n");
    let e = w.connect();
    assert!(w.request(e, "AUTH abc").starts_with("-WRONGPASS"));
    assert_eq!(w.request(e, "AUTH new"), "+OK\r\n");
}
