//! Bad input: malformed requests, claimed lengths, slow and silent clients, and starts that must
//! fail.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::fs;

use russet_e2e::process::resident_bytes;
use russet_e2e::server::Folder;
use russet_e2e::{Program, Server, Setup, Value, wait_until};

fn start() -> Server {
    Server::start(&Program::under_test())
}

/// Sends bytes on a new connection and returns the replies until the server closes.
fn answer_to(server: &Server, bytes: &[u8]) -> String {
    let mut client = server.client();
    let _ = client.send(bytes); // the server may close before it has taken all
    String::from_utf8_lossy(&client.read_to_end()).into_owned()
}

/// Returns requests in one pipeline, longer than all buffers.
const COUNT: usize = 200_000;

fn long(head: &str) -> Vec<u8> {
    let mut bytes = head.as_bytes().to_vec();
    bytes.resize(70_000, b'1');
    bytes
}

#[test]
fn malformed_requests_get_an_error_and_close_the_connection() {
    let server = start();
    let mut witness = server.client();
    let cases: [(&[u8], &str); 12] = [
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n$abc\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (b"SET x \"unbalanced\r\n", "unbalanced quotes in request"),
        (&long("GET "), "too big inline request"),
        (&long("*"), "too big mbulk count string"),
        (&long("*1\r\n$"), "too big bulk count string"),
    ];
    for (sent, error) in cases {
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(40)]).into_owned();
        let expected = format!("-ERR Protocol error: {error}\r\n");
        assert_eq!(answer_to(&server, sent), expected, "{shown:?}");
        assert_eq!(witness.text("PING"), "PONG", "others do not notice {shown:?}");
    }
}

#[test]
fn requests_before_a_malformed_one_are_answered() {
    let server = start();
    let answer = answer_to(&server, b"SET key value\r\nGET key\r\n*x\r\nGET key\r\n");
    let expected = "+OK\r\n$5\r\nvalue\r\n-ERR Protocol error: invalid multibulk length\r\n";
    assert_eq!(answer, expected);
}

#[test]
fn http_requests_are_rejected() {
    let server = start();
    for request in ["POST / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: here\r\n\r\n"] {
        let answer = answer_to(&server, request.as_bytes());
        let only_errors = answer.lines().all(|line| line.starts_with("-ERR"));
        assert!(only_errors, "nothing runs behind it: {answer}");
    }
    wait_until("the reason is logged", || server.log().contains("SECURITY ATTACK"));
}

#[test]
fn limits_before_authentication_are_small() {
    let server = Setup::new(&Program::under_test()).conf("requirepass secret").start();
    let many = answer_to(&server, b"*11\r\n");
    assert_eq!(many, "-ERR Protocol error: unauthenticated multibulk length\r\n");
    let long = answer_to(&server, b"*1\r\n$20000\r\n");
    assert_eq!(long, "-ERR Protocol error: unauthenticated bulk length\r\n");
    let mut client = server.client();
    assert_eq!(client.text("GET key"), "NOAUTH Authentication required.");
    let wrong = client.text("AUTH wrong");
    assert_eq!(wrong, "WRONGPASS invalid username-password pair or user is disabled.");
    client.ok("AUTH secret");
    // A server that asks for a password may still be loading.
    wait_until("the key is looked up", || client.run("GET key") == Value::Nil);
}

#[test]
fn errors_have_the_texts_that_clients_match_on() {
    let server = start();
    let mut client = server.client();
    let cases = [
        ("NOSUCH a b", "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("GET a b", "ERR wrong number of arguments for 'get' command"),
        ("CONFIG NOSUCH", "ERR unknown subcommand 'NOSUCH'. Try CONFIG HELP."),
        ("SET a b NOSUCH", "ERR syntax error"),
        ("SET a b EX 0", "ERR invalid expire time in 'set' command"),
        ("SET a b EX x", "ERR value is not an integer or out of range"),
        ("EXPIRE a 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("SETRANGE a 536870912 x", "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SELECT 16", "ERR DB index is out of range"),
        ("EXEC", "ERR EXEC without MULTI"),
        ("DEBUG SLEEP 0", "ERR DEBUG command not allowed."),
    ];
    for (request, error) in cases {
        let text = client.text(request);
        assert!(text.starts_with(error), "{request}: {text}");
    }
    client.ok("SET a b");
    assert_eq!(client.text("INCR a"), "ERR value is not an integer or out of range");
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let server = start();
    let mut client = server.client();
    for byte in b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$2\r\n\r\n\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n" {
        client.send(&[*byte]).expect("it is connected");
    }
    assert_eq!(client.read_reply().expect("it answers").text(), "OK");
    assert_eq!(client.read_reply().expect("it answers").text(), "\r\n");
}

#[test]
fn half_closed_client_gets_its_replies() {
    let server = start();
    let mut client = server.client();
    client.send(&b"PING\r\n".repeat(1000)).expect("it is connected");
    client.close_sending().expect("it is connected");
    let answers = client.read_to_end();
    assert_eq!(answers.len(), b"+PONG\r\n".len() * 1000);

    // A request that takes longer than a round only delays its client, which still receives the
    // replies.
    let mut client = server.client();
    let requests = b"SET a 1\r\nSAVE\r\nSET a 2\r\nMULTI\r\nCONFIG SET hz 11\r\nEXEC\r\nGET a\r\n";
    client.send(requests).expect("it is connected");
    client.close_sending().expect("it is connected");
    let answers = String::from_utf8(client.read_to_end()).expect("text");
    let expected = "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n$1\r\n2\r\n";
    assert_eq!(answers, expected);
}

#[test]
fn pipeline_of_any_length_is_answered_in_order() {
    let server = start();
    let mut client = server.client();
    let requests: Vec<u8> = (0..COUNT).flat_map(|i| format!("ECHO {i}\r\n").into_bytes()).collect();
    let mut reader = client.second_handle().expect("descriptors are left");
    std::thread::scope(|scope| {
        scope.spawn(|| client.send(&requests).expect("it is connected"));
        for i in 0..COUNT {
            assert_eq!(reader.read_reply().expect("it answers").text(), i.to_string());
        }
    });
}

#[test]
fn claimed_lengths_cost_nothing_until_bytes_arrive() {
    let server = start();
    let before = resident_bytes(server.pid());
    let mut clients: Vec<_> = (0..100).map(|_| server.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let claim: &[u8] = match index % 2 {
            0 => b"*1000000\r\n",
            _ => b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$500000000\r\n",
        };
        client.send(claim).expect("it is connected");
    }
    assert_eq!(server.client().text("PING"), "PONG");
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(grown < 20 << 20, "grown by {grown} bytes");
}

#[test]
fn too_many_clients_get_an_error() {
    let server = Setup::new(&Program::under_test()).conf("maxclients 10").start();
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    for client in &mut clients {
        // Connections used for starting the server may not be closed yet.
        wait_until("a place is free", || {
            client.try_command(&["PING"]).is_ok_and(|reply| !reply.is_error()) || {
                *client = server.client();
                false
            }
        });
    }
    let refused = answer_to(&server, b"");
    assert_eq!(refused, "-ERR max number of clients reached\r\n");
    clients.pop();
    wait_until("a place is free again", || {
        server.client().try_command(&["PING"]).is_ok_and(|reply| !reply.is_error())
    });
}

#[test]
fn idle_clients_are_closed_if_configured() {
    let server = Setup::new(&Program::under_test()).conf("timeout 1").start();
    let mut client = server.client();
    assert_eq!(client.text("PING"), "PONG");
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(server.client().text("PING"), "PONG");
}

#[test]
fn a_used_port_is_reported_and_the_first_server_continues() {
    let first = start();
    let folder = Folder::new();
    let second = Setup::new(&Program::under_test()).port(first.port()).run_to_end(folder.path());
    assert_eq!(second.code, Some(1));
    let said = second.out + &second.err;
    assert!(said.contains("Address already in use"), "{said}");
    assert!(said.contains("Failed listening on port"), "{said}");
    assert_eq!(first.client().text("PING"), "PONG");
}

/// Starts with `lines`, which must fail, and checks the messages.
fn refuses(lines: &[&str], folder: &Folder, texts: &[&str]) {
    let mut setup = Setup::new(&Program::under_test());
    for line in lines {
        setup = setup.conf(line);
    }
    let output = setup.run_to_end(folder.path());
    let said = output.out + &output.err;
    assert_eq!(output.code, Some(1), "{lines:?}: {said}");
    for text in texts {
        assert!(said.contains(text), "{lines:?}: {text} in\n{said}");
    }
}

#[test]
fn configuration_errors_name_the_line() {
    let folder = Folder::new();
    let fatal = "*** FATAL CONFIG FILE ERROR";
    // Three lines precede them: port, bind, save.
    let at_line = "server.conf', at line 4";
    let unknown = "Bad directive or wrong number of arguments";
    refuses(&["nosuch thing"], &folder, &[fatal, at_line, ">>> 'nosuch thing'", unknown]);
    refuses(&["maxclients many"], &folder, &[fatal, at_line, ">>> 'maxclients many'"]);
    refuses(&["logfile \"open"], &folder, &[fatal, at_line]);
    refuses(&["dir /nonexistent/folder"], &folder, &[fatal, at_line, "No such file or directory"]);
    refuses(&["include nosuch.conf"], &folder, &["can't open config file"]);
}

#[test]
fn an_unreadable_configuration_is_reported() {
    let mut command = Program::under_test().command();
    command.arg("/nonexistent/server.conf");
    let output = russet_e2e::tools::run(command, b"");
    let said = output.out + &output.err;
    assert_eq!(output.code, Some(1), "{said}");
    assert!(said.contains("can't open config file '/nonexistent/server.conf'"), "{said}");
}

/// Returns a data file of 1000 keys.
fn data_file() -> Vec<u8> {
    let server = start();
    let mut client = server.client();
    for i in 0..1000 {
        client.ok(&format!("SET key:{i} value:{i}"));
    }
    client.ok("SAVE");
    fs::read(server.folder().join("dump.rdb")).expect("it has just been saved")
}

#[test]
fn damaged_data_files_are_refused_and_kept() {
    let whole = data_file();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    let damaged: [(&str, Vec<u8>); 5] = [
        ("garbage", b"this is no data file at all".to_vec()),
        ("empty", vec![]),
        ("cut in the middle", whole[..whole.len() / 2].to_vec()),
        ("cut in the checksum", whole[..whole.len() - 3].to_vec()),
        ("one bit flipped", flipped),
    ];
    for (what, bytes) in damaged {
        let folder = Folder::new();
        let path = folder.path().join("dump.rdb");
        fs::write(&path, &bytes).expect("the folder is ours");
        let output = Setup::new(&Program::under_test()).run_to_end(folder.path());
        assert_eq!(output.code, Some(1), "{what}: {output:?}");
        let words = "# Fatal error loading the DB, check server logs. Exiting.";
        assert!(output.out.trim_end().ends_with(words), "{what}: {}", output.out);
        assert_eq!(output.out.matches("dump.rdb: ").count(), 1, "{what}: {}", output.out);
        assert_eq!(fs::read(&path).expect("it is still there"), bytes, "{what}");
    }
}

#[test]
fn a_slow_reader_does_not_delay_others() {
    let server = start();
    let mut client = server.client();
    client.ok("CONFIG SET proto-max-bulk-len 536870912");
    client.command(&["SET", "big", &"x".repeat(1 << 20)]);
    let mut slow = server.client();
    slow.send(&b"GET big\r\n".repeat(50)).expect("it is connected");
    for _ in 0..100 {
        assert_eq!(client.text("PING"), "PONG");
    }
    for _ in 0..50 {
        let reply = slow.read_reply().expect("all of it comes");
        assert!(matches!(reply, Value::Bulk(bytes) if bytes.len() == 1 << 20));
    }
}
