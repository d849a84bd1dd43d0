//! A small blocking client for RESP2 and RESP3 for tests: it returns replies unmodified and can
//! send any bytes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Timeout of replies.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A reply. Texts are bytes; null of any kind is `Nil`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `$-1`, `*-1` or `_`.
    Nil,
    /// `:`
    Int(i64),
    /// `+`
    Status(String),
    /// `-`, without the minus
    Error(String),
    /// `$`, and `=` with its three letters and colon
    Bulk(Vec<u8>),
    /// `*`
    Array(Vec<Value>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `~`
    Set(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
    /// `,` with its text as sent
    Double(String),
    /// `#`
    Bool(bool),
    /// `(` with its digits
    BigNumber(String),
}

impl Value {
    /// Returns the reply as text: bulk strings, statuses, errors, integers; "(nil)" and the debug
    /// format for others.
    pub fn text(&self) -> String {
        match self {
            Value::Nil => "(nil)".to_owned(),
            Value::Int(n) => n.to_string(),
            Value::Status(s) | Value::Error(s) | Value::Double(s) | Value::BigNumber(s) => {
                s.clone()
            }
            Value::Bulk(b) => String::from_utf8_lossy(b).into_owned(),
            other => format!("{other:?}"),
        }
    }

    /// Returns the value of an integer reply.
    ///
    /// # Panics
    /// If it is another type.
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(n) => *n,
            other => panic!("expected an integer, got {other:?}"),
        }
    }

    /// Returns the elements of an array, set or push.
    ///
    /// # Panics
    /// If it is another type.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(v) | Value::Set(v) | Value::Push(v) => v,
            other => panic!("expected an aggregate, got {other:?}"),
        }
    }

    /// Whether this is an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

/// A connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Those of `connect` and of setting socket options.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Connects, with another timeout than that of tests for the connection and each reply.
    ///
    /// # Errors
    /// Those of `connect` and of setting socket options.
    pub fn connect_within(address: SocketAddr, timeout: Duration) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        let client = Client { stream: BufReader::new(stream) };
        client.set_timeout(Some(timeout))?;
        Ok(client)
    }

    /// Sets the timeout of further replies and requests; none waits without limit.
    ///
    /// # Errors
    /// Those of setting socket options.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(timeout)?;
        self.stream.get_ref().set_write_timeout(timeout)
    }

    /// Closes the connection, also for other handles, whose reads end.
    ///
    /// # Errors
    /// Those of `shutdown`.
    pub fn close(&self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Both)
    }

    /// Sends a command and reads its reply.
    ///
    /// # Errors
    /// Those of the socket; an error *reply* is `Ok(Value::Error)`.
    pub fn try_command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Value> {
        self.send(&encode(arguments))?;
        self.read_reply()
    }

    /// Sends a command given as words separated by blanks, and reads its reply.
    ///
    /// # Panics
    /// If the connection fails.
    pub fn run(&mut self, words: &str) -> Value {
        let arguments: Vec<&str> = words.split_whitespace().collect();
        self.command(&arguments)
    }

    /// Sends a command and reads its reply.
    ///
    /// # Panics
    /// If the connection fails.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Value {
        let sent: Vec<_> =
            arguments.iter().map(|a| String::from_utf8_lossy(a.as_ref()).into_owned()).collect();
        self.try_command(arguments).unwrap_or_else(|e| panic!("{sent:.100?}: {e}"))
    }

    /// Sends a command like [`Client::run`]; the reply must be `OK`.
    ///
    /// # Panics
    /// If it is not, or if the connection fails.
    pub fn ok(&mut self, words: &str) {
        let reply = self.run(words);
        assert_eq!(reply, Value::Status("OK".into()), "{words}");
    }

    /// Sends a command like [`Client::run`] and returns the reply as text (see [`Value::text`]).
    ///
    /// # Panics
    /// If the connection fails.
    pub fn text(&mut self, words: &str) -> String {
        self.run(words).text()
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Returns another handle of this connection, to send with one and read with the other.
    ///
    /// # Errors
    /// Those of `dup`.
    pub fn second_handle(&self) -> io::Result<Client> {
        Ok(Client { stream: BufReader::new(self.stream.get_ref().try_clone()?) })
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` if the server closed; `InvalidData` if it is not RESP.
    pub fn read_reply(&mut self) -> io::Result<Value> {
        let line = self.read_line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| bad("empty line"))?;
        let rest = rest.to_owned();
        Ok(match kind {
            "+" => Value::Status(rest),
            "-" => Value::Error(rest),
            ":" => Value::Int(number(&rest)?),
            "," => Value::Double(rest),
            "(" => Value::BigNumber(rest),
            "#" => Value::Bool(rest == "t"),
            "_" => Value::Nil,
            "$" | "=" => self.read_bulk(number(&rest)?)?,
            "*" if rest == "-1" => Value::Nil,
            "*" => Value::Array(self.read_many(number(&rest)?)?),
            "~" => Value::Set(self.read_many(number(&rest)?)?),
            ">" => Value::Push(self.read_many(number(&rest)?)?),
            "%" => {
                let flat = self.read_many(number(&rest)?.saturating_mul(2))?;
                Value::Map(flat.chunks_exact(2).map(|p| (p[0].clone(), p[1].clone())).collect())
            }
            _ => return Err(bad(&line)),
        })
    }

    /// Reads a line without CR LF.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` if the server closed.
    pub fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Reads all bytes until the server closes, including those received before a reset.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes); // a reset after the reply is an end too
        bytes
    }

    /// Closes the sending direction: the server receives the end of the stream and can still reply.
    ///
    /// # Errors
    /// Those of `shutdown`.
    pub fn close_sending(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    fn read_bulk(&mut self, length: i64) -> io::Result<Value> {
        let Ok(length) = usize::try_from(length) else { return Ok(Value::Nil) };
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Value::Bulk(bytes))
    }

    fn read_many(&mut self, count: i64) -> io::Result<Vec<Value>> {
        (0..count).map(|_| self.read_reply()).collect()
    }
}

/// Encodes the command as a RESP array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| bad(text))
}

fn bad(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {line:?}"))
}
