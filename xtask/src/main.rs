//! `cargo xtask …`: the project's own tools, which are not part of the product.
#![allow(
    clippy::disallowed_methods,
    reason = "tools start processes, read files and measure time; the product is elsewhere"
)]

mod bench;
mod compat;
mod cycles;
mod docs;
mod fuzz;
mod imports;
mod modules;
mod mutants;
mod partitions;
mod peers;
mod sh;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

use sh::Result;

/// A tool: name, usage, description, function.
struct Tool {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "test",
        usage: "test [arguments of the test runner]",
        about: "installs programs that tests need if possible, and runs all tests",
        run: test::run,
    },
    Tool {
        name: "sim",
        usage: "sim [--seeds N] [--from S] […] | sim --scale [--nodes N] [--stock] [--from S]",
        about: "runs the simulator (release build) with these arguments; --scale: the model of a cluster of N nodes \
                (default 1000), also with stock's rules",
        run: sim::run,
    },
    Tool {
        name: "fuzz",
        usage: "fuzz [--seconds N] [TARGET…]",
        about: "runs all fuzz targets, or the given ones, for N seconds each (default 60)",
        run: fuzz::run,
    },
    Tool {
        name: "mutants",
        usage: "mutants [--seeds N] [--sample N] [--sim-only] FILE.rs|FILE.patch …",
        about: "makes mistakes in the source, one at a time, and shows whether the simulator and the tests notice",
        run: mutants::run,
    },
    Tool {
        name: "bench",
        usage: "bench [--only NAME,…] [--quick] [--rounds N] [--minutes N] [--json FILE] [--server CMD] [--peer CMD|none]",
        about: "compares Russet with the installed redis-server",
        run: bench::run,
    },
    Tool {
        name: "partitions",
        usage: "partitions [--cluster] [--rounds N] [--jobs N] [--only SCENARIO,…] [--servers ours|stock|mixed] \
                [--sentinels ours|stock|mixed]",
        about: "cuts networks between Sentinels and servers, or nodes of a cluster, in namespaces; without programs, ours \
                and stock (as root); --jobs: scenarios at once",
        run: partitions::run,
    },
    Tool {
        name: "compat",
        usage: "compat --suite PATH [--update] [--server BINARY] [--omit DIRECTIVE,…] [unit/…|sentinel|cluster]",
        about: "runs units of a Valkey checkout's Tcl test suite against our binary",
        run: compat::run,
    },
    Tool { name: "docs", usage: "docs", about: "regenerates pages of docs/", run: docs::run },
    Tool {
        name: "tidy",
        usage: "tidy [--cycles]",
        about: "checks rules beyond lints: module comments, lengths, dependencies between crates, cycles \
                among files (--cycles: shows them and which references to remove)",
        run: tidy::run,
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = words.split_first() else { return help(ExitCode::FAILURE) };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        return help(ExitCode::SUCCESS);
    }
    let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) else {
        return help(ExitCode::FAILURE);
    };
    match (tool.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn help(code: ExitCode) -> ExitCode {
    println!("The project's own tools:\n");
    for tool in TOOLS {
        println!("  cargo xtask {}\n      {}", tool.usage, tool.about);
    }
    code
}
