//! The deployment of `examples/sentinel`: its README as typed, and every mix of our Sentinels and servers with stock ones.
//! The master is killed; one of its three replicas becomes master, the others follow it, clients that ask
//! Sentinels write again, and the old master, started again, becomes a replica.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

use std::process::Command;

use redis::TypedCommands;
use redis::sentinel::{SentinelClient, SentinelServerType};
use russet_e2e::example::{DEADLINE, readme_commands};
use russet_e2e::sentinels::{Deployment, Launch, SENTINELS, SERVERS};
use russet_e2e::{Client, Program, Value, applications, redis_cli, tools, wait_for_within};

/// Waits as long as Sentinels may need.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for_within(what, DEADLINE, || condition().then_some(()));
}

/// Starts the deployment with shorter times, kills the master, and starts it again.
fn deployment(servers: [&Program; 4], sentinels: [Launch; 3]) {
    // The time must exceed the second that a Sentinel waits between two attempts to connect: it also starts when a
    // stock Sentinel switches to the promoted replica, which would otherwise be failed over immediately.
    let times = [("mymaster 5000", "mymaster 2500"), ("mymaster 60000", "mymaster 5000")];
    let mut example = Deployment::new(&Program::under_test(), &times);
    example.make_folders();
    for (port, program) in SERVERS.into_iter().zip(servers) {
        example.start_server(port, program);
    }
    for (port, launch) in SENTINELS.into_iter().zip(sentinels) {
        example.start_sentinel(port, launch);
    }
    wait_until_all_know_each_other(&example);
    wait_until("all replicas are connected", || number_of_replicas(&example, 6379) == 3);
    let mut application = application(&example);
    clients_write(&example, "before", &mut application);

    example.kill(6379);
    let master = wait_for_within("all Sentinels name another master", DEADLINE, || {
        example.master().filter(|port| *port != 6379)
    });
    for replica in SERVERS.into_iter().filter(|port| ![6379, master].contains(port)) {
        wait_until_it_follows(&example, replica, master);
    }
    clients_write(&example, "after", &mut application);

    example.start_server(6379, servers[0]);
    wait_until_it_follows(&example, 6379, master);
    assert_eq!(example.master(), Some(master), "nobody fails over a healthy master");
    all_have_what_clients_wrote(&example, master);
}

fn wait_until_all_know_each_other(example: &Deployment) {
    for sentinel in SENTINELS {
        wait_until("a Sentinel knows the others and all replicas", || {
            let reply = example.ask(sentinel, "SENTINEL MASTER mymaster").expect("it replies");
            let words: Vec<String> = reply.items().iter().map(Value::text).collect();
            let has = |name: &str, value: &str| words.chunks(2).any(|pair| pair == [name, value]);
            has("num-other-sentinels", "2") && has("num-slaves", "3")
        });
    }
}

fn number_of_replicas(example: &Deployment, master: u16) -> usize {
    let text =
        example.ask(master, "INFO replication").map(|reply| reply.text()).unwrap_or_default();
    text.lines().filter(|l| l.starts_with("slave") && l.contains("state=online")).count()
}

/// Waits until a server is a connected replica of another one.
fn wait_until_it_follows(example: &Deployment, replica: u16, master: u16) {
    let port = example.port(master).to_string();
    wait_until(&format!("{replica} follows {master}"), || {
        let Some(Value::Array(role)) = example.ask(replica, "ROLE") else { return false };
        let role: Vec<String> = role.iter().map(Value::text).collect();
        role[0] == "slave" && role[2] == port && role[3] == "connected"
    });
}

/// An application with redis-rs, which knows only Sentinels.
fn application(example: &Deployment) -> SentinelClient {
    let sentinels = SENTINELS.map(|port| format!("redis://{}/", example.address(port)));
    let name = "mymaster".to_owned();
    SentinelClient::build(sentinels.to_vec(), name, None, SentinelServerType::Master)
        .expect("the addresses are valid")
}

/// Several clients ask Sentinels for the master and write a key each, named after their `time`. A client whose write fails
/// asks again.
fn clients_write(example: &Deployment, time: &str, application: &mut SentinelClient) {
    wait_until("redis-rs writes", || {
        let connection = application.get_connection();
        let written =
            connection.and_then(|mut server| server.set(format!("{time}:rust"), "written"));
        written.is_ok()
    });
    for sentinel in SENTINELS {
        wait_until("our client writes", || {
            let asked = example.ask(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
            let Some(Value::Array(address)) = asked else { return false };
            let address = format!("{}:{}", address[0].text(), address[1].text());
            let words = ["SET", &format!("{time}:{sentinel}"), "written"];
            let written = Client::connect(address.parse().expect("an address"))
                .and_then(|mut client| client.try_command(&words));
            written.is_ok_and(|reply| reply == Value::Status("OK".into()))
        });
        wait_until("redis-cli writes", || {
            let question = ["sentinel", "get-master-addr-by-name", "mymaster"];
            let address = redis_cli(example.port(sentinel), &question);
            let port = address.lines().nth(1).and_then(|port| port.parse().ok());
            let words = ["set", &format!("{time}:cli:{sentinel}"), "written"];
            port.is_some_and(|port| redis_cli(port, &words).trim() == "OK")
        });
    }
    if let Some(library) = applications::redis_py() {
        let ports = SENTINELS.map(|port| format!("('127.0.0.1', {})", example.port(port)));
        let script = format!(
            "from redis.sentinel import Sentinel\n\
             master = Sentinel([{}]).master_for('mymaster', socket_timeout=5)\n\
             print(master.set('{time}:python', 'written'))\n",
            ports.join(", ")
        );
        wait_until("redis-py writes", || {
            let mut command = Command::new("python3");
            command.args(["-c", &script]).env("PYTHONPATH", &library);
            tools::run(command, b"").out.trim() == "True"
        });
    }
}

/// All servers have the keys of all clients.
fn all_have_what_clients_wrote(example: &Deployment, master: u16) {
    let python = i64::from(applications::redis_py().is_some());
    let count = Value::Int(2 * (2 * SENTINELS.len() as i64 + 1 + python));
    assert_eq!(example.ask(master, "DBSIZE"), Some(count.clone()));
    for server in SERVERS {
        wait_until("a replica has all keys", || {
            example.ask(server, "DBSIZE") == Some(count.clone())
        });
    }
}

/// Runs the command that shuts all down, until it has: a stock replica refuses while it writes its first append-only file.
fn shut_down(example: &Deployment, command: &str) {
    let ports = SERVERS.into_iter().chain(SENTINELS);
    wait_until("all have shut down", || {
        example.type_command(command);
        ports.clone().all(|port| Client::connect(example.address(port)).is_err())
    });
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    let mut example = Deployment::new(&Program::under_test(), &[]);
    // The port of the killed master, which Sentinels name until they have promoted another.
    let mut killed = String::new();
    let commands = readme_commands("sentinel");
    assert!(commands.len() > 20, "{commands:?}");
    for (command, expected) in commands {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["cp", ..] | ["cd", ..] => continue,
            ["for", ..] => {
                shut_down(&example, &command);
                continue;
            }
            ["kill", ..] => killed = example.port(6379).to_string(),
            ["russet", "server", "master.conf"] => killed.clear(),
            _ => {}
        }
        let is_good = |printed: &str| killed.is_empty() || !printed.contains(&killed);
        example.run_until(&command, &expected, is_good);
        let ports = SERVERS.into_iter().chain(SENTINELS);
        let name = words.iter().find_map(|word| word.strip_suffix(".conf")).unwrap_or_default();
        let started = ports.into_iter().find(|port| name.ends_with(&port.to_string()));
        match (started, name) {
            (Some(port), _) => example.find(port),
            (None, "master") => example.find(6379),
            (None, _) => {}
        }
    }
}

mod with_peers {
    use super::*;
    use Launch::{Command, Flag, Link, LinkWithFlag, Stock};

    const STOCK: [&Program; 4] = [&Program::Stock; 4];

    #[test]
    fn our_sentinels_over_our_servers() {
        let ours = Program::under_test();
        deployment([&ours; 4], [Command, Flag, LinkWithFlag]);
    }

    #[test]
    fn our_sentinels_over_stock_servers() {
        deployment(STOCK, [Command, Command, Link]);
    }

    #[test]
    fn stock_sentinels_over_our_servers() {
        let ours = Program::under_test();
        deployment([&ours; 4], [Stock; 3]);
    }

    #[test]
    fn two_of_our_sentinels_with_one_stock() {
        let ours = Program::under_test();
        deployment([&ours; 4], [Command, Command, Stock]);
    }

    #[test]
    fn two_stock_sentinels_with_one_of_ours_over_mixed_servers() {
        let ours = Program::under_test();
        deployment([&ours, &Program::Stock, &ours, &Program::Stock], [Stock, Command, Stock]);
    }
}
