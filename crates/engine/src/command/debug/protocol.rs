//! DEBUG PROTOCOL: replies of every type, for tests of client libraries.

use russet_protocol::{ErrorReply, Protocol};

use crate::command::argument::{Argument, one_of, token};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply};

const TYPES: &[Argument] = &[
    token("string"),
    token("integer"),
    token("double"),
    token("bignum"),
    token("null"),
    token("array"),
    token("set"),
    token("map"),
    token("attrib"),
    token("push"),
    token("verbatim"),
    token("true"),
    token("false"),
];

pub(super) const PROTOCOL: Command = Command {
    name: "debug|protocol",
    arity: 3,
    arguments: &[one_of("type", TYPES)],
    summary: "Replies a value of the given type.",
    run: protocol,
    ..Command::ROW
};

fn protocol(_ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let resp3 = reply.protocol == Protocol::Resp3;
    match args.text(2).to_ascii_lowercase().as_str() {
        "string" => reply.bulk(b"Hello World"),
        "integer" => reply.integer(12345),
        "double" => reply.double_text("3.141"),
        "bignum" => reply.big_number("1234567999999999999999999999999999999"),
        "null" => reply.null(),
        "array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        "set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        "map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        "attrib" => {
            if resp3 {
                reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        "push" if !resp3 => {
            return Err(ErrorReply::fixed("ERR RESP2 is not supported by this command"));
        }
        "push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        "true" => reply.boolean(true),
        "false" => reply.boolean(false),
        "verbatim" => reply.verbatim(b"This is a verbatim\nstring"),
        _ => {
            return Err(ErrorReply::fixed(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(Flow::Done)
}
